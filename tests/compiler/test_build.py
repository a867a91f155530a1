"""What building means: names, sizes, sharing, order and values, each against NumPy or by hand."""

import os
import subprocess
import sys
from collections.abc import Hashable, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import dln
import dln.spec as spec
from dln.compiler.autodiff.differentiate import differentiate
from dln.compiler.ir.evaluate import evaluate
from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.model import DataSet, Model
from dln.grammar.diagnostics import DlnError, Source
from dln.running.expectations import verdicts

ROWS = """
data d = rows([[1, 2, 0], [3, 4, 1], [5, 6, 1], [7, 8, 0]]) {
  x[2] = raw[:2]
  t = raw[2]
}
"""
Arrays = Mapping[str, object]


def built(text: str, **constants: object) -> Model:
    return spec.from_source(Source("<text>", text + "\n"), "text", constants).model


def worked_out(
    model: Model, nodes: Mapping[str, Node], params: Arrays | None = None, **inputs: object
) -> dict[str, NDArray[np.float64]]:
    """The values of nodes; parameters have their first values, which are numbers here."""
    model.graph.outputs = {k: p.init for k, p in model.params.items() if p.init is not None}
    env: dict[tuple[str, Hashable], object] = {}
    if params is None:
        env.update({("param", k): v for k, v in evaluate(model.graph).items()})
    else:
        env.update({("param", k): v for k, v in params.items()})
    raw = (n["name"] for n in model.graph.topological() if n.op == "input")
    named = {str(name): name for name in raw}
    env.update({("input", named[k]): np.asarray(v, float) for k, v in inputs.items()})
    env.update({("clock", k): 0.0 for k in ("update", "epoch", "progress")})
    states = {n["path"] for n in ancestors(nodes.values()) if n.op == "state"}
    env.update({("state", k): np.zeros(shape(model, k)) for k in states})
    model.graph.outputs = {k: v for k, v in nodes.items()}
    return {str(k): v for k, v in evaluate(differentiate(model.graph), env).items()}


def shape(model: Model, state: str) -> tuple[int, ...]:
    return shapes(model)[state.rsplit(":", 1)[1]]


def seen(text: str, *expressions: str, **constants: object) -> list[NDArray[np.float64]]:
    """The values of expressions at the end of a spec, as a check works them out."""
    lines = "".join(f"  expect {e} == 0\n" for e in expressions)
    model = built(f'{text}\ncheck "seen" {{\n{lines}}}', **constants)
    nodes = {str(i): e.left for i, e in enumerate(model.checks[-1].expects)}
    found = worked_out(model, nodes)
    return [found[str(i)] for i in range(len(expressions))]


def shapes(model: Model) -> dict[str, tuple[int, ...]]:
    return {k: tuple(s.constant for s in p.node.type.shape) for k, p in model.params.items()}


def close(found: object, expected: object) -> None:
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=1e-12, atol=1e-14)


# ---- parameters --------------------------------------------------------------------------------


def test_parameters_are_named_by_where_they_stand() -> None:
    model = built(
        "block mlp(x[n]) -> y[2] {\n  let first = dense(4)\n  param g[4] = 1\n  fixed s = 2\n"
        "  h = s * (x -> first) * g\n  y = h -> dense(3) -> dense(2)\n}\n"
        "let net = mlp()\nlet pair = [for m in [1, 2]: dense(m)]\n"
        "let a = net([1, 2, 3])\nlet b = [1, 2] -> chain(pair)"
    )
    assert shapes(model) == {
        "net.g": (4,),
        "net.s": (),
        "net.first.W": (4, 3),
        "net.first.b": (4,),
        "net.y[0].W": (3, 4),
        "net.y[0].b": (3,),
        "net.y[1].W": (2, 3),
        "net.y[1].b": (2,),
        "pair[0].W": (1, 2),
        "pair[0].b": (1,),
        "pair[1].W": (2, 1),
        "pair[1].b": (2,),
    }
    assert [k for k, p in model.params.items() if not p.trainable] == ["net.s"]


COUNTED = """
block net(x[n]) -> y[3] {
  fixed s[n] = 1
  y = s * x -> dense(3, init = zero)
}
let n = net()
let a = n([1, 2])
"""


def test_parameters_are_counted() -> None:
    close(seen(COUNTED, "params(n)", "fixed_values(n)", "params([n, n])"), [9, 2, 9])


