"""Layers of a chain that are given what they do not take: shown where the chain is made."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from dln.compiler.frontend.context import broadcasting
from dln.compiler.frontend.context.build_context import Build, Chain, Instance, Value
from dln.compiler.frontend.context.ports import dims_text
from dln.compiler.frontend.context.static_values import word
from dln.compiler.frontend.context.values import Builtin, Function
from dln.compiler.ir.graph import Node
from dln.grammar.diagnostics import DlnError, Note, Span

UNTAKEN = ("E214", "E215")
"""Faults of what a layer takes: it runs over time, or has another number of axes."""


def refuse_unflattened(b: Build, chain: Span, part: Value, value: Value) -> None:
    """In a chain, maps in front of a layer that takes a vector."""
    if not isinstance(part, Instance) or not isinstance(value, Node) or len(part.ports) != 1:
        return
    running, sizes, _ = part.ports[0]
    if not running and len(sizes) == 1 and len(value.type.example) > 1 and chain.holds(part.span):
        text = f"{part.name} takes {part.definition.syntax.ports[0].name}"
        text += f"{dims_text(part.definition.syntax.ports[0])}: a tensor with 1 axis"
        label = f"is given {b.shown(value.type)}"
        b.fail(
            "E215",
            text,
            part.span,
            label,
            (),
            f"flatten, {broadcasting.whole_text(part.span.text)}",
        )


@contextlib.contextmanager
def blaming(chain: Chain, part: Value, given: Sequence[tuple[Value, Span]]) -> Iterator[None]:
    """A layer of a chain that is given what it does not take is shown where the chain is made.
    Raises `DlnError` as what it holds does."""
    try:
        yield
    except DlnError as error:
        found = error.problems[0]
        at = part.span if isinstance(part, Instance) else chain.span
        if isinstance(part, Builtin | Function):
            at = word(at, part.name if isinstance(part, Builtin) else part.syntax.name)
        stands = found.span is not None and any(found.span == span for _, span in given)
        if not stands or found.code not in UNTAKEN or not chain.span.holds(at) or at == chain.span:
            raise
        assert found.span is not None
        label = re.sub(r"^is (?!given)", "is given ", found.label)
        notes = (Note(found.span, "is applied here"),) if chain.span != found.span else ()
        raise DlnError([replace(found, span=at, label=label, notes=notes)]) from None
