"""The comparison with other programs: what a table says, by hand; dln and NumPy by hand compute the
same; what is alive in a program written by hand. Nothing is timed."""

import ast
from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.comparison import page
from benchmarks.comparison.rounds import ROOT, Measured
from benchmarks.comparison.table import detailed, summary, table
from benchmarks.comparison.work import Work, load, save
from benchmarks.comparison.workloads import WORKLOADS, autoencoder, lenet, lstm, mlp
from benchmarks.memory import alive
from benchmarks.peers import PROGRAMS, by_dln, by_numpy
from dln.compiler.plan import Buffer, Line, Program

PEERS = Path(by_dln.__file__).parent
LIMITS = {"flops": 1e9, "cached": 2e9, "memory": 1e9, "curves": 1e6}
MACHINE = {"limits": LIMITS, "threads": 2, "processor": "one", "cores": 2, "system": "any",
           "python": "3.11", "numpy": "2.0", "date": "2026-01-01"}  # fmt: skip
LEAST = {"flops": 4e6, "bytes": 2e6, "curves": 4e3}


@pytest.fixture
def entry() -> dict[str, Any]:
    programs = {
        "dln": Measured("", "1", [1.0, 2.0], 0.5, [2.0, 4.0, 6.0], [0.0] * 3, 2**20),
        "torch": Measured("", "2", [1.0, 2.0], 3.0, [4.0, 4.0, 4.0], [0.5] * 3, 2**22),
        "JAX": Measured("", "3", [1.0, 2.3], 1.0, [8.0, 2.0, 2.0], [0.0] * 3),
        "PyTensor": Measured("broken"),
    }
    measured = {name: asdict(m) for name, m in programs.items()}
    return {"title": "a net", "kind": "mlp", "goal": 0.5, "least": LEAST, "programs": measured,
            "absent": {"TensorFlow": "not installed"}}  # fmt: skip


def test_a_table_by_hand(entry: dict[str, Any]) -> None:
    found = table(entry, MACHINE)
    assert found.best == "JAX"  # by the median, 2 ms
    assert found.ratio("dln") == 2.0  # of 2/8, 4/2, 6/2
    assert isnan(found.ratio("onnxruntime"))
    assert found.floor == 4 + 1 + 2  # milliseconds: of products, of bytes, of curves on two threads
    assert [r.name for r in found.rows] == ["JAX", "dln", "torch"]
    assert found.rows[1].to_floor == pytest.approx(4 / 7)
    assert found.apart == ["JAX"]  # 3.3 where the median is 3
    assert found.left_out == {"PyTensor": "broken", "TensorFlow": "not installed"}
    assert "| dln | 4 | 2.00 | 0.57 | 0.50 | 1 | 0e+00 |" in detailed(found)
    assert "| a net | JAX | 2.00 | - | - | 0.50 | 0.25 |" in summary([found])


def test_the_page_is_made_of_the_records(entry: dict[str, Any], tmp_path: Path) -> None:
    record = {"machine": MACHINE, "processor": False, "versions": {"torch": "2"},
              "workloads": {"x": entry}, "missing": {}}  # fmt: skip
    page.keep("cpu", record, tmp_path / "performance")
    rows = [{"what": "layers", "sizes": [1, 4], "ratios": [1.0, 4.5], "wanted": 4.0}]
    page.keep("scale", {"said": "One.", "rows": rows}, tmp_path / "performance")
    text = (tmp_path / "performance.md").read_text()
    assert text.index("Beside other programs") < text.index("| layers | 1, 4 | 1.00, 4.50 | 4.00 |")


