"""Golden pairs: a graph before, the rule that must fire, the graph after.

A case in `golden/<pass>.txt` reads

    ## name of the rule
    x: [batch, 3]
    (add x 0)
    => x

Declarations give inputs (`param`, `state`, `clock` before the name for those), a domain or kind
may follow the shape; `name = (...)` names a shared node, `:name (...)` an output. Expressions are
s-expressions over the operations; attributes stand as `:axes (1,)`. An indented line goes on with
the line before. `time 4` in a shape is a running axis of four steps, and

    (loop 4 (rows x) (fixed W) (carried h0) (next (add r0 c0)) n0)

is the sequence of a value of a loop: inside, r0, f0 and c0 are the first of the rows, of what stays
and of what is carried, n0 what the next step finds in c0. `:reverse` after the number of steps runs
it backwards.

Both graphs are also run on random inputs: where only exact rules fired, the results are equal to
the last bit.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dln.compiler.autodiff.differentiate import differentiate
from dln.compiler.ir.evaluate import evaluate
from dln.compiler.ir.graph import Graph, Node, ancestors
from dln.compiler.ir.op import Make
from dln.compiler.ir.ops.loop import Body, body_of, item, row_type, slot
from dln.compiler.ir.sizes import BATCH_SIZE, Size
from dln.compiler.ir.tensor_type import BINARY, Domain, Kind, TensorType
from dln.compiler.ir.verify import verify
from dln.compiler.passes import PASSES
from dln.compiler.passes.accumulate import TABLE as ACCUMULATE
from dln.compiler.passes.fold import FOLD
from dln.compiler.passes.rewriting import Log, apply, by_operation, rule
from dln.compiler.passes.simplify import TABLE as SIMPLIFY
from dln.compiler.passes.simplify import simplify
from dln.compiler.passes.stabilise import TABLE as STABILISE
from dln.compiler.passes.stabilise import stabilise
from dln.compiler.schema import keys
from dln.compiler.schema.keys import Output
from dln.grammar.diagnostics import Fault, Source, Span

GOLDEN = Path(__file__).parent / "golden"
VERBS = dict(PASSES)
TABLES = {"simplify": SIMPLIFY, "stabilise": STABILISE, "accumulate": ACCUMULATE}
COLUMN = tuple(VERBS.values())
GROUPS = ("rows", "fixed", "carried", "next")
TOKEN = re.compile(r"\(|\)|:\w+|[^\s()]+")


# ---- reading -----------------------------------------------------------------------------------


def size(text: str) -> Size:
    return BATCH_SIZE if text == "batch" else Size(int(text.removeprefix("time ")))


def declared(line: str) -> tuple[Any, ...]:
    """("x", "input", type) of a declaration line."""
    m = re.fullmatch(r"(?:(param|state|clock) )?([\w.]+): \[(.*?)\](?: (\w+) ?(\d*))?", line)
    assert m, line
    source, name, axes, word, count = m.groups()
    parts = [t.strip() for t in axes.split(",") if t.strip()]
    sizes = tuple(map(size, parts))
    running = tuple(t.split()[0] for t in parts if t.startswith(("time ", "batch")))
    kind: Kind = "index" if word == "class" else "bool" if word == "bool" else "real"
    domain = Domain(word, Size(int(count)) if count else None) if word else Domain()
    domain = BINARY if word == "bool" else domain
    return name, source or "input", TensorType(sizes, running, kind, domain)


class Reader:
    """Reads expressions into a graph."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.make = Make(self.graph)
        self.names: dict[str, Node] = {}

    def declare(self, line: str) -> None:
        name, source, type = declared(line)
        key = "name" if source in ("input", "clock") else "path"
        attrs = {key: name} if source == "clock" else {key: name, "type": type}
        self.names[name] = self.make(source, **attrs)

    def read(self, text: str) -> Node:
        self.tokens = TOKEN.findall(text)
        node = self.expression()
        assert not self.tokens, f"left over: {self.tokens}"
        return node

    def expression(self) -> Node:
        token = self.tokens.pop(0)
        if token != "(":
            return self.names.get(token) or self.constant(token)
        op, operands, attrs = self.tokens.pop(0), [], {}
        if op == "loop":
            return self.loop()
        while self.tokens[0] != ")":
            if self.tokens[0].startswith(":"):
                name = self.tokens.pop(0)[1:]
                attrs[name] = self.attribute(name)
            else:
                operands.append(self.expression())
        self.tokens.pop(0)
        if op in ("broadcast", "reshape", "running"):
            attrs.setdefault("running", ())
        return self.make(op, *operands, **attrs)

    def loop(self) -> Node:
        """The sequence of a value of a loop."""
        length = Size(int(self.tokens.pop(0)))
        reverse = self.tokens[0] == ":reverse" and bool(self.tokens.pop(0))
        outside = {g: self.group(g) for g in GROUPS[:3]}
        outer, self.graph = (self.graph, self.names), Graph()
        slots: dict[str, Node] = {}
        for group, nodes in outside.items():
            types = [row_type(n.type) if group == "rows" else n.type for n in nodes]
            made = [slot(self.graph, t, len(slots) + i, group) for i, t in enumerate(types)]
            slots |= {f"{group[0]}{i}": n for i, n in enumerate(made)}
        self.make, self.names = Make(self.graph), dict(slots)
        nexts = tuple(self.group("next"))
        self.names |= {f"n{i}": n for i, n in enumerate(nexts)}
        value = self.expression()
        assert self.tokens.pop(0) == ")"
        rows, fixed, carried = (
            tuple(n for n in slots.values() if n["role"] == g) for g in GROUPS[:3]
        )
        body = Body(self.graph, rows, fixed, carried, nexts, length, reverse)
        self.graph, self.names = outer
        self.make = Make(self.graph)
        return item(self.make, self.make("scan", *sum(outside.values(), []), body=body), value)

    def group(self, name: str) -> list[Any]:
        """The expressions of `(rows ...)` and its like."""
        assert (self.tokens.pop(0), self.tokens.pop(0)) == ("(", name)
        found = []
        while self.tokens[0] != ")":
            found.append(self.expression())
        self.tokens.pop(0)
        return found

    def constant(self, token: str) -> Node:
        value = ast.literal_eval(token)
        if isinstance(value, bool):
            return self.make.const(value, "bool")
        return self.make.const(float(value))

    def attribute(self, name: str) -> Any:
        """A word, or a tuple of words up to the closing bracket."""
        words, depth = [], 0
        while True:
            token = self.tokens.pop(0)
            depth += (token == "(") - (token == ")")
            words.append(token)
            if depth == 0:
                break
        text = "".join(words)
        if name in ("shape", "size"):
            items = [size(t) for t in text.strip("()").split(",") if t]
            return tuple(items) if "(" in text else items[0]
        if name == "domain":
            return Domain(text)
        return text if name == "kind" else ast.literal_eval(text)


