"""What a message advises works as it is written: each wrong text, mended by its remedy, is read,
and means what was meant.

A row has the text, what is put in place of what, and the words of the remedy that say so. Where a
`check` stands in the text, its numbers were worked out by hand. What is wrong in the text as it
stands is guarded by the golden messages.
"""

import pytest

import dln
from dln.grammar.diagnostics import DlnError
from dln.reading.resolved import resolved
from dln.running.expectations import verdicts

Change = tuple[str, str]

SCAN = """block run(x[time, n]) -> y[n] {
  scan t in time {
    h[t] = 2 * h[t-1] + x[t]
  }
  y = last(h)
}
let f = run()
check "by hand" {
  expect f([[1, 2], [3, 4], [5, 6]]) == VALUE
}
"""
SET = """data d = rows([[1, 2], [3, 4], [5, 6]]) {
  x[2] = raw
  past[2] = raw
  v[2]: binary = raw > 3
  split fit 2, valid 1
}
"""
FIT = "train fit on d.fit batch 2 for 1 update {\n"

ROWS: dict[str, tuple[str, list[Change], str]] = {
    "h_prev in a scan": (
        SCAN.replace("h[t-1]", "h_prev").replace("VALUE", "[15, 22]"),
        [("h_prev", "h[t-1]")],
        "h[t-1]",
    ),
    "last_h in a scan": (
        SCAN.replace("h[t-1]", "last_h").replace("VALUE", "[15, 22]"),
        [("last_h", "h[t-1]")],
        "h[t-1]",
    ),
    "x[2 - t] in a scan": (
        SCAN.replace("+ x[t]", "+ x[2 - t]").replace("VALUE", "[27, 34]"),
        [
            ("x[2 - t]", "back[t]"),
            ("block run(x[time, n])", "block folded(back[time, n])"),
            (
                "let f = run()\n",
                "block run(x[time, n]) -> y[n] {\n  let fold = folded()\n  back[i] = x[2 - i]\n"
                "  y = fold(back)\n}\nlet f = run()\n",
            ),
        ],
        "back[i] = x[2 - i] outside of the scan, which a block does whose port back[time] it is",
    ),
    "reversed": (
        "let x = [1, 2, 3]\nblock rev(x[n]) -> y[n] {\n  y = reversed(x)\n}\nlet f = rev()\n"
        'check "by hand" {\n  expect f(x) == [3, 2, 1]\n}\n',
        [("y = reversed(x)", "y[i] = x[n - 1 - i]")],
        "a vector backwards: y[i] = x[2 - i]",
    ),
    "tan": (
        'check "by hand" {\n  expect tan(1) == 1.5574077246549 within 1e-12\n}\n',
        [("tan(1)", "sin(1) / cos(1)")],
        "as in (sin(1) / cos(1)); tanh is another",
    ),
    "relu6": (
        'check "by hand" {\n  expect relu6([-1, 3, 7]) == [0, 3, 6]\n}\n',
        [("relu6([-1, 3, 7])", "min(max([-1, 3, 7], 0), 6)")],
        "min(max([-1, 3, 7], 0), 6)",
    ),
    "mse": (
        'check "by hand" {\n  expect mse([1, 2], [3, 5]) == 6.5\n}\n',
        [("mse([1, 2], [3, 5])", "mean(([1, 2] - [3, 5])^2)")],
        "mean(([1, 2] - [3, 5])^2)",
    ),
    "transpose": (
        "let W = [[1, 2], [3, 4]]\n"
        'check "by hand" {\n  expect transpose(W) @ [1, 0] == [1, 2]\n}\n',
        [("transpose(W)", "W'")],
        "W'",
    ),
    "matmul": (
        'let W = [[1, 2], [3, 4]]\ncheck "by hand" {\n  expect matmul(W, [1, 0]) == [1, 3]\n}\n',
        [("matmul(W, [1, 0])", "W @ [1, 0]")],
        "W @ [1, 0]",
    ),
    "a parameter from the examples": (
        SET + "block rbm(v[n]: binary; m) {\n  hidden h[m]: binary\n"
        "  param W[n, m] ~ normal(0, 1), a[n] = 0\n  energy = -(v @ W @ h) - (a @ v)\n}\n"
        "let A = dense(2)\n" + FIT + "  let R = rbm(3, a = A(past))\n"
        "  minimize R.free(v) over A with sgd(lr = 0.1)\n}\n",
        [
            ("rbm(v[n]: binary;", "rbm(v[n]: binary, a[n];"),
            (", a[n] = 0\n", "\n"),
            ("rbm(3, a = A(past))", "rbm(3)"),
            ("R.free(v)", "R.free(v, A(past))"),
        ],
        "a port of rbm in place of a, or a = mean(batch: A(past))",
    ),
    "a parameter from the mean of the examples": (
        SET + "let A = dense(2)\n" + FIT + "  let R = dense(2, W = [[1, 0], [0, 1]], b = A(past))\n"
        "  minimize sum(R(x)^2) over A with sgd(lr = 0.1)\n}\n",
        [("b = A(past)", "b = mean(batch: A(past))")],
        "a port of dense in place of b, or b = mean(batch: A(past))",
    ),
    "a whole set for an example": (
        SET
        + "let net = dense(3)\n"
        + FIT
        + "  minimize sum(net(x)^2) over net with sgd(lr = 0.1)\n"
        "  watch v = mean(net(d.valid.x)^2)\n}\n",
        [("net(d.valid.x)^2)", "net(x)^2) on d.valid")],
        "d.valid.x[i], with i an index; in a watch x, and on d.valid behind it",
    ),
    "a whole set for an example, by index": (
        SET
        + "let net = dense(3)\n"
        + FIT
        + "  minimize sum(net(x)^2) over net with sgd(lr = 0.1)\n"
        "}\ntask show() {\n  y = net(d.x)\n  emit y\n}\n",
        [("y = net(d.x)", "y[i] = net(d.x[i])")],
        "d.x[i], with i an index; in a watch x, and on d behind it",
    ),
    "a vector as a watch": (
        SET
        + "let net = dense(3)\n"
        + FIT
        + "  minimize sum(net(x)^2) over net with sgd(lr = 0.1)\n"
        "  watch v = outer(net(x) - net(past), net(x) + net(past) + 1)\n}\n",
        [
            (
                "outer(net(x) - net(past), net(x) + net(past) + 1)",
                "mean(outer(net(x) - net(past), net(x) + net(past) + 1))",
            )
        ],
        "mean(outer(net(x) - net(past), net(x) + net(past) + 1))",
    ),
    "slopes of single examples": (
        SET + "let net = dense(1)\n" + FIT + "  y = net(x)[0]\n"
        "  update net.W += 0.1 * grad(y^2, net.W)\n}\n",
        [("grad(y^2, net.W)", "grad(mean(batch: y^2), net.W)")],
        "grad(mean(batch: y^2), net.W)",
    ),
    "slopes of single examples, with a factor of each": (
        SET + "let net = dense(1)\n" + FIT + "  y = net(x)[0]\n"
        "  update net.W += 0.1 * grad(y, net.W) * past[0]\n}\n",
        [
            (
                "grad(y, net.W) * past[0]",
                "grad(mean(batch: stop(past[0]) * y), net.W)",
            )
        ],
        "what each slope is multiplied by goes inside: mean(batch: stop(c) * y)",
    ),
    "a gradient through a distortion": (
        "data d = rows([[1, 2], [3, 4]]) {\n  x = raw[0]\n}\nblock f(x) -> y {\n"
        "  param w[2, 2] = 1, s = 1\n  z ~ distort(w * x)\n  y = s * sum(z)\n}\nlet net = f()\n"
        "train fit on d batch 2 for 1 update {\n  minimize net(x) over net with sgd(lr = 0.1)\n}\n",
        [("distort(w * x)", "distort(stop(w * x))")],
        "stop(...) around what is distorted",
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_remedy_works_as_it_is_written(name: str) -> None:
    text, changes, said = ROWS[name]
    with pytest.raises(DlnError) as caught:
        dln.load(text)
    assert any(said in p.remedy or said in p.facts for p in caught.value.problems)
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    spec = dln.load(text)
    assert all(spec.compile().plan.programs.values())
    found = verdicts(spec.model)
    assert all(v.status == "passed" for v in found), found
    assert bool(found) == ("check" in text)


ACCEPTED = {
    "options behind a semicolon": (
        'let W = [[1, 2], [3, 4]]\nlet f = dense(2; act = relu, W = W)\n'
        'check "by hand" {\n  expect f([1, -1]) == [0, 0]\n  expect f([2, 0]) == [2, 6]\n}\n'
    ),
    "options behind a semicolon, in a pipeline": (
        "block net(x[n]) -> y[2] {\n  y = x -> dense(3; init = zero) -> dense(2; b = [1, 2])\n}\n"
        'let f = net()\ncheck "by hand" {\n  expect f([1, -1]) == [1, 2]\n}\n'
    ),
    "a port, then options": (
        'check "by hand" {\n  expect dense([2, 0]; 2, W = [[1, 2], [3, 4]]) == [2, 6]\n}\n'
    ),
    "a number for a port without axes": (
        "block twice(x; by = 2) -> y {\n  y = by * x\n}\n"
        'check "by hand" {\n  expect twice(3; by = 5) == 15\n}\n'
    ),
    "an optimiser": (
        SET + "let net = dense(3)\n" + FIT
        + "  minimize sum(net(x)^2) over net with sgd(; lr = 0.1)\n}\n"
    ),
    "a block that is used through its parameters": (
        SET + "block line(x[n]) -> y {\n  param w[n] = 1\n  y = w @ x\n}\nlet f = line()\n" + FIT
        + "  minimize (f.w @ x)^2 over f with sgd(lr = 0.1)\n}\n"
        'check "by hand" {\n  expect fit.after(f.w) == [-1.4, -2.4] within 1e-6\n}\n'
    ),
    "a clamp that makes a step needless": (
        "block bm(v[n]: binary, c[k]: binary; m) {\n  hidden h[m]: binary\n"
        "  param W[n, m] = 0, U[k, m] = 0, L[n, k] = [[90, -90], [-90, 90]], Q[n, n] = 1\n"
        "  energy = -(v @ W @ h) - (c @ U @ h) - (v @ L @ c) - (v @ Q @ v)\n}\nlet D = bm(2)\n"
        'check "by hand" {\n  expect gibbs(D, [0, 1], [1, 1], 3, clamp = "v").c == [0, 1]\n'
        '  expect gibbs(D, [1, 0], [0, 0], 1, clamp = "v").c == [1, 0]\n}\n'
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_was_refused_for_no_reason_is_read(name: str) -> None:
    spec = dln.load(ACCEPTED[name])
    session = spec.compile(dtype="float64").session()
    session.keep_before |= set(spec.model.phases)
    session.train()
    found = verdicts(spec.model, session)
    assert all(v.status == "passed" for v in found), found


@pytest.mark.parametrize("name", ACCEPTED)
def test_it_means_the_same_with_its_defaults_written_out(name: str) -> None:
    spec = dln.load(ACCEPTED[name])
    again = dln.load(resolved(spec))
    assert resolved(again) == resolved(spec)
    assert list(again.model.params) == list(spec.model.params)
