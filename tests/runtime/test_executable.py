"""Executables: buffers, memory, the gate for program texts, faults found again."""

from __future__ import annotations

import ast
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from dln.compiler.plan import Buffer, Called, Line, Place, Program, arena_bytes
from dln.grammar.diagnostics import Fault
from dln.runtime.device.host import Host
from dln.runtime.execution.executable import Executable, culprit
from dln.runtime.execution.sandbox import check

LOG = Called("log", ("v0",), "v3")
TEXT = """\
def bind(xp, n, seed, v):
    v0 = v["v0"]
    v1 = v["v1"]
    v2 = v["v2"]
    v3 = v["v3"]
    v4 = v["v4"]
    v5 = v["v5"]
    log = xp.log
    multiply = xp.multiply
    add_reduce = xp.add.reduce
    w0 = v1[None]

    def run(rate):
        log(v0, out=v3)
        multiply(v3, w0, out=v3)
        add_reduce(v3, axis=1, out=v4)
        s0 = rate * math.exp(0.0)
        v5.fill(s0)
        multiply(v1, v5, out=v1)
        multiply(v1, v2, out=v1)

    return run
"""


def program(**changes: Any) -> Program:
    """y = sum(log(x) * W) for each example, and W = W * rate * 2."""
    place = Place("a.dln", 3, 1, 20, 30)
    rows: tuple[tuple[int, int], ...] = ((0, 1), (3, 0))
    made = Program(
        name="t",
        target="numpy",
        dtype="float64",
        capacity=4,
        clocks=("rate",),
        buffers=(
            Buffer("v0", "input", "x", "real", rows),
            Buffer("v1", "param", "W", "real", ((3, 0),)),
            Buffer("v2", "const", "", "real", ()),
            Buffer("v3", "arena", "", "real", rows, 0),
            Buffer("v4", "value", "y", "real", ((0, 1),)),
            Buffer("v5", "scalar", "", "real", ()),
        ),
        constants={"v2": 2.0},
        setup=(),
        lines=(
            Line("log(v0, out=v3)", "log(x)", place, ("v0",), "v3", call=LOG),
            Line("multiply(v3, w0, out=v3)", "log(x) * W", place, ("v3", "v1"), "v3"),
            Line("add_reduce(v3, axis=1, out=v4)", "sum(log(x) * W)", None, ("v3",), "v4"),
        ),
        slots=((0, 24),),
        text=TEXT,
        first=14,
    )
    return made.changed(**changes)


@pytest.fixture
def params() -> dict[str, np.ndarray]:
    return {"W": np.array([1.0, 2.0, 3.0])}


def test_it_runs_and_updates_in_place(params: dict[str, np.ndarray]) -> None:
    W = params["W"]
    bound = Executable(program(), Host(), params, {}).at(2)
    bound.inputs["x"][...] = np.e
    bound.run(0.5)
    assert bound.values["y"].tolist() == pytest.approx([6.0, 6.0])
    assert W is params["W"] and W.tolist() == [1.0, 2.0, 3.0]
    bound.run(1.0)
    assert W.tolist() == [2.0, 4.0, 6.0]


def test_any_number_of_examples(params: dict[str, np.ndarray]) -> None:
    executable = Executable(program(), Host(), params, {})
    for n in (4, 1, 3, 9, 2):
        bound = executable.at(n)
        bound.inputs["x"][...] = np.e ** np.arange(1, n + 1)[:, None]
        bound.run(0.5)
        assert bound.values["y"] == pytest.approx(6.0 * np.arange(1, n + 1))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_poison_is_no_number_no_place_and_no_truth_value(dtype: str) -> None:
    shape = ((4, 0),)
    buffers = [Buffer(k, "arena", "", k, shape, i) for i, k in enumerate(("real", "index", "bool"))]
    buffers += [Buffer("y", "value", "y", "real", shape), Buffer("z", "value", "z", "bool", shape)]
    text = "def bind(xp, n, seed, v):\n    def run():\n        pass\n\n    return run\n"
    made = program(
        dtype=dtype, buffers=tuple(buffers), constants={}, clocks=(), lines=(), text=text,
        slots=((32, 0), (32, 0), (4, 0)),
    )  # fmt: skip
    device = Host()
    device.poisons = True
    bound = Executable(made, device, {}, {}).at(1)
    for array in bound.buffers.values():
        array.fill(0)
    bound.run()
    for name in ("real", "y"):
        assert np.isnan(bound.buffers[name]).all()
        with np.errstate(invalid="raise"), pytest.raises(FloatingPointError):
            np.add(bound.buffers[name], 1.0)
    with pytest.raises(IndexError):
        np.arange(9).take(bound.buffers["index"])
    truths = [bound.buffers[k].view("uint8") for k in ("bool", "z")]
    assert all((a > 1).all() for a in truths)


def test_bounds_are_kept_and_share_their_memory(params: dict[str, np.ndarray]) -> None:
    executable = Executable(program(), Host(), params, {})
    four, two = executable.at(4), executable.at(2)
    assert executable.at(4) is four
    assert np.shares_memory(four.inputs["x"], two.inputs["x"])
    assert np.shares_memory(four.buffers["v3"], two.buffers["v3"])
    assert all(a.flags.c_contiguous for a in two.buffers.values())


def test_an_outgrown_bound_still_works(params: dict[str, np.ndarray]) -> None:
    executable = Executable(program(), Host(), params, {})
    small, large = executable.at(2), executable.at(10)
    for bound in (small, large, small):
        bound.inputs["x"].fill(np.e)
        bound.run(0.5)
        assert bound.values["y"] == pytest.approx([6.0] * bound.n)
    assert executable.at(2) is not small