def write(node: Node, slots: dict[Any, Any] | None = None) -> str:
    """A node as an s-expression, shared or not."""
    slots = slots or {}
    if node in slots:
        return slots[node]
    if node.op in ("input", "param", "state", "clock"):
        return node.attrs.get("name") or node["path"]
    if node.op == "const":
        return str(node["value"])
    if node.op == "item":
        return write_loop(node, slots)
    attrs = [f":{k} {v}" for k, v in sorted(node.attrs.items()) if k != "running"]
    return f"({' '.join([node.op, *(write(o, slots) for o in node.operands), *attrs])})"


def write_loop(node: Node, slots: dict[str, Any]) -> str:
    body, operands = body_of(node), list(node.operands[0].operands)
    head = f"{body.length} :reverse" if body.reverse else str(body.length)
    parts, inner = [], dict[Node, str]()
    for group, held in zip(GROUPS[:3], (body.rows, body.fixed, body.carried), strict=True):
        given = [write(operands.pop(0), slots) for _ in held]
        parts.append(f"({' '.join([group, *given])})")
        inner |= {s: f"{group[0]}{i}" for i, s in enumerate(held)}
    parts.append(f"({' '.join(['next', *(write(n, inner) for n in body.nexts)])})")
    inner |= {n: f"n{i}" for i, n in enumerate(body.nexts)}
    return f"(loop {head} {' '.join(parts)} {write(node['value'], inner)})"


