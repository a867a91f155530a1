"""Specs trained short, and hashes of all that they leave: what ranks and one process have alike.

Run by `mpirun`, each rank does the same and writes the hashes of its own: `python trained.py FILE
mlp rbm` trains two of the specs, and writes FILE.RANK.
"""

import json
import os
import signal
import sys
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from runpy import run_path
from time import sleep
from typing import Any

import numpy as np

import dln
from dln.grammar.diagnostics import DlnError, Fault
from dln.runtime.ranks.ranks import Elsewhere
from dln.runtime.training.resume import pack

NET = """data d = synthetic("gaussians", 3, 4, 2700, seed = 1) {
  x[4] = raw.x
  label: class(3) = raw.label
  split fit 2600, valid 100
}
let net = dense(3)
train fit on d.fit batch 50 for 30 updates {
  y = net(x)
  minimize cross_entropy(y, label) over net with diagonal_lm(lr = 0.02, sample = 2500)
  watch error = (argmax(y) != label) on d.fit every 10 updates
  watch balanced = f1(argmax(y), label) on d.fit every 10 updates
}
"""
TIMED = NET.replace("30 updates", "1 second").replace("lr = 0.02", "lr = 0.02 * (1 - progress)")
STEEP = """data d = rows([[1e-4], [2e-4], [3e-4], [0.3]]) {
  x[1] = raw
}
block line(x[1]) -> y[1] {
  param w[1] = 0
  y = 1000 * w * x
}
let net = line()
train fit on d batch all for 6 updates {
  minimize exp(net(x)[0]) - 2000 * net.w[0] over net with lbfgs()
}
"""
FAILING = """data d = rows([[1], [2], [3], [1e200]]) {
  x[1] = raw
}
let net = dense(1)
train fit on d batch all for 3 updates {
  minimize sum(net(x)^2) over net with sgd(lr = 0.1)
}
"""
DEAD = 4194305  # a process that there cannot be
SPECS: dict[str, tuple[dict[str, Any], str | None, int]] = {
    "mlp": ({}, None, 60),
    "lenet5": ({}, "short", 60),
    "rbm": ({}, None, 200),
    "char_rnn": ({"hidden": 32}, "short", 200),
    "dbn": ({}, None, 150),
    "sparse_autoencoder": ({}, "short", 60),
}
"""Constants, the phase, all where it is None, and how many examples of each set."""


def digest(session: Any) -> str:
    """Of parameters, states and reports, to the last bit."""
    found = sha256()
    arrays, _ = pack(session.state)
    for name in sorted(arrays):
        found.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    for name, result in session.results.items():
        found.update(repr((name, result.history, result.updates)).encode())
    return found.hexdigest()


def trained(names: Iterable[str], comm: Any = None) -> dict[str, str]:
    """The hashes of specs, by one process or by ranks."""
    net = dln.load(NET).compile(dtype="float64", shards=5).session(comm=comm)
    net.train()
    steep = dln.load(STEEP).compile(shards=4).session(comm=comm)
    steep.train()
    found = {"net": digest(net), "steep": digest(steep)}
    for name in names:
        constants, phase, limit = SPECS[name]
        session = dln.load(name, **constants).compile(shards=4).session(comm=comm)
        session.train(phase, epochs=1, limit=limit)
        found[name] = digest(session)
    return found


def exchanged(ranks: Any) -> str:
    """Rows of several sizes, the smallest and the first of something, failing together."""
    for rows, size in ((4, 10), (3, 200_000), (1, 5)):
        found, own = np.zeros((rows, size)), ranks.share(rows)
        with ranks.together():
            for i in range(5):
                found[own.start : own.stop] = np.arange(own.start, own.stop)[:, None] * 10 + i
                ranks.gather(found)
                assert (found == np.arange(rows)[:, None] * 10 + i).all()
                assert ranks.agree(1 << ranks.index) == (1 << ranks.count) - 1
                assert ranks.first({"i": i} if ranks.index == 0 else None) == {"i": i}
    return failing(ranks)


def kept_together(ranks: Any) -> str:
    """Rows of two arrays that all fill in and see; nothing where the system has no such memory."""
    forms = {"x": ((9, 70_000), "float32"), "y": ((9,), "int64")}
    machine = Machine(ranks)
    blocks = machine.blocks(9)
    room, mine = machine.room(forms, blocks), blocks[machine.number]
    assert room is not None
    for i in mine[machine.index :: machine.count]:
        room.put("x", i, np.full((1, 70_000), i / 3))
        room.put("y", i, np.array([i]))
    found = room.arrays()
    with pytest.raises(ValueError, match="read-only"):
        found["y"][0] = 1
    with pytest.MonkeyPatch.context() as patch:
        if ranks.index == 0:
            patch.delattr(os, "memfd_create")
        assert machine.room(forms, blocks) is None
    x, order = found["x"], np.array([8, 0, 7, 1, 4])
    assert (x[order][:, -1] == np.float32(order / 3)).all() and x.shape == (9, 70_000)
    assert isinstance(x, FarRows) == (len(blocks) > 1)
    return f"{np.asarray(x[:]).sum(dtype='float64'):.0f} {found['y'].sum()}"


