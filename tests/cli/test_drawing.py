"""Pictures of networks: what they say by hand, where everything stands by measuring it."""

import os
import re
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import dln as dln_module
from dln.drawing import layers, svg
from dln.drawing.layout import LABEL, Placed, laid_out, line_width, titled
from dln.drawing.reading import Drawable
from dln.drawing.scene import Arrow, Box, Scene, TextLine
from dln.drawing.text_size import width
from dln.spec import LIBRARIES, shipped

Dln = Callable[..., Any]
ROOT = Path(__file__).parents[2]
QUICK = ("mlp", "hello", "vae", "autoencoder", "rbm", "perceptron", "backprop", "pinn", "unfolding")
NOTHING = ("activations",)  # has no instance
SPECS = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
    for name in shipped()
    if name not in (*LIBRARIES, *NOTHING)
]


def texts(scene: Scene, id: str) -> list[str]:
    return [line.text for line in next(b for b in scene.boxes if b.id == id).lines]


def joined(scene: Scene) -> list[tuple[str, str, str]]:
    return [(a.start, a.end, a.label) for a in scene.arrows]


# ---- where everything stands -------------------------------------------------------------------

Rectangle = tuple[float, float, float, float]


def apart(a: Rectangle, b: Rectangle) -> bool:
    return a[2] <= b[0] + 0.5 or b[2] <= a[0] + 0.5 or a[3] <= b[1] + 0.5 or b[3] <= a[1] + 0.5


def within(a: Rectangle, b: Rectangle) -> bool:
    return b[0] <= a[0] + 0.5 and b[1] <= a[1] + 0.5 and a[2] <= b[2] + 0.5 and a[3] <= b[3] + 0.5


def along(points: tuple[tuple[float, float], ...]) -> Iterator[tuple[float, float]]:
    """Points on the cubic curves of an arrow."""
    for i in range(0, len(points) - 1, 3):
        a, b, c, d = points[i : i + 4]
        for k in range(11):
            t, u = k / 10, 1 - k / 10
            weights = (u**3, 3 * u * u * t, 3 * u * t * t, t**3)
            yield (
                sum(w * p[0] for w, p in zip(weights, (a, b, c, d), strict=True)),
                sum(w * p[1] for w, p in zip(weights, (a, b, c, d), strict=True)),
            )


def faults(placed: Placed, area: Rectangle) -> Iterator[str]:
    """What lies on something else, leaves its box, or does not fit."""
    known = {b.box.id: (b.x, b.y, b.x + b.w, b.y + b.h) for b in placed.boxes}
    names = list(known)
    for i, one in enumerate(names):
        if not within(known[one], area):
            yield f"{one} leaves"
        yield from (f"{one} on {b}" for b in names[i + 1 :] if not apart(known[one], known[b]))
    for b in placed.boxes:
        yield from (f"{t.text} in {b.box.id}" for t in titled(b.box) if line_width(t) > b.w)
        if b.inside is not None:
            yield from faults(b.inside, (b.x, b.y + b.head, b.x + b.w, b.y + b.h))
    labels: list[Rectangle] = []
    for a in placed.arrows:
        name = f"{a.arrow.start} -> {a.arrow.end}"
        (p, q), (r, t), (u, v) = svg.head_of(a)
        if abs((r - p) * (v - q) - (u - p) * (t - q)) < 20:
            yield f"{name} has no head"
        for x, y in along(a.points):
            if not within((x, y, x, y), area):
                yield f"{name} leaves"
            inner = (x - 1, y - 1, x + 1, y + 1)
            yield from (f"{name} through {b}" for b, r in known.items() if within(inner, r)
                        and not apart((x - 1.5, y - 1.5, x + 1.5, y + 1.5), r)
                        and r[0] + 1 < x < r[2] - 1 and r[1] + 1 < y < r[3] - 1)  # fmt: skip
        if a.arrow.label:
            x, y = a.label_at
            own = (x, y - LABEL, x + width(a.arrow.label, LABEL), y + 2)
            if not within(own, area) or not all(apart(own, r) for r in [*known.values(), *labels]):
                yield f"the label of {name}"
            labels.append(own)


@pytest.mark.parametrize("name", SPECS)
def test_every_shipped_spec_is_drawn_without_overlaps(name: str) -> None:
    drawable = Drawable.of(dln_module.load(name))
    sizes = dict[int, int]()
    for depth in (0, 1, 2):
        begun = time.process_time()
        scene = drawable.whole(depth)
        placed = laid_out(scene)
        assert not list(faults(placed, (0, 0, placed.w, placed.h)))
        ET.fromstring(svg.svg(placed))
        assert time.process_time() - begun < 5
        sizes[depth] = len(list(scene.all_boxes()))
        if depth == 0:
            assert not any(b.inside for b in scene.boxes)
    assert sizes[0] <= sizes[1] <= sizes[2]


