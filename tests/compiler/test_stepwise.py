"""One step at a time: at each step what the whole sequence up to it gives last, or a refusal."""

from __future__ import annotations

import numpy as np
import pytest

import dln
from dln.compiler.plan import ProgramKind
from dln.grammar.diagnostics import DlnError
from dln.runtime.session import Session

XS = [[1.0, 0.5], [0.5, -1.0], [2.0, 0.3], [-0.7, 1.2]]
PARTS = """
block share(x[n]) -> y[n] {
  y = x / sum(x^2)
}
block third(x[n]) -> y {
  y = x[1] + max(x)
}
block cell(x[time, n]) -> h[time, n] {
  param U[n, n] ~ normal(0, 0.5)
  scan t in time {
    h[t] = tanh(U @ h[t-1] + x[t])
  }
}
block bias(x[time, n], c[n]) -> y[time, n] {
  scan t in time {
    y[t] = y[t-1] * c + x[t]
  }
}
block walk(a[n]) -> y[n] {
  scan t in 3 {
    h[t] = 0.5 * h[t-1] + a
  }
  y = last(h)
}
block total(x[time, n]) -> y {
  y = sum(x)
}
block grow(x[time, n]) -> y[n] {
  scan t in time {
    h[t] = 0.5 * h[t-1] + x[t]
  }
  y = last(h)
}
fn twice(e[time, n]) = 2 * e
fn begins(e[time, n]) = e[0]
fn square(e) = sum(e^2)
fn sized(e[n]) = sum(e^2)
fn first(e[n]) = e[0]
"""
SCAN = """
  scan t in time {
    h[t] = 0.5 * h[t-1] + %s
  }
"""


def scan(what: str) -> str:
    return SCAN % what


