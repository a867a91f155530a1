"""What has become of an expectation, as a record that needs no graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dln.grammar.diagnostics import Span
from dln.grammar.record import Record

PLAIN = ("status", "value", "expected", "within", "reason", "op")
"""The fields of a verdict that are the same in `--json`."""


class Verdict(Record):
    """One expectation with its outcome: `passed`, `failed` or `not run` (with the reason)."""

    check: str
    text: str
    status: str
    value: Any = None
    expected: Any = None
    within: float | None = None
    reason: str = ""
    op: str = "=="
    span: Span | None = None
    phases: tuple[str, ...] = ()

    def as_data(self) -> dict[str, Any]:
        """The fields that `--json` prints."""
        plainly = {k: getattr(self, k) for k in PLAIN}
        return {"text": self.check, "expect": self.text, **plainly, "phases": list(self.phases)}


def of_data(data: Mapping[str, Any]) -> Verdict:
    """The verdict that `as_data` wrote, without its place in the file."""
    plainly = {k: data[k] for k in PLAIN}
    return Verdict(data["text"], data["expect"], phases=tuple(data["phases"]), **plainly)