def test_graphs_of_every_shape_are_laid_out(tmp_path: Path) -> None:
    """Stacks, loops, cycles, long arrows, many labels, an odd name: nothing overlaps."""
    lines = [(TextLine("x" * (3 * i % 17 + 1), "title"),) for i in range(14)]
    boxes = [Box(f"b{i}", "block", lines[i], None, 1 + 3 * (i == 4)) for i in range(14)]
    inner = Scene(tuple(boxes[:5]), tuple(Arrow(f"b{i}", f"b{i + 1}") for i in range(4)))
    boxes[7] = Box("b7", "group", (TextLine("opened", "title"),), inner)
    arrows = [Arrow(f"b{a}", f"b{b}", f"l{a}{b}" * (a % 2)) for a in range(14) for b in range(14)
              if (a * 7 + b * 5) % 11 == 0 and a != b]  # fmt: skip
    arrows += [Arrow("b3", "b3", "h[t-1]", "back"), Arrow("b7", "b7", "c, h: t-1", "back")]
    for kept in (arrows, arrows[:6], arrows[-1:], []):
        placed = laid_out(Scene(tuple(boxes), tuple(kept)))
        found = [
            f for f in faults(placed, (0, 0, placed.w, placed.h)) if not f.startswith("the label")
        ]
        assert not found
        assert len(placed.arrows) == len(kept)


def test_crossings_are_few() -> None:
    """Of two layers joined crosswise the order is found that has none."""
    pairs = [(0, 7), (1, 6), (2, 5), (3, 4)]
    found = layers.mesh(8, pairs, [0] * 4 + [1] * 4)
    assert layers.crossings(found) == 6
    layers.ordered(found)
    assert layers.crossings(found) == 0
    assert layers.acyclic(3, [(0, 1), (1, 2), (2, 0)]) == [False, False, True]
    assert layers.ranks(4, [(0, 1), (1, 2), (3, 2)], [], []) == [0, 1, 2, 1]


# ---- what is said ------------------------------------------------------------------------------


def test_a_network_with_its_data_and_its_phase() -> None:
    scene = Drawable.of(dln_module.load("vae")).whole(1)
    assert texts(scene, "data mnist") == [
        "mnist",
        "60,000 examples",
        "x: 784",
        "label: class of 10",
    ]
    assert texts(scene, "draw e") == ["e[size] ~ normal(0, 1)"]
    assert texts(scene, "phase bound")[1:3] == ["mnist.fit, batch 100", "2 epochs"]
    assert texts(scene, "phase bound")[-2:] == ["trains encode, decode", "by adam"]
    assert joined(scene) == [
        ("data mnist", "encode", "x"), ("encode", "decode", "mu, s"), ("draw e", "decode", ""),
        ("encode", "phase bound", "mu, s"), ("data mnist", "phase bound", "x"),
        ("decode", "phase bound", ""),
    ] or set(joined(scene)) == {
        ("data mnist", "encode", "x"), ("encode", "decode", "mu, s"), ("draw e", "decode", ""),
        ("encode", "phase bound", "mu, s"), ("data mnist", "phase bound", "x"),
        ("decode", "phase bound", ""),
    }  # fmt: skip
    encode = next(b for b in scene.boxes if b.id == "encode").inside
    assert encode is not None
    assert [b.lines[0].text for b in encode.boxes] == [
        "x: 784", "h: dense", "mu: dense", "s: dense", "mu: 20", "s: 20",
    ]  # fmt: skip
    assert texts(encode, "call0") == ["h: dense", "200, relu", "157,000 parameters"]


TEXT = """data d = rows([[0, 1], [1, 0]]) {
  x[2] = raw
  t[2] = raw
}
block cell(x[n]; m = 3) -> y[m] { y = x -> dense(m, act = relu) }
block deep(x[n]) -> y[2] {
  let same = [for k in 0..3: cell()]
  h = x -> dense(3) -> chain(same)
  y = h + dense(3)(h) -> relu -> dense(2)
}
let net = deep()
let twins = [for k in 0..4: cell(2)]
const used = [for twin in twins: twin]
train fit on d batch 1 for 1 epoch {
  e = sum((net(x) - t)^2) + sum([for k in 0..4: sum((twins[k](x) - t)^2)])
  minimize e over [net, twins] with sgd(lr = 0.1)
}
"""


