"""Machines made of energies: conditionals, free energies, likelihoods and gradients.

The oracle adds up over all states in plain NumPy, from an energy written again in Python; it knows
no closed form. Real units are held against their integrals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pytest

import dln
from dln.compiler.ir.evaluate import evaluate
from dln.compiler.ir.graph import Node
from dln.grammar.diagnostics import DlnError
from dln.runtime.session import Session

State = dict[str, Any]
Params = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """A machine T with the groups `visible` and `hidden` (name: kind and number), twice."""

    text: str
    visible: dict[str, tuple[str, int]]
    hidden: dict[str, tuple[str, int]]
    energy: Callable[..., Any]


RBM = """block machine(v[n]: binary; m) {
  hidden h[m]: binary
  param W[n, m] ~ normal(0, 1), a[n] ~ normal(0, 1), b[m] ~ normal(0, 1)
  energy = -(a @ v) - (b @ h) - (v @ W @ h)
}
let T = machine(%d)
"""


def rbm_energy(p: Params, v: Any, h: Any) -> Any:
    return -p["a"] @ v - p["b"] @ h - v @ p["W"] @ h


LABELLED = """block machine(code[n]: binary, label: class(q); m) {
  hidden h[m]: binary
  param W[n, m] ~ normal(0, 1), U[q, m] ~ normal(0, 1)
  param a[n] ~ normal(0, 1), d[q] ~ normal(0, 1), b[m] ~ normal(0, 1)
  energy = -(a @ code) - d[label] - (b @ h) - (code @ W @ h) - (U[label] @ h)
}
let T = machine(3)
"""


def labelled_energy(p: Params, code: Any, label: int, h: Any) -> Any:
    plain = -p["a"] @ code - p["b"] @ h - code @ p["W"] @ h
    return plain - p["d"][label] - p["U"][label] @ h


CHOSEN = """block machine(v[n]: binary) {
  hidden c: class(3), h[2]: binary
  param W[n, 2] ~ normal(0, 1), U[3, n] ~ normal(0, 1)
  param a[n] ~ normal(0, 1), d[3] ~ normal(0, 1), b[2] ~ normal(0, 1)
  energy = -(a @ v) - d[c] - (U[c] @ v) - (b @ h) - (v @ W @ h)
}
let T = machine()
"""


def chosen_energy(p: Params, v: Any, c: int, h: Any) -> Any:
    return -p["d"][c] - p["U"][c] @ v + rbm_energy(p, v, h)


SWITCHED = """block machine(v[n]: binary) {
  hidden c: class(3)
  param U[3, n] ~ normal(0, 1), d[3] ~ normal(0, 1)
  energy = -d[c] - (U[c] @ v)
}
let T = machine()
"""
TWO_GROUPS = """block machine(v[n]: binary) {
  hidden g[2]: binary, h[3]: binary
  param V[n, 2] ~ normal(0, 1), W[n, 3] ~ normal(0, 1), b[3] ~ normal(0, 1)
  energy = -(v @ V @ g) - (v @ W @ h) - (b @ h)
}
let T = machine()
"""
JOINED = """block machine(v[n]: binary) {
  hidden h[2]: binary, c: class(3)
  param W[n, 2] ~ normal(0, 1), L[3, 2] ~ normal(0, 1)
  energy = -(v @ W @ h) - (L[c] @ h)
}
let T = machine()
"""
LINKED = """block machine(v[n]: binary) {
  hidden h[2]: binary
  param W[n, 2] ~ normal(0, 1), L[n, n] ~ normal(0, 1)
  energy = -(v @ W @ h) - (v @ L @ v)
}
let T = machine()
"""
BARE = """block machine(v[n]: binary) {
  hidden h[2]: binary
  param a[n] ~ normal(0, 1), b[2] ~ normal(0, 1)
  energy = -(a @ v) - (b @ h)
}
let T = machine()
"""
GRID = """block machine(v[2, 2]: binary) {
  hidden h[2]: binary
  param K[2, 2, 2] ~ normal(0, 1)
  energy = -sum(i, j, k: v[i, j] * K[i, j, k] * h[k])
}
let T = machine()
"""
HOT = LABELLED.replace("d[label]", "(d @ onehot(label))").replace("U[label]", "onehot(label) @ U")
LET = LABELLED.replace("  energy = ", "  field = b + U[label]\n  energy = ").replace(
    "(b @ h)", "(field @ h)"
).replace(" - (U[label] @ h)", "")  # fmt: skip
LABELS = {"code": ("binary", 3), "label": ("class", 4)}
CASES = {
    "3 + 2": Case(RBM % 2, {"v": ("binary", 3)}, {"h": ("binary", 2)}, rbm_energy),
    "4 + 3": Case(RBM % 3, {"v": ("binary", 4)}, {"h": ("binary", 3)}, rbm_energy),
    "labelled": Case(LABELLED, LABELS, {"h": ("binary", 3)}, labelled_energy),
    "onehot": Case(HOT, LABELS, {"h": ("binary", 3)}, labelled_energy),
    "an equation besides": Case(LET, LABELS, {"h": ("binary", 3)}, labelled_energy),
    "a hidden class": Case(
        CHOSEN, {"v": ("binary", 3)}, {"c": ("class", 3), "h": ("binary", 2)}, chosen_energy
    ),
    "only a class": Case(
        SWITCHED,
        {"v": ("binary", 3)},
        {"c": ("class", 3)},
        lambda p, v, c: -p["d"][c] - p["U"][c] @ v,
    ),
    "two hidden groups": Case(
        TWO_GROUPS,
        {"v": ("binary", 3)},
        {"g": ("binary", 2), "h": ("binary", 3)},
        lambda p, v, g, h: -v @ p["V"] @ g - v @ p["W"] @ h - p["b"] @ h,
    ),
    "a hidden class joined": Case(
        JOINED,
        {"v": ("binary", 3)},
        {"h": ("binary", 2), "c": ("class", 3)},
        lambda p, v, h, c: -v @ p["W"] @ h - p["L"][c] @ h,
    ),
    "visible units joined": Case(
        LINKED,
        {"v": ("binary", 3)},
        {"h": ("binary", 2)},
        lambda p, v, h: -v @ p["W"] @ h - v @ p["L"] @ v,
    ),
    "no weights": Case(
        BARE,
        {"v": ("binary", 3)},
        {"h": ("binary", 2)},
        lambda p, v, h: -p["a"] @ v - p["b"] @ h,
    ),
    "a picture": Case(
        GRID,
        {"v": ("binary", 4)},
        {"h": ("binary", 2)},
        lambda p, v, h: -np.einsum("ij,ijk,k", np.reshape(v, (2, 2)), p["K"], h),
    ),
}


# ---- the oracle --------------------------------------------------------------------------------


def bits(n: int) -> Iterator[np.ndarray]:
    return (np.array(s, float) for s in product((0, 1), repeat=n))


def states(groups: Mapping[str, tuple[str, int]]) -> list[State]:
    kinds: dict[str, Callable[[int], Iterable[Any]]] = {"binary": bits, "class": range}
    every = product(*(kinds[kind](n) for kind, n in groups.values()))
    return [dict(zip(groups, s, strict=True)) for s in every]


class Oracle:
    """p of every joint state, from the energy alone."""

    def __init__(self, case: Case, params: Params) -> None:
        self.visible, self.hidden = states(case.visible), states(case.hidden)
        self.energies = np.array(
            [[case.energy(params, **v, **h) for h in self.hidden] for v in self.visible]
        )
        lowest = self.energies.min()  # nothing overflows, whatever the energies are
        self.log_z = np.log(np.exp(lowest - self.energies).sum()) - lowest
        least = self.energies.min(1, keepdims=True)
        self.free = least[:, 0] - np.log(np.exp(least - self.energies).sum(1))
        self.log_p = -self.free - self.log_z

    def means(self, side: str) -> dict[str, np.ndarray]:
        """E[group | the other side], for each state of the other side."""
        up = side == "up"
        over, energies = (self.hidden if up else self.visible), self.energies
        energies = energies if up else energies.T
        joint = np.exp(energies.min(1, keepdims=True) - energies)
        shares = joint / joint.sum(1, keepdims=True)
        return {k: shares @ np.array([hot(s[k], over, k) for s in over]) for k in over[0]}


def hot(value: Any, among: list[State], name: str) -> np.ndarray:
    """Bits as they are, a class as a row with a single 1."""
    if isinstance(value, np.ndarray):
        return value
    return np.eye(1 + max(s[name] for s in among))[value]


def columns(of: list[State], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    return {k: np.array([s[k] for s in of]).reshape(len(of), *shapes.get(k, (-1,)))
            if isinstance(of[0][k], np.ndarray) else np.array([s[k] for s in of])
            for k in of[0]}  # fmt: skip


# ---- machines under test -----------------------------------------------------------------------


def session_of(text: str, seed: int = 3) -> Session:
    return dln.load(text).compile(dtype="float64").session(seed=seed)


def params_of(session: Session, of: str = "T") -> dict[str, np.ndarray]:
    found = {k: np.array(session.params[k]) for k in session.params}
    return {k.removeprefix(f"{of}."): v for k, v in found.items()}


def port(name: str, kind: str, n: int, text: str) -> str:
    if kind == "class":
        return f"{name}: class({n})"
    return f"{name}[{'2, 2' if f'{name}[2, 2]' in text else n}]: {kind}"


def asking(case: Case) -> str:
    """A block that says everything of a joint state at once."""
    both = {**case.visible, **case.hidden}
    ports = ", ".join(port(k, kind, n, case.text) for k, (kind, n) in both.items())
    seen, all_ = ", ".join(case.visible), ", ".join(both)
    first = ", ".join(f"argmin(zeros({n}))" if kind == "class" else zeros(k, n, case.text)
                      for k, (kind, n) in both.items())  # fmt: skip
    return f"""block ask({ports}) -> e, f, l {{
  e = T.energy({all_})
  f = T.free({seen})
  l = log_likelihood(T, {seen})
}}
let asked = ask()
let begun = asked({first})
task t() {{
  emit log_z(T)
}}
"""


def zeros(name: str, n: int, text: str) -> str:
    return ("[[0, 0], [0, 0]]" if f"{name}[2, 2]" in text else str([0] * n)) + " as binary"


def close(found: Any, wanted: Any) -> None:
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.fixture(scope="module", params=CASES, ids=list(CASES))
def told(request: pytest.FixtureRequest) -> tuple[Case, Session, Oracle]:
    case = CASES[request.param]
    session = session_of(case.text + asking(case))
    return case, session, Oracle(case, params_of(session))


def test_energies_free_energies_and_likelihoods(told: tuple[Case, Session, Oracle]) -> None:
    case, session, oracle = told
    shapes = {"v": (2, 2)} if "v[2, 2]" in case.text else {}
    joint = [{**v, **h} for v in oracle.visible for h in oracle.hidden]
    found = session["asked"](**columns(joint, shapes))
    close(found["e"], oracle.energies.ravel())
    close(found["f"], np.repeat(oracle.free, len(oracle.hidden)))
    close(found["l"], np.repeat(oracle.log_p, len(oracle.hidden)))
    close(session.evaluate("task:t")["emit:0.0"], oracle.log_z)


def test_conditional_means(told: tuple[Case, Session, Oracle]) -> None:
    case, session, oracle = told
    shapes = {"v": (2, 2)} if "v[2, 2]" in case.text else {}
    up, down = ("up", oracle.visible, case.hidden), ("down", oracle.hidden, case.visible)
    for side, of, other in (up, down):
        given = columns(of, shapes)
        if f"T.{side}" not in session.plan.applied:  # refused: its units are joined
            assert case.text in (JOINED, LINKED)
            continue
        found = getattr(session["T"], side)(**given)
        if len(other) == 1:
            found = {next(iter(other)): found}
        for name, wanted in oracle.means(side).items():
            close(found[name].reshape(len(of), -1), wanted)
    close(session["T"].free(**columns(oracle.visible, shapes)), oracle.free)


def test_the_evaluator_agrees() -> None:
    """The same graph, node by node."""
    case = CASES["a hidden class"]
    text = case.text + "task t() {\n  v = [1, 0, 1]\n  emit T.free(v)\n  emit log_z(T)\n"
    text += "  u = T.up(v)\n  emit u.c\n  emit u.h\n}\n"
    spec = dln.load(text)
    session = spec.compile(dtype="float64").session(seed=1)
    env = {("param", k): np.array(session.params[k]) for k in session.params}
    emits = enumerate(spec.model.tasks["t"].emits)
    nodes = {str(i): v for i, e in emits if isinstance(v := e.parts[0].value, Node)}
    slow, fast = evaluate(nodes, env), session.evaluate("task:t")
    assert len(slow) == 4
    for i, value in slow.items():
        close(fast[f"emit:{i}.0"], value)


@pytest.mark.parametrize(("n", "m"), [(30, 3), (3, 30)])
def test_log_z_adds_up_over_the_smaller_side(n: int, m: int) -> None:
    """2^33 states, of which 8 are looked at: the others have a closed form."""
    zeros = "[" + ", ".join("0" * n) + "]"
    (p_of, z), p = emitted(
        RBM % m + f"task t() {{\n  emit log_likelihood(T, {zeros})\n  emit log_z(T)\n}}\n"
    )
    few = np.array(list(bits(3)))
    if m == 3:
        each = few @ p["b"] + np.log1p(np.exp(p["a"] + few @ p["W"].T)).sum(1)
    else:
        each = few @ p["a"] + np.log1p(np.exp(p["b"] + few @ p["W"])).sum(1)
    wanted = np.log(np.exp(each).sum())
    close(z, wanted)
    close(p_of, np.log1p(np.exp(p["b"])).sum() - wanted)


@pytest.mark.parametrize("name", ["labelled", "a hidden class", "4 + 3"])
def test_large_energies_do_not_overflow(name: str) -> None:
    """Parameters 500 times as large: exp(-E) of some states is out of any range."""
    case = CASES[name]
    session = session_of(case.text + asking(case))
    for path in session.params:
        session.params[path] = 500 * np.array(session.params[path])
    oracle = Oracle(case, params_of(session))
    assert np.abs(oracle.energies).max() > 1000
    found = session["T"].free(**columns(oracle.visible, {}))
    np.testing.assert_allclose(found, oracle.free, rtol=1e-12)
    joint = [{**v, **oracle.hidden[0]} for v in oracle.visible]
    asked = session["asked"](**columns(joint, {}))
    np.testing.assert_allclose(asked["l"], oracle.log_p, rtol=1e-12, atol=1e-9)
    if len(case.visible) > 1:
        wanted = oracle.means("down")["label"][-1]
        found = session["T"].down(**columns(oracle.hidden, {}))["label"][-1]
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


# ---- classes as they may be said ---------------------------------------------------------------


def emitted(text: str, seed: int = 3) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """What a task `t` emits, and the parameters of T."""
    session = session_of(text, seed)
    found = session.evaluate("task:t")
    return [found[f"emit:{i}.0"] for i in range(len(found))], params_of(session)


@pytest.mark.parametrize("text", [LABELLED, HOT], ids=["row", "onehot"])
def test_a_class_as_a_number_a_tensor_and_an_index(text: str) -> None:
    text = text.replace("U[q, m]", "U[4, m]")
    (number, drawn, z, each, best), p = emitted(
        text
        + """task t() {
  z ~ categorical([1, 2, 3, 4])
  emit T.free([1, 0, 1], 2)
  emit T.free([1, 0, 1], z)
  emit z
  f[q] = T.free([1, 0, 1], q)
  emit f
  emit argmin(q: T.free([1, 0, 1], q))
}
"""
    )
    oracle = Oracle(CASES["labelled"], p)
    wanted = [oracle.free[i] for i, s in enumerate(oracle.visible) if list(s["code"]) == [1, 0, 1]]
    close(each, wanted)
    close([number, drawn], [wanted[2], wanted[int(z)]])
    assert best == np.argmin(wanted)


def test_probabilities_in_place_of_bits() -> None:
    """An energy is linear in each unit, so a mean may stand for it: the mean field."""
    (free, up, energy), p = emitted(
        RBM % 2 + "task t() {\n  v = [0.25, 0.5, 1]\n  emit T.free(v)\n  emit T.up(v)\n"
        "  emit T.energy(v, [0.125, 0.75])\n}\n"
    )
    v = np.array([0.25, 0.5, 1])
    pull = p["b"] + v @ p["W"]
    close(free, -p["a"] @ v - np.log1p(np.exp(pull)).sum())
    close(up, 1 / (1 + np.exp(-pull)))
    close(energy, rbm_energy(p, v, np.array([0.125, 0.75])))


# ---- real units --------------------------------------------------------------------------------

GAUSSIAN = """block machine(v[n]; m) {
  hidden h[m]: binary
  param W[n, m] ~ normal(0, 0.5), a[n] ~ normal(0, 1), b[m] ~ normal(0, 1)
  param s[n] = %s
  energy = sum(s * (v - a)^2) / 2 - (b @ h) - ((s * v) @ W @ h)
}
let T = machine(3)
block ask(v[2]) -> l {
  l = log_likelihood(T, v)
}
let asked = ask()
let begun = asked([0, 0])
task t() {
  emit log_z(T)
}
"""


@pytest.mark.parametrize("s", ["1", "[0.5, 3]"])
def test_real_visible_units(s: str) -> None:
    """Given h a Gauss curve around a + W h with the precision s."""
    session = session_of(GAUSSIAN % s)
    p = params_of(session)
    h = np.array(list(bits(3)))
    close(session["T"].down(h), p["a"] + h @ p["W"].T)
    v = np.random.default_rng(0).normal(size=(9, 2))
    pull = p["b"] + (p["s"] * v) @ p["W"]
    close(session["T"].up(v), 1 / (1 + np.exp(-pull)))
    free = (p["s"] * (v - p["a"]) ** 2).sum(1) / 2 - np.log1p(np.exp(pull)).sum(1)
    close(session["T"].free(v), free)
    grid = np.linspace(-14, 14, 561)  # the trapezoid rule is exact to rounding for Gauss curves
    plane = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2)
    z = np.exp(-session["T"].free(plane)).sum() * (grid[1] - grid[0]) ** 2
    close(session.evaluate("task:t")["emit:0.0"], np.log(z))
    close(session["asked"](v), -free - np.log(z))


def test_real_hidden_units() -> None:
    text = """block machine(v[n]: binary; m) {
  hidden h[m]
  param W[n, m] ~ normal(0, 1), a[n] ~ normal(0, 1), b[m] ~ normal(0, 1)
  energy = sum(j: h[j]^2) / 2 - (a @ v) - (b @ h) - (v @ W @ h)
}
let T = machine(2)
task t() {
  emit log_z(T)
  emit log_likelihood(T, [1, 0, 1])
}
let begun = T.free([0, 0, 0])
"""
    session = session_of(text)
    p, v = params_of(session), np.array(list(bits(3)))
    mean = p["b"] + v @ p["W"]
    close(session["T"].up(v), mean)
    h = np.random.default_rng(0).normal(size=(5, 2))
    close(session["T"].down(h), 1 / (1 + np.exp(-(p["a"] + h @ p["W"].T))))
    free = -v @ p["a"] - (mean**2).sum(1) / 2 - np.log(2 * np.pi)  # 2 units of sqrt(2 pi)
    close(session["T"].free(v), free)
    z, one = (session.evaluate("task:t")[f"emit:{i}.0"] for i in (0, 1))
    close(z, np.log(np.exp(-free).sum()))
    close(one, -free[5] - z)


def test_all_units_real() -> None:
    """Probabilistic components: each side is a Gauss curve given the other."""
    text = """block machine(v[n]) {
  hidden h[2]
  param W[n, 2] ~ normal(0, 0.3)
  energy = (v @ v) / 2 + sum(h^2) - (v @ W @ h)
}
let T = machine()
let begun = T.free([0, 0, 0])
"""
    session = session_of(text)
    W, rng = params_of(session)["W"], np.random.default_rng(0)
    v, h = rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
    close(session["T"].up(v), v @ W / 2)
    close(session["T"].down(h), h @ W.T)
    free = (v**2).sum(1) / 2 - ((v @ W) ** 2).sum(1) / 4 - np.log(np.pi)
    close(session["T"].free(v), free)


# ---- gradients ---------------------------------------------------------------------------------


def test_gradients_of_free_energies_are_the_textbook_rule() -> None:
    """d(F(v) - F(w)) / dW = w p(h|w)' - v p(h|v)', and so on for all parameters."""
    names = ["W", "U", "a", "d", "b"]
    lines = "".join(f"  emit grad(T.free(v, 3) - T.free(w, 1), T.{k})\n" for k in names)
    text = LABELLED.replace("U[q, m]", "U[4, m]")
    found, p = emitted(text + f"task t() {{\n  v = [1, 0, 1]\n  w = [0, 1, 1]\n{lines}}}\n")
    oracle = Oracle(CASES["labelled"], p)
    up = oracle.means("up")["h"]

    def statistics(code: list[int], label: int) -> dict[str, np.ndarray]:
        [at] = [i for i, s in enumerate(oracle.visible)
                if list(s["code"]) == code and s["label"] == label]  # fmt: skip
        v, y, h = np.array(code, float), np.eye(4)[label], up[at]
        return {"W": np.outer(v, h), "U": np.outer(y, h), "a": v, "d": y, "b": h}

    data, other = statistics([1, 0, 1], 3), statistics([0, 1, 1], 1)
    for name, value in zip(names, found, strict=True):
        close(value, other[name] - data[name])


def test_the_gradient_of_the_likelihood_is_data_minus_model() -> None:
    text = (
        RBM % 2
        + """data d = rows([[1, 0, 1]]) {
  v[3]: binary = raw
}
train p on d.all batch 1 for 1 epoch dtype float64 {
  minimize -log_likelihood(T, v) over T with sgd(lr = 1)
}
"""
    )
    session = session_of(text)
    oracle = Oracle(CASES["3 + 2"], params_of(session))
    v, up = np.array([s["v"] for s in oracle.visible]), oracle.means("up")["h"]
    p = np.exp(oracle.log_p)
    picks = [5, 0, 5, 2, 7]
    data = {"W": v[picks].T @ up[picks] / 5, "a": v[picks].mean(0), "b": up[picks].mean(0)}
    model = {"W": (p[:, None] * v).T @ up, "a": p @ v, "b": p @ up}
    assert p.sum() == pytest.approx(1, abs=1e-12)
    for name in data:
        close(-session.grad("p", f"T.{name}", v=v[picks]), data[name] - model[name])


# ---- what is not there -------------------------------------------------------------------------


def test_open_sizes_are_no_functions() -> None:
    """A machine that is asked nothing has no visible size yet."""
    session = session_of('let T = rbm(3)\ncheck "c" {\n  expect 1 == 1\n}\n')
    with pytest.raises(DlnError, match='there is no instance "T"'):
        session["T"]
