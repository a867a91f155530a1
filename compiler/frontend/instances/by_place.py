"""Numbers that stand for an option by their place alone, where other tools have a size; and
pictures whose channels stand last."""

from __future__ import annotations

from collections.abc import Sequence

from dln.compiler.frontend.context.build_context import Build
from dln.compiler.ir.sizes import Size
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Span

CODE = "W318"
FEW = (1, 3)  # channels of a picture
LARGE = 8  # no factor of first values, where the size before it has a name
MAPS = ["c", "h", "w"]  # axes of a port that takes maps of rows and columns


def warn(b: Build, syntax: s.Block, given: Sequence[s.Arg], span: Span) -> None:
    """`embedding(65, 32)`, `batch_norm(784)`: a size, by the order of other tools, where an option
    stands that is a factor or a small number."""
    plain = [a for a in given if not isinstance(a, s.Named)]
    needed = [o for o in syntax.options if o.default is None]
    for option, arg in zip(syntax.options, plain, strict=False):
        default, first = option.default, plain[0]
        if not isinstance(arg, s.Number) or not isinstance(default, s.Number):
            continue
        share = 0 < default.value < 1 and arg.value > 1
        after = len(needed) == 1 and len(plain) == 2 and arg is plain[1] and arg.value > 1
        size = isinstance(first, s.Number) and first.value > 1
        named = isinstance(first, s.Name) and arg.value >= LARGE  # embedding(V, 32)
        if not share and not (after and (size or named)):
            continue
        who, other = syntax.name, [a.span.text for a in given if a is not arg]
        kept = other if share else [arg.span.text, *other[1:]]
        b.warn(
            CODE,
            f"{arg.span.text} is {option.name} of {who} here, by its place",
            arg.span,
            label=f"is {default.span.text} if nothing is said",
            facts=(f"if {option.name} is meant: {option.name} = {arg.span.text}",),
            remedy=f"{who}({', '.join(kept)})",
        )


def warn_of_channels(b: Build, who: str, port: s.Port, sizes: Sequence[Size], span: Span) -> None:
    """`x[28, 28, 3]` where `x[c, h, w]` is taken: 28 maps of 28 x 3."""
    if [d.span.text for d in port.dims or ()] != MAPS or len(sizes) != len(MAPS):
        return
    first, rows, last = (b.number(n) or 0 for n in sizes)
    if last not in FEW or first in FEW or rows <= max(FEW) or first <= max(FEW):
        return
    fact = f"as in y[q, i, j] = {span.text}[i, j, q], with y[{last}, {first}, {rows}], and y here"
    text = f"{who} takes maps first: these are {first} maps of {rows} x {last}"
    b.warn(CODE, text, span, label="has its channels last", facts=(fact,))
