"""Whatever is handed in from Python works, or is a `DlnError` that says what was expected.

Each value goes to each verb. What works is told by the numbers that it gives.
"""

import os
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

import dln
from dln import DlnError

TEXT = """const rate = 0.1
data points = rows([[0, 1], [1, 3], [2, 5], [3, 7]]) {
  x[1] = raw[:1]
  t[1] = raw[1:]
}
block seq(s[time, 2]) -> z[1] {
  param W[1, 2] = 1
  z = W @ last(s)
}
let line = dense(1)
let q = seq()
train fit on points.all batch 2 for 2 epochs {
  minimize sum((line(x) - t)^2) over line with sgd(lr = rate)
  watch e = sum((line(x) - t)^2) every 1 epoch
}
"""


class Odd:
    """Has nothing that anybody wants, and refuses to be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


class Faulty:
    """An array that cannot be had."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("no array today")


class Frame:
    """A table as pandas has it: an array on request, rows that are no numbers."""

    values = np.array([["a", 1]], object)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.values if dtype is None else self.values.astype(dtype)

    def __len__(self) -> int:
        return 1


ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)

VALUES: dict[str, Any] = {
    "None": None, "int64": np.int64(7), "uint8": np.uint8(7), "float32": np.float32(7), "-1": -1,
    "2^70": 2**70, "10^400": 10**400, "nan": float("nan"), "inf": float("inf"), "text": "7",
    "empty": "", "bytes": b"7", "list": [1], "ragged": [[1], [1, 2]], "array": np.array([1, 2]),
    "number": np.array(3), "nothing": np.zeros(0), "no rows": np.zeros((0, 1)), "True": True,
    "bool_": np.bool_(True), "1.5": 1.5, "object": Odd(), "objects": np.array([Odd()]), "1j": 1j,
    "dict": {}, "by number": {1: 2}, "tuple": (1,), "function": len, "range": range(3),
    "set": {1}, "surrogate": "\ud800", "nul": "a\0b", "long": "x" * 300, "lines": "a\nb",
    "Decimal": Decimal(3), "Fraction": Fraction(1, 2), "faulty": Faulty(), "nan array": [[np.nan]],
    "texts": np.array([["a"]]), "dates": np.array([["2020-01-01"]], "datetime64[D]"),
    "structured": np.zeros(2, [("a", "f4")]), "big-endian": np.ones((2, 1), ">f8"),
    "Fortran": np.asfortranarray(np.ones((2, 1))), "half": np.ones((2, 1), np.float16),
    "every other": np.ones((4, 1))[::2], "deep": np.ones((1,) * 30), "uint64": np.uint64(2**63),
    "folder": Path("/"), "device": Path("/dev/zero"), "nowhere": Path("/nowhere/at/all"),
    "proc": "/proc/self/mem", "masked": np.ma.masked_array([[1.0], [2.0]], [[True], [False]]),
    "frame": Frame(), "class": Odd, "endless": ENDLESS, "complex": np.ones((2, 1), complex),
    "float64": np.float64("nan"), "-0.0": -0.0, "bytearray": bytearray(b"7"), "None in": [None],
    "event": Event, "1e308": 1e308, "dtype": np.float32, "inf array": [[np.inf]],
}  # fmt: skip


def few(value: Any) -> Any:
    """A number of epochs that does not take for ever."""
    return 3 if isinstance(value, int | np.integer) and value > 9 else value


NAMED = {"load": ("rat", "rat"), "compile": ("backnd", "backend="), "session": ("sed", "seed="),
         "train": ("epcohs", "epochs"), "save": ("pth", "path="), "step": ("feilds", "x"),
         "text": ("programm", "program="), "line": ("X", "x")}  # fmt: skip
"""For each verb a keyword that it has not, and what its answer names."""


