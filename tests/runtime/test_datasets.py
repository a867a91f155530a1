"""Data sets: parts, precision, checks with the number in the file, drawn fields, given arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dln.compiler.plan import DataSource, Division, Plan, Portion, ProgramTable, Stretch
from dln.compiler.schema.keys import WholeField
from dln.grammar.diagnostics import DlnError
from dln.runtime.data.datasets import Datasets
from dln.runtime.data.fields import CHUNK, Fields
from dln.runtime.data.raw import Read
from dln.runtime.device.host import Host
from dln.runtime.device.kernels import normal
from dln.runtime.execution.executable import Executable
from dln.runtime.execution.run_state import RunState
from dln.runtime.readers import readers
from dln.runtime.readers.validation import Arrays


def unasked(key: WholeField, rows: int, dtype: str) -> Any:
    raise AssertionError(f"no program reads {key}")


def datasets(plan: Plan, read: Read = readers.read, **options: Any) -> Datasets:
    return Datasets(Fields(RunState(plan, Host(), 1, unasked).programs, read), **options)


def test_fields_of_a_part(plan: Any, table: Any) -> None:
    d, found = table(), datasets(plan()).part("d", "valid", "float32")
    assert (found.rows.first, found.n) == (8, 3)
    assert {k: str(a.dtype) for k, a in found.arrays.items()} == {
        "x": "float32", "t": "float32", "c": "int64"
    }  # fmt: skip
    np.testing.assert_array_equal(found.arrays["x"], d[8:, :2].astype(np.float32))
    np.testing.assert_array_equal(found.arrays["c"], d[8:, 3])
    assert all(a.flags.c_contiguous for a in found.arrays.values())


def test_more_than_one_chunk(plan: Any, table: Any) -> None:
    n = 2 * CHUNK + 7
    found = datasets(plan(n)).part("d", "all", "float64")
    np.testing.assert_array_equal(found.arrays["x"], table(n)[:, :2])


def test_a_file_is_read_once(plan: Any) -> None:
    calls: list[DataSource] = []

    def read(decl: DataSource, stretch: Stretch | None) -> Arrays:
        calls.append(decl)
        return readers.read(decl, stretch)

    d = datasets(plan(), read)
    assert d.part("d", "fit", "float64") is d.part("d", "fit", "float64")
    d.part("d", "valid", "float64")
    d.limited(None, 2).part("d", "valid", "float64")
    assert len(calls) == 1


def test_limit_is_of_each_part(plan: Any) -> None:
    d = datasets(plan(), limit=2)
    assert [d.part("d", p, "float64").n for p in ("fit", "valid")] == [2, 2]
    assert d.part("d", "valid", "float64").rows.first == 8


def test_minibatches_are_gathered_without_allocating(plan: Any, table: Any) -> None:
    made = plan()
    params = {"net.w": np.zeros(2), "net.b": np.zeros(())}
    states = {"fit.v:net.w": np.zeros(2)}
    bound = Executable(made.programs["step:fit"], Host(), params, states).at(3)
    part = datasets(made).part("d", "fit", "float64")
    part.filler(bound, np)(np.array([7, 0, 3]), 0.0)
    np.testing.assert_array_equal(bound.inputs["x"], table()[[7, 0, 3], :2])
    np.testing.assert_array_equal(bound.inputs["t"], table()[[7, 0, 3], 2])


def test_a_wrong_value_names_its_place_in_the_file(plan: Any, table: Any) -> None:
    made = plan(CHUNK + 20)
    rows = table(CHUNK + 20).tolist()
    rows[CHUNK + 3][3] = 7
    data = made.data["d"].changed(
        args=(rows,), parts={"late": Portion(CHUNK + 10, (1,))}, division=Division((10, CHUNK + 10))
    )
    with pytest.raises(DlnError, match=f"c: example {CHUNK + 3} has 7, expected a class, 0 to 2"):
        datasets(made.changed(data={"d": data})).part("d", "late", "float64")


def test_a_missing_file_has_the_place_of_the_data(plan: Any) -> None:
    made = plan()
    data = made.data["d"].changed(reader="table", args=("absent.csv",))
    with pytest.raises(DlnError) as e:
        datasets(made.changed(data={"d": data})).part("d", "fit", "float64")
    (problem,) = e.value.problems
    assert problem.code == "E501" and problem.span is not None and problem.span.line == 1


def test_a_file_that_changed(plan: Any) -> None:
    made = plan()
    data = made.data["d"].changed(count=12)
    with pytest.raises(DlnError, match="d holds 11 examples, but held 12 before"):
        datasets(made.changed(data={"d": data})).part("d", "fit", "float64")


def test_given_parts_keep_their_shares(plan: Any) -> None:
    given = {"x": np.ones((110, 2)), "t": np.arange(110.0), "c": np.zeros(110, int)}
    d = datasets(plan(), given={"d": given})
    fit, valid = (d.part("d", p, "float64") for p in ("fit", "valid"))
    assert (fit.n, valid.n, valid.rows.first) == (80, 30, 80)
    assert fit.arrays["t"].base is given["t"] or fit.arrays["t"] is given["t"]
    few = {k: a[:1] for k, a in given.items()}
    with pytest.raises(DlnError, match="1 examples leave none for d.fit") as e:
        datasets(plan(), given={"d": few}).part("d", "fit", "float64")
    assert e.value.problems[0].code == "E557"
    with pytest.raises(DlnError, match="the data set d lacks t, c"):
        datasets(plan(), given={"d": {"x": np.ones((4, 2))}})


def test_arrays_in_order_may_leave_out_lengths(plan: Any) -> None:
    made = plan()
    x, t, c = made.data["d"].fields
    data = made.data["d"].changed(fields=(c.changed(domain="length", classes=7), x, t))
    made = made.changed(data={"d": data})
    x_, t_ = np.ones((11, 2)), np.arange(11.0)
    for given, want in [
        ((x_, t_), [7] * 8),
        ((x_, t_, np.arange(1, 12) % 7 + 1), [2, 3, 4, 5, 6, 7, 1, 2]),
    ]:
        part = datasets(made, given={"d": given}).part("d", "fit", "float64")
        assert part.arrays["c"].tolist() == want
    with pytest.raises(DlnError, match="has the fields x, t, but 1 were given"):
        datasets(made, given={"d": (x_,)})
    with pytest.raises(DlnError, match="example 0 has 0, expected a length, 1 to 7"):
        datasets(made, given={"d": {"x": x_, "t": t_, "c": np.zeros(11, int)}})


def test_drawn_fields_are_drawn_at_each_visit(plan: Any, hand_program: Any, table: Any) -> None:
    made, two = plan(), ((0, 1), (2, 0))
    data = hand_program(
        "data:d",
        [("input", "raw:d.", ((0, 1), (4, 0))), ("value", "x", two), ("value", "t", ((0, 1),)),
         ("value", "c", ((0, 1),)), ("arena", "", two)],
        ["normal(v4, seed, 5, c0)", "xp.add(v4, v0[:, :2], out=v1)", "xp.copyto(v2, v0[:, 2])",
         "xp.copyto(v3, v0[:, 3], 'unsafe')"],
        ("update",),
    )  # fmt: skip
    spec = made.data["d"].changed(drawn=True)
    made = made.changed(data={"d": spec}, programs=ProgramTable({**made.programs, "data:d": data}))
    part = datasets(made).part("d", "fit", "float64")
    params = {"net.w": np.zeros(2), "net.b": np.zeros(())}
    bound = Executable(made.programs["step:noisy"], Host(), params, {}).at(2)
    fill = part.filler(bound, np)
    for update in (3, 4):
        fill(np.array([5, 2]), float(update))
        noise = np.empty((2, 2))
        normal(noise, 1, 5, update)
        np.testing.assert_allclose(bound.inputs["x"], table()[[5, 2], :2] + noise)
        np.testing.assert_array_equal(bound.inputs["t"], table()[[5, 2], 2])