def cases() -> Iterator[Any]:
    for path in sorted(GOLDEN.glob("*.txt")):
        for block in re.split(r"^## ", path.read_text(), flags=re.M)[1:]:
            title, *lines = [s for s in re.sub(r"\n +", " ", block).splitlines() if s.strip()]
            yield pytest.param(path.stem, title.strip(), lines, id=f"{path.stem}-{title}")


def called(name: str) -> Output | str:
    """`state:v` is the new value of a state."""
    place, colon, path = name.partition(":")
    return keys.Output(place, path) if colon else name


def parse(lines: list[Any]) -> tuple[Any, ...]:
    """The graph before, and the one after in a reader of its own."""
    before, after, outputs = Reader(), Reader(), 0
    for line in lines:
        line = line.strip()
        if line.startswith("=>"):
            name = f"y{len(after.graph.outputs)}"
            m = re.match(r"=> :(\S+) (.*)", line)
            name, text = m.groups() if m else (name, line[2:])
            after.graph.outputs[called(name)] = after.read(text)
        elif re.match(r"[\w. ]+: \[", line):
            before.declare(line)
            after.declare(line)
        elif m := re.match(r"(\w+) = (.*)", line):
            before.names[m[1]] = before.read(m[2])
            after.names[m[1]] = after.read(m[2])
        else:
            m = re.match(r":(\S+) (.*)", line)
            name, text = m.groups() if m else (f"y{outputs}", line)
            before.graph.outputs[called(name)] = before.read(text)
            outputs += 1
    return before.graph, after.graph


# ---- running -----------------------------------------------------------------------------------


def sample(rng: Any, type: TensorType) -> np.ndarray:
    shape = tuple(5 if s.value is None else s.value for s in type.shape)
    if type.kind == "index":
        assert type.domain.size is not None
        return rng.integers(0, type.domain.size.value, shape)
    if type.kind == "bool":
        return rng.random(shape) < 0.5
    if type.domain.name == "real":
        return np.asarray(rng.normal(size=shape))
    return np.asarray(rng.uniform(0.1, 0.9, shape))


def environment(*graphs: Graph, seed: int = 0) -> dict[Any, Any]:
    env, rng = {}, np.random.default_rng(seed)
    for graph in graphs:
        for node in ancestors(graph.outputs.values()):
            name = node.attrs.get("name") or node.attrs.get("path")
            if name and (node.op, name) not in env:
                env[node.op, name] = sample(rng, node.type)
    env["input", "_batch"] = np.zeros(5)
    return env


def values(graph: Graph, env: dict[Any, Any]) -> dict[Any, Any]:
    from dln.compiler.ir.sizes import BATCH

    return evaluate(differentiate(graph), env, sizes={BATCH: 5})


def outputs_text(graph: Graph) -> dict[Any, Any]:
    return {k: write(v) for k, v in graph.outputs.items()}


@pytest.mark.parametrize(("name", "title", "lines"), list(cases()))
def test_golden(name: str, title: str, lines: list[Any]) -> None:
    before, wanted = parse(lines)
    verify(before, "infer")
    log: Log = []
    after = VERBS[name](before, log)
    verify(after, "infer")
    assert outputs_text(after) == outputs_text(wanted)
    if title.startswith("kept"):
        assert log == []
    else:
        assert title.split(":")[0] in [f.rule for f in log]
    env = environment(before, wanted)
    one, two = values(before, env), values(after, env)
    for key in two:
        if all(f.exact for f in log):
            np.testing.assert_array_equal(one[key], two[key])
        np.testing.assert_allclose(one[key], two[key], rtol=1e-12, atol=1e-13)


def test_every_rule_has_a_golden_case() -> None:
    tested = {(c.values[0], c.values[1].split(":")[0]) for c in cases()}
    for name, table in TABLES.items():
        rules = {r.name for rules in table.values() for r in rules}
        assert {r for r in rules if (name, r) not in tested} == set()
    assert {("fold", FOLD.name), ("fission", "fission")} <= tested


def test_every_rule_shows_before_and_after() -> None:
    for table in TABLES.values():
        for rules in table.values():
            assert all("->" in r.doc.splitlines()[0] for r in rules)