def misspelt(verb: str, session: Any, value: Any) -> None:
    """A verb with a keyword that it has not: refused, whatever the value."""
    word, near = NAMED[verb]
    owner = {"load": dln, "compile": SPEC, "session": PLAN, "text": PLAN}.get(verb, session)
    first = {"load": [TEXT], "train": ["fit"], "step": ["fit"]}.get(verb, [])
    with pytest.raises(DlnError) as caught:
        getattr(owner, verb)(*first, **{word: value})
    assert near in str(caught.value)
    raise caught.value


NOTHING: Any = None
SPEC = dln.load(TEXT)
PLAN = SPEC.compile()
VERBS: dict[str, Callable[[Any, Any], Any]] = {
    "load": lambda s, v: dln.load(v),
    "load const": lambda s, v: dln.load(TEXT, rate=v),
    "load unknown const": lambda s, v: dln.load(TEXT, rat=v),
    "load data_paths": lambda s, v: dln.load("mlp", data_paths=v),
    "load a data path": lambda s, v: dln.load("mlp", data_paths={"mnist": v}),
    "compile backend": lambda s, v: SPEC.compile(backend=v),
    "compile dtype": lambda s, v: SPEC.compile(dtype=v),
    "compile threads": lambda s, v: SPEC.compile(threads=v),
    "text": lambda s, v: PLAN.text(v),
    "seed": lambda s, v: PLAN.session(seed=v),
    "train": lambda s, v: s.train(v),
    "train several": lambda s, v: s.train([v]),
    "train epochs": lambda s, v: s.train("fit", epochs=few(v)),
    "train limit": lambda s, v: s.train("fit", limit=v),
    "train data": lambda s, v: s.train("fit", data=v),
    "train given data": lambda s, v: s.train("fit", data={"points": v}),
    "train pairs": lambda s, v: s.train("fit", data={"points": (v, v)}),
    "train hooks": lambda s, v: s.train("fit", hooks=v),
    "train rundir": lambda s, v: s.train("fit", rundir=v),
    "train stop": lambda s, v: s.train("fit", stop=v),
    "train resume": lambda s, v: s.train("fit", resume=v),
    "step phase": lambda s, v: s.step(v, x=[[1]], t=[[1]]),
    "step": lambda s, v: s.step("fit", x=v, t=[[1]]),
    "step both": lambda s, v: s.step("fit", x=v, t=v),
    "grad path": lambda s, v: s.grad("fit", v, x=[[1]], t=[[1]]),
    "grad": lambda s, v: s.grad("fit", "line.W", x=[[1]], t=v),
    "apply path": lambda s, v: s.apply(v, [[1]]),
    "apply": lambda s, v: s.apply("line", v),
    "by port": lambda s, v: s.line(x=v),
    "a sequence": lambda s, v: s.q(v),
    "lengths": lambda s, v: s.q([[[1, 2], [3, 4]]], v),
    "evaluate": lambda s, v: s.evaluate(v),
    "evaluate fields": lambda s, v: s.evaluate("step:fit", v),
    "save": lambda s, v: s.save(v),
    "load file": lambda s, v: s.load(v),
    "params": lambda s, v: s.params[v],
    "set params": lambda s, v: s.params.__setitem__("line.b", v),
    "item": lambda s, v: s[v],
    "phase": lambda s, v: s.phase(v),
    "session read": lambda s, v: PLAN.session(read=v),
    "restore": lambda s, v: s.restore(v),
    "evaluate params": lambda s, v: s.evaluate("step:fit", {"x": [[1]], "t": [[1]]}, params=v),
    "evaluate clock": lambda s, v: s.evaluate("step:fit", {"x": [[1]], "t": [[1]]}, update=v),
    "train one hook": lambda s, v: s.train("fit", hooks=[v]),
    **{f"{name}, misspelt": partial(misspelt, name) for name in NAMED},
}


def state_of(session: Any) -> dict[str, bytes]:
    """The bits of all parameters."""
    return {path: session.params[path].tobytes() for path in session.params}


