"""Updates in shards: the same numbers as undivided, whoever works out which shard and when.

Compared with the undivided step, which shares no program with them, with NumPy by hand where a
batch is normalised, and with the kernels of whole draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import numpy as np
import pytest

import dln
from dln import cli
from dln.compiler.plan import Plan
from dln.grammar.diagnostics import DlnError
from dln.runtime.device import host, kernels
from dln.runtime.device.host import Host
from dln.runtime.execution.sharded import ShardedBound, rows_of_shard
from dln.runtime.ranks.ranks import Alone, Meanwhile
from dln.runtime.session import Session
from dln.spec import LIBRARIES, shipped

DATA = """
data d = synthetic("gaussians", 3, 3, 22, seed = 3) {
  x[3] = raw.x
  label: class(3) = raw.label
}
"""
NORMED = """
let first = dense(4)
let top = dense(3)
train fit on d batch 8 for 2 epochs {
  a = first(x)
  m = mean(batch: a)
  v = mean(batch: (a - m)^2)
  z = top((a - m) / sqrt(v + 0.01))
  minimize cross_entropy(z, label) over first, top with sgd(lr = 0.5)
}
"""
DRAWN = """
data s = rows([[1, 2, 0], [0, 1, 2], [2, 2, 1], [1, 0, 0], [2, 1, 0]]) {
  c[time]: class(3) = raw
  label: class(3) = raw[0]
}
block shaken(x[time, n]; m = 5) -> h[time, m] {
  param W[m, n] ~ glorot(n, m), U[m, m] ~ glorot(m, m)
  scan t in time {
    e[m] ~ normal(0, 0.1)                         # at each step, for each example
    h[t] = tanh(W @ x[t] + U @ h[t-1] + e)
  }
}
let net = dense(3)
let lm = shaken()
let end = dense(3)
let R = rbm(2)
train noisy on d batch 8 for 2 epochs order shuffled {
  noise[3] ~ normal(0, 1)                         # of odd width: a shard begins within a pair
  keep[3] ~ bernoulli(0.7)
  all[3, 3] ~ normal(0, 0.1)                      # one for the whole minibatch
  state age[3] ~ normal(0, 1)
  age := 0.5 * age + noise
  z = net(dropout((x + 0.1 * noise + all @ x) * keep + age, 0.3))
  minimize cross_entropy(z, label) over net with adam(lr = 0.1) clip 1
  watch far = max(batch: abs(age[0])) every 1 epoch
  watch error = argmax(z) != label every 1 epoch
}
train chains on d batch 5 for 2 epochs {
  state chain[3] ~ bernoulli(0.5)
  fantasy = gibbs(R, chain, 3)
  chain := fantasy
  minimize R.free((1 if x > 0 else 0) as binary) - R.free(stop(fantasy)) over R with sgd(lr = 0.1)
}
train turns on d batch 4 times 2 for 2 epochs {
  z = net(x)
  minimize cross_entropy(z, label) over net with momentum(lr = 0.1)
}
train game on d batch 6 for 2 epochs {
  step one 2 times { minimize cross_entropy(net(x), label) over net with sgd(lr = 0.1) }
  step two {
    minimize total (mean(net(x)) - 1)^2 over net.b with sgd(lr = 0.01)
    update net.W += 0.01 * mean(net(x))
  }
}
train read on s batch 2 for 2 epochs {
  z = end(lm(onehot(c)))
  minimize cross_entropy(last(z), label) over lm, end with rmsprop(lr = 0.01)
}
train soft on d batch 8 for 2 epochs {
  z = net(x)
  minimize total log(sum(batch: exp(z[0] - z[1]))) over net with sgd(lr = 0.1)
}
train down on d batch all for 3 updates {
  z = net(x)
  minimize cross_entropy(z, label) over net with lbfgs()
}
"""


class Few:
    """Asks training to end after so many updates."""

    def __init__(self, updates: int) -> None:
        self.left = updates

    def is_set(self) -> bool:
        self.left -= 1
        return self.left < 0


def trained(session: Session, updates: int, limit: int | None = None) -> Session:
    """A session after some updates of each phase."""
    for name in session.plan.phases:
        try:
            session.train(name, epochs=2, limit=limit, stop=Few(updates))
        except KeyboardInterrupt:
            pass
    return session


def apart(a: Session, b: Session) -> float:
    """How far parameters, states and reports are from one another, at most."""
    pairs = [(a.params[k], b.params[k]) for k in a.params]
    for phase, held in a.state.store.states.items():
        pairs += [(v, b.state.store.states[phase][k]) for k, v in held.items()]
        watched = a.results[phase].watch, b.results[phase].watch
        pairs += [(v, watched[1][k]) for k, v in watched[0].items() if v is not None]
    gaps = [np.abs(np.asarray(x, float) - y).max() / max(1, np.abs(x).max())
            for x, y in pairs if np.size(x)]  # fmt: skip
    return float(max(gaps, default=0.0))


def differs(text: str, shards: int, updates: int = 7, limit: int | None = None) -> float:
    spec = dln.load(text)
    plans = (spec.compile(dtype="float64", shards=n) for n in (1, shards))
    one, cut = (trained(plan.session(seed=1), updates, limit) for plan in plans)
    assert all(p.cuts for p in cut.plan.phases.values())
    return apart(one, cut)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_rows_are_drawn_as_the_whole_is(kind: str, dtype: str) -> None:
    """Also where an odd number of draws stands before them, and where rows lie step by step."""
    for shape, axis in (((5, 3), 0), ((30, 1000), 0), ((3, 4, 5), 1)):
        whole = np.empty(shape, dtype)
        getattr(kernels, kind)(whole, 3, 1 << 63, 5)
        for low, high in ((0, 1), (1, 2), (1, 4), (3, 4)):
            part = np.empty([high - low if i == axis else n for i, n in enumerate(shape)], dtype)
            rows = float(low), float(shape[axis]), axis
            getattr(kernels, f"{kind}_rows")(part, 3, 1 << 63, 5, *rows)
            assert np.array_equal(part, whole.take(range(low, high), axis))


@pytest.mark.parametrize("shards", [2, 5])
def test_a_batch_norm_is_that_of_the_whole_minibatch(shards: int) -> None:
    """Short last minibatches, and shards without rows, among them."""
    assert differs(DATA + NORMED, shards) < 1e-14


MAPS = """
block net(x[n]) -> z[3]: logit {
  a = reshape(outer(x, x), [1, 3, 3]) -> conv(2, 3, border = 1) -> batch_norm_maps() -> relu
  z = a -> conv(2, 2) -> batch_norm_maps() -> flatten -> dense(3)
}
let f = net()
train fit on d batch 20 for 2 epochs {
  minimize cross_entropy(f(x), label) over f with momentum(lr = 0.1)
}
"""


def test_maps_are_handed_on_as_they_lie() -> None:
    """With their examples innermost, from round to round, and in short minibatches too."""
    spec = dln.load(DATA + MAPS)
    made = [spec.compile(dtype="float64", shards=n).session(seed=1) for n in (1, 2)]
    one, cut = (trained(session, 4) for session in made)
    assert apart(one, cut) < 1e-14
    names = [name for name in cut.plan.programs if name.startswith("shard")]
    shards = [cut.plan.programs[name] for name in names]
    rows = [b for p in shards for b in p.buffers if b.key.startswith("rows") and len(b.shape) == 4]
    assert rows and all(b.shape[-1] == (0, 1) for b in rows)


def test_every_kind_of_step_can_be_cut() -> None:
    assert differs(DATA + DRAWN, 3) < 1e-14


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(shipped().keys() - {*LIBRARIES, "tour", "contrast"}))
def test_shipped_specs_learn_the_same_in_shards(name: str) -> None:
    assert differs(name, 3, updates=4, limit=130) < 1e-12


def test_a_normalised_step_is_that_of_numpy() -> None:
    """Values, gradients and update of the step with a batch norm, written out by hand."""
    session = dln.load(DATA + NORMED).compile(dtype="float64", shards=3).session(seed=2)
    rng = np.random.default_rng(0)
    x, label = rng.normal(size=(7, 3)), rng.integers(0, 3, 7)
    W, b, V, c = (np.array(session.params[k]) for k in ("first.W", "first.b", "top.W", "top.b"))
    a = x @ W.T + b
    centred = a - a.mean(axis=0)
    deviation = np.sqrt((centred**2).mean(axis=0) + 0.01)
    h = centred / deviation
    z = h @ V.T + c
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    dz = (p - np.eye(3)[label]) / 7
    dh = dz @ V
    da = (dh - dh.mean(axis=0) - h * (dh * h).mean(axis=0)) / deviation
    loss = session.step("fit", x=x, label=label)
    assert loss == pytest.approx(-np.log(p[np.arange(7), label]).mean(), rel=1e-13)
    for path, new in {
        "first.W": W - 0.5 * da.T @ x,
        "first.b": b - 0.5 * da.sum(axis=0),
        "top.W": V - 0.5 * dz.T @ h,
        "top.b": c - 0.5 * dz.sum(axis=0),
    }.items():
        assert np.abs(session.params[path] - new).max() < 1e-14
    one = dln.load(DATA + NORMED).compile(dtype="float64").session(seed=2)
    for n in (7, 7, 7, 2, 7):  # called again and again, one way and the other
        one.step("fit", x=x[:n], label=label[:n])
    for n in (7, 7, 2, 7):
        session.step("fit", x=x[:n], label=label[:n])
    assert max(np.abs(session.params[k] - one.params[k]).max() for k in one.params) < 1e-13


class Beside(Alone):
    """One of two ranks, which are threads that wait for one another."""

    count = 2

    def __init__(self, index: int, both: dict[int, Any], wall: Barrier) -> None:
        self.index, self.both, self.wall = index, both, wall

    def share(self, n: int) -> range:
        return range(n * self.index // 2, n * (self.index + 1) // 2)

    def gather(self, rows: Any, parts: Sequence[range] | None = None, once: bool = False) -> None:
        own = self.share(len(rows)) if parts is None else parts[self.index]
        self.both[self.index] = rows
        self.wall.wait()
        other = self.both[1 - self.index].copy()
        self.wall.wait()
        for i in set(range(len(rows))) - {*own}:
            rows[i] = other[i]

    def add_up(self, sums: Any, meanwhile: Meanwhile) -> None:
        meanwhile()
        super().add_up(sums, meanwhile)


def by_two(plan: Plan, do: Callable[[Session], Any]) -> list[Any]:
    """What both of two ranks do with a session."""
    wall, both, found = Barrier(2, timeout=60), dict[int, Any](), dict[int, Any]()

    def run(index: int) -> None:
        session = Session(plan, Host())
        session.programs.ranks = Beside(index, both, wall)
        found[index] = do(session)

    threads = [Thread(target=run, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[0], found[1]]


def test_bits_are_the_same_whoever_runs_which_shard_and_when(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = dln.load(DATA + NORMED + DRAWN.replace("lbfgs()", "sgd(lr = 1)"))
    plan = spec.compile(shards=3).plan

    def bits(session: Session) -> dict[str, bytes]:
        return {k: np.array(v).tobytes() for k, v in trained(session, 99).params.items()}

    wanted = bits(Session(plan, Host()))
    made = ShardedBound.__init__

    def backwards(self: ShardedBound, step: Any, n: int) -> None:
        made(self, step, n)
        for parts, *_ in self.rounds:
            parts.reverse()

    with monkeypatch.context() as changed:
        changed.setattr(ShardedBound, "__init__", backwards)
        assert bits(Session(plan, Host())) == wanted
    assert by_two(plan, bits) == [wanted, wanted]


def test_shards_go_side_by_side_with_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """On two threads, and back on one; a fault in one of them is told of as alone."""
    monkeypatch.setattr(host, "WORTH_A_POOL", 0)
    spec = dln.load(DATA + NORMED.replace("a = first(x)", "a = first(log(x + 9))"))
    plan = spec.compile(shards=3).plan
    one, two = (Session(plan, Host(threads)) for threads in (1, 2))
    for session in one, two:
        trained(session, 9)
    told = two.results["fit"].threads
    assert told["threads"] == told["of"] == 2 and told["shared"] > 1
    assert not one.results["fit"].threads
    for path in one.params:
        assert np.array_equal(one.params[path], two.params[path])
    x, label = np.ones((8, 3)), np.zeros(8, int)
    x[6, 1] = -10.0
    for session in one, two, two:
        with pytest.raises(DlnError) as error:
            session.step("fit", x=x, label=label)
        assert "example 6" in str(error.value.problems[0])
        assert error.value.problems[0].span is not None


def test_another_device_has_them_too(fake_cupy: Any) -> None:
    fake_cupy()
    noisy = NORMED.replace("a = first(x)", "e[3] ~ normal(0, 0.1)\n  a = first(x + e)")
    spec = dln.load(DATA + noisy)
    here, there = (spec.compile(backend=name, shards=3).session() for name in ("numpy", "cupy"))
    for session in here, there:
        trained(session, 9)
    for path in here.params:
        assert np.abs(np.asarray(here.params[path]) - np.asarray(there.params[path])).max() < 1e-6


def test_one_shard_is_the_step_as_it_was() -> None:
    spec = dln.load(DATA + NORMED)
    plain, one = spec.compile().plan, spec.compile(shards=1).plan
    said = dln.load(DATA + NORMED.replace("batch 8", "batch 8 shards 1")).compile().plan
    for plan in (one, said):
        assert not plan.phases["fit"].cuts
        assert list(plan.programs) == list(plain.programs)
        assert plan.programs["step:fit"].text == plain.programs["step:fit"].text
    assert one.fingerprint == said.fingerprint == plain.fingerprint
    four = dln.load(DATA + NORMED.replace("batch 8", "batch 8 shards 4")).compile().plan
    assert four.fingerprint == spec.compile(shards=4).plan.fingerprint != plain.fingerprint
    assert [len(rounds) for rounds in four.phases["fit"].cuts] == [4]  # three of them for the norm


def test_what_a_shard_leaves_out_is_said_with_line_and_example() -> None:
    text = DATA + NORMED.replace("a = first(x)", "a = first(log(x))")
    session = dln.load(text).compile(shards=3).session()
    x = np.ones((7, 3))
    x[5, 1] = -1.0
    with pytest.raises(DlnError) as error:
        session.step("fit", x=x, label=np.zeros(7, int))
    (problem,) = error.value.problems
    assert problem.code == "E600" and problem.span is not None and "log(x)" in problem.span.text
    assert "example 5" in str(problem)


def test_a_sum_over_shards_that_leaves_the_numbers_is_told_of_with_its_line() -> None:
    text = DATA + NORMED.replace("cross_entropy(z, label)", "cross_entropy(z, label) + big")
    text = text.replace("  a = first", "  big = exp(88.5 * x[2])\n  a = first")
    session = dln.load(text).compile(shards=2).session()
    with pytest.raises(DlnError) as error:
        session.step("fit", x=np.ones((2, 3)), label=np.zeros(2, int))
    (problem,) = error.value.problems
    assert problem.code == "E600" and problem.span is not None and "big" in problem.span.text


FAILING = """
data d = rows([[0], [0], [1], [1], [0], [0]]) {
  x[1] = raw
}
let f = dense(1)
train fit on d batch 2 for 1 epoch order file {
  minimize total sum(batch: exp(88.5 * x[0]) * f.b[0]) over f with sgd(lr = 0.1)
}
"""


def test_a_sum_that_fails_among_ranks_is_told_of_its_own_minibatch() -> None:
    """Though the rows of the next one are there before the sum is."""
    plan = dln.load(FAILING).compile(shards=2).plan

    def told(session: Session) -> str:
        with pytest.raises(DlnError) as error:
            session.train("fit")
        return str(error.value)

    alone = told(Session(plan, Host()))
    assert by_two(plan, told) == [alone, alone.replace("example 2 of", "example 3 of")]
    assert "update 1" in alone and "exp(88.5 * x[0]) * f.b[0]" in alone


MEETING = """
let f = dense(3)
let g = dense(3)
train fit on d batch 8 for 1 epoch {
  z = f(x)
  minimize cross_entropy(z - mean(k in others: z[k]), label) over f with sgd(lr = 0.1)
}
train alone on d batch 8 for 1 epoch {
  minimize cross_entropy(g(x), label) over g with sgd(lr = 0.1)
}
"""


def test_examples_that_meet_are_refused_with_the_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where they are to be learned from in shards; not in another phase, nor undivided."""
    text = DATA + MEETING
    (path := tmp_path / "net.dln").write_text(text)
    session = dln.load(text).compile(shards=2).session()
    asked = session.phase("fit")
    x, label = np.eye(3), np.arange(3)
    for refused in (
        lambda: session.train(),
        lambda: session.step("fit", x=x, label=label),
        lambda: dln.load(text.replace("batch 8", "batch 8 shards 2")),
    ):
        with pytest.raises(DlnError) as error:
            refused()
        (problem,) = error.value.problems
        assert problem.code == "E437" and problem.span is not None
        assert "k in others" in problem.span.text and "2 shards" in str(problem)
    assert not session.updates and not asked.cuts and not asked.shards
    session.train("alone")
    assert session.grad("fit", "f.W", x=x, label=label).shape == (3, 3)
    words = ["run", str(path), "--shards", "2", "--quiet", "--out", str(tmp_path / "run")]
    assert cli.carried_out(words) == 2
    assert "or train other phases alone: alone" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert cli.carried_out([*words, "--phase", "alone"]) == 0
    assert cli.carried_out(["plan", *words[1:4]]) == 0
    assert "fit cannot be cut into shards: " in capsys.readouterr().out


def test_shards_are_as_even_as_they_can_be() -> None:
    for n in range(9):
        rows = [rows_of_shard(n, 4, i) for i in range(4)]
        assert [i for r in rows for i in r] == list(range(n))
        assert max(map(len, rows)) - min(map(len, rows)) <= 1
