"""The same spec and seed give the same texts and the same bits, with any number of threads.

The oracle is another process, with another seed for the hashes of Python, or another session.
Interruptions are in `keeping/` and `cli/test_verify.py`.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

import dln
from dln.runtime.device import governor, host, sharing
from dln.runtime.session import Session
from dln.spec import LIBRARIES, lecture

QUICK = ("hello",)
RECORD = """
import sys, hashlib
import dln
from dln.compiler.show import graph_dot
from dln.reading.resolved import resolved
for name in sys.argv[1:]:
    spec = dln.load(name)
    plan = spec.compile(threads=1).plan
    texts = {str(key): plan.programs[key].text for key in plan.programs}
    said = [*texts, *texts.values(), plan.fingerprint, resolved(spec), graph_dot(spec.model.graph)]
    print(name, len(texts), hashlib.sha256("\\0".join(said).encode()).hexdigest())
session = dln.load("hello").compile(threads=1).session(seed=3)
session.train("learn", epochs=20)
for path in session.params:
    print(path, session.params[path].tobytes().hex())
"""


def recorded(seed: int, names: tuple[str, ...]) -> str:
    """What a process with a seed of hashes makes of specs: hashes of all texts, and weights."""
    env = {**os.environ, "PYTHONHASHSEED": str(seed)}
    words = [sys.executable, "-c", RECORD, *names]
    done = subprocess.run(words, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def same_for(seeds: range, names: tuple[str, ...]) -> None:
    first, *others = (recorded(seed, names) for seed in seeds)
    assert first.count("\n") > len(names) and others
    for seed, other in zip(seeds[1:], others, strict=True):
        assert other == first, f"hash seed {seed}"


def test_texts_and_weights_are_the_same_for_hash_seeds() -> None:
    same_for(range(2), QUICK)


@pytest.mark.slow
def test_texts_of_all_specs_are_the_same_for_twenty_hash_seeds() -> None:
    same_for(range(20), tuple(name for name in lecture() if name not in LIBRARIES))


WIDE = """
data drawn = rows([[1, 2, 3], [4, 5, 6]]) {
  x[3] = raw
}
block wide(x[n]) -> y[3] {
  h = x -> dense(600, act = tanh)
  g = h -> dense(600, act = tanh)
  y = g -> dense(3)
}
let net = wide()
train fit on drawn batch 2 for 6 updates {
  minimize mean((net(x) - x)^2) over net with sgd(lr = 0.01)
}
"""


def started(threads: int | None) -> Session:
    return dln.load(WIDE).compile(threads=threads).session(seed=1)


def step(session: Session) -> None:
    session.step("fit", x=np.random.default_rng(5).normal(size=(200, 3)))


def parameters(session: Session) -> dict[str, bytes]:
    return {path: np.array(session.params[path]).tobytes() for path in session.params}


def trained(threads: int) -> dict[str, bytes]:
    session = started(threads)
    for _ in range(4):
        step(session)
    return parameters(session)


def test_any_number_of_threads_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of a hundred million multiplications, for which threads share the work; and a
    governor that tries two threads whatever the cores do, and takes them."""
    one = trained(1)
    assert trained(1) == one and trained(2) == one
    for name, value in {
        "WINDOW": 0.0,
        "IDLE": 0.0,
        "GAIN": 1e9,
        "PAIRS": 1,
        "STALL": 1e9,
        "LOST": 1e9,
    }.items():
        monkeypatch.setattr(governor, name, value)
    monkeypatch.setattr(sharing, "STALL", 1e9)
    monkeypatch.setattr(host, "cores", lambda: 2)
    monkeypatch.setattr(host, "default_threads", lambda: 2)
    host._threads.cache_clear()  # another test may have used threads of Python
    session, governed = started(None), 0
    for _ in range(4):
        step(session)
    assert parameters(session) == one
    for _ in range(12):
        step(session)
    for ready in session.programs._ready.values():
        for found in ready.executable.governors.values():
            governed += 0 if found is None else found.shared
    assert governed > 2 or host.threads_in_use() is None
    again = started(1)
    for _ in range(16):
        step(again)
    assert parameters(session) == parameters(again)
