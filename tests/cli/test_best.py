"""`fit.best.error`, tasks that come after a phase, and phases that only slow ones need."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

LINE = """
data points = rows([[0, 1], [1, 3], [2, 5], [3, 7]]) {
  x = raw[0]
  t = raw[1]
}
block line(x) -> y {
  param w = 0
  y = w * x
}
let f = line()
train fit on points batch all for 5 epochs {
  y = f(x)
  minimize (y - t)^2 over f with sgd(lr = 0.3)
  watch cost = (f(x) - t)^2 on points every 1 epoch
  watch size = abs(f.w) on points every 1 epoch
  checkpoint best by cost
}
"""


def checked(dln: Callable[..., Any], tmp_path: Path, text: str, *words: str) -> tuple[Any, ...]:
    path = tmp_path / "spec.dln"
    path.write_text(text, encoding="utf-8")
    got = dln("run", path, "--json", "-q", *words)
    return got, json.loads(got.out) if got.out else {}


def steps() -> list[tuple[float, float]]:
    """Cost and weight after each epoch, worked out by hand: the rate is too large, so it swings."""
    points, w, found = [(0, 1), (1, 3), (2, 5), (3, 7)], 0.0, []
    for _ in range(5):
        w -= 0.3 * sum(2 * (w * x - t) * x for x, t in points) / 4
        found.append((sum((w * x - t) ** 2 for x, t in points) / 4, abs(w)))
    return found


def test_best_is_what_was_watched_when_the_cost_was_smallest(
    dln: Callable[..., Any], tmp_path: Path
) -> None:
    rows = steps()
    at = min(range(5), key=lambda i: rows[i][0])
    assert at != 4
    text = (
        LINE
        + f"""
    check "best" {{
      expect fit.best.cost == {rows[at][0]!r} within 1e-4
      expect fit.best.size == {rows[at][1]!r} within 1e-4
      expect fit.best.epochs == {at + 1}
      expect fit.best.updates == {at + 1}
      expect fit.cost == {rows[4][0]!r} within 1e-3
    }}
    """
    )
    got, data = checked(dln, tmp_path, text)
    assert got.code == 0, data


def test_best_needs_a_checkpoint_best_by(dln: Callable[..., Any], tmp_path: Path) -> None:
    text = LINE.replace("  checkpoint best by cost\n", "")
    text += 'check "best" {\n  expect fit.best.cost < 1\n}\n'
    path = tmp_path / "spec.dln"
    path.write_text(text, encoding="utf-8")
    got = dln("check", path)
    assert got.code == 2
    assert "E377" in got.err and "checkpoint best by size" in got.err


def test_a_task_after_a_phase_waits_for_it(dln: Callable[..., Any], tmp_path: Path) -> None:
    more = """
    train later on points batch all for 1 epoch after fit {
      minimize (f(x) - t)^2 over f with sgd(lr = 0.01)
    }
    task early() after fit {
      emit f.w to "early.csv"
    }
    task late() after later {
      emit f.w to "late.csv"
    }
    check "slowly" slow {
      expect later.updates == 1
    }
    """
    got, data = checked(dln, tmp_path, LINE + more)
    assert got.code == 0
    assert "early" in data["tasks"] and "late" not in data["tasks"]
    got, data = checked(dln, tmp_path, LINE + more, "--slow")
    assert set(data["tasks"]) == {"early", "late"}


def test_phases_that_only_slow_ones_come_after_are_slow_too(
    dln: Callable[..., Any], tmp_path: Path
) -> None:
    more = """
train middle on points batch all for 1 epoch after fit {
  minimize (f(x) - t)^2 over f with sgd(lr = 0.01)
}
train last on points batch all for 1 epoch after middle {
  minimize (f(x) - t)^2 over f with sgd(lr = 0.01)
}
check "first" {
  expect fit.updates == 5
}
check "last" slow {
  expect last.updates == 1
}
"""
    got, data = checked(dln, tmp_path, LINE + more)
    assert got.code == 0 and set(data["phases"]) == {"fit"}
    got, data = checked(dln, tmp_path, LINE + more, "--slow")
    assert set(data["phases"]) == {"fit", "middle", "last"}


def test_many_numbers_that_passed_are_counted_and_those_that_failed_are_shown(
    dln: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "spec.dln"
    rows = "[1.25, 2.5, 3.75, 4.125, 5.0625, 6.03125, 7.015625, 8.0078125, 9.5, 10.5]"
    text = f'check "ten" {{\n  x = {rows}\n  expect x == {rows}\n  expect x == zeros(10)\n}}\n'
    path.write_text(text, encoding="utf-8")
    got = dln("run", path)
    passed, failed = (line for line in got.out.split("\n") if line.startswith("  "))
    assert "measured 10 numbers" in passed and "1.25" not in passed.partition("measured")[2]
    assert "7.01562" in failed