SAME = {
    "a component at the step": ("[time]", scan("x[t, 0]") + "y = h"),
    "an index at the step": ("[time]", scan("sum(i: x[t, i] * x[t, i])") + "y = h"),
    "a sum at the step": ("[time]", scan("sum(x[t])") + "y = h"),
    "what came before": ("[time, 2]", scan("x[t] * x[t-1] + 3 * x[t-2]") + "y = h"),
    "a component of the last": ("", scan("x[t]") + "y = last(h)[0]"),
    "the last of the input": ("", "y = sum(last(x)) + last(x)[1]"),
    "pointwise": ("[time, 2]", "y = exp(x) + 2 * x"),
    "a sequence by its end": ("", scan("x[t]") + "y = sum(last(h * x))"),
    "two scans": (
        "[time, 2]",
        scan("x[t]") + "scan s in time {\n y[s] = y[s-1] + h[s] * x[s-1]\n}",
    ),
    "steps that are counted": ("[time]", "scan t in time {\n y[t] = y[t-1] + 1\n}"),
    "the number of the step": (
        "[time]",
        "scan t in time {\n y[t] = y[t-1] / 2 + (t * x[t, 0] if t != 1 else sin(t / 2))\n}",
    ),
    "windows": ("[time, 2]", "scan t in time by 2 {\n y[t] = y[t-1] / 2 + x[t]\n}"),
    "counted in a scan in a step": (
        "[time]",
        "scan t in time {\n scan s in 3 {\n b[s] = b[s-1] / 2 + s * t + x[t, 1] \n}\n"
        " y[t] = y[t-1] + last(b)\n}",
    ),
    "mapped": ("[time, 2]", "y = x -> share()"),
    "mapped with components": ("[time]", "y = x -> third()"),
    "mapped after a scan": ("[time]", "y = x -> cell() -> share() -> third()"),
    "layers": ("[time, 3]", "y = x -> cell() -> dense(3)"),
    "softmax": ("[time, 2]", "y = softmax(x) * softmax(cell()(x))"),
    "a function of a step": ("[time]", "y = sized(x) + first(x)"),
    "a function at the step": ("[time]", scan("square(x[t]) + first(x[t])") + "y = h"),
    "joined": ("[time, 4]", "y = concat(x, 2 * x)"),
    "a list": ("[time, 2]", "a = x -> third()\n y = [a, 2 * a] -> cell()"),
    "a matrix": ("[time, 2]", "param W[2, 2] ~ normal(0, 1)\n y = W @ x"),
    "a component of a parameter": ("[time, 2]", "param W[2, 2] ~ normal(0, 1)\n y = x * W[0, 1]"),
    "a scan in a step": (
        "[time]",
        "scan t in time {\n scan s in 3 {\n b[s] = b[s-1] / 2 + x[t, 1] \n}\n"
        " y[t] = y[t-1] + b[0] + sum(b)\n}",
    ),
    "a constant sequence": ("[time, 2]", "y = x * total()([[1, 2], [3, 5]])"),
    "a scan of a constant sequence": ("[time, 2]", "y = x * last(cell()([[1, 2], [3, 5]]))"),
    "a sequence made in a step": (
        "[time, 2]",
        "let f = grow()\n scan t in time {\n y[t] = y[t-1] / 2 + f([x[t], 2 * x[t], x[t]])\n}",
    ),
    "a gradient at the step": (
        "[time, 2]",
        "scan t in time {\n e = sum(x[t]^3)\n y[t] = y[t-1] + grad(e, x[t])\n}",
    ),
    "a gradient by the last": ("[time]", scan("x[t, 0]^2") + "y = grad(last(h^2), h)"),
    "a step of another": (
        "[time, 2]",
        "let f = grow()\n scan t in time {\n y[t] = y[t-1] / 2 + f.step(x[t])\n}",
    ),
    "classes": ("[time, 2]", "param W[2, 2] ~ normal(0, 1)\n y = W[:, argmax(x)]"),
    "a function of a sequence": ("[time, 2]", "y = twice(x)"),
    "a sequence of its own, backwards": (
        "[time, 2]",
        "let f = both(rnn(1), rnn(1))\n scan t in time {\n"
        " y[t] = y[t-1] + f([x[t], 2 * x[t]])[0]\n}",
    ),
    "sequences of its own": (
        "[time, 2]",
        "s = cell()([[1, 2], [3, 4]])\n"
        " scan t in time {\n y[t] = y[t-1] + x[t] * s[1] * mean(s) * sum(last(share()(s)))\n}",
    ),
}
REFUSED = {
    "a first value": ("[time]", "h[-1] = x[0, 0]\n" + scan("x[t, 0]") + "y = h"),
    "a first value, made": ("[time, 2]", "h[-1] = 2 * x[0]\n" + scan("x[t]") + "y = h"),
    "the last as the first": ("[time, 2]", "h[-1] = last(x)\n" + scan("x[t]") + "y = h"),
    "the first of the input": ("[time, 2]", "y = x - x[0]"),
    "a place of the input": ("", "y = x[0, 1]"),
    "a slice": ("", "y = sum(time: x[0:])[0]"),
    "a place of a scan": ("", scan("x[t]") + "y = h[0, 0]"),
    "a place of what is made": ("", "a = 2 * tanh(x)\n y = sum(a[0])"),
    "an index over time": ("", "z[i] = x[i, 0]\n y = max(z)"),
    "a form over time": ("", "y = sum(i in 0..0: x[2*i, 0])"),
    "a sum over places": ("", "y = sum(i: x[i, 0])"),
    "the sum": ("", "y = sum(x)"),
    "the mean of a scan": ("", scan("x[t]") + "y = mean(h)"),
    "the mean over time": ("[time, 2]", "y = x - mean(time: x)"),
    "the norm": ("", "y = norm(x)"),
    "the greatest": ("", "y = max(x)"),
    "the sum inside a scan": ("[time]", scan("sum(x) * x[t, 0]") + "y = h"),
    "the first inside a scan": ("[time, 2]", scan("x[t] * x[0]") + "y = h"),
    "a place in a scan in a scan": (
        "[time, 2]",
        "scan t in time {\n scan s in 3 {\n b[s] = b[s-1] / 2 + x[0] \n}\n"
        " y[t] = y[t-1] + last(b)\n}",
    ),
    "a sum in a scan in a scan": (
        "[time]",
        "scan t in time {\n scan s in 3 {\n b[s] = b[s-1] / 2 + sum(x) \n}\n"
        " y[t] = y[t-1] + last(b)\n}",
    ),
    "a scan along all in a step": (
        "[time, 2]",
        "scan t in time {\n scan s in time {\n b[s] = b[s-1] / 2 + x[s] \n}\n"
        " y[t] = y[t-1] + last(b)\n}",
    ),
    "an unsized function": ("", "y = square(x)"),
    "a block for sequences": ("", "y = x -> cell() -> total()"),
    "a function of a sequence": ("", "y = last(x)[0] + square(x)"),
    "the last, remembered": ("[time, 2]", scan("x[t] * last(x)") + "y = h"),
    "the last, seen before": (
        "[time, 2]",
        "a = x * last(x)\n scan t in time {\n y[t] = a[t] + a[t-1]\n}",
    ),
    "the last, through a scan": (
        "[time, 2]",
        "scan s in time {\n a[s] = x[s] * last(x)\n}" + scan("a[t]") + "y = h",
    ),
    "the last, into a block": ("[time, 2]", "y = x * last(x) -> cell()"),
    "a scan of its own": ("[time, 2]", "param a[2] = 0.5\n y = x * walk()(a)"),
    "what comes later": ("[time, 2]", scan("x[t+1]") + "y = h"),
    "an index that makes a sequence": ("[time, 2]", "y[t in time, i] = 2 * x[t, i]"),
    "steps that are only counted": ("[time, 2]", "p[t in time] = sin(t)\n y = p * x"),
    "backwards": ("[time, 2]", "scan t in time backwards {\n y[t] = y[t+1] + x[t]\n}"),
    "reversed": ("[time, 2]", "y = reversed(x)"),
    "both ways": ("[time, 2]", "y = x -> both(rnn(1), rnn(1))"),
    "a gradient over time": ("", "param w = 0.5\n" + scan("w * x[t, 0]") + "y = grad(last(h), w)"),
    "the first, in a function": ("", "y = begins(x)[0]"),
    "the last, as a constant": ("[time, 2]", "y = bias()(x, last(x))"),
    "a sequence that is read": ("", "y = sum(cell().read(x))"),
    "the first of what is picked": ("", "param W[2] = 2\n e = W[argmax(x)]\n y = e[0]"),
    "the sum of what is mapped": ("", "y = sum(share()(x))"),
    "a gradient, remembered": (
        "[time, 2]",
        "g = grad(last(third()(x)), x)\n" + scan("g[t]") + "y = h",
    ),
}


