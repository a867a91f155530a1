"""The verifier of program texts. The oracle is memory itself: a text reads what it has not written
where its results depend on what the memory held before."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest

import dln
from dln.compiler.lower.definite import faults, verify_program
from dln.compiler.plan import Buffer, Program, product
from dln.grammar.diagnostics import Fault
from dln.runtime.device.host import Host
from dln.runtime.execution.executable import Executable

SPECS = {
    "loops": """
data d = synthetic("adding", 5, 30) {
  x[time, 2] = raw.x
  t[1] = raw.t
}
block net(x[time, n]) -> y {
  param W[3, n] ~ normal(0, 0.5), U[3, 3] ~ normal(0, 0.5), v[3] ~ normal(0, 0.5)
  scan t in time {
    h[t] = tanh(W @ x[t] + U @ h[t-1] + 0.1 * h[t-2])
    k[t, i] = sigmoid(sum(j: U[i, j] * h[t, j])) * x[t-1, 0]
  }
  y = v @ last(h) + sum(k[1]) + sum(k * h)
}
let f = net()
train p on d batch 4 for 1 epoch dtype float64 {
  minimize (f(x) - t[0])^2 over f with adam(lr = 0.01)
}
""",
    "stream": """
data d = text("letters.txt") {
  c[time]: class(V)    = raw[:-1]
  next[time]: class(V) = raw[1:]
  set window = 4
}
block net(c[time]: class(V)) -> z[time, V]: logit {
  param W[3, V] ~ normal(0, 0.5), U[3, 3] ~ normal(0, 0.5)
  scan t in time {
    h[t] = tanh(W[:, c[t]] + U @ h[t-1] * sigmoid(max(h[t-1])))
  }
  z = h -> dense(V)
}
let f = net()
train p on d stream 3 for 1 epoch dtype float64 {
  minimize sum(time: cross_entropy(f(c), next)) over f with sgd(lr = 0.1)
}
""",
    "draws": """
data d = synthetic("adding", 6, 40) {
  x[time, 2] = raw.x
}
block net(x[time, n]) -> y[time, 2] {
  param W[2, n] ~ normal(0, 0.5), U[2, 2] ~ normal(0, 0.5)
  h[-1] = ones(2)
  scan t in time {
    h[t] = tanh(W @ x[t] + U @ h[t-1])
  }
  y = softmax(h)
}
let f = net()
train p on d batch 8 for 1 epoch dtype float64 {
  keep ~ bernoulli(0.5 * ones(2))
  state age[2] = 0
  age := age + keep
  minimize sum(time: -log(f(x) @ [0.25, 0.75])) + sum(keep * f(x)[1]) over f with sgd(lr = 0.1)
}
""",
    "chain": """
data d = rows([[0, 1, 1, 0], [1, 1, 0, 0]]) {
  x[4]: binary = raw
}
block rbm(v[n]: binary; m) {
  hidden h[m]: binary
  param W[n, m] ~ normal(0, 0.5), a[n] = 0.1, b[m] = -0.1
  energy = -(a @ v) - (b @ h) - (v @ W @ h)
}
let R = rbm(3)
train p on d batch 2 for 1 epoch dtype float64 {
  minimize cd(R, x, k = 12) over R with sgd(lr = 0.1)
}
""",
    "wide": """