def test_an_instance_applied_twice_shares() -> None:
    model = built("let net = dense(2)\nlet a = net([1, 2])\nlet b = net([3, 4])")
    assert list(model.params) == ["net.W", "net.b"]
    a, b = seen(
        "block twice(x[n]) -> y[n] {\n  param w = 3\n  y = w * x\n}\nlet f = twice()",
        "f([1, 2])",
        "f(f([1, 2]))",
    )
    close(a, [3, 6])
    close(b, [9, 18])


def test_two_instances_do_not_share() -> None:
    model = built("let nets = [for i in 0..1: dense(2)]\nlet a = [for n in nets: n([1, 2])]")
    assert list(model.params) == ["nets[0].W", "nets[0].b", "nets[1].W", "nets[1].b"]


TIED = """
block pair(x[n]) -> r[n] {
  let enc = dense(3, init = counted)
  let dec = dense(n, W = enc.W')
  r = dec(enc(x))
}
fn counted(n, m) = 0.1
let ae = pair()
data d = rows([[1, 2]]) {
  x[2] = raw
}
train t on d batch all for 1 update {
  minimize sum((ae(x) - x)^2) over ae with sgd(lr = 1)
}
"""


def test_a_tie_is_one_parameter_with_two_views() -> None:
    model = built(TIED)
    assert shapes(model) == {"ae.enc.W": (3, 2), "ae.enc.b": (3,), "ae.dec.b": (2,)}


def test_gradients_of_tied_views_add() -> None:
    """d/dW |W'(W x) - x|^2 = 2 (W x) e' + 2 (W e) x', with e = W' W x - x."""
    model = built(TIED)
    rng = np.random.default_rng(0)
    w, x = rng.normal(size=(3, 2)), rng.normal(size=2)
    params = {"ae.enc.W": w, "ae.enc.b": np.zeros(3), "ae.dec.b": np.zeros(2)}
    new = worked_out(model, model.phases["t"].updates, params, x=x[None])
    e = w.T @ w @ x - x
    close(w - new["ae.enc.W"], 2 * np.outer(w @ x, e) + 2 * np.outer(w @ e, x))


def test_an_option_in_place_of_a_parameter_fixes_it() -> None:
    text = "let net = dense(2, W = [[1, 2], [3, 4]], b = 1 * [5, 6])"
    (y,) = seen(text, "net([1, 1])")
    close(y, [8, 13])
    assert not built(text).params


def test_first_values_know_the_sizes_that_were_inferred() -> None:
    """glorot(n, m) for W[m, n]: n is found from what the block is applied to."""
    text = (
        "fn scale(n, m) = 10 * n + m\nlet net = dense(3, init = scale)\nlet y = net([1, 2, 3, 4])"
    )
    model = built(text)
    init = model.params["net.W"].init
    assert init is not None
    close(evaluate({"W": init})["W"], np.full((3, 4), 43.0))
    drawn = built("let net = dense(3)\nlet y = net([1, 2, 3, 4])").params["net.W"].init
    assert drawn is not None
    half = np.full((3, 4), 0.75)
    values = evaluate({"W": drawn}, draw=lambda kind, site, shape: half)["W"]
    close(values, 0.5 * np.sqrt(6 / (4 + 3)) * np.ones((3, 4)))


def test_a_draw_is_named_by_its_parameter() -> None:
    model = built("let net = dense(3)\nlet y = net([1, 2])")
    init = model.params["net.W"].init
    assert init is not None
    sites = [n["site"] for n in ancestors([init]) if n.op == "draw"]
    assert sites == ["net.W"]


# ---- sizes -------------------------------------------------------------------------------------

HALVE = "block halve(x[c, 2*h]) -> y[c, h] {\n  param g[h] = 1\n  y[q, i] = x[q, 0] * g[i]\n}\n"


def test_sizes_are_unified_over_linear_forms() -> None:
    model = built(HALVE + "let f = halve()\nlet y = f([[1, 2, 3, 4, 5, 6]])")
    assert shapes(model) == {"f.g": (3,)}


def test_a_size_is_a_number_in_equations() -> None:
    text = "block f(x[n]) -> y[n] {\n  y = x / n\n}\nlet g = f()"
    y, n = seen(text + "\nlet a = g([2, 4])", "g([2, 4])", "g.n")
    close(y, [1, 2])
    close(n, 2)


