"""Keys: one text for each, and back from the texts that come back."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

import dln
from dln.compiler.schema.keys import (
    CLOCKS,
    CheckpointKey,
    Clock,
    EmittedValue,
    GradientValue,
    Key,
    LeftValue,
    LineLoss,
    Output,
    PhaseNumber,
    ProbeInput,
    ProgramKey,
    ProgramKind,
    RawInput,
    WatchReport,
    WatchValue,
    WholeField,
    new_param,
    new_state,
    parse_clock,
    value,
)
from dln.grammar.diagnostics import Fault

NUMBERED = (ProgramKind.ESTIMATE, ProgramKind.UNTIL, ProgramKind.BEST, ProgramKind.TASK)
PATHS = (ProgramKind.APPLY, ProgramKind.ONE_STEP, ProgramKind.FIRST)
Draw = random.Random


def name(draw: Draw) -> str:
    """An identifier, some of which begin as other things do."""
    start = draw.choice(["x", "Y", "best", "watch", "step", "epoch", "of", "check", "_"])
    return start + "".join(draw.choice("abcxyzW_019") for _ in range(draw.randint(0, 4)))


def phase(draw: Draw) -> str:
    return name(draw) + draw.choice(["", "", f"[{draw.randint(0, 12)}]"])


def path(draw: Draw) -> str:
    return ".".join(phase(draw) for _ in range(draw.randint(1, 3)))


def program(draw: Draw) -> ProgramKey:
    kind = draw.choice(list(ProgramKind))
    if kind is ProgramKind.WATCH:
        return kind.of(phase(draw), name(draw))
    if kind in PATHS:
        return kind.of(path(draw))
    at = draw.choice([None, draw.randint(0, 30)]) if kind in NUMBERED else None
    return kind.of(phase(draw), at)


def clock(draw: Draw) -> Clock:
    at = draw.choice([None, draw.randint(-9, 9)])
    own, asked = WatchReport(name(draw), at), PhaseNumber(phase(draw), name(draw), at=at)
    best = PhaseNumber(phase(draw), name(draw), best=True)
    drawn: list[Clock] = [draw.choice(CLOCKS), own, asked, best]
    return draw.choice(drawn)


def whole(draw: Draw) -> WholeField:
    return WholeField(name(draw), name(draw), name(draw))


def held(draw: Draw) -> CheckpointKey:
    kind = draw.choice(["state", "first", "before", "after"])
    named = draw.choice([path(draw), f"{path(draw)}:{path(draw)}"])  # a state of an optimiser
    return CheckpointKey(kind, phase(draw), named)


@pytest.mark.parametrize(
    ("draw", "back"),
    [(program, ProgramKey.parse), (clock, parse_clock), (whole, WholeField.parse),
     (held, CheckpointKey.parse)],
    ids=["program", "clock", "whole", "checkpoint"],
)  # fmt: skip
def test_a_text_leads_back_to_its_key(
    draw: Callable[[Draw], Key | str], back: Callable[[str], Key | str | None]
) -> None:
    rng, seen = Draw(3), dict[str, Key | str]()
    for _ in range(3000):
        key = draw(rng)
        assert back(str(key)) == key, repr(str(key))
        assert seen.setdefault(str(key), key) == key
    assert len(seen) > 500


@pytest.mark.parametrize(
    ("text", "back"),
    [("stpe:sse", ProgramKey.parse), ("step:", ProgramKey.parse), ("", ProgramKey.parse),
     ("mnist.x", WholeField.parse), ("a.b.c.d", WholeField.parse), ("mnist..x", WholeField.parse),
     ("a b", parse_clock), ("watch:", parse_clock), ("p.e[x]", parse_clock),
     ("a.b.c", parse_clock)],
)  # fmt: skip
def test_what_no_key_says_is_answered(text: str, back: Callable[[str], object]) -> None:
    with pytest.raises(Fault, match=text.replace("[", r"\[") or "no program"):
        back(text)


def test_parameters_stand_under_their_paths_in_a_checkpoint() -> None:
    assert CheckpointKey.parse("net.cells[0].W") is None


def test_texts_are_what_files_and_users_have() -> None:
    """The texts of before there were keys: checkpoints and plans of then are read on."""
    kind = ProgramKind
    texts = {
        "init:float32": kind.INIT.of("float32"), "step:sse": kind.STEP.of("sse"),
        "until:sse": kind.UNTIL.of("sse"), "until:sse.1": kind.UNTIL.of("sse", 1),
        "best:pre[0].0": kind.BEST.of("pre[0]", 0),
        "watch:sse.error": kind.WATCH.of("sse", "error"),
        "step of lm": kind.ONE_STEP.of("lm"), "first of lm": kind.FIRST.of("lm"),
        "task:show.0": kind.TASK.of("show", 0), "param:net.W": new_param("net.W"),
        "state:s.v:net.W": new_state("s.v:net.W"), "value:loss": value("loss"),
        "value:watch:error": value(WatchValue("error")), "value:line:1": value(LineLoss(1)),
        "value:grad:net.W": value(GradientValue("net.W")),
        "value:1:net.W": value(LeftValue(1, "net.W")),
        "value:emit:0.2": value(EmittedValue(0, 2)), "raw:mnist.image": RawInput("mnist", "image"),
        "mnist.all.x": WholeField("mnist", "all", "x"), "watch:error[-1]": WatchReport("error", -1),
        "sse.best.error": PhaseNumber("sse", "error", best=True),
        "pre[0].e[3]": PhaseNumber("pre[0]", "e", at=3),
        "probe:2": ProbeInput(2),
        "state:sse:v:net.W": CheckpointKey("state", "sse", "v:net.W"),
    }  # fmt: skip
    assert {text: str(key) for text, key in texts.items()} == {text: text for text in texts}


def test_keys_have_one_order() -> None:
    keys: list[Key] = [value("b"), ProgramKind.STEP.of("a"), new_param("a"), Output("value", "a")]
    assert [str(k) for k in sorted(keys)] == ["param:a", "step:a", "value:a", "value:b"]


CHECKER = """
data d = rows([[0.5, 1.0], [0.25, 0.5]]) {
  x[1] = raw[0:1]
  t: real = raw[1]
}
block line(x[n]) -> y {
  param w[n] = 0.5
  y = w @ x
}
let checker = line()
let check_net = line()
train fit on d batch 1 for 1 epoch {
  minimize (checker(x) + check_net(x) - t)^2 over checker, check_net with sgd(lr = 0.1)
}
check "a net of its own" {
  let own = line()
  expect own([2]) == 1
}
"""


def test_what_is_called_checker_is_no_checks_own() -> None:
    """A check's own instances are told by where they were made, not by what they are called."""
    session = dln.load(CHECKER).compile().session()
    assert set(session.params) == {"checker.w", "check_net.w"}
    session.train("fit")
    assert session.params["checker.w"] != 0.5
    assert float(session.checker([[2.0]])[0]) == pytest.approx(2 * session.params["checker.w"][0])