# ---- whole graphs ------------------------------------------------------------------------------

ACTS = ("tanh", "sigmoid", "relu", "logistic", "softplus", "log1pexp")


def activation(m: Make, name: str, z: Node) -> Node:
    one = m.const(1.0)
    if name == "relu":
        return m("maximum", z, m.const(0.0))
    if name == "logistic":
        return m.div(one, m.add(one, m("exp", m.neg(z))))
    if name == "log1pexp":
        return m("log", m.add(one, m("exp", z)))
    return m(name, z)


def network(seed: int) -> Graph:
    """A random perceptron as a user would write it, its loss, updates and a gradient norm."""
    rng = np.random.default_rng(seed)
    m = Make(Graph())
    batch = ("batch",)
    h = m("input", name="x", type=TensorType((BATCH_SIZE, Size(4)), batch))
    digit = TensorType((BATCH_SIZE,), batch, "index", Domain("class", Size(3)))
    label = m("input", name="label", type=digit)
    params = []
    for i in range(int(rng.integers(1, 4))):
        rows = 3 if i == 0 else int(rng.integers(2, 6))
        params.append(rows)
    widths, nodes = params[::-1], []
    for i, rows in enumerate(widths):
        cols = h.type.shape[-1]
        w = m("param", path=f"W{i}", type=TensorType((Size(rows), cols)))
        b = m("param", path=f"b{i}", type=TensorType((Size(rows),)))
        nodes += [w, b]
        full = TensorType((BATCH_SIZE, Size(rows), cols), ("batch", "j", "i"))
        product = m.mul(m.broadcast(w, full, (1, 2)), m.broadcast(h, full, (0, 2)))
        z = m("running", m.sum(product, (2,)), running=batch)
        h = m.add(z, m.broadcast(b, z.type, (1,)))
        if i < len(widths) - 1:
            h = activation(m, ACTS[rng.integers(len(ACTS))], h)
    e = m("exp", h)
    p = m.div(e, m.broadcast(m.sum(e, (1,)), e.type, (0,)))
    if rng.random() < 0.5:
        loss = m.neg(m("log", m("pick", p, label)))
    else:
        hot = m("onehot", label, size=Size(3))
        loss = m.neg(m.sum(m.mul(hot, m("log", p)), (1,)))
    mean = m.div(m.sum(loss, (0,)), m.size(BATCH_SIZE))
    rate = m("clock", name="rate")
    grads = [m("grad", mean, w) for w in nodes]
    outputs: dict[Hashable, Node] = {"loss": loss, "p": p}
    for w, g in zip(nodes, grads, strict=True):
        outputs[f"param:{w['path']}"] = m.sub(w, m.mul(rate, g))
    flat = m.sum(m("square", grads[0]), (0, 1))
    outputs["norm"] = m("sqrt", flat)
    outputs["hidden"] = m("grad", m.sum(loss, (0,)), p)  # asks for a node that rules would remove
    outputs["second"] = m("grad", flat, nodes[-1])
    m.graph.outputs = outputs
    return m.graph


