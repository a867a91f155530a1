"""The gradient of `adding1997` against the algorithm of its paper, which carries derivatives on.

Hochreiter and Schmidhuber 1997, appendix A.1: beside each cell runs the derivative of its state by
every weight that leads into it, errors that leave a cell or a gate backwards are cut, and the error
of the output, when it comes, is multiplied with what was carried. Nothing runs back through time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import dln
from dln.runtime.device.host import Host
from dln.runtime.readers.readers import DataSource, read
from dln.runtime.session import Session

Numbers = NDArray[Any]


def sigmoid(a: Numbers) -> Numbers:
    return 1 / (1 + np.exp(-a))


def forwards(p: dict[str, Numbers], x: Numbers, t: float, logistic: int) -> dict[str, Numbers]:
    """The gradient of half the squared error after one sequence x[time, 2]."""
    i, o, y, c = np.zeros(2), np.zeros(2), np.zeros((2, 2)), np.zeros((2, 2))
    by_cell, by_gate = np.zeros((2, 2, 11)), np.zeros((2, 2, 11))  # cell, block, source and bias
    for row in x:
        u = np.concatenate([row, i, o, y.ravel(), [1.0]])
        i, o = sigmoid(p["Wi"] @ u[:-1] + p["bi"]), sigmoid(p["Wo"] @ u[:-1] + p["bo"])
        s = sigmoid(p["Wc"] @ u[:-1] + p["bc"])
        c = c + i * (4 * s - 2)
        by_cell += (i * 4 * s * (1 - s))[..., None] * u
        by_gate += ((4 * s - 2) * i * (1 - i))[..., None] * u
        squashed = 2 * sigmoid(c) - 1
        y = o * squashed
    a = p["W"] @ y.ravel() + p["b"]
    z = sigmoid(a) if logistic else a
    at_z = (z - t) * z * (1 - z) if logistic else z - t
    at_y = (at_z @ p["W"]).reshape(2, 2)
    at_c = at_y * o * 2 * sigmoid(c) * (1 - sigmoid(c))
    gate = (at_y * squashed).sum(0) * o * (1 - o)
    cells, gates = at_c[..., None] * by_cell, (at_c[..., None] * by_gate).sum(0)
    return {
        "W": np.outer(at_z, y), "b": at_z,
        "Wo": np.outer(gate, u[:-1]), "bo": gate,
        "Wc": cells[..., :-1], "bc": cells[..., -1],
        "Wi": gates[..., :-1], "bi": gates[..., -1],
    }  # fmt: skip


@pytest.mark.parametrize("logistic", [0, 1])
def test_errors_are_cut_as_in_the_paper(logistic: int) -> None:
    plan = dln.load("adding1997", logistic=logistic).compile(dtype="float64").plan
    session = Session(plan, Host(), seed=3)
    rng = np.random.default_rng(4)
    paths = {p.rsplit(".", 1)[1]: p for p in session.params if p.startswith("net.")}
    for path in paths.values():
        session.params[path] = rng.normal(0.0, 0.3, session.params[path].shape)
    params = {name: np.array(session.params[path]) for name, path in paths.items()}
    raw = read(DataSource("synthetic", ("adding1997", 100, 3), {}, "."))
    fields = {"x": raw["x"][:1], "t": raw["t"][:1], "length": raw["length"][:1]}
    wanted = forwards(params, raw["x"][0][: raw["length"][0]], raw["t"][0], logistic)
    assert set(wanted) == set(paths)
    for name, path in paths.items():
        found = session.grad("online", path, **fields)
        np.testing.assert_allclose(found, wanted[name], 1e-9, 1e-13, err_msg=path)
