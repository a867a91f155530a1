"""One sweep over all operations: shape rule, derivative to second order, spellings.

The oracles: NumPy's own shapes for the rules, complex steps (1e-12) or central differences (1e-6)
for the derivatives, the evaluator for the spelled program lines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import numpy as np
import pytest

from dln.compiler.autodiff.differentiate import differentiate
from dln.compiler.ir.evaluate import evaluate
from dln.compiler.ir.graph import Graph, Node
from dln.compiler.ir.op import OPS, Make
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.spelling import Attr, Constants, DrawSite, Memory, Operand, Statements, View
from dln.compiler.ir.tensor_type import TensorType
from dln.compiler.ir.verify import verify
from dln.compiler.lower.python_text import Bare, call_text, literal, plain, view_text
from dln.compiler.lower.targets import TARGETS, spelling
from dln.compiler.lower.targets.target import Target
from dln.grammar.diagnostics import Fault
from dln.runtime.device.host import Host

LOWERED = {"copy"}  # made by lowering, over programs; tested there
# A loop means nothing without its body: tests/compiler/test_loops.py unrolls it, differentiates
# it and runs its program.
BASIS = {name: op for name, op in OPS.items() if name not in LOWERED and not op.is_("loop")}

CASES = [
    pytest.param(name, types, attrs, id=f"{name}-{i}")
    for name, op in BASIS.items()
    for i, (types, attrs) in enumerate(op.examples())
]
OPERATING = [c for c in CASES if c.values[1]]
REAL, INDEX, TRUTH = "real", "index", "bool"


def draw(kind: str, site: str, shape: tuple[Any, ...]) -> np.ndarray:
    seed = sum(map(ord, site))
    rng = np.random.default_rng(seed)
    return rng.random(shape) if kind == "uniform" else rng.normal(size=shape)


def numbers(sizes: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(s.value for s in sizes)


def sample(rng: Any, type: TensorType) -> Any:
    shape = numbers(type.shape)
    if type.kind == INDEX:
        assert type.domain.size is not None
        return rng.integers(0, type.domain.size.value, shape)
    if type.kind == TRUTH:
        return rng.random(shape) < 0.5
    if type.domain.name == "real":
        return np.asarray(rng.normal(size=shape))
    return np.asarray(rng.uniform(0.3, 1.7, shape))


def arguments(types: tuple[Any, ...]) -> tuple[Any, ...]:
    """A graph with an input for each operand, and values for them."""
    graph = Graph()
    make = Make(graph)
    rng = np.random.default_rng(len(str(types)))
    nodes = [make("input", name=f"x{i}", type=t) for i, t in enumerate(types)]
    return graph, make, nodes, [sample(rng, t) for t in types]


def env_of(values: list[Any], weights: Sequence[Any] = ()) -> dict[Any, Any]:
    env = {("input", f"x{i}"): v for i, v in enumerate(values)}
    return env | {("input", f"w{i}"): w for i, w in enumerate(weights)}


def test_every_operation_has_examples() -> None:
    missing = [n for n, op in BASIS.items() if not op.is_("symbolic") and not list(op.examples())]
    assert missing == []


@pytest.mark.parametrize(("name", "types", "attrs"), CASES)
def test_rule_agrees_with_the_value(
    name: str, types: tuple[Any, ...], attrs: dict[str, Any]
) -> None:
    graph, make, nodes, values = arguments(types)
    node = graph.outputs["y"] = make(name, *nodes, **attrs)
    verify(graph)
    env = env_of(values)
    if name in ("input", "whole", "param", "state", "clock"):
        array = np.ones(numbers(node.type.shape))
        env[name, attrs.get("name") or attrs["path"]] = array
    y = evaluate(graph, env, draw=draw)["y"]  # raises where the shapes differ
    assert y.shape == numbers(node.type.shape)
    assert {"f": REAL, "i": INDEX, "b": TRUTH}[y.dtype.kind] == node.type.kind
    if node.type.domain.name in ("positive", "prob", "binary") and name != "asserted":
        assert (y >= 0).all()
    if node.type.domain.name in ("prob", "binary") and node.op != "asserted":
        assert (y <= 1).all()


# ---- derivatives -------------------------------------------------------------------------------


def projected(make: Make, node: Node, name: str) -> Node:
    """One number: the sum of the node times a fixed random tensor."""
    weight = make("input", name=name, type=TensorType(node.type.shape))
    product = make.mul(make("running", node, running=()), weight)
    return make.sum(product, range(len(node.type.shape)))


def slope(graph: Graph, env: dict[Any, Any], key: tuple[Any, ...], smooth: bool) -> np.ndarray:
    """The derivative of output "s" with respect to an input, numerically."""
    base = env[key]
    out = np.zeros(base.shape)
    for at in np.ndindex(base.shape):

        def moved(step: Any, kind: Any, at: Any = at) -> Any:
            x = base.astype(kind)
            x[at] += step
            return evaluate(graph, env | {key: x}, real=kind)["s"]

        if smooth:
            out[at] = moved(1e-30j, complex).imag / 1e-30
        else:
            out[at] = (moved(1e-6, float) - moved(-1e-6, float)) / 2e-6
    return out


def close(found: np.ndarray, wanted: np.ndarray, smooth: bool) -> Any:
    scale = max(1.0, np.abs(wanted).max(initial=0.0))
    return np.abs(found - wanted).max(initial=0.0) / scale < (1e-12 if smooth else 1e-6)


def has_slope(name: str, types: tuple[Any, ...], attrs: dict[str, Any]) -> bool:
    """Whether the result is real, and some operand is."""
    _, make, nodes, _ = arguments(types)
    slopes = make(name, *nodes, **attrs).type.kind == REAL and any(t.kind == REAL for t in types)
    return slopes and name not in ("stop", "warp")


SLOPED = [c for c in OPERATING if has_slope(*list[Any](c.values))]


@pytest.mark.parametrize(("name", "types", "attrs"), SLOPED)
def test_gradient_to_second_order(name: str, types: tuple[Any, ...], attrs: dict[str, Any]) -> None:
    graph, make, nodes, values = arguments(types)
    node = make(name, *nodes, **attrs)
    smooth = OPS[name].smooth
    real = [i for i, t in enumerate(types) if t.kind == REAL]
    s = projected(make, node, "w0")
    rng = np.random.default_rng(7)
    grads = [make("grad", s, nodes[i]) for i in real]
    outers = [projected(make, g, f"w{k + 1}") for k, g in enumerate(grads)]
    weights = [rng.normal(size=numbers(node.type.shape))]
    weights += [rng.normal(size=values[i].shape) for i in real]
    env = env_of(values, weights)

    for order, scalars in ((1, [s]), (2, outers)):
        for scalar in scalars:
            plain, sloped = Graph(), Graph()
            for g in (plain, sloped):
                for n in graph.topological():
                    g.include(n)
            plain.outputs = {"s": scalar}
            asked = [make_in(sloped, scalar, nodes[i]) for i in real]
            sloped.outputs = {str(i): g for i, g in zip(real, asked, strict=True)}
            sloped, plain = differentiate(sloped), differentiate(plain)
            verify(sloped)
            found = evaluate(sloped, env)
            for i in real:
                wanted = slope(plain, env, ("input", f"x{i}"), smooth)
                assert found[str(i)].shape == values[i].shape
                assert close(found[str(i)], wanted, smooth), (order, i, found[str(i)], wanted)


def make_in(graph: Graph, scalar: Node, x: Node) -> Node:
    return Make(graph)("grad", scalar, x)


def test_stop_blocks() -> None:
    graph, make, (x,), values = arguments((TensorType((Size(3),)),))
    s = make.sum(make.mul(x, make("stop", x)), (0,))
    graph.outputs["g"] = make("grad", s, x)
    assert np.array_equal(evaluate(differentiate(graph), env_of(values))["g"], values[0])


@pytest.mark.parametrize(("name", "at", "wanted"), [("abs", 0.0, 0.0), ("maximum", 0.0, 0.0)])
def test_at_a_kink(name: str, at: float, wanted: float) -> None:
    graph, make, (x,), _ = arguments((TensorType(),))
    y = make(name, x) if name == "abs" else make(name, x, make.const(0.0))
    graph.outputs["g"] = make("grad", y, x)
    assert evaluate(differentiate(graph), {("input", "x0"): at})["g"] == wanted


def test_extremes_share_between_ties() -> None:
    graph, make, (x,), _ = arguments((TensorType((Size(4),)),))
    graph.outputs["g"] = make("grad", make("max", x, axes=(0,)), x)
    env = {("input", "x0"): np.array([1.0, 3.0, 3.0, 2.0])}
    assert evaluate(differentiate(graph), env)["g"].tolist() == [0.0, 0.5, 0.5, 0.0]


# ---- spellings ---------------------------------------------------------------------------------

DTYPE = {REAL: np.float64, INDEX: np.int64, TRUTH: np.bool_}


def buffer(type: TensorType) -> np.ndarray:
    return np.zeros(numbers(type.shape), DTYPE[type.kind])


class Bench:
    """What a program is for one operation: views bound once, lines that are run."""

    def __init__(self, node: Node, buffers: list[Any], target: Target) -> None:
        self.node, self.target, self.spelled = node, target, spelling(target, node)
        self.scope: dict[str, Any] = {"xp": np, "math": math, "out": buffer(node.type)}
        self.scope |= Host().kernels
        self.scope["uniform"] = lambda out, site: np.copyto(out, draw("uniform", site, out.shape))
        self.scope |= {f"a{i}": b for i, b in enumerate(buffers)}
        if isinstance(self.spelled, Statements):
            self.scope |= {name: buffer(of(node)) for name, of in self.spelled.scratch.items()}
            for name in ("out", *self.spelled.scratch):
                self.scope[name].fill(7)  # nothing may lean on a fresh buffer

    def text(self, value: Any) -> str:
        match value:
            case Operand():
                return f"a{value.slot}"
            case Memory():
                return value.name
            case Attr():
                return literal(self.node[value.name])
            case DrawSite():
                return repr(value.site)
            case View() | Constants():
                self.scope[name := f"view{len(self.scope)}"] = eval(
                    view_text(value, self.text), self.scope
                )
                return name
        return plain(value, self.text)

    def lines(self) -> list[Any]:
        assert isinstance(self.spelled, Statements)
        names, form = Bare(), self.target.form
        calls = [(c, call_text(form(c), c, self.text, names)) for c in self.spelled.calls]
        lines = [f"{text}()" if c.ready else text for c, text in calls]
        self.scope |= {name: attrgetter(function)(np) for function, name in names.items()}
        return lines

    def run(self, buffers: list[Any], values: list[Any]) -> np.ndarray:
        """The operands get their values when the views are bound, so a view that is secretly a
        copy is found out."""
        whole = isinstance(self.spelled, View)
        lines = [self.text(self.spelled)] if whole else self.lines()
        for b, v in zip(buffers, values, strict=True):
            b[...] = v
        if whole:
            return self.scope[lines[0]]
        exec("\n".join(lines), self.scope)
        return self.scope["out"]


SPELLED = [c for c in CASES if OPS[str(c.values[0])].spell]


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("turned", [False, True], ids=["plain", "turned"])
@pytest.mark.parametrize(("name", "types", "attrs"), SPELLED)
def test_spelled_lines_equal_the_evaluator(
    name: str, types: tuple[Any, ...], attrs: dict[str, Any], turned: bool, target: Target
) -> None:
    """Also on operands that are views in another order of axes."""
    graph, make, nodes, values = arguments(types)
    buffers = [buffer(t) for t in types]
    if turned:
        nodes = [turn(make, i, t) for i, t in enumerate(types)]
        buffers = [np.zeros(b.shape[::-1], b.dtype).transpose() for b in buffers]
    node = graph.outputs["y"] = make(name, *nodes, **attrs)
    env = env_of([v.transpose() if turned else v for v in values])
    wanted = evaluate(graph, env, draw=draw)["y"]
    found = Bench(node, buffers, target).run(buffers, values)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-14, atol=1e-15)


def turn(make: Make, i: int, type: TensorType) -> Node:
    """An operand that is a transposed view of an input."""
    perm = tuple(reversed(range(len(type.shape))))
    x = make("input", name=f"x{i}", type=type.like(shape=type.shape[::-1], running=()))
    return make("transpose", x, perm=perm)


def test_every_operation_is_spelled() -> None:
    sources = {"input", "whole", "param", "state", "const", "clock", "size"}
    unspelled = [n for n, op in BASIS.items() if not op.spell and not op.is_("symbolic")]
    assert set(unspelled) == sources


@pytest.mark.parametrize("name", [n for n, op in BASIS.items() if op.is_("pointwise")])
def test_host_spelling_of_numbers(name: str) -> None:
    """Single numbers are computed in Python between the steps."""
    rng = np.random.default_rng(3)
    types = next(iter(OPS[name].examples()))[0]
    attrs = next(iter(OPS[name].examples()))[1]
    graph, make, _, _ = arguments(())
    scalars = [t.like(shape=(), running=()) for t in types]
    nodes = [make("input", name=f"x{i}", type=t) for i, t in enumerate(scalars)]
    values = [sample(rng, t) for t in scalars]
    graph.outputs["y"] = make(name, *nodes, **attrs)
    wanted = evaluate(graph, env_of(values))["y"]
    form = OPS[name].host.format(*(f"a{i}" for i in range(len(values))))
    found = eval(form, {"math": math} | {f"a{i}": v.item() for i, v in enumerate(values)})
    assert found == pytest.approx(float(wanted), rel=1e-13)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_where_lines_allow_it_an_operand_may_be_overwritten(target: Target) -> None:
    """Of every operation that works element by element."""
    tried = set()
    for name, op in BASIS.items():
        types, attrs = next(iter(op.examples()), ((), {}))
        for slot in range(len(types)) if op.is_("pointwise") else ():
            graph, make, nodes, values = arguments(types)
            node = graph.outputs["y"] = make(name, *nodes, **attrs)
            wanted = evaluate(graph, env_of(values))["y"]
            bench = Bench(node, [np.array(v) for v in values], target)
            fits = node.type.kind == types[slot].kind and node.type.shape == types[slot].shape
            spelled = bench.spelled
            if fits and isinstance(spelled, Statements) and spelled.may_overwrite([slot]):
                bench.scope["out"] = bench.scope[f"a{slot}"]
                exec("\n".join(bench.lines()), bench.scope)
                assert np.allclose(bench.scope["out"], wanted, atol=1e-15), name
                tried.add((name, slot))
    assert {("add", 0), ("add", 1), ("sigmoid", 0), ("where", 2)} <= tried
    assert not {("where", 0), ("where", 1)} & tried


# ---- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shapes", "attrs"),
    [
        ("add", [(2,), (3,)], {}),
        ("add", [(2,), (2, 2)], {}),
        ("sum", [(2,)], {"axes": (1,)}),
        ("sum", [(2, 2)], {"axes": (1, 1)}),
        ("broadcast", [(3,)], {"axes": (0,), "shape": (Size(2), Size(3)), "running": ()}),
        ("window", [(4,)], {"axis": 0, "terms": ((1, Size(3)), (1, Size(3))), "offset": 0}),
        ("window", [(4,)], {"axis": 0, "terms": ((1, Size(2)),), "offset": -1}),
        ("window", [(4,)], {"axis": 0, "terms": ((0, Size(2)),), "offset": 0}),
        ("window", [(4,)], {"axis": 1, "terms": ((1, Size(2)),), "offset": 0}),
        ("unwindow", [(2,)], {"axis": 0, "terms": ((2, Size(2)),), "offset": 1, "size": Size(3)}),
        ("unwindow", [(3,)], {"axis": 0, "terms": ((1, Size(2)),), "offset": 0, "size": Size(3)}),
        ("broadcast", [(3,)], {"axes": (), "shape": (Size(3),), "running": ()}),
        ("reshape", [(2, 3)], {"shape": (Size(5),), "running": ()}),
        ("transpose", [(2, 3)], {"perm": (0, 0)}),
        ("slice", [(3,)], {"axis": 0, "start": 1, "stop": 4}),
        ("concat", [(2, 3), (2, 4)], {"axis": 0}),
        ("contract", [(2, 3), (4, 5)], {"left": (0, 1), "right": (1, 2), "out": (0, 2)}),
        ("contract", [(2, 3), (3,)], {"left": (0, 1), "right": (1,), "out": ()}),
        ("grad", [(3,), (3,)], {}),
        ("and", [(3,), (3,)], {}),
        ("pick", [(3, 4), (3,)], {}),
        ("nonsense", [(3,)], {}),
    ],
)
def test_wrong_operands_are_refused(name: str, shapes: list[Any], attrs: dict[str, Any]) -> None:
    make = Make(Graph())
    types = [TensorType(tuple(map(Size, shape))) for shape in shapes]
    nodes = [make("input", name=f"x{i}", type=t) for i, t in enumerate(types)]
    with pytest.raises(Fault):
        make(name, *nodes, **attrs)