def spec(result: str, body: str, tasks: str = "") -> str:
    return (
        f"{PARTS}\nblock net_(x[time, n]) -> y{result} {{\n  {body}\n}}\nlet net = net_()\n{tasks}"
    )


STEPS = "".join(f"emit net.step({x}) \n" for x in XS)
READ = f"a = net.read({XS})\n emit net.step(a)\n"


LOOP = f"""
block same(x[time, n]) -> y[time, n] {{
  y = x
}}
task loop() {{
  xs = same()({XS})
  scan t in 4 {{
    y[t] = net.step(xs[t])
  }}
  emit y
}}
"""


def session(text: str) -> Session:
    made: Session = dln.load(text).compile(dtype="float64").session(seed=1)
    return made


def emitted(made: Session, name: str) -> list[np.ndarray]:
    values = made.programs.run(ProgramKind.TASK.of(name))
    return [np.asarray(values[k]) for k in sorted(values)]


FROM = {"what came before": 3, "two scans": 2}
"""Where a sequence needs some steps: as many as the scan looks back, and one."""


@pytest.mark.parametrize("name", SAME)
def test_a_step_gives_what_the_sequence_up_to_it_gives_last(name: str) -> None:
    """From Python, in a task that is written out, in one with a loop, and after `read`."""
    (result, body), first = SAME[name], FROM.get(name, 1)
    lines = {f"whole{k}": f"emit net({XS[:k]})\n" for k in range(first, 5)}
    lines |= {"steps": STEPS, "goes_on": READ}
    tasks = "".join(f"task {name}() {{\n{line}}}\n" for name, line in lines.items())
    made = session(spec(result, body, tasks + LOOP))
    found = [emitted(made, f"whole{k}")[0] for k in range(first, 5)]
    wanted = [v[-1] if result.startswith("[time") else v for v in found]
    net = made.net
    from_python = [net.step([x])[0] for x in XS]
    for steps in (from_python, emitted(made, "steps"), emitted(made, "loop")[0]):
        np.testing.assert_allclose(steps[first - 1 :], wanted, rtol=1e-9, atol=1e-12)
    (last,) = emitted(made, "goes_on")
    np.testing.assert_allclose(last, wanted[-1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_step_does_not_know_is_refused(name: str) -> None:
    result, body = REFUSED[name]
    if name != "a gradient over time":  # there is none over a batch either
        made = session(spec(result, body, f"let used = net({XS})"))
        with pytest.raises(DlnError, match=r"E565.*net\.step cannot be called on its own: a s"):
            made.net.step([XS[0]])
    with pytest.raises(DlnError, match="E319"):
        dln.load(spec(result, body, f"task steps() {{\n{STEPS + READ}}}"))


def test_a_gradient_does_not_run_into_the_steps_before() -> None:
    """In a scan it does not; where the steps of a task are written out it would."""
    line = "scan t in time {\n e = sum(a * x[t] + y[t-1])\n y[t] = grad(e, a)\n}"
    result, body = "[time, 2]", f"param a[2] = 0.5\n {line}"
    made = session(spec(result, body, LOOP))
    np.testing.assert_allclose(emitted(made, "loop")[0], XS)
    with pytest.raises(DlnError, match=r"E319.*would run into the steps before"):
        dln.load(spec(result, body, f"task steps() {{\n{STEPS}}}"))


def test_what_is_read_says_how_many_steps_are_counted() -> None:
    """And nothing of how long the sequences are that the block is applied to elsewhere."""
    body = "scan t in time {\n y[t] = y[t-1] + 1\n}"
    made = session(spec("[time]", body, f"task a() {{\nemit net({XS})\n}}\ntask b() {{\n{READ}}}"))
    np.testing.assert_array_equal(emitted(made, "b"), [4])
    assert made.net(np.ones((1, 4, 2))).shape == (1, 4)