def test_the_readme_has_the_table_of_the_page() -> None:
    [shown] = page.README.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert shown.strip() in (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    assert page.page() == (ROOT / "docs/performance.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted({p.module for p in PROGRAMS.values()}))
def test_every_program_has_its_file(name: str) -> None:
    tree = ast.parse((PEERS / f"{name}.py").read_text())
    made = {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
    made |= {t.id for n in tree.body if isinstance(n, ast.Assign) for t in n.targets
             if isinstance(t, ast.Name)}  # fmt: skip
    assert {"make", "version", "DEALT"} <= made


def test_a_workload_goes_through_its_file(tmp_path: Path) -> None:
    work, least = mlp("small", 2)
    save(work, tmp_path / "small.npz")
    again = load(tmp_path / "small.npz")
    assert again.hyper == work.hyper and again.kind == "mlp" and not again.infer
    assert all(np.array_equal(again.params[k], v) for k, v in work.params.items())
    for batch, wanted in zip(again.batches, work.batches, strict=True):
        assert all(map(np.array_equal, batch, wanted))
    assert least.flops == 2 * 2 * (2 * 784 * 300 + 3 * 3000)
    assert set(WORKLOADS) >= {"mlp_b1", "lenet_b64", "lstm_3x512"}


@pytest.mark.parametrize("variant", ["loop", "python"])
def test_dln_computes_what_numpy_by_hand_does(variant: str) -> None:
    for work in (mlp("m", 2, hidden=5)[0], autoencoder("a", 2, hidden=5)[0]):
        spec = small(work)
        ours, theirs = by_dln.make(spec, variant, 1), by_numpy.make(spec, "", 1)
        for i in range(3):
            assert ours.value(ours.call(i)) == pytest.approx(theirs.value(theirs.call(i)), rel=1e-5)


def small(work: Work) -> Work:
    """The first three minibatches, with the sizes that the specs have."""
    random = np.random.default_rng(0)
    wide = {"mlp": 300, "autoencoder": 500}[work.kind]
    out = work.params["W2"].shape[1]
    shapes = {"W1": (784, wide), "b1": (wide,), "W2": (wide, out), "b2": (out,)}
    floats = {k: random.normal(0, 0.1, shape).astype("f") for k, shape in shapes.items()}
    return Work(work.name, work.kind, False, work.hyper, floats, work.batches[:3])


def test_the_other_workloads_are_laid_out_as_their_specs_have_them() -> None:
    net, _ = lenet("l", 1, infer=True)
    running = by_dln.make(net, "loop", 1)
    assert np.isfinite(running.value(running.call(0)))
    letters, _ = lstm("r", 1, 4, B=2)
    assert letters.batches[0][0].shape == (50, 2)
    for variant in ("loop", "python"):
        trained = by_dln.make(letters, variant, 1)
        assert np.isfinite(trained.value(trained.call(0))) and trained.threads() == 1


def test_what_is_alive_by_hand() -> None:
    """v0 and v1 are, then v1 and v2; v3 is carried through the loop, in which v4 and v5 take turns;
    in place of v5 stands v6."""
    sizes = {"v0": (10, 0), "v1": (20, 1), "v2": (5, 2), "v3": (7, 3), "v4": (50, 4), "v5": (60, 5),
             "v6": (60, 5)}  # fmt: skip
    buffers = tuple(Buffer(n, "arena", "", "real", ((k, 0),), s) for n, (k, s) in sizes.items())
    codes = ["exp(x, out=v0)", "exp(v0, out=v1)", "exp(v1, out=v2)", "exp(v2, out=v3)",
             "for t in range(3):", "    exp(w0[t], out=v4)", "    exp(v4, out=v4)",
             "    exp(x, out=v5)", "    exp(v5, out=v6)", "    exp(v6, out=w0[t])"]  # fmt: skip
    setup = (Line("w0 = v3.reshape(1)"),)
    program = Program("p", "numpy", "float32", 1, (), buffers, {}, setup, tuple(map(Line, codes)),
                      tuple((4 * k, 0) for k, _ in sizes.values()), "")  # fmt: skip
    assert alive(program, 1) == 4 * (7 + 60)
    assert alive(program.changed(lines=program.lines[:3]), 1) == 4 * (10 + 20)
