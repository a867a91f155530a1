"""The plan: frozen data that a runtime can execute without the compiler, and its only door to it.

A plan holds programs. A program is a text (straight-line Python over preallocated buffers), the
table of its buffers, and for each line the formula and the place of the spec that it came from.
"""

from dln.compiler.plan.plain import program_from_json as program_from_json
from dln.compiler.plan.plain import program_to_json as program_to_json
from dln.compiler.plan.program import Buffer as Buffer
from dln.compiler.plan.program import Called as Called
from dln.compiler.plan.program import Extent as Extent
from dln.compiler.plan.program import Line as Line
from dln.compiler.plan.program import Place as Place
from dln.compiler.plan.program import Program as Program
from dln.compiler.plan.program import ProgramTable as ProgramTable
from dln.compiler.plan.program import added as added
from dln.compiler.plan.program import at as at
from dln.compiler.plan.program import product as product
from dln.compiler.plan.program import site_number as site_number
from dln.compiler.plan.specs import COUNT as COUNT
from dln.compiler.plan.specs import POINTS as POINTS
from dln.compiler.plan.specs import SLOPES as SLOPES
from dln.compiler.plan.specs import AppliedSpec as AppliedSpec
from dln.compiler.plan.specs import DataSpec as DataSpec
from dln.compiler.plan.specs import DescentSpec as DescentSpec
from dln.compiler.plan.specs import EmitSpec as EmitSpec
from dln.compiler.plan.specs import EstimateSpec as EstimateSpec
from dln.compiler.plan.specs import FieldSpec as FieldSpec
from dln.compiler.plan.specs import KeepSpec as KeepSpec
from dln.compiler.plan.specs import LineSpec as LineSpec
from dln.compiler.plan.specs import ParamSpec as ParamSpec
from dln.compiler.plan.specs import PartSpec as PartSpec
from dln.compiler.plan.specs import PhaseSpec as PhaseSpec
from dln.compiler.plan.specs import Plan as Plan
from dln.compiler.plan.specs import TaskSpec as TaskSpec
from dln.compiler.plan.specs import WatchSpec as WatchSpec
from dln.compiler.plan.storage import ALIGNMENT as ALIGNMENT
from dln.compiler.plan.storage import arena_bytes as arena_bytes
from dln.compiler.plan.storage import buffer_bytes as buffer_bytes
from dln.compiler.plan.storage import item_size as item_size
from dln.compiler.plan.storage import memory as memory
from dln.compiler.plan.storage import scratch as scratch
from dln.compiler.plan.storage import sharing as sharing
from dln.compiler.plan.storage import slot_offsets as slot_offsets
from dln.compiler.schema.headers import DataSource as DataSource
from dln.compiler.schema.headers import Stretch as Stretch
from dln.compiler.schema.keys import CLOCKS as CLOCKS
from dln.compiler.schema.keys import LOOKED as LOOKED
from dln.compiler.schema.keys import CheckpointKey as CheckpointKey
from dln.compiler.schema.keys import Clock as Clock
from dln.compiler.schema.keys import GradientValue as GradientValue
from dln.compiler.schema.keys import Heard as Heard
from dln.compiler.schema.keys import LeftValue as LeftValue
from dln.compiler.schema.keys import PhaseNumber as PhaseNumber
from dln.compiler.schema.keys import ProgramKey as ProgramKey
from dln.compiler.schema.keys import ProgramKind as ProgramKind
from dln.compiler.schema.keys import RawInput as RawInput
from dln.compiler.schema.keys import ReportFold as ReportFold
from dln.compiler.schema.keys import WatchReport as WatchReport
from dln.compiler.schema.keys import WatchValue as WatchValue
from dln.compiler.schema.keys import WholeField as WholeField
from dln.compiler.schema.keys import new_state as new_state
from dln.compiler.schema.records import On as On
from dln.compiler.schema.records import stretches as stretches
from dln.compiler.schema.tables import BOUNDS as BOUNDS
from dln.compiler.schema.tables import DTYPES as DTYPES
from dln.compiler.schema.tables import PICTURES as PICTURES
from dln.compiler.schema.tables import WANTED as WANTED
