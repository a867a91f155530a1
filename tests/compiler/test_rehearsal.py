"""What nothing uses is worked out all the same: what is wrong is found, and nothing else is.

The oracle of what is right: definitions that are used, in specs that train.
"""

from pathlib import Path

import pytest

import dln
from dln.compiler.frontend import rehearsal
from dln.compiler.frontend.context.build_context import BlockDef, Build, Scope
from dln.compiler.frontend.context.values import Function, OptimiserDef
from dln.grammar.diagnostics import DlnError

IDLE = """
{0}
const k = 3
check "three" {{
  expect k == 3
}}
"""

RIGHT = """
block any_size(x[n], z[n]; m, act, rate = 0.5) -> y[m]: prob {
  h = dropout(x + z, rate) -> dense(m, act = act)
  y = act(h -> dense(m)) as prob
}
block given(x[n]; W[m, n], parts) -> y[m] {
  expect m < n
  for part in parts {
    h = part(x)
  }
  y = W @ x
}
block last_of(x[time, n]; m) -> y[m] {
  y = last(x -> gru(m)) + last(x)[0] * x[time_of(0)][0]
}
block maybe_class(p, c) -> y {
  y = -log([0.5, 0.5][c]) + p
}
block bits(p[n]) -> y {
  y = sum(binary_cross_entropy(p, 0.5))
}
block machine(v[n]: binary; m) {
  hidden h[m]: binary
  param W[n, m] ~ small(n, m)
  energy = -(v @ W @ h)
}
block weights(; m) {
  param W[m, m] ~ glorot(m, m)
}
fn time_of(a) = a
fn start(n, m) = uniform(-1, 1) / sqrt(n + m)
fn penalty(layers) = sum([for l in layers: sum(l.W^2)])
fn first(f, x) = f(x)[0]
optimiser clipped(p, g; lr, most = 1) {
  state v = 0
  v := max(min(g, most), -most) + v / n
  p := p - lr(n) * v if n > 3 else p - 0.1 * v
}
"""


@pytest.mark.parametrize("name", ["std", "lstms"])
def test_the_library_is_right_where_nobody_uses_it(name: str) -> None:
    dln.load(name)


def test_what_is_used_is_right_where_nobody_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    met = []

    def all_of_them(b: Build, name: str, scope: Scope, own: bool) -> bool:
        binding = scope.names[name]
        found = binding.find(b) if binding.static else None
        if isinstance(found, Function | BlockDef | OptimiserDef):
            met.append(name)
        return met[-1:] == [name]

    monkeypatch.setattr(rehearsal, "_idle", all_of_them)
    for spec in ("tour", "convolution", "unfolding"):
        dln.load(spec)
    assert len(met) >= 10


def test_what_depends_on_what_is_not_known_is_not_blamed() -> None:
    dln.load(IDLE.format(RIGHT))


WRONG = {
    "block f(x[784]; m) -> y[10] {\n  param V[10, 5] = 0\n  y = V @ x\n}": ("E205", "5"),
    "block f(x[n]; m, act) -> y[m] {\n  y = act(x -> dense(mm))\n}": ("E301", "mm"),
    "block f(x[n]; act) -> y[3] {\n  y = act(x) -> dense(3, activ = relu)\n}": ("E301", "activ"),
    "block f(x[n]) -> y[n] {\n  param W[n, n] = he(n, n)\n  y = W @ x\n}": ("E343", "he(n, n)"),
    "block f(x[n]) -> y[n] {\n  h = softmax(x)\n  y = softmax(h)\n}": ("E310", "h"),
    "block f(x[time]) -> h[time] {\n  scan t in time {\n    h[t] = V * 2\n  }\n}": ("E301", "V"),
    "fn f(a, b) = max(a, cc) + b": ("E301", "cc"),
    "fn f(a) = sum(i: a[i] * w[i])": ("E301", "w"),
    "fn f(z[k], t: class(k)) = nll(z[0], t)": ("E215", "z[0]"),
    "optimiser f(p, g; lr) {\n  p := p - rate * g\n}": ("E301", "rate"),
    "optimiser f(p, g; lr) {\n  p = p - lr * g\n}": ("E402", "p = p - lr * g"),
    'let net = dense(3, act = "relu")': ("E324", '"relu"'),
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_found_before_it_is_used(text: str) -> None:
    with pytest.raises(DlnError) as caught:
        dln.load(IDLE.format(text))
    (problem,) = caught.value.problems
    assert problem.span is not None
    assert (problem.code, problem.span.text) == WRONG[text]


@pytest.mark.parametrize("used", ['use "other.dln"', 'use "other.dln" as O'])
def test_what_a_used_file_defines_is_read_too(tmp_path: Path, used: str) -> None:
    other, spec = tmp_path / "other.dln", tmp_path / "net.dln"
    spec.write_text(IDLE.format(used))
    for text, (code, place) in WRONG.items():
        other.write_text(f"const n = 2\n{text}\n")
        with pytest.raises(DlnError) as caught:
            dln.load(spec)
        (problem,) = caught.value.problems
        assert problem.span is not None and problem.span.source.path == str(other)
        assert (problem.code, problem.span.text) == (code, place)


def test_what_is_only_ever_done_for_one_example_needs_no_batch() -> None:
    """A slope by a parameter is one for all; a block with one may be there for one sequence."""
    text = (
        "block slopes(x[time, n]) -> y[time, 2] {\n  param a[2] = 0.5\n  scan t in time {\n"
        "    e = sum(a * x[t] + y[t-1])\n    y[t] = grad(e, a)\n  }\n}\nlet f = slopes()\n"
    )
    dln.load(text)
