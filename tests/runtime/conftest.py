"""A plan written by hand: linear regression in two phases, so that no compiler is needed.

`fit` minimises mean((w @ x + b - t)^2) / 2 with momentum, lr = rate * 0.98^epoch; `noisy` does
the same without momentum on inputs with normal noise. Its oracle is `reference` below.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dln.compiler.plan import (
    AppliedSpec,
    Buffer,
    Called,
    DataSpec,
    Division,
    Extent,
    FieldSpec,
    KeepSpec,
    Line,
    On,
    ParamSpec,
    PhaseSpec,
    Place,
    Plan,
    Portion,
    Program,
    ProgramKey,
    ProgramKind,
    ProgramTable,
    WatchSpec,
)
from dln.compiler.schema.keys import parse_clock
from dln.runtime.device.host import Host
from dln.runtime.device.kernels import normal
from dln.runtime.session import Session

SPEC = "data d = rows(...)\n  x[2]: real\n  t: real\nlet net = linear()\n"
N: tuple[Extent, ...] = ((0, 1),)
TWO: tuple[Extent, ...] = ((2, 0),)
X = N + TWO


def place(word: str) -> Place:
    start = SPEC.index(word)
    line = SPEC.count("\n", 0, start) + 1
    return Place("lin.dln", line, start - SPEC.rfind("\n", 0, start), start, start + len(word))


def program(
    name: str,
    buffers: list[tuple[str, str, tuple[Extent, ...]]],
    lines: list[str],
    clocks: tuple[str, ...] = (),
    dtype: str = "float64",
    capacity: int = 4,
) -> Program:
    """Buffers as (place, key, shape), called by their place in the list: v0, v1, ...."""
    made, slots = [], list[tuple[int, int]]()
    for i, (where, key, shape) in enumerate(buffers):
        slot = -1
        if where == "arena":
            slot = len(slots)
            slots.append((8, 16) if len(shape) > 1 else (64, 8))
        kind = "index" if key == "c" else "real"
        made.append(Buffer(f"v{i}", where, key, kind, shape, slot))
    head = ["def bind(xp, n, seed, v):", *(f'    v{i} = v["v{i}"]' for i in range(len(made)))]
    names = ", ".join(f"c{i}" for i in range(len(clocks)))
    head.append(f"    def run({names}):")
    text = "\n".join(
        [*head, *(f"        {line}" for line in lines or ["pass"]), "    return run", ""]
    )
    body = tuple(
        Line(c, f"line {i}", place("net"), *touched(c), call=Called("", *touched(c)))
        for i, c in enumerate(lines)
    )
    said = tuple(map(parse_clock, clocks))
    return Program(
        name, "numpy", dtype, capacity, said, tuple(made), {}, (), body, tuple(slots), text,
        len(head) + 1,
    )  # fmt: skip


def touched(code: str) -> tuple[tuple[str, ...], str]:
    """The buffers that a statement reads, and the one that it writes."""
    names = re.findall(r"v\d+", code)
    return tuple(names[:-1]), names[-1] if names else ""


RESIDUAL = [
    "xp.dot(v0, v2, out=v4)",
    "xp.add(v4, v3, out=v4)",
    "xp.subtract(v4, v1, out=v4)",
    "xp.multiply(v4, v4, out=v5)",
    "xp.sum(v5, 0, out=v6)",
]
STEP = [
    ("input", "x", X),
    ("input", "t", N),
    ("param", "net.w", TWO),
    ("param", "net.b", ()),
    ("arena", "", N),
    ("arena", "", N),
    ("value", "watch:error", ()),
    ("value", "loss", ()),
    ("arena", "", TWO),
]


def programs(dtype: str, rate: float) -> dict[str, Program]:
    gradient = ["xp.multiply(v6, 0.5 / n, out=v7)", "xp.dot(v4, v0, out=v8)"]
    fit = program(
        "step:fit",
        [*STEP, ("state", "fit.v:net.w", TWO)],
        [
            *RESIDUAL,
            *gradient,
            f"xp.multiply(v8, {rate} * 0.98 ** c0 / n, out=v8)",
            "xp.multiply(v9, 0.5, out=v9)",
            "xp.subtract(v9, v8, out=v9)",
            "xp.add(v2, v9, out=v2)",
        ],
        ("epoch",),
        dtype,
    )
    noisy = program(
        "step:noisy",
        [*STEP, ("arena", "", X)],
        [
            "normal(v9, seed, 7, c0)",
            "xp.multiply(v9, 0.1, out=v9)",
            "xp.add(v9, v0, out=v9)",
            "xp.dot(v9, v2, out=v4)",
            *RESIDUAL[1:],
            "xp.multiply(v6, 0.5 / n, out=v7)",
            "xp.dot(v4, v9, out=v8)",
            f"xp.multiply(v8, {rate} * (1 - c1) / n, out=v8)",
            "xp.subtract(v2, v8, out=v2)",
        ],
        ("update", "progress"),
        dtype,
    )
    grad = program(
        "grad:fit",
        [*STEP[:6], ("arena", "", ()), ("value", "net.w", TWO)],
        [*RESIDUAL, "xp.dot(v4, v0, out=v7)", "xp.multiply(v7, 1 / n, out=v7)"],
        (),
        dtype,
    )
    rms = program("watch:fit.rms", [*STEP[:6], ("value", "watch", ())], RESIDUAL, (), dtype)
    size = program(
        "watch:fit.size",
        [("input", "x", X), ("param", "net.w", TWO), ("value", "watch", ())],
        ["xp.dot(v1, v1, out=v2)"],
        (),
        dtype,
    )
    until = program("until:fit", [("value", "until", ())], ["v0.fill(c0 < 1e-9)"], ("watch:rms",))
    best = program("best:fit.0", [("value", "best", ())], ["v0.fill(c0)"], ("watch:rms",))
    init = program(
        "init:float64",
        [("value", "net.w", TWO), ("value", "net.b", ())],
        ["uniform(v0, seed, 3, 0)", "v1.fill(0.25)"],
    )
    states = program("states:fit", [("value", "fit.v:net.w", TWO)], ["v0.fill(0.0)"])
    start = program(
        "start:noisy",
        [("param", "net.w", TWO), ("value", "net.w", TWO)],
        ["xp.multiply(v0, 0.5, out=v1)"],
    )
    data = program(
        "data:d",
        [
            ("input", "raw:d.", N + ((4, 0),)),
            ("value", "x", X),
            ("value", "t", N),
            ("value", "c", N),
        ],
        [
            "xp.copyto(v1, v0[:, :2])",
            "xp.copyto(v2, v0[:, 2])",
            "xp.copyto(v3, v0[:, 3], 'unsafe')",
        ],
    )
    net = program(
        "apply:net",
        [("input", "x", X), ("param", "net.w", TWO), ("param", "net.b", ()), ("value", "y", N)],
        ["xp.dot(v0, v1, out=v3)", "xp.add(v3, v2, out=v3)"],
        (),
        dtype,
    )
    every = (fit, noisy, grad, rms, size, until, best, init, states, start, data, net)
    return {p.name: p for p in every}


def rows(n: int) -> list[list[float]]:
    """x0, x1, t = 2 x0 - x1 + 0.25, and a class."""
    x = np.random.default_rng(5).uniform(-1, 1, (n, 2))
    t = x @ [2.0, -1.0] + 0.25
    return [[*map(float, a), float(b), i % 3] for i, (a, b) in enumerate(zip(x, t, strict=True))]


def make_plan(n: int = 11, dtype: str = "float64", rate: float = 0.5, **changes: Any) -> Plan:
    """The plan over n examples: parts `all`, `fit` (all but 3) and `valid` (the last 3)."""
    fields = (
        FieldSpec("x", (2,), "real", place=place("x[2]")),
        FieldSpec("t", (), "real", place=place("t: real")),
        FieldSpec("c", (), "index", "class", 3),
    )
    data = DataSpec(
        name="d", reader="rows", args=(rows(n),), options={}, base=".", override=None,
        raw=(FieldSpec("", (4,), "real"),), fields=fields, drawn=False, count=n,
        parts={"all": Portion(n, (0, 1)), "fit": Portion(n - 3, (0,)), "valid": Portion(3, (1,))},
        division=Division((n - 3, 3)), place=place("d = rows"),
    )  # fmt: skip
    watches = (
        watched("error", (1, "epoch"), ("x", "t"), per_example=True),
        watched("size", (2, "update"), ("x",), ProgramKind.WATCH.of("fit", "size")),
        watched(
            "rms", (3, "update"), ("x", "t"), ProgramKind.WATCH.of("fit", "rms"),
            on=On("d", "valid"), per_example=True,
        ),
    )  # fmt: skip
    fit = PhaseSpec(
        name="fit", on=On("d", "fit"), batch=3, duration=(4, "epoch"), order="shuffled",
        balanced=None, dtype=None, seed=None, after=(), fields=("x", "t"), slow=False,
        states={"fit.v:net.w": (2,)}, watches=watches, keeps=(KeepSpec((5, "update"), None),),
        starts=(), until=(), place=None,
    )  # fmt: skip
    noisy = fit.changed(
        name="noisy", on=On("d", "all"), batch=4, order="replacement", seed=9, states={},
        watches=(watches[0].changed(every=None),), starts=("net.w",), after=("fit",),
    )  # fmt: skip
    net = AppliedSpec(ProgramKind.APPLY.of("net"), (FieldSpec("x", (2,), "real"),), ("y",))
    shapes = {"net.w": (2,), "net.b": ()}
    return Plan(
        "lin", "numpy", dtype, ProgramTable(programs(dtype, rate)),
        {path: ParamSpec(shape, None, path=path) for path, shape in shapes.items()},
        {"d": data}, {"fit": fit.changed(**changes), "noisy": noisy}, {"net": net},
        {}, {"lin.dln": SPEC}, {}, f"lin-{n}-{dtype}",
    )  # fmt: skip


def watched(
    name: str,
    every: tuple[int, str] | None,
    fields: tuple[str, ...],
    program: ProgramKey | None = None,
    on: On | None = None,
    per_example: bool = False,
    **more: Any,
) -> WatchSpec:
    """A watch that is a mean, unless it is said to be a total."""
    said = {"total": False, "place": None, **more}
    return WatchSpec(
        program=program, name=name, per_example=per_example, on=on, every=every, fields=fields,
        **said,
    )  # fmt: skip


@pytest.fixture(name="watched")
def watched_fixture() -> Callable[..., WatchSpec]:
    return watched


def reference_fit(
    w: np.ndarray, b: float, x: np.ndarray, t: np.ndarray, batches: list[np.ndarray], per_epoch: int
) -> tuple[np.ndarray, list[float]]:
    """Momentum by hand, minibatch by minibatch; the losses before each update."""
    w, v, losses = w.copy(), np.zeros(2), []
    for update, i in enumerate(batches):
        r = x[i] @ w + b - t[i]
        losses.append(float(np.sum(r * r) / len(i) / 2))
        v = 0.5 * v - 0.5 * 0.98 ** (update // per_epoch) * (r @ x[i]) / len(i)
        w = w + v
    return w, losses


def reference_noisy(
    w: np.ndarray, b: float, x: np.ndarray, t: np.ndarray, batches: list[np.ndarray]
) -> np.ndarray:
    w = w.copy()
    for update, i in enumerate(batches):
        noise = np.empty((len(i), 2))
        normal(noise, 9, 7, update)
        z = noise * 0.1 + x[i]
        r = z @ w + b - t[i]
        w = w - 0.5 * (1 - update / len(batches)) * (r @ z) / len(i)
    return w


@pytest.fixture
def plan() -> Callable[..., Plan]:
    return make_plan


@pytest.fixture
def session() -> Callable[..., Session]:
    def make(seed: int = 1, **options: Any) -> Session:
        return Session(make_plan(**options), Host(), seed)

    return make


@pytest.fixture
def table() -> Callable[[int], np.ndarray]:
    def made(n: int = 11) -> np.ndarray:
        return np.array(rows(n))

    return made


@pytest.fixture
def by_hand() -> tuple[Any, Any]:
    return reference_fit, reference_noisy


@pytest.fixture
def hand_program() -> Callable[..., Program]:
    return program
