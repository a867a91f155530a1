"""Where values come from: inputs, whole data sets, parameters, states, clocks, constants, sizes,
draws."""

from __future__ import annotations

from typing import Any

from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import Array, Attrs, Infer, Op, Site, Types, no_gradient, register
from dln.compiler.ir.ops import bounds
from dln.compiler.ir.ops.common import given_type, no_value, real
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.spelling import Attr, Constants, DrawSite, Statements, call, kernel, steps
from dln.compiler.ir.tensor_type import BINARY, POSITIVE, PROB, REAL, Domain, TensorType, scalar
from dln.grammar.diagnostics import Fault


def const_type(attrs: Attrs, types: Types) -> TensorType:
    """The shape follows from the nesting, the domain of real numbers from their sign."""
    value, kind, shape = attrs["value"], attrs["kind"], []
    while isinstance(value, tuple):
        shape.append(Size(len(value)))
        value = value[0] if value else 0.0
    domain = BINARY if kind == "bool" else REAL
    if kind == "real" and not shape and isinstance(value, int | float):
        domain = number_domain(float(value))
    return TensorType(tuple(shape), (), kind, domain)


def number_domain(value: float) -> Domain:
    """The narrowest of binary, prob, positive and real that holds a number."""
    if value in (0.0, 1.0):
        return BINARY
    return PROB if 0.0 <= value <= 1.0 else POSITIVE if value > 0.0 else REAL


def draw_type(attrs: Attrs, types: Types) -> TensorType:
    """Uniform draws lie in [0, 1); normal ones have mean 0 and deviation 1."""
    if attrs["kind"] not in ("uniform", "normal"):
        raise Fault(f"a draw is uniform or normal, found {attrs['kind']}")
    domain = PROB if attrs["kind"] == "uniform" else REAL
    return TensorType(tuple(attrs["shape"]), tuple(attrs["running"]), "real", domain)


def spell_draw(node: Node) -> Statements:
    """All of it; of rows of a minibatch, which run along the axis `rows`, those of their places."""
    if "rows" not in node.attrs:
        return steps(kernel(node["kind"], DrawSite(node["site"])))
    return steps(kernel(f"{node['kind']}_rows", DrawSite(node["site"], True), Attr("rows")))


def states_type(attrs: Attrs, types: Types) -> TensorType:
    """All states of some bits, a row each."""
    n = int(attrs["units"])
    return TensorType((Size(1 << n), Size(n)), (), "real", BINARY)


def states(site: Site) -> Array:
    """The number of a row, bit by bit, the lowest first."""
    np, n = site.np, site.attrs["units"]
    return ((np.arange(1 << n)[:, None] >> np.arange(n)) & 1).astype(site.real)


def classes_type(attrs: Attrs, types: Types) -> TensorType:
    """All values of a class, in order."""
    size = Size.of(attrs["size"])
    return TensorType((size,), (), "index", Domain("class", size))


def source(name: str, infer: Infer, example: dict[str, Any], **given: Any) -> Op:
    """A record without operands. What has a `key` the evaluator takes from its environment."""
    key = given.get("key", name)
    rest: dict[str, Any] = {
        "evaluate": no_value("a value of the environment is missing"),
        "gradient": no_gradient,
        "flops": lambda node: 0,
        "examples": lambda: [((), example)],
        "formula": f"{{{key}}}",
        **given,
    }
    return Op(name, infer, **rest)


POSITIVE_NUMBER = scalar("real", POSITIVE)


def clock_type(attrs: Attrs, types: Types) -> TensorType:
    """How far a phase has come is not negative; what one reports may be any number."""
    return POSITIVE_NUMBER if isinstance(attrs["name"], str) else scalar("real")


X, W = real(4, 3, running=("batch",)), real(3, 2)

# fmt: off
register(
    source("input", given_type, {"name": "x", "type": X}, key="name", bound=bounds.looked_at),
    source("whole", given_type, {"name": "d.all.x", "type": real(5, 3)}, key="name",
           bound=bounds.looked_at),
    source("param", given_type, {"path": "net.W", "type": W}, key="path"),
    source("state", given_type, {"path": "net.v", "type": W}, key="path"),
    source("clock", clock_type, {"name": "epoch"}, key="name", host="{name}"),
    source("const", const_type, {"value": ((1.0, 2.0), (3.0, 4.0)), "kind": "real"},
           evaluate=lambda site: site.np.asarray(site.attrs["value"],
                                                 dtype=site.dtype(site.attrs["kind"])),
           host="{value}", formula="{value}", bound=bounds.constant),
    source("size", lambda attrs, types: POSITIVE_NUMBER, {"size": Size(3)}, host="{size}",
           evaluate=lambda site: site.np.asarray(site.size(site.attrs["size"]), dtype=site.real)),
    source("states", states_type, {"units": 3}, evaluate=states, formula="states({units})",
           spell=steps(call("cast", Constants("bits", (Attr("units"),))))),
    source("classes", classes_type, {"size": Size(3)}, formula="classes({size})",
           evaluate=lambda site: site.np.arange(site.size(site.attrs["size"])),
           spell=steps(call("copy", Constants("range", (Attr("size"),))))),
    source("draw", draw_type,
           {"kind": "uniform", "site": "a/1", "shape": (Size(3),), "running": ()},
           evaluate=lambda site: site.draw(site.attrs["kind"], site.attrs["site"],
                                           site.shape).astype(site.real),
           spell=spell_draw,
           formula="{kind}()", facts=("random",),
           bound=bounds.at_most(40.0)),  # of a normal curve nothing lies further out
)
# fmt: on