class Rows:
    """Sums of which each of a rank's two parts goes by itself."""

    line = 16

    def __init__(self, ranks: Any, size: int) -> None:
        self.parts, self.whole = np.zeros((2 * ranks.count, size)), np.zeros(size)

    def add(self, numbers: range | None = None) -> None:
        at = slice(None) if numbers is None else slice(numbers.start, numbers.stop)
        self.whole[at] = self.parts[:, at].sum(axis=0)


def failing(ranks: Any) -> str:
    """Each rank fails once, between two rows, the others in the midst of a message; what the others
    are told, and that all goes on from there."""
    heard, own = "", ranks.share(2 * ranks.count)
    for size in 10, 9600, 96000:  # in one message, row by row, and in slices
        rows = Rows(ranks, size)
        for bad in range(ranks.count):
            try:
                with ranks.together():
                    for i in range(9):
                        ranks.begin(rows)
                        for part in own:
                            rows.parts[part] = part + i
                            if ranks.index == bad and i == 5 and part == own[1]:
                                raise Fault(f"no number {bad}", "another")
                            ranks.hand_on(part)
                        ranks.add_up(rows, list)
                        assert (
                            rows.whole == sum(range(2 * ranks.count)) + 2 * ranks.count * i
                        ).all()
            except Elsewhere as error:
                assert ranks.index != bad
                assert f"no number {bad}" in str(error) and f"on rank {bad} of" in str(error)
                heard += error.problems[0].message
            except Fault:
                assert ranks.index == bad
    ranks.agree(0)  # and all is as it was
    return heard


def left(comm: Any) -> str:
    """What ranks say of a number that one of them cannot hold; a step from Python after that."""
    session = dln.load(FAILING).compile(dtype="float64", shards=4).session(comm=comm)
    try:
        session.train()
    except DlnError as error:
        said = str(error)
    stepped = dln.load(NET).compile(dtype="float64", shards=4).session(comm=comm)
    fields = {"x": np.eye(4), "label": np.array([0, 1, 2, 0])}
    losses = [stepped.step("fit", **fields) for _ in range(3)]
    slope = stepped.grad("fit", "net.W", **fields)
    return f"{losses} {slope.sum():.6f} {said}"


def timed(comm: Any) -> str:
    """How many updates has a phase that ends by the clock of one rank, whose time its updates read;
    in the end ranks look at what they all have."""
    session = dln.load(TIMED).compile(shards=2).session(comm=comm)
    session.train()
    return str(session.updates["fit"])


def silent(ranks: Any) -> list[str]:
    """What the first rank says of another that does not answer, and of one that is not there; what
    that one says of the first where it is stopped."""
    said, there = list[str](), ranks._places[-1]

    def aside(text: str) -> None:
        said.append(f"aside: {text}")
        os.kill(ranks._places[0][1], signal.SIGCONT)  # it goes on

    ranks.tell, ranks.aside = said.append, aside
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exchange, "SILENT", (0.3,))
        sleep(0.7 * ranks.index)
        ranks.agree(0)
        if ranks.index == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
        ranks.agree(0)
        if ranks.index == 0:
            ranks._places[-1] = (there[0], DEAD)
        sleep(0.7 * ranks.index)
        try:
            ranks.agree(0)
        except Fault as fault:
            said.append(fault.message)
            sleep(1.0)  # until it is there after all
    return said


def on_device(comm: Any) -> str:
    """The stand-in for CuPy: arrays go by way of the host, and as they are."""
    stand_in = run_path(str(Path(__file__).parents[1] / "conftest.py"))["FakeCupy"]
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cupy", stand_in())
        patch.setattr(exchange, "SINGLE", 1)  # as they are: row by row
        for direct in ("0", "1"):
            patch.setenv("DLN_MPI_CUDA", direct)
            for ranks in (None, comm):
                made = dln.load(NET).compile("cupy", dtype="float64", shards=5)
                session = made.session(comm=ranks)
                session.train()
                found.append(digest(session))
    return f"{len(set(found))} of {len(found)}"


def main(file: str, *names: str) -> None:
    ranks = Mpi(MPI.COMM_WORLD)
    if ranks.count > 2:  # the smallest set, too, is kept by all together
        dealt.LEAST = 0
    found = {"exchanged": exchanged(ranks), **trained(names, MPI.COMM_WORLD)}
    found["kept"] = kept_together(ranks)
    if ranks.count == 4:  # on two machines, which fetch from one another all but what is tiny
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(common, "_machine", lambda: str(ranks.index // 2))
            patch.setattr(common, "FEW", 30_000)
            assert found["kept"] == kept_together(ranks)
            far = trained((), MPI.COMM_WORLD)
        assert far == {name: found[name] for name in far}
    found["left"] = left(MPI.COMM_WORLD)
    if "mlp" in names and ranks.count == 2:
        found["on device"] = on_device(MPI.COMM_WORLD)
        found["timed"] = timed(MPI.COMM_WORLD)
        found["silent"] = " ".join(silent(ranks))
    Path(f"{file}.{ranks.index}").write_text(json.dumps(found))


if __name__ == "__main__":
    import pytest
    from mpi4py import MPI

    from dln.runtime.data import dealt
    from dln.runtime.ranks import common, exchange
    from dln.runtime.ranks.common import Machine
    from dln.runtime.ranks.exchange import Mpi
    from dln.runtime.ranks.far import FarRows

    main(*sys.argv[1:])
