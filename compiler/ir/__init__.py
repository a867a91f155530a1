"""The intermediate representation: typed nodes in a graph, and the records of their operations."""

from dln.compiler.ir import ops as ops