def test_sizes_flow_backwards_from_a_result() -> None:
    """`dense(n)` inside knows n from the port, though W is made before x is seen."""
    text = "block ae(x[n]; m) -> r[n] {\n  r = x -> dense(m) -> dense(n)\n}\n"
    model = built(text + "let net = ae(2)\nlet y = net([1, 2, 3])")
    assert shapes(model)["net.r[1].W"] == (3, 2)


def test_a_constant_in_a_port_is_a_size_and_another_name_is_free() -> None:
    text = "const k = 2\nlet n = 7\nblock f(x[k, n]) -> y[n] {\n  y = x[0]\n}\nlet g = f()\n"
    (y,) = seen(text, "g([[1, 2, 3], [4, 5, 6]])")
    close(y, [1, 2, 3])


# ---- index notation, against NumPy -------------------------------------------------------------

A, B = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4) - 5
LETS = f"let A = {A.tolist()} + 0\nlet B = {B.tolist()} + 0\nlet v = [1, -2, 3] + 0\n"
V = np.array([1.0, -2.0, 3.0])


@pytest.mark.parametrize(
    ("equation", "expected"),
    [
        ("y[j] = sum(i: A[i, j])", A.sum(0)),
        ("y[i, k] = sum(j: A[i, j] * B[j, k])", A @ B),
        ("y[k, i] = sum(j: A[i, j] * B[j, k])", (A @ B).T),
        ("y[i, j] = A[i, j] + v[j]", A + V),
        ("y[j, i] = A[i, j]", A.T),
        ("y[i] = sum(j: (A[i, j] - v[j])^2)", ((A - V) ** 2).sum(1)),
        ("y[i, j] = v[i] * v[j]", np.outer(V, V)),
        ("y[i] = max(j: A[i, j] * v[j])", (A * V).max(1)),
        ("y[i] = mean(j: A[i, j])", A.mean(1)),
        ("y[i] = norm(j: A[i, j])", np.sqrt((A**2).sum(1))),
        ("y = sum(i, j: A[i, j])", A.sum()),
        ("y = sum(i in 0..1: A[i, 2])", A[:, 2].sum()),
        ("y = A @ v", A @ V),
        ("y = v @ A'", V @ A.T),
        ("y = v @ v", V @ V),
        ("y = B[1, 1:3]", B[1, 1:3]),
        ("y = outer(v, v)'", np.outer(V, V)),
        ("y = concat(v, A[0])", np.concatenate([V, A[0]])),
        ("y = flatten(A)", A.ravel()),
        ("y = argmax(v) == 2", 1.0),
        ("y = v if v > 0 else -v", abs(V)),
        ("y = [v, A[1]]", np.stack([V, A[1]])),
        ("y = min(v, 0)", np.minimum(V, 0)),
    ],
)
def test_index_notation(equation: str, expected: NDArray[np.float64]) -> None:
    (y,) = seen(indexed(equation), "g.y")
    close(y, expected)


def indexed(equation: str) -> str:
    block = f"block f(x) -> z {{\n  {equation}\n  z = x\n}}\n"
    return f"{LETS}{block}let g = f()\nlet a = g(1)"


def test_an_index_that_no_tensor_binds_has_no_size() -> None:
    with pytest.raises(DlnError, match="the size of i is never fixed"):
        seen(indexed("y[i, j] = 2"), "g.y")


def test_equations_may_stand_in_any_order() -> None:
    text = "let b = 2 * a\nlet a = f(3)\nfn f(x) = x + k\nconst k = 1\n"
    block = "block g(x) -> y {\n  y = h * 2\n  h = x + 1\n}\nlet gg = g()\n"
    close(seen(text + block, "b", "gg(4)"), [8, 10])


def test_lists_are_worked_out_while_reading() -> None:
    found = seen(
        "let squares = [for i in 1..4: i^2]\nlet odd = [for i in 1..7 by 3: i]",
        "sum(squares)",
        "odd",
        "length(concat(squares, odd))",
        "squares[1:3]",
    )
    for value, expected in zip(found, [30, [1, 4, 7], 7, [4, 9]], strict=True):
        close(value, expected)


# ---- data --------------------------------------------------------------------------------------


def test_fields_follow_from_raw() -> None:
    model = built(ROWS.replace("t = raw[2]", "t = 2 * raw[2] - 1"))
    data = model.data["d"]
    raw = np.array([[1.0, 2, 0], [3, 4, 1]])
    nodes = {k: f.value for k, f in data.fields.items()}
    found = worked_out(model, nodes, None, **{"raw:d.": raw})
    close(found["x"], raw[:, :2])
    close(found["t"], 2 * raw[:, 2] - 1)
    assert data.count == 4 and places(data) == {"all": (0, 4)}