data d = rows([[0, 1, 2, 3, 4, 5, 6, 7, 8]]) {
  x[3, 3] = [raw[0:3], raw[3:6], raw[6:9]]
}
block conv(x[a, b]) -> y {
  param K[2, 2, 2] ~ normal(0, 0.5), c[3] ~ normal(0, 0.5)
  f[o, i, j] = sum(u, v: K[o, u, v] * x[i + u, j + v])
  g = max(f, 0)
  s = softmax(c + x[0])
  y = sum(g^2) + s[1] - log(sum(exp(c))) + max(c * x[2])
}
let f = conv()
train p on d batch 2 for 1 epoch dtype float64 {
  minimize f(x / 10)^2 over f with sgd(lr = 0.1)
}
""",
}


@pytest.fixture(scope="module", params=SPECS)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """The step of one of the specs."""
    letters = tmp_path_factory.mktemp("data") / "letters.txt"
    letters.write_text("abcacbabcabbcabacbcabcabcbacbabc" * 4, encoding="utf-8")
    paths = {"d": str(letters)} if "letters" in SPECS[request.param] else {}
    plan = dln.load(SPECS[request.param], data_paths=paths).compile(dtype="float64").plan
    made: Program = plan.programs["step:p"]
    return made


# ---- what memory says ----------------------------------------------------------------------------


def outcome(made: Program, word: int) -> list[bytes] | None:
    """All that a step leaves, on memory that held `word`; None where it cannot run."""
    rng = np.random.default_rng(1)
    held: dict[str, dict[str, np.ndarray]] = {"param": {}, "state": {}}
    for b in made.buffers:
        if b.place in held:
            held[b.place][b.key] = rng.uniform(0.2, 0.8, b.shape_at(made.capacity))
    executable = Executable(made, Quiet(), held["param"], held["state"])
    bound = executable.at(made.capacity)
    for array in bound.inputs.values():
        array[...] = rng.uniform(0.2, 0.8, array.shape) if array.dtype == "float64" else 1
    for raw in executable._storage.values():
        if not any(np.shares_memory(raw, a) for a in bound.inputs.values()):
            raw.view(np.uint64).fill(word)
    with np.errstate(all="ignore"):
        try:
            bound.run(*[1.0 for _ in made.clocks])
        except (IndexError, ValueError, NameError, TypeError):
            return None
    left = [*bound.values.values(), *held["param"].values(), *held["state"].values()]
    return [a.tobytes() for a in left]


class Quiet(Host):
    """A device that leaves the memory as the test has filled it."""

    poisons = False


def reads_what_was_there(made: Program) -> bool:
    """Whether two numbers in the memory before a step lead to two results, each buffer of the arena
    in a place of its own: what another has left there is no value either."""
    buffers = [b.changed(slot=i) for i, b in enumerate(made.buffers)]
    sizes = [product(b.shape) for b in buffers]
    slots = tuple((8 * a, 8 * b) for a, b in sizes)
    made = made.changed(buffers=tuple(buffers), slots=slots, below=())
    return outcome(made, 0x3FE1111111111111) != outcome(made, 0x4011111111111111)


# ---- faults planted in texts ---------------------------------------------------------------------


def mutants(made: Program) -> Iterator[tuple[str, Program]]:
    """The program with one statement gone, two in the other order, one that reads or writes another
    buffer, or a loop that is a step shorter."""
    head, body = made.first - 1, len(made.lines)
    lines = made.text.split("\n")
    shapes = {b.name: (b.shape, b.kind) for b in made.buffers if b.place in ("arena", "value")}

    def changed(at: int, *now: str) -> Program:
        count = max(len(now), 1)
        return made.changed(text="\n".join([*lines[:at], *now, *lines[at + count :]]))

    def redirected(at: int) -> Iterator[tuple[str, Program]]:
        line = lines[at]
        for name in dict.fromkeys(re.findall(r"\bv\d+\b", line.partition("  #")[0])):
            for other in [o for o in shapes if o != name and shapes[o] == shapes.get(name)][:2]:
                yield "redirected", changed(at, re.sub(rf"\b{name}\b", other, line, count=1))

    for i in (i for i in range(head) if " = gemm(" in lines[i]):
        yield from redirected(i)
    for i in range(head, head + body):
        line = lines[i]
        code = line.partition("  #")[0]
        if "for t in" in line:
            first, *rest = re.findall(r"-?\d+", code.partition("range")[2])
            for short in (f"{int(first) - 1}", f"1, {first}") if not rest else (
                f"{int(first) - 1}, -1, -1", f"{first}, 0, -1"):  # fmt: skip
                yield "shorter", changed(i, f"        for t in range({short}):")
            continue
        if "if looked" in line:
            continue
        yield "gone", changed(i, " " * (len(line) - len(line.lstrip())) + "0")
        after = lines[i + 1]
        heads = ("return", "for t in", "if looked")
        if after.strip() and not any(word in after for word in heads):
            if len(after) - len(after.lstrip()) == len(line) - len(line.lstrip()):
                yield "swapped", changed(i, after, line)
        yield from redirected(i)


def test_what_depends_on_the_memory_before_is_found(program: Program) -> None:
    assert list(faults(program)) == [] and not reads_what_was_there(program)
    every = list(mutants(program))
    caught: dict[str, int] = {}
    for kind, mutant in every[:: max(1, len(every) // 25)]:
        if reads_what_was_there(mutant):
            assert list(faults(mutant)), f"{kind}\n{mutant.text}"
            caught[kind] = caught.get(kind, 0) + 1
    assert sum(caught.values()) >= 4


# ---- by hand -------------------------------------------------------------------------------------

HEAD = """def bind(xp, n, seed, v):
    v0 = v["v0"]
    v1 = v["v1"]
    v2 = v["v2"]
    v3 = v["v3"]
SETUP
    def run(update):
STEP
    return run
