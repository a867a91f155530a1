"""Which options a block or an optimiser has been given, and what is said of those that it lacks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NoReturn

from dln.compiler.frontend.context import broadcasting
from dln.compiler.frontend.context.build_context import Build, Scope
from dln.compiler.frontend.context.static_values import unknown, word
from dln.compiler.frontend.instances import by_place
from dln.compiler.ir.graph import Node
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Note, Span


def option_values(
    b: Build, syntax: s.Block | s.Optimiser, given: Sequence[s.Arg], scope: Scope, span: Span
) -> dict[str, tuple[s.Expr, Scope, Span]]:
    """Which expression each option has been given, with the scope it is read in. The parameters of
    a block are options too; it is made by them, and applied to what its ports take."""
    if isinstance(syntax, s.Optimiser) and len(syntax.names) != 2:
        _refuse_names(b, syntax)
    who, names = syntax.name, [o.name for o in syntax.options]
    block = isinstance(syntax, s.Block)
    owned = (st for st in syntax.body if isinstance(st, s.Param | s.Fixed))
    known = [*names, *(d.name for st in owned for d in st.declared)]
    found: dict[str, tuple[s.Expr, Scope, Span]] = {}
    free = iter(names)
    for arg in given:
        if isinstance(arg, s.Ranged):
            b.fail("E326", "an index stands in reductions only", arg.span)
        if isinstance(arg, s.Named):
            name, expr = arg.name, arg.value
            if name not in known:
                if isinstance(syntax, s.Block):
                    _refuse_undeclared(b, syntax, arg, known)
                ports = syntax.ports if isinstance(syntax, s.Block) else ()
                _refuse_said(b, who, arg, found, span)
                _refuse_other_name(b, who, arg, given[-1], known, span, ports)
                unknown(b, "option", name, arg.span, known, who)
        else:
            name, expr = next(free, ""), arg
            if not name:
                if block and not names:
                    _refuse_alias(b, who, span, scope)
                    _refuse_port(b, syntax, arg)
                count = f"{len(names)} option{'s' * (len(names) != 1)}" if names else "no options"
                facts = (f"its options are {', '.join(names)}",) if names else ()
                remedy = f"{who}()({arg.span.text})" if block and not names else ""
                facts = ("a block is made first, and then applied",) if remedy else facts
                if remedy and b.naming.space.kind == "phase":  # made once, and then applied
                    other = next((n for n in ("net", "model") if not scope.lookup(n)), "made")
                    remedy = f"let {other} = {who}() above it, then {other}({arg.span.text})"
                b.fail("E322", f"{who} takes {count}", arg.span, "one too many", (), remedy, facts)
        if name in found and block:
            _refuse_applied(b, who, given, scope, span)
        if name in found:
            notes = (Note(found[name][2], "first here"),)
            point = re.search(r"\b(\d+),(\d+)$", span.source.text[: arg.span.stop])
            if point is not None and not isinstance(arg, s.Named):  # 0,1
                at = Span(span.source, arg.span.stop - len(point[0]), arg.span.stop)
                text = "a number has a point before its decimals"
                b.fail("E329", text, at, "is two numbers", (), f"{point[1]}.{point[2]}")
            b.fail("E329", f"{name} is given twice", arg.span, "again", notes)
        found[name] = (expr, scope, expr.span)
    missing = [o.name for o in syntax.options if o.default is None and o.name not in found]
    if missing:
        said = broadcasting.whole_text(span.text).removesuffix(")")
        said = f"{said}, " if re.fullmatch(rf"{who}\([^();]+", said) else f"{who}("
        remedy = f"{said}{', '.join(f'{m} = ...' for m in missing)})"
        b.fail("E333", f"{who} needs {', '.join(missing)}", span, "not given", remedy=remedy)
    if isinstance(syntax, s.Block) and given:
        by_place.warn(b, syntax, given, span)
    return found


def _refuse_applied(b: Build, who: str, given: Sequence[s.Arg], scope: Scope, span: Span) -> None:
    """`dense(x, 10, act = tanh)`: what a block is applied to, among its options."""
    first = given[0]
    if isinstance(first, s.Name) and span.text.startswith(f"{who}("):
        if isinstance(b.evaluate(first, scope), Node):
            rest = ", ".join(" ".join(a.span.text.split()) for a in given[1:])
            text = f"{who} is given its options; what it is applied to stands before an arrow"
            remedy = f"({first.id} -> {who}({rest}))"
            if b.naming.space.kind == "phase":  # made once, and then applied
                other = next((n for n in ("net", "model") if not scope.lookup(n)), "made")
                remedy = f"let {other} = {who}({rest}) above it, then {other}({first.id})"
            b.fail("E329", text, span, "", (Note(first.span, "is no option"),), remedy)


def _refuse_undeclared(b: Build, syntax: s.Block, arg: s.Named, known: Sequence[str]) -> None:
    """`mlp(hidden = 100)` of a block whose equations have `hidden`, and whose header has not."""
    body = syntax.span.text.partition("{")[2]
    ports = [p.name for p in (*syntax.ports, *syntax.results)]
    lines = (st for st in syntax.body if isinstance(st, s.Define | s.Draw | s.Let))
    bound = {st.name if isinstance(st, s.Let) else st.target.name for st in lines}
    if arg.name in (*ports, *bound) or not re.search(rf"(?<![\w.]){arg.name}\b(?!\s*=)", body):
        return
    if not syntax.ports or syntax.span.source is not b.source:
        return
    last = (*syntax.ports, *syntax.options)[-1].span
    remedy = f"{' '.join(last.text.split())}{',' if syntax.options else ';'} {arg.name}"
    text = f"{syntax.name} has no option {arg.name}, which its equations take"
    notes = (Note(arg.span, "is given here"),)
    b.fail("E301", text, last, "the options stand behind the ports", notes, remedy)


def _refuse_port(b: Build, syntax: s.Block | s.Optimiser, arg: s.Arg) -> None:
    """`block mlp(x[n], hidden)`: an option among the ports, given as one."""
    ports = syntax.ports if isinstance(syntax, s.Block) else ()
    single = [p for p in ports if p.dims is None and p.domain is None]
    number = isinstance(arg, s.Number | s.Name)
    if len(single) == 1 and single[0] is ports[-1] and len(ports) > 1 and number:
        span = ports[-2].span.to(ports[-1].span)
        remedy = f"{' '.join(ports[-2].span.text.split())}; {single[0].name}"
        text = f"{single[0].name} of {syntax.name} is a port here: options stand behind a semicolon"
        b.fail("E322", text, span, "are both ports", (Note(arg.span, "is an option"),), remedy)


def _refuse_alias(b: Build, who: str, span: Span, scope: Scope) -> None:
    """`let model = net`, where `net()` is meant."""
    called = re.match(r"\w*", span.text)
    binding = scope.lookup(called[0]) if called is not None and called[0] != who else None
    if binding is not None and binding.span is not None:
        text = (
            f"{called[0] if called else ''} is the block {who}: an instance is made with brackets"
        )
        at = word(binding.span, who, r"=\s*")
        b.fail("E322", text, at, "is the block", (Note(span, "is applied here"),), f"{who}()")


def _refuse_said(
    b: Build, who: str, arg: s.Named, found: dict[str, tuple[s.Expr, Scope, Span]], span: Span
) -> None:
    """`dense(32, units = 64)`: by the name of another tool what has been said by its place."""
    from dln.grammar.idioms import names  # late: most options are right

    here = names.OPTIONS.get(arg.name, arg.name)
    if here not in found or arg.span.source is not span.source:
        return
    text = f"{arg.name} is {here} of {who}, which is given already"
    start, stop = arg.span.start - span.start, arg.span.stop - span.start
    rest = re.sub(r",\s*$", "", span.text[:start].rstrip()) + span.text[stop:]
    first = found[here][2]
    same = first.text == arg.value.span.text
    other = f"{here} = {arg.value.span.text} in the place of the first"
    both = f"one of the two goes: {rest}, or {other}"
    notes = (Note(first, "first here"), Note(arg.span, "again"))
    b.fail("E329", text, span, "", notes, rest if same else "", () if same else (both,))


def _refuse_other_name(
    b: Build,
    who: str,
    arg: s.Named,
    last: s.Arg,
    known: Sequence[str],
    span: Span,
    ports: Sequence[s.Port] = (),
) -> None:
    """An option that other tools call otherwise, or that follows from what a block is given."""
    from dln.grammar.idioms import names  # late: most options are right

    if arg.span.source is not span.source:
        return
    sizes = [n for p in ports for d in p.dims or () for n in re.findall(r"[a-z]\w*", d.span.text)]
    if arg.name in sizes:
        rest = re.sub(rf"(?<=[(,])\s*{re.escape(arg.span.text)}\s*(,\s*|(?=\)))", "", span.text)
        rest = re.sub(r",\s*\)$", ")", rest)
        text = f"{arg.name} follows from what {who} is applied to: it is no option"
        b.fail("E301", text, span, "", (Note(arg.span, "is left out"),), rest)
    start, stop = arg.span.start - span.start, last.span.stop - span.start
    denied = arg.name in names.TRUE and arg.value.span.text.casefold() == "false"
    needless = (arg.name in names.NEEDLESS or arg.name in names.TRUE) and not denied
    fact = names.INSTEAD.get(arg.name)
    if fact is not None and not needless and names.OPTIONS.get(arg.name) not in known:
        text = f"{who} has no option {arg.name}"
        b.fail("E301", text, arg.span, "unknown", facts=(fact,))
    if arg.name not in names.OPTIONS and not needless:
        return
    said = names.renamed(span.text[start:stop], known)
    head, tail = span.text[:start], span.text[stop:]
    head = head if said else head.rstrip().removesuffix(",")
    here = names.OPTIONS.get(arg.name)
    if here in known or needless:
        text = f"{who} has no option {arg.name}: " + (
            f"it is {here} here" if here else "it follows from what is written anyway"
        )
        remedy = "" if said is None else f"{head}{said}{tail}"
        facts: tuple[str, ...] = (names.PADDED,) if "padding" in span.text else ()
        b.fail("E301", text, span, "", (Note(arg.span, "unknown"),), remedy, facts)


def _refuse_names(b: Build, syntax: s.Optimiser) -> NoReturn:
    """An optimiser that does not name a parameter and its gradient, and nothing else."""
    one, said = syntax.names[0], ", ".join(syntax.names)
    at = word(syntax.span, said, rf"{re.escape(syntax.name)}\s*\(\s*")
    taken = {one, *(o.name for o in syntax.options)}
    text = f"an optimiser names a parameter and its gradient, and {syntax.name} names {said}"
    other = syntax.names[1] if len(syntax.names) > 1 else "g" if "g" not in taken else "gradient"
    b.fail("E322", text, at, "comes before the options", remedy=f"{one}, {other}")