def places(data: DataSet) -> dict[str, tuple[int, int] | None]:
    return {name: data.stretch(name) for name in data.parts}


def test_splits_are_stretches_in_order_and_may_be_fractions() -> None:
    split = "  split fit 0.5, valid 3, rest 0.2\n"
    rows = "data d = rows([for i in 1..10: [i]]) {\n  x[1] = raw\n"
    assert places(built(rows + split + "}").data["d"]) == {
        "all": (0, 10),
        "fit": (0, 5),
        "valid": (5, 3),
        "rest": (8, 2),
    }


def test_like_takes_the_fields_and_not_the_splits() -> None:
    text = ROWS.replace("  t =", "  split fit 2\n  t =")
    data = built(text + "data e = rows([[9, 9, 9]]) like d {\n  u = raw[0]\n}").data
    assert list(data["e"].fields) == ["x", "t", "u"]
    assert places(data["e"]) == {"all": (0, 1)} and data["e"].count == 1


# ---- phases ------------------------------------------------------------------------------------

LINE = (
    ROWS + "block line(x[n]) -> y {\n  param w[n] = 1, b = 0\n  y = w @ x + b\n}\nlet p = line()\n"
)
X = np.array([[1.0, 2.0], [3.0, 4.0]])
T = np.array([0.0, 1.0])


def test_minimize_averages_over_the_batch_and_total_adds() -> None:
    for word, factor in (("", 0.5), ("total ", 1.0)):
        body = f"  minimize {word}(p(x) - t)^2 over p with sgd(lr = 0.1)\n"
        model = built(f"{LINE}train a on d batch 2 for 1 update {{\n{body}}}")
        new = worked_out(model, model.phases["a"].updates, x=X, t=T)
        slope = 2 * (X.sum(1) - T) * factor
        close(new["p.w"], 1 - 0.1 * (slope @ X))
        close(new["p.b"], -0.1 * slope.sum())


def test_over_restricts_what_changes() -> None:
    body = "  minimize (p(x) - t)^2 over p.b with sgd(lr = 1)\n"
    model = built(f"{LINE}train a on d for 1 update {{\n{body}}}")
    assert list(model.phases["a"].updates) == ["p.b"]


def test_a_step_sees_what_the_step_before_left() -> None:
    steps = "  step one {\n    update p.b += 1\n  }\n  step two {\n    update p.w += p.b * x\n  }\n"
    model = built(f"{LINE}train a on d for 1 update {{\n{steps}}}")
    new = worked_out(model, model.phases["a"].updates, x=X, t=T)
    close(new["p.b"], 1)
    close(new["p.w"], 1 + X.mean(0))


def test_lines_of_one_step_change_together() -> None:
    lines = "  update p.b += 1\n  update p.w += p.b * x\n"
    model = built(f"{LINE}train a on d for 1 update {{\n{lines}}}")
    new = worked_out(model, model.phases["a"].updates, x=X, t=T)
    close(new["p.w"], [1, 1])


def test_training_is_the_first_in_a_phase_and_the_second_in_a_watch_on_data() -> None:
    body = (
        "  e = training(1, 2) * t\n  minimize e * p(x) over p with sgd(lr = 1)\n"
        "  watch here = e\n  watch there = e on d\n"
    )
    model = built(f"{LINE}train a on d for 1 update {{\n{body}}}")
    watches = {w.name: w.value for w in model.phases["a"].watches}
    found = worked_out(model, watches, t=np.array([1.0, 2.0]))
    close(found["here"], 3)
    close(found["there"], 6)
    assert [str(w.on) for w in model.phases["a"].watches] == ["None", "d.all"]


def test_clauses() -> None:
    model = built(
        LINE
        + "const m = 3\ntrain a on d batch all for m updates order file seed 4 dtype float64 {\n"
        "  minimize p(x)^2 over p with adam\n}\ntrain b on d for 2 epochs after a {\n"
        "  minimize p(x)^2 over p with sgd(lr = 1)\n}"
    )
    a, b = model.phases["a"], model.phases["b"]
    assert (a.batch, a.duration, a.order, a.seed, a.dtype) == (
        None,
        (3, "update"),
        "file",
        4,
        "float64",
    )
    assert (b.batch, b.duration, b.order, b.after) == (100, (2, "epoch"), "shuffled", ("a",))


