"""The same spec, seed and number of threads give the same texts and the same bits.

The oracle is another process, with another seed for the hashes of Python, or another session.
Interruptions are in `keeping/` and `cli/test_verify.py`.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

import dln
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


def trained(threads: int) -> dict[str, bytes]:
    session = dln.load(WIDE).compile(threads=threads).session(seed=1)
    x = np.random.default_rng(5).normal(size=(200, 3))
    for _ in range(3):
        session.step("fit", x=x)
    return {path: np.array(session.params[path]).tobytes() for path in session.params}


def test_the_same_number_of_threads_gives_the_same_bits() -> None:
    """Products of a hundred million multiplications, for which threads share the work."""
    ones, twos = [trained(1), trained(1)], [trained(2), trained(2), trained(2)]
    assert ones[0] == ones[1] and twos[0] == twos[1] == twos[2]
    for path, first in ones[0].items():
        one, two = (np.frombuffer(a, np.float32) for a in (first, twos[0][path]))
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)
