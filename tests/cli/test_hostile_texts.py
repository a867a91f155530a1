"""Nothing that is printed drives a terminal, whatever names, texts and paths hold."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dln.cli import main
from dln.grammar.diagnostics import DlnError, Problem
from dln.printing.terminal import Terminal, painted

ESC = "\x1b]0;owned\x07\x1b[2J\x1b[31m\x9b1m\u202e\r\b"
SAID = ESC.replace("\r", "")  # what stands in a spec, where that is the end of a line
SPEC = """# {esc}
data letters = text("{file}") {{
  c[time]: class(V) = raw[:-1]
}}
data rowed = rows([[0], [1]]) {{
  x[1] = raw
}}
let net = dense(1)
train fit on rowed batch all for 2 updates {{  # {esc}
  minimize sum((net(x) - x)^2) over net with sgd(lr = 0.1)
  watch error = sum((net(x) - x)^2)
}}
check "{esc} is said" {{
  expect fit.error < 1000
  expect params(net) == 2
}}
sweep rates {{
  vary seed in 1..2
  report fit.error
  expect fit.error < 1000
}}
task t() {{
  emit 1 to "{esc}.csv"
}}
task shown() {{
  emit text("{esc}", letters.c[0, 2], letters.c[0, 3])
}}
"""
COMMANDS = [
    ["check"], ["check", "-D", f"{ESC}=1"], ["check", "-D", f"a={ESC}"], ["data"], ["run"],
    ["run", "--phase", ESC], ["run", "--out", f"out{ESC}"], ["run", f"--{ESC}"], ["run", ESC],
    ["run", "--resume", ESC], ["run", "--data", f"letters={ESC}"], ["run", "--limit", ESC],
    ["run", "--backend", ESC], ["show"], ["show", "--graph"], ["show", "--dot"],
    ["show", "--mermaid"], ["plan"], ["plan", "--program", ESC], ["explain", "--pass", ESC],
    ["explain"], ["gradcheck"], ["sweep", "--jobs", "1"], ["sweep", ESC],
    ["results", ESC], [ESC],
]  # fmt: skip


def wrong(text: str) -> list[str]:
    """Characters that a terminal acts upon."""
    return [c for c in text if not (c.isprintable() or c in "\n\t")]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words).split("\x1b")[0])
def test_no_command_prints_a_control_character(
    words: list[str], tmp_path: Path, dln: Callable[..., Any]
) -> None:
    folder = tmp_path / f"in{ESC}"
    folder.mkdir()
    (folder / f"a{SAID}.txt").write_text(f"ab{ESC}" * 20, encoding="utf-8")
    spec = folder / f"s{ESC}.dln"
    spec.write_text(SPEC.format(esc=SAID, file=f"a{SAID}.txt"), encoding="utf-8")
    for more in ([], ["--json"]):
        done = dln(*words[:1], spec, *words[1:], *more)
        assert not wrong(done.out + done.err), repr(done.out + done.err)
        assert "E999" not in done.err
        assert done.code == 0 or words[1:] or words == [ESC], done.err
        if more and done.out:
            json.loads(done.out)


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_the_colours_of_dln_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, errors = Screen(), Screen()
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setattr("sys.stderr", errors)
    terminal = Terminal()
    terminal.result(f"{painted(f'passed{ESC}', 'green')}  {ESC}")
    terminal.wrong([Problem("E001", f"no {ESC}", facts=(ESC,), remedy=ESC)])
    terminal.say(ESC)
    plain = screen.getvalue().replace("\x1b[32m\x1b[1m", "", 1).replace("\x1b[0m", "", 1)
    assert not wrong(plain) and plain.startswith("passed\\x1b]0;owned")
    red = errors.getvalue().replace("\x1b[31m\x1b[1m", "", 1).replace("\x1b[0m", "", 1)
    assert not wrong(red)


def test_defects_and_errors_from_python_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not wrong(str(DlnError([Problem("E001", ESC, None, ESC, (), (ESC,), ESC)])))

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(ESC)

    monkeypatch.setattr("dln.commands.check.loaded", broken)
    monkeypatch.setenv("DLN_DEBUG", "1")
    with pytest.raises(SystemExit):
        main(["check", "mlp"])
    printed = capsys.readouterr()
    assert "RuntimeError" in printed.err and not wrong(printed.out + printed.err)