@pytest.mark.parametrize("verb", VERBS)
def test_everything_into(verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    session = PLAN.session()
    raw = []
    for name, value in VALUES.items():
        if verb == "save" and isinstance(value, Path | str) and str(value)[:1] == "/":
            continue  # whoever may write there would
        before = state_of(session)
        try:
            with np.errstate(all="ignore"):
                VERBS[verb](session, value)
        except DlnError as error:
            if state_of(session) != before and error.problems[0].code != "E600":
                raw.append(f"{name}: refused, and changed the parameters")
        except Exception as error:
            raw.append(f"{name}: {type(error).__name__}: {error}"[:200])
    assert not raw, "\n".join(raw)


@pytest.mark.parametrize("seed", [np.int64(7), np.uint8(7), np.array(7)])
def test_a_seed_of_any_library_is_the_number(seed: Any) -> None:
    PLAN.session(seed=seed).params["line.W"].tolist()
    mlp = dln.load("mlp").compile()
    first, second = mlp.session(seed=seed), mlp.session(seed=7)
    for path, values in first.params.items():
        assert np.array_equal(values, second.params[path])


@pytest.mark.parametrize("rate", [np.float64(0.05), np.array(0.05), np.float32(0.05), 0.05])
def test_a_constant_of_any_library_is_the_number(rate: Any) -> None:
    assert dln.load(TEXT, rate=rate).constants["rate"] == pytest.approx(0.05)


@pytest.mark.parametrize("as_given", [
    lambda a: a.astype(">f8"), np.asfortranarray, lambda a: np.repeat(a, 2, 0)[::2],
    lambda a: a.tolist(), lambda a: a.astype(np.float32), memoryview,
])  # fmt: skip
def test_the_same_numbers_in_another_form(as_given: Callable[[Any], Any]) -> None:
    x = np.array([[0.5], [2.0], [-1.0]])
    session = PLAN.session()
    expected = x @ session.params["line.W"].T + session.params["line.b"]
    assert np.allclose(session.line(as_given(x)), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda s: PLAN.session(seed=NOTHING), "seed must be a whole number"),
        (lambda s: PLAN.session(seed=-1), "seed must be a whole number of at least 0, not -1"),
        (lambda s: dln.load(TEXT, rate=float("nan")), "rate must be a number"),
        (lambda s: dln.load(NOTHING), "the spec must be a path, not None"),
        (lambda s: s.save(""), "the file must be a path"),
        (lambda s: s.train("fit", stop=3), "stop must have is_set()"),
        (lambda s: s.train("fit", stop=Event), "stop must have is_set()"),
        (lambda s: s.train("fit", hooks=[Odd]), "hooks are objects"),
        (lambda s: s.train("fit", hooks=3), "hooks must be a list, not 3"),
        (lambda s: s.save(), "save() missing 1 required positional argument: 'path'"),
        (lambda s: s.step("fit", 3), "try: step(phase, **fields)"),
        (lambda s: s.save("/"), "try: choose another folder"),
        (lambda s: SPEC.compile(dtype="float16"), "there is no precision float16"),
        (lambda s: SPEC.compile(backend="nump"), "try: numpy"),
        (lambda s: dln.load(TEXT, data_path={}), "try: data_paths=..."),
        (lambda s: s.params.__setitem__("line.b", 1j), "takes real numbers"),
        (lambda s: dln.load(TEXT, rate=True), "rate is a number"),
        (lambda s: dln.load(TEXT, rate=ENDLESS), "holds itself"),
        (lambda s: s.train("fit", limit=0), "limit must be a whole number of at least 1, not 0"),
        (lambda s: s.load(os.devnull), "no ordinary file"),
        (lambda s: s.params.__setitem__("line.b", [1, 2, 3]), "line.b takes numbers of the shape"),
    ],
)  # fmt: skip
def test_the_message_says_what_was_expected(call: Callable[[Any], Any], says: str) -> None:
    with pytest.raises(DlnError, match=".*") as caught:
        call(PLAN.session())
    assert says in str(caught.value)