SLOW = """
for i in 0..2 {
  train a[i] on d for 1 update {
    minimize p(x)^2 over p with sgd(lr = 1)
  }
}
check "the full recipe" slow {
  expect a[0].updates == 1
  expect a[1].updates == 1
}
check "the short one" {
  expect a[1].updates == 1
}
"""


def test_a_phase_asked_for_by_slow_checks_alone_is_slow() -> None:
    phases = built(LINE + SLOW).phases
    assert {k: p.slow for k, p in phases.items()} == {"a[0]": True, "a[1]": False, "a[2]": False}


def test_what_a_round_makes_is_its_own() -> None:
    """The second round trains a net of its own."""
    text = (
        LINE
        + """
for i in 0..1 {
  let net = dense(1)
  train fit[i] on d for 1 update {
    minimize mean(net([1])^2) over net with sgd(lr = 0.25)
  }
}
"""
    )
    model = built(text)
    assert list(shapes(model))[-4:] == ["net[0].W", "net[0].b", "net[1].W", "net[1].b"]
    changed = [sorted(ph.updates) for ph in model.phases.values()]
    assert changed == [["net[0].W", "net[0].b"], ["net[1].W", "net[1].b"]]


# ---- constants and files -----------------------------------------------------------------------


def test_constants_are_turned_from_outside() -> None:
    text = "const m = 3\nconst k = 2 * m\nlet net = dense(k)\nlet y = net([1])"
    assert shapes(built(text))["net.W"] == (6, 1)
    model = built(text, m=5)
    assert shapes(model)["net.W"] == (10, 1) and model.constants == {"m": 5, "k": 10}


def test_definitions_of_a_file_under_a_name(tmp_path: Path) -> None:
    (tmp_path / "lib.dln").write_text(
        "const width = 3\nfn twice(x) = 2 * x\n"
        "block wide(x[n]) -> y[3] {\n  y = x -> dense(width)\n}\n"
    )
    main = tmp_path / "main.dln"
    main.write_text(
        'use "lib.dln" as L\nconst width = 9\nlet net = L.wide()\nlet y = net([L.twice(1), 2])\n'
    )
    model = spec.load(main).model
    assert shapes(model)["net.y.W"] == (3, 2)
    assert model.constants == {"width": 9}


def test_an_own_block_takes_the_place_of_a_library_one() -> None:
    text = "block dense(x[n]; m) -> y[n] {\n  y = m * x\n}\nlet net = dense(3)"
    (y,) = seen(text, "net([1, 2])")
    close(y, [3, 6])


def test_instances_are_functions_for_python() -> None:
    model = built(LINE + "let a = p([1, 2])")
    applied = model.functions.applied["p"]
    found = worked_out(model, applied.results, x=X)
    close(found["y"], X.sum(1))


DUMP = """
import dln.spec as spec
for name in ("tour", "perceptron", "backprop"):
    model = spec.load(name).model
    for node in model.graph.topological():
        print(node.op, sorted((k, str(v)) for k, v in node.attrs.items()), node.type)
    print(list(model.params), list(model.phases), list(model.probes))
"""


def test_the_graph_does_not_depend_on_the_seed_of_hashes() -> None:
    found = set()
    for seed in ("0", "1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", DUMP], env=env, capture_output=True, check=True
        )
        found.add(done.stdout)
    assert len(found) == 1 and next(iter(found))


def test_an_instance_made_in_an_equation_has_its_name() -> None:
    text = (
        "block two(x[n]) -> y[2] {\n  h = x -> dense(3)\n  y = h -> dense(2)\n}\n"
        "let net = two()\ndata d = rows([[1, 2]]) {\n  x[2] = raw\n}\n"
        "train t on d for 1 epoch {\n"
        "  minimize sum(net(x)) + sum(net.h.W) over net.y with sgd(lr = 1)\n}\n"
    )
    assert list(built(text).phases["t"].updates) == ["net.y.W", "net.y.b"]


def test_a_let_in_a_check_is_its_own_and_one_in_a_for_is_made_each_time() -> None:
    spec = dln.load("""
let f = dense(2)
check "the inner f has another size, and each round its own" {
  let f = dense(3)
  expect shape(f([1, 2])) == [3]
  for m in 4..5 {
    let g = dense(m)
    expect shape(g([1, 2])) == [m]
  }
}
check "the outer f" {
  expect shape(f([1, 2])) == [2]
}
""")
    found = verdicts(spec.model)
    assert [v.status for v in found] == ["passed"] * 4
