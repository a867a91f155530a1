"""What a recurrence begins as where nobody says: a number, or a tensor with as many axes as what it
is handed to takes."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

import dln
from dln.compiler.frontend.scan.scan_step import Attempt
from dln.running.expectations import verdicts

X = (0.5, 1.5, -2.5)


def last(text: str) -> None:
    """Each expectation of a spec is met."""
    found = verdicts(dln.load(text).model)
    assert found and all(v.status == "passed" for v in found), found


def number_of(made: str, step: str, option: str = "") -> str:
    return f"""
    {made}
    let x = [{", ".join(map(str, X))}] + 0
    block run(x[time]{option}) -> h[time] {{
      scan t in time {{
        s[t] = x[t] + {step}
      }}
      h = s
    }}
    let f = run()
    """


STEPS: dict[str, tuple[str, str, str, Callable[[float], float]]] = {
    "a function of the language": ("", "floor(s[t-1])", "", math.floor),
    "an operation of its own": ("", "erf(s[t-1])", "", math.erf),
    "what no gradient passes": ("", "stop(s[t-1])", "", lambda s: s),
    "two values": ("", "max(s[t-1], 1)", "", lambda s: max(s, 1)),
    "the standard library": ("", "squash(s[t-1])", "", lambda s: 1.7159 * math.tanh(2 / 3 * s)),
    "a pipeline": ("", "(s[t-1] -> relu)", "", lambda s: max(s, 0)),
    "a function of the spec": ("fn half(a) = a / 2", "half(s[t-1])", "", lambda s: s / 2),
    "one in another": (
        "fn half(a) = a / 2\nfn part(a, b) = half(a)", "part(s[t-1], 1)", "", lambda s: s / 2,
    ),
    "an option": ("", "act(s[t-1])", "; act = tanh", math.tanh),
    "an instance that takes a number": (
        "block half(a) -> b {\n  b = a / 2\n}\nlet g = half()", "g(s[t-1])", "", lambda s: s / 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STEPS)
def test_it_is_a_number_where_what_takes_it_takes_any_shape(name: str) -> None:
    made, step, option, meaning = STEPS[name]
    s = 0.0
    for x in X:
        s = x + meaning(s)
    said = f'check "by hand" {{\n  expect last(f(x)) == {s!r} within 1e-12\n}}\n'
    last(number_of(made, step, option) + said)


VECTORS = {
    "a port that declares an axis": ("fn first(a[n]) = a * a[0]", "first(s[t-1])"),
    "a product": ("fn turned(a) = [[0, 1], [1, 0]] @ a", "turned(s[t-1])"),
    "a pipeline": ("fn turned(a) = [[0, 1], [1, 0]] @ a", "(s[t-1] -> turned)"),
    "a place": ("fn first(a) = a * a[0]", "first(s[t-1])"),
}


@pytest.mark.parametrize("name", VECTORS)
def test_it_is_a_vector_where_a_function_takes_one(name: str) -> None:
    made, step = VECTORS[name]
    last(f"""
    {made}
    let x = [[1, 2], [3, 4], [5, 6]] + 0
    block run(x[time, n]) -> h[time, n] {{
      scan t in time {{
        s[t] = x[t] + {step}
      }}
      h = s
    }}
    let f = run()
    check "by hand" {{
      expect f(x)[0] == [1, 2]
      expect f(x)[1] - [3, 4] == {"[2, 1]" if "turned" in made else "[1, 2]"}
    }}
    """)


# ---- read off the equations --------------------------------------------------------------------

CARRIED = {
    "c[t-1] / 2 + tanh(a[1])": "a vector beside it",
    "half(c[t-1]) + u": "a function, and a parameter",
    "max(c[t-1], W[0] @ x[t])": "a product",
    "(c[t-1] if t > 1 else a[0]) * 2": "a choice",
    "-(c[t-1]) + a[1, :]": "a slice",
    "V @ c[t-1] + a[0]": "what a product takes",
}


@pytest.mark.parametrize("equation", CARRIED)
def test_a_step_is_worked_out_once_where_its_axes_can_be_read(
    equation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"""
    fn half(a) = a / (1 + exp(-a))
    let x = [[1, 2], [3, 4], [5, 6]] + 0
    block run(x[time, n]; m) -> h[time, m] {{
      param W[2, m, n] = 0.5, U[2, m, m] = 0.1, V[m, m] = 0.1, u[m] = 1
      scan t in time {{
        a    = W @ x[t] + U @ h[t-1]
        c[t] = {equation}
        h[t] = tanh(c[t])
      }}
    }}
    let f = run(3)
    check "a number" {{ expect sum(f(x)^2) < 9 }}
    """
    tried: list[Attempt] = []
    work_out = Attempt.work_out
    monkeypatch.setattr(Attempt, "work_out", lambda a: (tried.append(a), work_out(a))[1])
    last(text)
    assert len(tried) == len({a.scan for a in tried})
