"""`emit text(...)`: texts, numbers, and classes as the letters that they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from dln.artefacts.made import Made
from dln.artefacts.value import called
from dln.compiler.plan import EmitSpec
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
    """The pieces one after another: `values` are numbers, and classes in any shape."""
    said = []
    for part in emit.parts:
        if isinstance(part.value, str):
            said.append(part.value)
        elif part.alphabet:
            said += [part.alphabet[int(i)] for i in values[part.key].reshape(-1)]
        elif part.classes:
            said.append(" ".join(called(part.classes, i) for i in values[part.key].reshape(-1)))
        else:
            said.append(number(values[part.key]))
    return Text("".join(said))
