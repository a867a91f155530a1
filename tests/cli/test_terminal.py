"""What is printed, and how the bar copes with odd names."""

import io
from typing import Any

import pytest

from dln.printing.terminal import Terminal, coloured, columns, number, plain
from dln.runtime.execution.phase_result import PhaseResult
from dln.runtime.training.callbacks import Progress, Report, Started


@pytest.mark.parametrize(
    ("value", "within", "text"),
    [
        (0.0, None, "0"),
        (-3.0, None, "-3"),
        (1e30, None, "1e+30"),
        (float("nan"), None, "nan"),
        (float("inf"), 1e-9, "inf"),
        (94.812345, 0.8, "94.8123"),
        (3.510187712e-05, 1e-9, "3.510187712e-05"),
        (True, None, "true"),
        ([[1.0, 2.0], [3.0, 4.5]], None, "[[1, 2], [3, 4.5]]"),
        (list(range(10)), None, "[0, 1, 2, 3, 4, 5, 6, 7, ...]"),
    ],
)
def test_numbers(value: Any, within: float | None, text: str) -> None:
    assert number(value, within) == text


def test_plain_gives_what_json_can_hold() -> None:
    assert plain({"a": (1.0, float("nan"), None), 2: {"b": float("-inf")}}) == {
        "a": [1.0, "nan", None], "2": {"b": "-inf"},
    }  # fmt: skip


def test_columns_make_control_characters_visible() -> None:
    assert columns([("a\x1b[1m", "b")]) == "a\\x1b[1m  b"
    assert columns([]) == ""


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colours_only_on_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert coloured(Screen()) and not coloured(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not coloured(Screen())


def test_quiet_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal(quiet=True).say("on the way")
    Terminal(json=True).result("for people")
    Terminal().data({"for": "programs"})
    assert capsys.readouterr() == ("", "")


def test_the_bar_reads_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    from dln.printing.progress import progress

    with progress(Terminal()) as bar:
        bar.phase_start(Started("[relu]", 0, 10, 5, 1))
        bar.report(Report("[relu]", 0, 5, {"[/x]": 1.5}))
        bar.progress(Progress("[relu]", 0, 5, 0.5, 1000.0, 0.1, 0.2, {"[/x]": 1.5}))
        bar.phase_end(PhaseResult("[relu]", updates=10, seconds=0.2, watch={"[/x]": 1.5}))
    assert "[relu]" in screen.getvalue() and "[/x] 1.5" in screen.getvalue()