"""
ROWS = "w0 = [v1[i, ...] for i in range(4)]"


def hand(step: str, setup: str = ROWS, slots: tuple[int, ...] = (0, 1)) -> Program:
    """x [n, 2]; two pieces of the arena, [4, n, 2] and [n, 2]; a value [n, 2]."""
    long, flat = ((4, 0), (0, 1), (2, 0)), ((0, 1), (2, 0))
    buffers = (
        Buffer("v0", "input", "x", "real", flat),
        Buffer("v1", "arena", "", "real", long, slots[0]),
        Buffer("v2", "arena", "", "real", flat, slots[1]),
        Buffer("v3", "value", "y", "real", flat),
    )
    setup = "".join(f"    {line.strip()}\n" for line in setup.strip().splitlines())
    step = "".join(f"        {line}\n" for line in step.strip("\n").splitlines())
    text = HEAD.replace("SETUP\n", setup).replace("STEP\n", step)
    sizes = ((0, 64), (0, 64))
    return Program("t", "numpy", "float64", 4, ("update",), buffers, {}, (), (), sizes, text, 0)


FILLED = """
for t in range(4):
    xp.add(v0, 1.0, out=w0[t])
xp.add.reduce(v1, axis=(0,), out=v3)
"""


def test_rows_that_a_loop_has_written_are_whole_afterwards() -> None:
    assert list(faults(hand(FILLED))) == []
    backwards = FILLED.replace("range(4)", "range(3, -1, -1)")
    assert list(faults(hand(backwards))) == []


SECOND = "xp.copyto(v2, v0)\nxp.add.reduce(v1, axis=(0,), out=v3)"
JOINED = "w0 = xp.broadcast_to(v0[:, None, :], (n, 2, 2))\nw1 = w0.reshape((n, 4))[:, :2]"
WRONG = [
    ("xp.add(v0, v2, out=v3)", "", "v2 (arena) is read before it is written"),
    (FILLED.replace("range(4)", "range(3)"), ROWS, "v1 (arena) is read"),
    (FILLED.replace("range(4)", "range(5)"), ROWS, "there is no row 4"),
    (FILLED.replace("v0, 1.0", "v0, v2"), ROWS, "v2 (arena) is read"),
    ("xp.copyto(v2, v0)", "", "v3 (value y) is not written"),
    ("xp.copyto(v3, v0, where=v0)", "", "v3 (value y) is read"),
    ("xp.copyto(v0, v0)\nxp.copyto(v3, v0)", "", "v0 (input x) is written"),
    ("xp.copyto(v2, v0)\nxp.copyto(w0, v2)", "w0 = v3[:, 0]", "v3 (value y) is not written"),
    ("xp.copyto(v3, w1)", JOINED, "w1 is a copy of w0"),
    ("xp.mystery(v0, out=v3)", "", "nothing is known of mystery"),
    ("uniform(v3, seed, s3, update)", "", "s3 is not known"),
    ("xp.copyto(v3, w0)", "w0 = v0[0:9]", "rows"),
]


@pytest.mark.parametrize(("step", "setup", "wrong"), WRONG)
def test_what_is_wrong_is_said(step: str, setup: str, wrong: str) -> None:
    assert wrong in "\n".join(faults(hand(step, setup)))


def test_a_buffer_takes_its_slot_from_another() -> None:
    assert list(faults(hand(FILLED + SECOND))) == []
    assert "v1 (arena) is read" in "\n".join(faults(hand(FILLED + SECOND, slots=(1, 1))))


def test_a_buffer_takes_the_memory_of_slots_that_may_share_it() -> None:
    for below, wrong in ((((), ()), True), (((), (0,)), False), ((), False)):
        said = "\n".join(faults(hand(FILLED + SECOND).changed(below=below)))
        assert ("v1 (arena) is read" in said) is wrong and bool(said) is wrong


def test_a_row_is_there_once_its_step_has_written_it() -> None:
    """h[t] from h[t-1]: the first value before the loop, then each row after the one before."""
    setup = (
        "w0 = [v1[i, ...] for i in range(3)]\nw1 = [v1[i + 1, ...] for i in range(3)]\nw2 = v1[0]"
    )
    step = "xp.copyto(w2, v0)\nfor t in range(3):\n    xp.tanh(w0[t], out=w1[t])\n"
    step += "xp.maximum.reduce(v1, axis=(0,), out=v3)"
    assert list(faults(hand(step, setup))) == []
    assert "is read" in "".join(faults(hand(step.replace("xp.copyto(w2, v0)\n", ""), setup)))
    ring = setup.replace("[i + 1,", "[(i + 1) % 2,").replace("v1[i,", "v1[i % 2,")
    assert "is read" in "".join(faults(hand(step, ring)))
    assert list(faults(hand(step.replace("reduce(v1, axis=(0,)", "reduce(w1[2]"), ring)))


def test_a_buffer_that_its_slot_cannot_hold() -> None:
    small = hand(FILLED).changed(slots=((0, 48), (0, 64)))
    assert list(faults(small)) == ["v1 does not fit into slot 0"]


def test_a_program_that_fails_is_refused() -> None:
    with pytest.raises(Fault, match="the memory of t is not sound: line 7, "):
        verify_program(hand("xp.copyto(v3, v2)", ""))
