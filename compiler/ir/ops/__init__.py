"""The operations, one record each, by family; importing this fills `OPS`."""

from dln.compiler.ir.ops import accumulate as accumulate
from dln.compiler.ir.ops import contract as contract
from dln.compiler.ir.ops import image_warp as image_warp
from dln.compiler.ir.ops import index as index
from dln.compiler.ir.ops import layout as layout
from dln.compiler.ir.ops import loop as loop
from dln.compiler.ir.ops import pointwise as pointwise
from dln.compiler.ir.ops import reduce as reduce
from dln.compiler.ir.ops import source as source
from dln.compiler.ir.ops import symbolic as symbolic
from dln.compiler.ir.ops import window as window
