"""Where the text says how many elements an axis of a tensor has: in the sizes of the parameter
that it has them from, or in the argument that stands for such a size. That is what has to change
where two sizes do not agree, and what to. And names of sizes, ports and equations that nobody says,
or says too late.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from dln.compiler.frontend.context import blaming
from dln.compiler.frontend.context.build_context import Build, Instance, Scope
from dln.compiler.frontend.context.place import Poisoned
from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.structure import axis_origins, is_param
from dln.compiler.ir.tensor_type import DOMAINS
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Span

CLOCKS = ("epoch", "update", "progress")  # what a phase counts
MOST = 200  # nodes that are looked at


class SizePlace(NamedTuple):
    """A size as it is written in the user's own file, perhaps as the argument that stands for it;
    how the block of an instance has it."""

    span: Span
    within: Span
    block: Instance


def size_place(b: Build, node: Node, axis: int) -> SizePlace | None:
    """Where the user says the size of an axis of the example; None where it comes from data."""
    found = axis_origins(node, len(node.type.running) + axis, MOST)
    origin = next(((n, i) for n, i in found if is_param(n)), None)
    return None if origin is None else _said(b, *origin)


def declared_place(b: Build, node: Node, axis: int) -> tuple[Span, Instance] | None:
    """Where a block, in whatever file, declares the size of an axis of the example."""
    found = axis_origins(node, len(node.type.running) + axis, MOST)
    for origin, place in found:
        if is_param(origin) and (made := b.owned.owners.get(origin["path"])) is not None:
            dims = declared_sizes(made, origin["path"])
            return (dims[place].span, made) if place < len(dims) else None
    return None


def _said(b: Build, node: Node, axis: int) -> SizePlace | None:
    """Where the size of an axis of a parameter is written: among its sizes, or as the argument of
    the instance that has it."""
    made = b.owned.owners.get(node["path"])
    if made is None:
        return None
    dims = declared_sizes(made, node["path"])
    if axis >= len(dims):
        return None
    span, options = dims[axis].span, {o.name for o in made.definition.syntax.options}
    if span.source is b.source and span.text not in options:
        return SizePlace(span, span, made)
    found = blaming.origins(made.making, span)
    at = found[-1].span if found else None
    return SizePlace(at, span, made) if at is not None and at.source is b.source else None


def declared_sizes(made: Instance, path: str) -> Sequence[s.Expr]:
    """The sizes of a parameter as its block declares them."""
    lines = (st for st in made.definition.syntax.body if isinstance(st, s.Param | s.Fixed))
    name = path.rpartition(".")[2]
    return next((d.dims or () for st in lines for d in st.declared if d.name == name), ())


def instead(b: Build, at: SizePlace, size: Size, other: SizePlace | None = None) -> str:
    """What to write at a place so that it is a size: as the block says it elsewhere, where the
    place is in the block, or the number that it is."""
    if other is not None and other.block is at.block and at.span is at.within:
        return other.within.text
    if (number := b.number(size)) is None:
        return ""
    if at.span is at.within:
        said = [o.name for o in at.block.definition.syntax.options]
        names = {k: at.block.argument(k) for k in said}
        same = [k for k, given in names.items() if given is not None and given.value == number]
        same += [k for k, var in at.block.sizes.items() if b.number(Size.of(var)) == number]
        if len(same) == 1 and at.span.text != same[0]:
            return same[0]
    return str(number)


def either(
    b: Build, said: Sequence[SizePlace | None], sizes: Sequence[Size]
) -> tuple[tuple[Span, str], ...]:
    """What to write at either of two places whose sizes do not agree, the second first: which of
    them is wrong what else is said in the spec may tell."""
    one, other = said
    if one is None or other is None or one.span == other.span:
        return ()
    ways = ((other.span, instead(b, other, sizes[0])), (one.span, instead(b, one, sizes[1])))
    return ways if all(way for _, way in ways) else ()


def const_place(expr: s.Syntax, scope: Scope) -> Span | None:
    """Where the value of a constant is written that stands at a place by its name."""
    binding = scope.lookup(expr.id) if isinstance(expr, s.Name) else None
    line = binding.span if binding is not None and binding.constant else None
    found = None if line is None else re.match(r"const\s+\w+\s*=\s*", line.text)
    return line and found and Span(line.source, line.start + found.end(), line.stop)


# ---- what is not said, or not there yet ---------------------------------------------------------


def refuse_unsaid(b: Build, syntax: s.Block, name: str) -> None:
    """A size of a result, as V of `z[time, V]`, that no port says: of a class it is its number."""
    sizes = [d.span.text for p in syntax.results for d in p.dims or ()]
    for st in syntax.body:
        lines = st.body if isinstance(st, s.Scan) else ()
        for line in lines:
            local = isinstance(line, s.Define) and line.target.name == name
            if isinstance(line, s.Define) and local and line.target.dims is None:
                assert isinstance(st, s.Scan)
                message = f"{name} is of one step of the scan, and not known outside of it"
                b.fail(
                    "E301", message, line.target.span, "is no sequence", (), f"{name}[{st.name}]"
                )
    free, text = [p for p in syntax.ports if p.domain is None], syntax.span.text
    asked = next((p for p in free if f"onehot({p.name})" in text), None)
    if name in sizes and asked is not None:
        whole = f"{' '.join(asked.span.text.split())}: class({name})"
        label = "is a class of how many?"
        b.fail("E301", f"no port says how large {name} is", asked.span, label, (), whole)


def _refuse_shape(b: Build, syntax: s.Block, name: str, span: Span) -> None:
    """`x.shape[0]`, of a port whose sizes have names."""
    dims = next((p.dims or () for p in syntax.ports if p.name == name), ())
    asked = re.match(
        r"\s*\.shape\[\s*(-?\d+)\s*\]|\s*\.size\(\s*(-?\d+)\s*\)", span.source.text[span.stop :]
    )
    before = re.search(r"\b(?:shape|len|length)\(\s*$", span.source.text[: span.start])
    after = re.match(r"\s*\)(?:\[\s*(-?\d+)\s*\])?", span.source.text[span.stop :])
    if asked is None and before is not None and after is not None:
        start, stop, number = before.start(), span.stop + after.end(), after[1] or "0"
    elif asked is not None:
        start, stop, number = span.start, span.stop + asked.end(), asked[1] or asked[2]
    else:
        return
    known = [d.span.text for d in dims if d.span.text != "time"]
    if -len(known) <= int(number) < len(known):
        text = f"the sizes of {name} have names where {syntax.name} says its ports"
        b.fail("E302", text, Span(span.source, start, stop), "", (), known[int(number)])


def refuse_early(b: Build, name: str, span: Span, scope: Scope) -> None:
    """A port or an equation of a block, in what the block is made of before it is applied."""
    around = ((x, b.owned.instances.get(x.path)) for x in scope.outwards())
    made = next((made for x, made in around if made is not None and made.scope is x), None)
    if made is None:
        return
    syntax = made.definition.syntax
    refuse_unsaid(b, syntax, name)
    given = any(p.name == name for p in syntax.ports)
    if given or any(st.target.name == name for st in syntax.body if isinstance(st, s.Define)):
        what = f"what {made.name} {'is given' if given else 'works out'} where it is applied"
        fact = "a let and a parameter are made once; an equation, without let, comes later"
        _refuse_shape(b, syntax, name, span)
        text = f"there is no {name} yet: it is {what}"
        if b.built.missing.asked(name, text, span):
            raise Poisoned
        b.fail("E301", text, span, "is needed before", facts=(fact,))


def beside_result(said: Sequence[SizePlace | None], places: Sequence[Span]) -> int | None:
    """Of two parameters of a block that give an equation other sizes, the one that does not give it
    a size of the result that it defines."""
    one, other = said
    if one is None or other is None:
        return None
    within = [p.holds(place.span) for p, place in zip(places, (one, other), strict=True)]
    if one.block is not other.block:  # what is made on the spot fits what was there before
        return within.index(True) if within.count(True) == 1 else None
    at = places[0]
    line = at.source.line(at.line).split("[")[0].split("=")[0].strip()
    results = one.block.definition.syntax.results
    dims = {d.span.text for p in results if p.name == line for d in p.dims or ()}
    fits = [place.within.text in dims for place in (one, other)]
    return fits.index(False) if fits.count(False) == 1 else None


def of_step(span: Span) -> tuple[tuple[Span, str], ...]:
    """`h[t]` behind the scan over t that defines it: what is meant is `last(h)`."""
    source, start = span.source, span.start
    head = re.search(r"([A-Za-z_]\w*)\[\s*$", source.text[:start])
    tail = re.match(r"\s*\]", source.text[span.stop :])
    above = source.text[:start].rpartition("\nblock ")[2]
    if head is None or tail is None or "\n}" in above:
        return ()
    scan = re.search(rf"^ *scan {span.text} in .*?^ *{head[1]}\[{span.text}\]", above, re.M | re.S)
    if scan is None:
        return ()
    return ((Span(source, head.start(), span.stop + tail.end()), f"last({head[1]})"),)


def known_elsewhere(b: Build, name: str, span: Span) -> tuple[str, ...]:
    """How many steps there are, and what an optimiser has of what only a phase knows."""
    if name == "time" and span.source.text[: span.start].rstrip()[-1:] not in ("[", ","):
        return ("how many steps there are is no number here; mean(time: x) is the mean over them",)
    body = b.calls[-1].body if b.calls else None
    if body is None or not body.holds(span) or not body.text.startswith("optimiser"):
        return ()
    if name not in CLOCKS:
        return ()
    given = f"{b.calls[-1].name}(lr = 0.1 / (1 + {name}))"
    return (f"an optimiser counts n, its own updates; {name} is known where it is used: {given}",)


def _on_const(span: Span) -> bool:
    return span.source.line(span.line).lstrip().startswith("const ")


def other_kind(b: Build, name: str, span: Span, scope: Scope) -> tuple[str, ...]:
    """What a name is that the file declares, and that is no value where it is asked for: a phase, a
    task, a sweep, or a domain."""
    if name in DOMAINS:
        said = "class(2)" if name == "class" else name
        return (f"{name} is a domain: it stands behind a colon, x[n]: {said}, or in x as {said}",)
    if _on_const(span) and re.search(rf"(?m)^let {name}\b", span.source.text):
        return (f"{name} is a let, which no const is made of: a const is a number, text or list",)
    text, words = span.source.text, ("train", "task", "sweep")
    there = any(f"{word} {name}" in text for word in words)  # a pattern of its own costs as much
    found = re.search(rf"(?m)^\s*(train|task|sweep) {name}\b", text) if there else None
    if found is None:
        return ()
    if found[1] == "task":
        return (f"{name} is a task: what it works out is emitted there, and nothing refers to it",)
    if found[1] == "sweep":
        return (f"{name} is a sweep: what it varies is a const, what it finds it reports",)
    made = b.phases.made.get(name)
    watched = next((w.name for w in made.watches), "error") if made else "error"
    if scope.space.kind == "phase" and scope.space.path.startswith(name):
        return (f"{name} is this phase: what it watches has its name alone here, as {watched}",)
    return (f"{name} is a phase: what it finds is known once it has run, as {name}.{watched} in a "
            "check, a task or a sweep",)  # fmt: skip


def field_elsewhere(b: Build, name: str, span: Span) -> tuple[str, ...]:
    """Where a name means something that is only a field of data here."""
    sets = b.data.declared.values()
    lines = [st.span for d in sets if d.span.holds(span) for st in d.body if _is_field(st, name)]
    if any(line.start > span.start for line in lines):
        return (f"{name} is a field that is declared further down: this line goes below it",)
    held = [d.name for d in sets for st in d.body if _is_field(st, name)]
    if not held:
        return ()
    return (
        f"{name} is a field of {held[0]}, which a phase on it reads example by example; elsewhere "
        f"{held[0]}.{name} is all of it, {held[0]}.{name}[0] the first",
    )


def _is_field(st: s.Syntax, name: str) -> bool:
    return isinstance(st, s.Field) and st.port.name == name
