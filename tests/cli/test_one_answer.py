"""One spec, one answer: what one command accepts all accept, and so does Python; what one refuses
all refuse, with the same problems at the same places.

Every spec goes through every command, and through `dln.load` with all programs compiled. In the
ordinary run a sample of the wrong specs does; with `--slow` all do, and all shipped specs.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import dln as face
from dln.grammar.diagnostics import DlnError
from dln.spec import shipped

Dln = Callable[..., Any]
GOLDEN = Path(__file__).parents[1]
READING = re.compile(r"E([1-4]\d\d|50\d|51\d|554)")
"""Codes of what is wrong with a spec or its data; others are of one command, as that there is no
sweep."""

COMMANDS = {
    "check": [],
    "run": ["--epochs", "0", "--limit", "2", "--out", "run"],
    "show": [],
    "data": [],
    "plan": [],
    "explain": ["--pass", "prune"],
    "time": [],
    "gradcheck": [],
    "sweep": ["--epochs", "0", "--limit", "2", "--jobs", "1", "--out", "swept"],
}
LIGHT = ("check", "run", "show")


@dataclass
class Given:
    """A spec with what stands beside it and what is given from outside."""

    text: str
    files: dict[str, str] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)

    def words(self) -> list[str]:
        constants = [f"-D{k}={json.dumps(v)}" for k, v in self.constants.items()]
        return [*constants, *(f"--data={k}={v}" for k, v in self.data.items())]


# ---- the doors ---------------------------------------------------------------------------------


Answer = list[tuple[str, int, int]]


def answers(dln: Dln, folder: Path, given: Given, commands: Iterator[str]) -> dict[str, Answer]:
    """What is wrong with a spec, by each way in: code, line and column."""
    for name, text in {**given.files, "net.dln": given.text}.items():
        (folder / name).write_text(text)
    found = {"dln.load": of_python(folder / "net.dln", given)}
    for name in commands:
        outcome = dln(name, "net.dln", "--json", "-q", *COMMANDS[name], *given.words())
        found[name] = of_command(outcome.out)
        assert "E999" not in outcome.err, (name, outcome.err)
    if not given.constants and not given.data:
        found["results"] = of_results(dln, folder, found["dln.load"])
    return found


def of_command(out: str) -> Answer:
    problems = json.loads(out).get("problems", []) if out.strip() else []
    places = [(p["code"], p["at"] or {"line": 0, "column": 0}) for p in problems]
    return [(code, at["line"], at["column"]) for code, at in places if READING.fullmatch(code)]


def of_python(path: Path, given: Given) -> Answer:
    try:
        plan = face.load(path, data_paths=given.data, **given.constants).compile().plan
        assert all(plan.programs[name] for name in plan.programs)
    except DlnError as error:
        spans = [(p.code, p.span) for p in error.problems if READING.fullmatch(p.code)]
        return [(code, s.line if s else 0, s.column if s else 0) for code, s in spans]
    return []


def of_results(dln: Dln, folder: Path, wanted: Answer) -> Answer:
    """The table of results says only that a spec cannot be read, and the first reason."""
    dln("results", "--table", "--specs", folder, "--to", folder / "results.md")
    refused = "cannot be read: " in (folder / "results.md").read_text()
    return wanted if refused == bool(wanted) else [("results", 0, 0)]


def agree(found: dict[str, Answer]) -> None:
    assert all(a == found["dln.load"] for a in found.values()), found


# ---- specs that are right ----------------------------------------------------------------------

RIGHT = {
    "a probability that only the data know": """data d = rows([[0, 1], [1, 0]]) {
  x[2]: prob = raw
}
block ae(x[n]) -> loss {
  r = x -> dense(1) -> dense(n, act = sigmoid)
  loss = sum(binary_cross_entropy(r, x))
}
let net = ae()
train fit on d batch 2 for 3 updates {
  minimize net(x) over net with sgd(lr = 0.1)
}
""",
    "a class that only the data know": """data d = rows([[0, 1], [2, 5]]) {
  c: class(3) = raw[0]
  t = raw[1]
}
block table(c) -> y {
  param E[3, 2] ~ normal(0, 1)
  y = sum(E[c])
}
let net = table()
train fit on d batch 2 for 3 updates {
  minimize (net(c) - t)^2 over net with sgd(lr = 0.1)
}
""",
    "a number in one place, a probability in another": """data d = rows([[0, 1], [1, 0]]) {
  x[2] = raw
  p[2]: prob = raw
}
block scaled(x[n]) -> y[n] {
  param w = 1
  y = w * x
}
let net = scaled()
train fit on d batch 2 for 3 updates {
  minimize sum(net(x)^2) + sum(binary_cross_entropy(net(p) as prob, p)) over net with sgd(lr = 0.1)
}
""",
    "an instance of a function that is handed on": """data d = rows([[0, 1], [1, 0]]) {
  x[2]: prob = raw
}
block entropy(x[n]; f) -> y {
  param w = 1
  y = w * sum(f(x, x))
}
let layers = [for i in 0..1: entropy(binary_cross_entropy)]
let all = chain([dense(2, act = sigmoid), layers[1]])
train fit on d batch 2 for 3 updates {
  minimize layers[0](x) + all(x) over layers, all with sgd(lr = 0.1)
}
""",
    "a machine with links": """data d = rows([[0, 1, 1], [1, 0, 1]]) {
  v[3]: binary = raw
}
block linked(v[n]: binary; m) {
  hidden h[m]: binary
  param W[n, m] ~ normal(0, 1), L[n, n] ~ normal(0, 1)
  energy = -(v @ W @ h) - (v @ L @ v)
}
let T = linked(2)
train fit on d batch 2 for 1 update {
  minimize T.free(v) over T with sgd(lr = 0.1)
}
""",
    "a loop, a stop, a watch": """data d = rows([[1, 2, 1], [3, 1, 0]]) {
  x[time, 1] = [[raw[0]], [raw[1]]]
  t: binary = raw[2]
}
block run(x[time, n]; m) -> y {
  param W[m, n] ~ normal(0, 1), U[m, m] ~ normal(0, 1)
  scan t in time {
    h[t] = tanh(W @ x[t] + U @ h[t-1])
  }
  y = sum(last(h))
}
let net = run(2)
train fit on d batch 2 for 2 epochs {
  minimize (net(x) - t)^2 over net with adam(lr = 0.1)
  watch off = (net(x) - t)^2 every 1 epoch
  until off < 0.001
}
const wide = 1
sweep widths {
  vary wide in [1, 2]
  report fit.off
}
""",
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_is_accepted_everywhere(name: str, dln: Dln, tmp_path: Path) -> None:
    found = answers(dln, tmp_path, Given(RIGHT[name]), iter(COMMANDS))
    assert set(found) == {*COMMANDS, "dln.load", "results"}
    assert not any(found.values()), found


# ---- specs that are wrong ----------------------------------------------------------------------


def golden() -> list[tuple[str, Given]]:
    """The wrong specs that the tests of messages have, by file and title."""
    found = []
    for path in sorted(GOLDEN.glob("*/golden/*.txt")):
        parts = re.split(r"^==== (.*)\n", path.read_text(), flags=re.MULTILINE)[1:]
        for name, part in zip(parts[::2], parts[1::2], strict=True):
            given = given_by(part.split("----\n")[0])
            if given is not None:
                found.append((f"{path.stem}: {name}", given))
    return found


def given_by(text: str) -> Given | None:
    """A golden text in parts; None where it needs files that are made as they are asked for."""
    text, *more = re.split(r"^\+\+\+\+ (.*)\n", text, flags=re.MULTILINE)
    given = Given(text)
    for head, body in zip(more[::2], more[1::2], strict=True):
        if " = " not in head:
            given.files[head] = body
        elif head.startswith("data: "):
            name, path = head.removeprefix("data: ").split(" = ")
            given.data[name] = str(GOLDEN.parent / path)
        else:
            name, value = head.split(" = ")
            given.constants[name] = json.loads(value)
    return None if re.search(r'use "f\d+\.dln"', text) else given


WRONG = golden()
SAMPLE = 15


def refused_everywhere(
    dln: Dln, folder: Path, wrong: list[tuple[str, Given]], commands: tuple[str, ...]
) -> None:
    for name, given in wrong:
        found = answers(dln, folder, given, iter(commands))
        assert found["dln.load"], name
        try:
            agree(found)
        except AssertionError as error:
            raise AssertionError(name) from error


def test_a_sample_of_what_is_wrong_is_refused_everywhere(dln: Dln, tmp_path: Path) -> None:
    refused_everywhere(dln, tmp_path, WRONG[:: 4 * SAMPLE], tuple(COMMANDS))
    refused_everywhere(dln, tmp_path, WRONG[SAMPLE :: 4 * SAMPLE], LIGHT)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(SAMPLE))
def test_what_is_wrong_is_refused_everywhere(part: int, dln: Dln, tmp_path: Path) -> None:
    refused_everywhere(dln, tmp_path, WRONG[part::SAMPLE], tuple(COMMANDS))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(shipped()))
def test_what_is_shipped_is_accepted_everywhere(name: str, dln: Dln) -> None:
    """A spec that asks for the 20 nearest of a whole set needs as many examples of it."""
    for command in ("check", "run", "show", "plan", "explain"):
        options = ["32" if word == "2" else word for word in COMMANDS[command]]
        outcome = dln(command, name, "--json", "-q", *options)
        assert outcome.code in (0, 1), outcome.err
        assert of_command(outcome.out) == []


# ---- instances that are no functions -----------------------------------------------------------


def test_a_port_takes_what_the_spec_hands_it() -> None:
    """The loss of the autoencoder, written out over its own parameters."""
    session = face.load(RIGHT["a probability that only the data know"]).compile("numpy", "float64")
    net = session.session(seed=3)
    p, x = net.params, np.array([[0.25, 1.0], [0.5, 0.0], [1.0, 0.75]])
    z = (x @ p["net.r[0].W"].T + p["net.r[0].b"]) @ p["net.r[1].W"].T + p["net.r[1].b"]
    r = 1 / (1 + np.exp(-z))
    wanted = -np.sum(x * np.log(r) + (1 - x) * np.log(1 - r), axis=1)
    assert_allclose(net.net(x), wanted, rtol=1e-12)
    with pytest.raises(DlnError) as caught:
        net.net(x + 1)
    assert [p.code for p in caught.value.problems] == ["E554"]


def test_a_class_goes_in_as_one() -> None:
    session = face.load(RIGHT["a class that only the data know"]).compile().session()
    wanted = session.params["net.E"][[2, 0, 1]].sum(1)
    assert_allclose(session.net(np.array([2, 0, 1])), wanted, rtol=1e-6)


def test_an_instance_that_is_no_function_says_why() -> None:
    """Not applied anywhere; begun with a function; joined units: told when it is called."""
    text = RIGHT["a machine with links"] + "let loose = dense(3)\nlet on = chain([relu, loose])\n"
    session = face.load(text).compile().session()
    reasons = {
        "loose": "applied nowhere, so nothing says how large its ports are",
        "on": "begins with a function, which has no sizes",
        "T.down": "the energy is not linear in v",
    }
    for path, reason in reasons.items():
        with pytest.raises(DlnError) as caught:
            session.apply(path, np.ones((1, 2)))
        (problem,) = caught.value.problems
        assert problem.code == "E565"
        assert problem.message.startswith(f"{path} cannot be called on its own: ")
        assert problem.message.endswith(reason)
        assert problem.span is not None
    assert session.T.up(np.ones((4, 3))).shape == (4, 2)
    assert repr(session.loose) == "loose (cannot be called on its own)"
