"""Steps of networks that no goal names, beside JAX, and their values beside PyTorch.

    python -m benchmarks.others --python ~/peers/bin/python            # times, one thread
    python -m benchmarks.others --python ~/peers/bin/python --values   # parameters after 3 updates

The data are drawn, the specs are in `networks/`. A time is that of the processor for a step, the
least of some rounds, each program by itself; values are in double precision, of dln's own first
parameters. Nothing is installed: `--python` names the Python that has the peer.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import numpy as np

import dln

HERE = Path(__file__).parent
SPECS = {p.stem: p for p in sorted((HERE / "networks").glob("*.dln"))}
SECONDS, MINIBATCHES, STEPS, UPDATES = 1.2, 8, 25, 3
DRAWN = ("dropout", "vae")
"""What draws numbers of its own: their values are not compared."""


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        from importlib import import_module  # late: the peer, which this Python may lack

        import_module(f"benchmarks.others.by_{sys.argv[2]}").work(sys.argv[3:])
        return
    parser = argparse.ArgumentParser("python -m benchmarks.others", description=__doc__)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="some of them; else all")
    parser.add_argument("--python", default=sys.executable, help="the Python that has the peer")
    parser.add_argument("--values", action="store_true", help="values beside PyTorch, no times")
    given = parser.parse_args()
    if odd := sorted(set(given.networks) - SPECS.keys()):
        parser.error(f"there is no network {odd[0]}: they are {', '.join(SPECS)}")
    if which(given.python) is None:
        parser.error(f"{given.python} cannot be run: --python takes the path of a Python")
    names = given.networks or list(SPECS)
    show = values if given.values else times
    for line in show(names, given.python):
        print(line, flush=True)


def opened(name: str, dtype: str) -> tuple[Any, dict[str, Any], int]:
    """A session of one thread, the examples of its set by field, and how many an update takes."""
    (asked,) = dln.load(SPECS[name]).given.values()
    rng = np.random.default_rng(0)
    one = {f.name: drawn(rng, f, 1) for f in asked.fields}  # says the sizes that are open
    batch = dln.load(SPECS[name], data={asked.name: one}).model.phases["fit"].batch or 1
    rows = {f.name: drawn(rng, f, batch * MINIBATCHES) for f in asked.fields}
    made = dln.load(SPECS[name], data={asked.name: rows}).compile(dtype=dtype, threads=1)
    return made.session(seed=1), rows, batch


def drawn(rng: np.random.Generator, field: Any, count: int) -> Any:
    """Examples of a field: numbers from 0 to 1, or classes; sequences of so many steps."""
    shape = tuple(n if isinstance(n, int) else STEPS for n in field.shape)
    if field.classes is not None:
        return rng.integers(0, field.classes, (count, *shape))
    return rng.random((count, *shape), dtype=np.float32)


# ---- times -------------------------------------------------------------------------------------


def times(names: list[str], python: str) -> Iterator[str]:
    """A line for each network: microseconds of dln, of JAX, and the ratio."""
    theirs = told_by("jax", names, python)
    yield f"{'network':<18} {'dln':>9} {'JAX':>9}  ratio"
    for name in names:
        session, rows, batch = opened(name, "float32")
        steps = len(next(iter(rows.values()))) // batch
        ours = least(partial(session.train, "fit"), steps)
        other = theirs.get(name)
        beside = "" if other is None else f"{other:9.1f}  {ours / other:5.2f}"
        yield f"{name:<18} {ours:9.1f} {beside or '   absent'}"


def least(run: Callable[..., object], steps: int) -> float:
    """Microseconds of the processor for a step of so many in an epoch, of some rounds the least."""
    run(epochs=1)
    count, best, end = 1, np.inf, process_time() + SECONDS
    while process_time() < end:
        start = process_time()
        run(epochs=count)
        took = process_time() - start
        best = min(best, took / (count * steps) * 1e6)
        if took < 0.1:
            count *= 2
    return float(best)


def told_by(peer: str, names: list[str], python: str, *more: str) -> dict[str, Any]:
    """What a process with a peer prints as JSON; nothing where it lacks the peer."""
    command = [python, "-m", "benchmarks.others", "--worker", peer, *names, *more]
    root, one = str(HERE.parents[1]), {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=root, env={**os.environ, **one}, capture_output=True, text=True
    )
    if done.returncode:
        print(f"{peer}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return {}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


# ---- values ------------------------------------------------------------------------------------


def values(names: list[str], python: str) -> Iterator[str]:
    """A line for each network: how far the worst parameter is from PyTorch's after some updates,
    in parts of the largest number of it."""
    yield f"{'network':<18} {'loss':>8} {'parameters':>10}"
    for name in names:
        if name in DRAWN:
            continue
        session, rows, batch = opened(name, "float64")
        with TemporaryDirectory() as folder:
            file = Path(folder) / "given.npz"
            first = {f"p {k}": np.array(v, float) for k, v in session.params.items()}
            held: dict[str, Any] = first | {f"d {k}": v for k, v in rows.items()}
            np.savez(file, **held)
            losses = []
            for i in range(UPDATES):
                at = slice(i * batch, i * batch + batch)
                losses.append(session.step("fit", **{k: v[at] for k, v in rows.items()}))
            if not told_by("torch", [name], python, str(file), str(batch), str(UPDATES)):
                continue
            theirs = dict(np.load(file.with_name("found.npz")))
        loss = max(abs(a / b - 1) for a, b in zip(losses, theirs.pop("losses"), strict=True))
        far = max(apart(session.params[k], v) for k, v in theirs.items())
        yield f"{name:<18} {loss:8.1e} {far:10.1e}"


def apart(ours: Any, theirs: Any) -> float:
    """How far numbers are from others, in parts of the largest, or of a thousandth."""
    return float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-3))


if __name__ == "__main__":
    main()