def test_other_arrays_can_be_bound(params: dict[str, np.ndarray]) -> None:
    executable = Executable(program(), Host(), params, {})
    executable.at(1).run(0.5)
    params["W"] = np.zeros(3)
    executable.rebind(params, {})
    bound = executable.at(1)
    bound.inputs["x"].fill(np.e)
    bound.run(0.5)
    assert bound.values["y"] == [0.0]


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ({}, 'the param "W" is missing'),
        ({"W": np.zeros(4)}, r'"W" has shape \(4,\) and type float64, not \(3,\) and float64'),
        ({"W": np.zeros(3, np.float32)}, "type float32, not"),
    ],
)
def test_parameters_that_do_not_fit(held: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(Fault, match=message):
        Executable(program(), Host(), held, {})


def test_no_examples_is_a_fault(params: dict[str, np.ndarray]) -> None:
    with pytest.raises(Fault, match="at least one example, not 0"):
        Executable(program(), Host(), params, {}).at(0)


def test_memory_is_refused_before_it_is_taken(params: dict[str, np.ndarray]) -> None:
    class Full(Host):
        def memory_available(self) -> int:
            return 3 * 2**20

        def empty(self, nbytes: int) -> np.ndarray:
            raise AssertionError("nothing may be allocated")

    executable = Executable(program(), Full(), params, {})
    assert arena_bytes(program(), 10**5) >= 24 * 10**5
    with pytest.raises(Fault, match="takes 5 MiB, and 3 MiB are free") as caught:
        executable.at(10**5)
    assert caught.value.remedy == "use a smaller batch"


def test_a_refused_batch_leaves_the_smaller_ones_working(params: dict[str, np.ndarray]) -> None:
    class Small(Host):
        def memory_available(self) -> int:
            return 2**20

    executable = Executable(program(), Small(), params, {})
    small = executable.at(2)
    with pytest.raises(Fault, match="use a smaller|are free"):
        executable.at(10**5)
    assert executable.at(2) is small
    executable.at(3).run(0.5)


def test_another_device_runs_the_same_program(params: dict[str, np.ndarray]) -> None:
    """A device that is not the host, backed by NumPy, that hands out an array module of its own."""
    calls: list[str] = []

    def recorded(name: str) -> Any:
        def call(*args: object, **options: object) -> object:
            calls.append(name)
            return getattr(np, name)(*args, **options)

        return call

    class Fake(Host):
        name = "cupy"
        xp = ModuleType("of its own")

    vars(Fake.xp).update(log=recorded("log"), multiply=recorded("multiply"), add=np.add)
    bound = Executable(program(target="cupy"), Fake(), params, {}).at(1)
    bound.inputs["x"].fill(np.e)
    bound.run(0.5)
    assert bound.values["y"] == pytest.approx([6.0])
    assert calls == ["log", "multiply", "multiply", "multiply"]


# ---- when a step fails -------------------------------------------------------------------------


def test_a_numerical_fault_is_found_in_line_and_example(params: dict[str, np.ndarray]) -> None:
    executable = Executable(program(), Host(), params, {})
    bound = executable.at(3)
    bound.inputs["x"][...] = 1.0
    bound.inputs["x"][1, 2] = -1.0
    with np.errstate(all="raise"), pytest.raises(FloatingPointError) as caught:
        bound.run(0.5)
    stopped = executable.stopped(caught.value)
    assert stopped is not None and stopped.line == program().lines[0]
    assert culprit(bound, stopped.line) == 1
    found = executable.operands(3, stopped)
    assert found is not None
    (x,) = found  # as they were: the result took their place
    assert x[1].tolist() == [1.0, 1.0, -1.0]


def test_errors_from_elsewhere_have_no_line(params: dict[str, np.ndarray]) -> None:
    executable = Executable(program(), Host(), params, {})
    try:
        raise FloatingPointError
    except FloatingPointError as e:
        assert executable.stopped(e) is None


def test_finite_numbers_have_no_culprit(params: dict[str, np.ndarray]) -> None:
    bound = Executable(program(), Host(), params, {}).at(2)
    bound.inputs["x"].fill(1.0)
    bound.run(0.5)
    assert culprit(bound, program().lines[1]) is None


# ---- the gate ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "import os",
        "xp.load('secret')",
        "xp.fromfile('x')",
        "xp.lib.format.open_memmap('x')",
        "xp.dot.__globals__",
        "().__class__",
        "'{0.__class__}'.format(v)",
        "__import__('os')",
        "lambda: 0",
        "[x for x in v]",
        "v.tofile('x')",
        "math.__loader__",
        "global x",
        "while True: pass",
        "def other(): pass",
        "@xp\ndef run(): pass",
        "f'{v}'",
        "class A: pass",
        "a = b = yield",
    ],
)
def test_texts_that_do_more_than_compute_are_refused(code: str) -> None:
    body = "\n".join("    " + line for line in code.splitlines())
    with pytest.raises(Fault, match="a program text may not"):
        check(ast.parse(f"def bind(xp, n, seed, v):\n{body}\n"))


def test_a_text_sees_no_builtins(params: dict[str, np.ndarray]) -> None:
    text = TEXT.replace('    v0 = v["v0"]\n', '    v0 = v["v0"]\n    open("x")\n')
    executable = Executable(program(text=text), Host(), params, {})
    with pytest.raises(NameError, match="open"):
        executable.at(1)
