"""The operations, one record each, by family; importing this fills `OPS`."""

from dln.compiler.ops import contract as contract
from dln.compiler.ops import index as index
from dln.compiler.ops import layout as layout
from dln.compiler.ops import loop as loop
from dln.compiler.ops import lowered as lowered
from dln.compiler.ops import noise as noise
from dln.compiler.ops import pointwise as pointwise
from dln.compiler.ops import reduce as reduce
from dln.compiler.ops import source as source
from dln.compiler.ops import symbolic as symbolic
from dln.compiler.ops import window as window