@pytest.mark.parametrize("seed", range(12))
def test_passes_keep_the_meaning_of_networks(seed: int) -> None:
    graph = network(seed)
    env = environment(graph, seed=seed)
    wanted = values(graph, env)
    for p in COLUMN:
        graph = p(graph, None)
        verify(graph, "infer")
    graph = differentiate(graph)
    for p in COLUMN:
        graph = p(graph, None)
        verify(graph)
        found = values(graph, env)
        for key in wanted:
            np.testing.assert_allclose(found[key], wanted[key], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("seed", range(4))
def test_passes_reach_a_fixed_point_and_do_not_touch_their_argument(seed: int) -> None:
    graph = network(seed)
    before, count = outputs_text(graph), len(graph)
    once = graph
    for p in COLUMN:
        once = p(once, None)
    assert (outputs_text(graph), len(graph)) == (before, count)
    for p in (simplify, stabilise):
        log: Log = []
        again = p(p(once, None), log)
        assert log == []
        assert outputs_text(p(again, None)) == outputs_text(again)


def through(graph: Graph) -> Graph:
    for verb in COLUMN:
        graph = verb(graph, None)
    return graph


def test_the_gradient_of_the_cross_entropy_is_softmax_minus_onehot() -> None:
    m = Make(Graph())
    z = m("input", name="z", type=TensorType((BATCH_SIZE, Size(3)), ("batch",)))
    t = m("input", name="t", type=TensorType((BATCH_SIZE,), ("batch",), "index"))
    e = m("exp", z)
    p = m.div(e, m.broadcast(m.sum(e, (1,)), z.type, (0,)))
    m.graph.outputs = {"g": m("grad", m.neg(m("log", m("pick", p, t))), z)}
    graph = m.graph
    graph = through(differentiate(through(graph)))
    wanted = "(sub (exp (log_softmax z :axes (1,))) (onehot t :size 3))"
    assert write(graph.outputs["g"]) == wanted


def test_large_logits_stay_finite() -> None:
    m = Make(Graph())
    z = m("input", name="z", type=TensorType((Size(2),)))
    one = m.const(1.0)
    s = m.div(one, m.add(one, m("exp", m.neg(z))))
    m.graph.outputs = {
        "p": m("log", s),
        "q": m("log", m.sub(one, s)),
        "l": m("log", m.sum(m("exp", z), (0,))),
    }
    graph = stabilise(simplify(m.graph))
    found = evaluate(graph, {("input", "z"): np.array([1000.0, -1000.0])})
    assert found["p"].tolist() == [0.0, -1000.0]
    assert found["q"].tolist() == [-1000.0, 0.0]
    assert found["l"] == 1000.0


def test_spans_and_names_survive() -> None:
    source = Source("a.dln", "y = x * 1 + 0")
    whole, inner, leaf = Span(source, 4, 13), Span(source, 4, 9), Span(source, 4, 5)
    graph = Graph()
    x = Make(graph, (leaf,))("input", name="x", type=TensorType((Size(2),)))
    p = Make(graph, (inner,)).mul(x, Make(graph).const(1.0))
    y = graph.outputs["y"] = Make(graph, (whole,)).add(p, Make(graph).const(0.0))
    graph.mark(y, (), "y")
    log: Log = []
    after = simplify(graph, log)
    node = after.outputs["y"]
    assert node.op == "input"
    assert set(after.spans[node]) == {whole, inner, leaf}
    assert [(f.rule, f.before, f.after) for f in log] == [
        ("times one", "x * 1", "x"),
        ("add zero", "x + 0", "x"),
    ]


# ---- random expressions ------------------------------------------------------------------------

UNARY = ("neg", "exp", "tanh", "sigmoid", "square", "softplus", "sin", "log1p_exp", "stop")
BINARY_OPS = ("add", "sub", "mul", "div_safe", "maximum")
SHAPES = ((), (3,), (2,), (2, 3), (3, 2), (4, 2, 3))


class Grower:
    """Grows a random graph: every new node has random nodes so far as operands."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.make = Make(Graph())
        self.nodes = [self.make.const(c) for c in (0.0, 1.0, -1.0, 2.0, 0.5)]
        self.nodes.append(self.make("clock", name="rate"))
        for i, shape in enumerate(SHAPES[1:]):
            type = TensorType(tuple(map(Size, shape)))
            self.nodes.append(self.make("input", name=f"x{i}", type=type))

    def pick(self, shape: tuple[Any, ...] | None = None) -> Node:
        """There is a node of every shape that is asked for: single numbers, or one's own."""
        fit = [n for n in self.nodes if shape is None or n.type.shape == shape]
        return fit[self.rng.integers(len(fit))]

    def grow(self, count: int) -> Graph:
        for _ in range(count):
            way = (self.unary, self.binary, self.reduce, self.spread, self.move, self.product)
            node = way[self.rng.integers(len(way))]()
            if node is not None:
                self.nodes.append(node)
        chosen = self.rng.choice(len(self.nodes), 4)
        self.make.graph.outputs = {f"y{i}": self.nodes[k] for i, k in enumerate(chosen)}
        return self.make.graph

    def unary(self) -> Node:
        m, a = self.make, self.pick()
        op = UNARY[self.rng.integers(len(UNARY))]
        if op == "log1p_exp":
            return m("log", m.add(m.const(1.0), m("exp", m("tanh", a))))
        return m(op, m("tanh", a) if op == "exp" else a)

    def binary(self) -> Node:
        m, a = self.make, self.pick()
        b = self.pick(a.type.shape) if self.rng.random() < 0.6 else self.pick(())
        if self.rng.random() < 0.5:
            a, b = b, a
        op = BINARY_OPS[self.rng.integers(len(BINARY_OPS))]
        if op == "div_safe":
            return m.div(a, m.add(m("square", b), m.const(1.0)))
        return m(op, a, b)

    def reduce(self) -> Node:
        a = self.pick()
        axes = [i for i in range(len(a.type.shape)) if self.rng.random() < 0.5]
        return self.make.sum(a, axes)

    def spread(self) -> Node | None:
        a = self.pick()
        rank = len(a.type.shape)
        if rank > 2:
            return None
        shape, at = list(a.type.shape), int(self.rng.integers(rank + 1))
        shape.insert(at, Size(int(self.rng.integers(2, 4))))
        axes = tuple(i for i in range(rank + 1) if i != at)
        return self.make("broadcast", a, axes=axes, shape=tuple(shape), running=())

    def move(self) -> Node | None:
        m, a = self.make, self.pick()
        rank = len(a.type.shape)
        if rank == 0:
            return None
        axis, size = int(self.rng.integers(rank)), a.type.shape[0].constant
        kind = self.rng.integers(4)
        if kind == 0:
            return m("transpose", a, perm=tuple(self.rng.permutation(rank).tolist()))
        if kind == 1:
            return m("flip", a, axis=axis)
        if kind == 2 and size > 1:
            return m("slice", a, axis=0, start=1, stop=size)
        return m("concat", a, a, axis=axis) if size < 5 else None

    def product(self) -> Node | None:
        a, b = self.pick(), self.pick()
        left = tuple(range(len(a.type.shape)))
        pairs = [(i, j) for i in left for j, s in enumerate(b.type.shape) if s == a.type.shape[i]]
        if not pairs:
            return None
        i, j = pairs[self.rng.integers(len(pairs))]
        right = tuple(i if k == j else 10 + k for k in range(len(b.type.shape)))
        out = [x for x in (*left, *right) if x != i]
        if len(out) > 3:
            return None
        self.rng.shuffle(out)
        return self.make("contract", a, b, left=left, right=right, out=tuple(map(int, out)))


@pytest.mark.parametrize("seed", range(60))
def test_passes_keep_the_meaning_of_random_graphs(seed: int) -> None:
    graph = Grower(seed).grow(25)
    verify(graph)
    env = environment(graph, seed=seed)
    wanted = evaluate(graph, env)
    for p in COLUMN:
        graph = p(graph, None)
        verify(graph)
        found = evaluate(graph, env)
        for key in wanted:
            scale = max(1.0, np.abs(wanted[key]).max(initial=0.0))
            np.testing.assert_allclose(found[key] / scale, wanted[key] / scale, atol=1e-11)


# ---- rewriting that does not end ---------------------------------------------------------------


@rule("sin")
def there(m: Any, node: Any) -> Any:
    """sin(x) -> cos(x)"""
    return m("cos", node.operands[0])


@rule("cos")
def back(m: Any, node: Any) -> Any:
    """cos(x) -> sin(x)"""
    return m("sin", node.operands[0])


@rule("neg")
def deeper(m: Any, node: Any) -> Any:
    """-x -> -(sin(x)), once a sweep"""
    return m("neg", m("sin", node.operands[0]))


@pytest.mark.parametrize("rules", [(there, back), (deeper,)], ids=["at one node", "in sweeps"])
def test_a_rewriting_that_does_not_end_fails(rules: Any) -> None:
    graph = Graph()
    make = Make(graph)
    x = make("input", name="x", type=TensorType((Size(3),)))
    graph.outputs["y"] = make(rules[0].ops[0], x)
    with pytest.raises(Fault, match=f"does not end: .*{rules[0].name}"):
        apply(graph, by_operation(rules))
