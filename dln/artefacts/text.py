"""`emit text(...)`: texts, numbers, and classes as the letters that they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from dln.artefacts.made import Made
from dln.compiler.plan import EmitSpec, PartSpec
from dln.grammar.diagnostics import clean
from dln.printing.terminal import number
from dln.runtime.session import Session


@dataclass(frozen=True)
class Text(Made):
    """A text as it is written; printed, what is no character is made visible."""

    content: str

    def text(self) -> str:
        return "\n" + clean(self.content)

    def data(self) -> Any:
        return self.content

    def numbers(self, kind: str) -> bytes:
        return self.content.encode()


def made(session: Session, emit: EmitSpec, values: Mapping[str, NDArray[Any]]) -> Text:
    """The pieces one after another."""
    return Text("".join(_spelled(part, values) for part in emit.parts))


def _spelled(part: PartSpec, values: Mapping[str, NDArray[Any]]) -> str:
    if isinstance(part.value, str):
        return part.value
    value = values[part.key]
    if not part.alphabet:
        return number(value)
    return "".join(part.alphabet[int(i)] for i in value.reshape(-1))