def test_rows_and_lists_that_are_alike_are_stacks() -> None:
    drawable = Drawable.of(
        dln_module.load(TEXT.replace("const used = [for twin in twins: twin]\n", ""))
    )
    scene = drawable.whole(1)
    stacks = {b.lines[0].text: b.times for b in scene.boxes if b.times > 1}
    assert stacks == {"twins[0..4]: cell": 5}
    net = next(b for b in scene.boxes if b.id == "net").inside
    assert net is not None
    said = {b.id: ([line.text for line in b.lines], b.times) for b in net.boxes}
    assert (["cell", "3", "12 parameters"], 4) in said.values()
    assert (["+"], 1) in said.values() and (["relu"], 1) in said.values()
    counts = [int(m[1].replace(",", "")) * b.times for b in net.boxes
              if (m := re.fullmatch(r"([\d,]+) parameters?", b.lines[-1].text))]  # fmt: skip
    whole = sum(n for p, n in drawable.known.counts.items() if p.startswith("net."))
    assert sum(counts) == whole == 9 + 4 * 12 + 12 + 8


def test_a_recurrence_comes_back_and_units_are_joined() -> None:
    scene = Drawable.of(dln_module.load("hello")).whole(1)
    net = next(b for b in scene.boxes if b.id == "n").inside
    assert net is not None
    loop = next(b for b in net.boxes if b.kind == "loop")
    assert [line.text for line in loop.lines] == [
        "each t", "h[t] = tanh(Whh @ h[t-1] + Wxh @ x[t])", "z[t] = Why @ h[t]",
    ]  # fmt: skip
    assert Arrow(loop.id, loop.id, "h[t-1]", "back") in net.arrows
    machine = next(b for b in Drawable.of(dln_module.load("rbm")).whole(1).boxes if b.id == "R")
    assert machine.inside is not None
    assert machine.inside.arrows == (Arrow("h", "v", "W", "join"),)
    assert texts(machine.inside, "h") == ["h", "500 binary hidden"]


# ---- the command -------------------------------------------------------------------------------


def test_files_of_every_kind(dln: Dln, line: Path) -> None:
    for kind, begins in ((".svg", b"<svg "), (".png", b"\x89PNG"), (".pdf", b"%PDF"),
                         (".dot", b"digraph dln {"), (".mmd", b"flowchart TB")):  # fmt: skip
        got = dln("draw", line, "--to", f"out{kind}")
        assert got.code == 0 and got.err == f"wrote out{kind}\n", got.err
        assert Path(f"out{kind}").read_bytes().startswith(begins)
    data = dln("draw", line, "--net", "line", "--depth", 2, "--json").data
    assert data["file"] == "line-line.svg" and Path("line-line.svg").exists()
    assert [b["kind"] for b in data["scene"]["boxes"]] == ["port", "equation", "result"]
    lenet = Drawable.of(dln_module.load("lenet5_by_hand")).whole(0)
    assert texts(lenet, "net") == ["net: lenet5", "10", "60,000 parameters, 840 fixed"]
    inner = Drawable.of(dln_module.load("mlp")).instance("net.h", 1)
    assert texts(inner, "own y") == ["y = sigmoid(W @ x)"]


def test_wrong_words_are_answered(dln: Dln, line: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    got = dln("draw", line, "--net", "lime")
    assert got.code == 2 and "no instance lime" in got.err and "--net line" in got.err
    got = dln("draw", line, "--to", "net.gif")
    assert got.code == 2 and "--to net.svg" in got.err
    assert "E575" in dln("draw", "activations").err
    monkeypatch.setattr("dln.printing.pictures.available", lambda: False)
    got = dln("draw", line, "--to", "net.png")
    assert got.code == 2 and "--to net.svg, or pip install" in got.err


def test_graphviz_lays_out_where_it_is(
    dln: Dln, line: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = 'read first; echo "$1 $first"', "echo broken >&2; exit 1"
    for name, body in (("good", good), ("bad", bad)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "dot").write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name / "dot").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "good"))
    assert dln("draw", line, "--graphviz", "--to", "net.svg").code == 0
    assert Path("net.svg").read_text("utf-8") == "-Tsvg digraph dln {\n"
    monkeypatch.setenv("PATH", str(tmp_path / "bad"))
    got = dln("draw", line, "--graphviz", "--to", "other.svg")
    assert got.code == 2 and "no picture: broken" in got.err and not Path("other.svg").exists()


def test_the_pictures_of_the_pages_are_what_their_commands_draw(dln: Dln) -> None:
    """`DLN_GOLDEN=write` draws them anew."""
    page = (ROOT / "docs" / "seeing.md").read_text("utf-8")
    found = re.findall(r"dln draw (.+) --to (pictures/\S+\.svg)", page)
    assert len(found) == 3
    for words, name in found:
        assert dln("draw", *words.split(), "--to", "made.svg", "--force").code == 0
        made, kept = Path("made.svg").read_bytes(), ROOT / "docs" / name
        if os.environ.get("DLN_GOLDEN") == "write":
            kept.parent.mkdir(exist_ok=True)
            kept.write_bytes(made)
        assert made == kept.read_bytes(), name
