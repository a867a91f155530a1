"""Syntax to text: `to_text(module)` in the canonical layout, `expr_text(expr)` for one expression.

Laws, tested on every spec: parsing the text gives the same tree, and printing that tree gives the
same text. Brackets are printed where they were written, and where a tree built without them needs
them. Comments are no part of the tree.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from dln.grammar import syntax as s

INDENT = "  "
WIDTH = 88

# How tightly each kind of expression binds; an operand must bind at least as its place asks.
FLOW, CHOOSE, OR, AND, NOT, COMPARE, AS, RANGE, SUM, TERM, UNARY, POWER, POSTFIX, ATOM = range(14)
_BINARY = {"or": OR, "and": AND, "+": SUM, "-": SUM, "*": TERM, "/": TERM, "@": TERM, "^": POWER}
_OPERANDS = {  # what the left and the right side of an operator must bind at least
    OR: (OR, AND), AND: (AND, NOT), COMPARE: (AS, AS), SUM: (SUM, TERM), TERM: (TERM, UNARY),
    POWER: (POSTFIX, UNARY),
}  # fmt: skip


def to_text(module: s.Module) -> str:
    """The text of a module, ending with a newline; empty for an empty module."""
    lines: list[str] = []
    if module.version is not None:
        lines.append(f"dln {_number(module.version)}")
    previous: s.Item | None = None
    for item in module.items:
        if lines and _apart(previous, item):
            lines.append("")
        lines += _statement(item)
        previous = item
    return "".join(line + "\n" for line in lines)


def _apart(previous: s.Item | None, item: s.Item) -> bool:
    """Whether a blank line stands between two items."""
    return _braced(item) or (_braced(previous) and not isinstance(item, s.Let))


def _braced(item: s.Item | None) -> bool:
    return hasattr(item, "body") and not (isinstance(item, s.Data) and not item.body)


# ---- expressions -------------------------------------------------------------------------------


def expr_text(expr: s.Arg | s.Slice, least: int = FLOW) -> str:
    """The text of an expression, in brackets where it binds less tightly than `least`."""
    text, binds = _expr(expr)
    return text if binds >= least else f"({text})"


def _expr(expr: s.Arg | s.Slice) -> tuple[str, int]:
    """The text of an expression and how tightly it binds."""
    match expr:
        case s.Binary(op, left, right):
            binds = _BINARY.get(op, COMPARE)
            before, after = _OPERANDS[binds]
            mark = op if op == "^" else f" {op} "
            return expr_text(left, before) + mark + expr_text(right, after), binds
        case s.Unary("not", body):
            return f"not {expr_text(body, NOT)}", NOT
        case s.Unary(op, body):
            return op + expr_text(body, UNARY), UNARY
        case s.Flow(source, target):
            return f"{expr_text(source)} -> {expr_text(target, CHOOSE)}", FLOW
        case s.Choose(then, test, other):
            a, b = expr_text(then, OR), expr_text(test, OR)
            return f"{a} if {b} else {expr_text(other, CHOOSE)}", CHOOSE
        case s.Asserted(body, domain):
            return f"{expr_text(body, RANGE)} as {_domain(domain)}", AS
        case s.RangeOf(first, last, step):
            by = "" if step is None else f" by {expr_text(step, SUM)}"
            return f"{expr_text(first, SUM)}..{expr_text(last, SUM)}{by}", RANGE
        case _:
            return _postfix(expr)


def _postfix(expr: s.Arg | s.Slice) -> tuple[str, int]:
    match expr:
        case s.Call(function, arguments, options):
            after = f"; {_list(options)}" if options else ""
            return f"{expr_text(function, POSTFIX)}({_list(arguments)}{after})", POSTFIX
        case s.Reduce(function, indices, body):
            head = expr_text(function, POSTFIX)
            return f"{head}({_list(indices)}: {expr_text(body)})", POSTFIX
        case s.Index(body, indices):
            return f"{expr_text(body, POSTFIX)}[{', '.join(map(_index, indices))}]", POSTFIX
        case s.Attr(body, name):
            return f"{expr_text(body, POSTFIX)}.{name}", POSTFIX
        case s.Transpose(body):
            return f"{expr_text(body, POSTFIX)}'", POSTFIX
        case _:
            return _atom(expr), ATOM


def _atom(expr: s.Arg | s.Slice) -> str:
    match expr:
        case s.Number(value):
            written = expr.span.text
            same = re.fullmatch(r"[\d.]+([eE][+-]?\d+)?", written) and float(written) == value
            return written if same else _number(value)
        case s.String(value, long):
            return f'"""{value}"""' if long else f'"{value}"'
        case s.Name(name):
            return name
        case s.Group(body):
            return f"({expr_text(body)})"
        case s.ListOf(items):
            return f"[{_list(items)}]"
        case s.Comprehension(name, over, body):
            return f"[for {name} in {expr_text(over)}: {expr_text(body)}]"
        case s.Named(name, value):
            return f"{name} = {expr_text(value)}"
        case s.Ranged(name, over):
            return f"{name} in {expr_text(over)}"
        case s.Slice(start, stop):
            return ":".join("" if e is None else expr_text(e) for e in (start, stop))
        case _:
            raise TypeError(f"{type(expr).__name__} is no expression")


def _index(index: s.Expr | s.Slice) -> str:
    """An index; a lag is written close: `t-1`."""
    match index:
        case s.Binary("+" | "-" as op, s.Name(name), s.Number() as lag):
            return f"{name}{op}{_atom(lag)}"
        case _:
            return expr_text(index)


def _number(value: int | float) -> str:
    return re.sub(r"e([+-])0*", lambda m: "e" + m[1].replace("+", ""), repr(value))


def _list(exprs: Iterable[s.Arg | s.Slice]) -> str:
    return ", ".join(expr_text(e) for e in exprs)


# ---- ports, options, declarations ----------------------------------------------------------------


def _domain(domain: s.Domain) -> str:
    return domain.name + ("" if domain.size is None else f"({expr_text(domain.size)})")


def _dims(dims: tuple[s.Expr, ...] | None) -> str:
    return "" if dims is None else f"[{_list(dims)}]"


def _port(port: s.Port) -> str:
    domain = "" if port.domain is None else f": {_domain(port.domain)}"
    return port.name + _dims(port.dims) + domain


def _ports(ports: Iterable[s.Port]) -> str:
    return ", ".join(map(_port, ports))


def _option(option: s.Option) -> str:
    default = "" if option.default is None else f" = {expr_text(option.default)}"
    return option.name + _dims(option.dims) + default


def _options(options: Iterable[s.Option]) -> str:
    return ", ".join(map(_option, options))


def _declared(one: s.Declared) -> str:
    where = "" if one.where is None else f" where {expr_text(one.where)}"
    mark = "~" if one.drawn else "="
    return f"{one.name}{_dims(one.dims)} {mark} {expr_text(one.value)}{where}"


def _name_ix(name: s.NameIx) -> str:
    return name.name + ("" if name.index is None else f"[{expr_text(name.index)}]")


def _time(count: s.Expr, unit: str) -> str:
    one = isinstance(count, s.Number) and count.value == 1
    return f"{expr_text(count)} {unit if one else unit + 's'}"


def _every(every: s.Every | None) -> str:
    return "" if every is None else f" every {_time(every.count, every.unit)}"


def _state(state: s.State) -> str:
    return f"{state.name} = {expr_text(state.value)}{_every(state.every)}"


def _total(total: bool) -> str:
    return "total " if total else ""


# ---- statements and items ------------------------------------------------------------------------


def _statement(node: s.Syntax) -> list[str]:
    """The lines of a statement or an item."""
    head = _head(node)
    if isinstance(node, s.Minimize):
        return _minimize(node)
    if head is None:
        return [_line(node)]
    return [f"{head} {{", *_body(node), "}"]


def _body(node: s.Syntax) -> list[str]:
    lines: list[str] = []
    states: s.State | None = None  # the last statement, where it was a state
    for part in getattr(node, "body", ()):
        if isinstance(part, s.State) and states and part.span.line == states.span.line:
            lines[-1] += f", {_state(part)}"
        else:
            lines += [INDENT + line if line else line for line in _statement(part)]
        states = part if isinstance(part, s.State) else None
    return lines


def _head(node: s.Syntax) -> str | None:
    """What stands before the brace; None for a statement of one line."""
    match node:
        case s.Block(name, ports, options, results):
            after = f"; {_options(options)}" if options else ""
            arrow = f" -> {_ports(results)}" if results else ""
            return f"block {name}({_ports(ports)}{after}){arrow}"
        case s.Optimiser(name, names, options):
            return f"optimiser {name}({', '.join(names)}; {_options(options)})"
        case s.Train(name, on, clauses):
            return " ".join([f"train {_name_ix(name)} on {expr_text(on)}", *map(_clause, clauses)])
        case s.Data(body=body) if body:
            return _data(node)
        case s.Task(name, options, phases):
            after = f" after {', '.join(map(_name_ix, phases))}" if phases else ""
            return f"task {name}({_options(options)}){after}"
        case s.Sweep(name) | s.Step(name):
            return f"{_word(node)} {name}"
        case s.Check(text, slow):
            return f'check "{text}"' + (" slow" if slow else "")
        case s.Scan(name, over):
            return f"scan {name}" + ("" if over is None else f" in {expr_text(over)}")
        case s.For(name, over):
            return f"for {name} in {expr_text(over)}"
        case _:
            return None


def _word(node: s.Syntax) -> str:
    """The keyword of a statement whose record has its name."""
    return type(node).__name__.lower()


def _data(data: s.Data) -> str:
    like = "" if data.like is None else f" like {data.like}"
    return f"data {data.name} = {expr_text(data.reader)}{like}"


def _clause(clause: s.Clause | s.After) -> str:
    if isinstance(clause, s.After):
        return "after " + ", ".join(map(_name_ix, clause.phases))
    if clause.value is None:
        return f"{clause.kind} {clause.word}"
    if clause.unit is not None:
        return f"{clause.kind} {_time(clause.value, clause.unit)}"
    return f"{clause.kind} {expr_text(clause.value)}"


def _line(node: s.Syntax) -> str:
    """A statement of one line, in a block or at the top of a file."""
    match node:
        case s.Param(declared) | s.Fixed(declared):
            return f"{_word(node)} {', '.join(map(_declared, declared))}"
        case s.Hidden(ports):
            return f"hidden {_ports(ports)}"
        case s.Define(target, value):
            return f"{_port(target)} = {expr_text(value)}"
        case s.Draw(target, value):
            return f"{_port(target)} ~ {expr_text(value)}"
        case s.Field(port, value, drawn):
            return f"{_port(port)} {'~' if drawn else '='} {expr_text(value)}"
        case s.Energy(value):
            return f"energy = {expr_text(value)}"
        case s.State():
            return f"state {_state(node)}"
        case s.SetTo(name, value):
            return f"{name} := {expr_text(value)}"
        case s.Let(name, value) | s.Const(name, value):
            return f"{_word(node)} {name} = {expr_text(value)}"
        case s.Setting(name, value):
            return f"set {name} = {expr_text(value)}"
        case s.Use(path, alias):
            return f'use "{path}"' + ("" if alias is None else f" as {alias}")
        case s.Fn(name, ports, domain, value):
            arrow = "" if domain is None else f" -> {_domain(domain)}"
            return f"fn {name}({_ports(ports)}){arrow} = {expr_text(value)}"
        case s.Data():
            return _data(node)
        case s.Split(parts):
            return "split " + ", ".join(f"{p.name} {expr_text(p.size)}" for p in parts)
        case _:
            return _act(node)


def _minimize(node: s.Minimize) -> list[str]:
    """`minimize` on one line, or on two where it is long."""
    head = f"minimize {_total(node.total)}{expr_text(node.loss)} over {_list(node.over)}"
    tail = f"with {expr_text(node.optimiser)}"
    return [f"{head} {tail}"] if len(head) + len(tail) < WIDTH else [head, INDENT + tail]


def _act(node: s.Syntax) -> str:
    """A statement of a phase, a task, a sweep or a check."""
    match node:
        case s.Update(total, target, value):
            return f"update {_total(total)}{expr_text(target)} += {expr_text(value)}"
        case s.Kept(target, value, drawn):
            return f"state {_port(target)} {'~' if drawn else '='} {expr_text(value)}"
        case s.Start(target, value):
            return f"start {expr_text(target)} := {expr_text(value)}"
        case s.Watch(total, name, value, on, every):
            where = "" if on is None else f" on {expr_text(on)}"
            return f"watch {_total(total)}{name} = {expr_text(value)}{where}{_every(every)}"
        case s.Checkpoint(every, best):
            if every is not None:
                return f"checkpoint every {_time(every.count, every.unit)}"
            return f"checkpoint best by {expr_text(best) if best is not None else ''}"
        case s.Until(value):
            return f"until {expr_text(value)}"
        case s.Expect(value, within):
            tolerance = "" if within is None else f" within {expr_text(within)}"
            return f"expect {expr_text(value)}{tolerance}"
        case s.Emit(value, to):
            return f"emit {expr_text(value)}" + ("" if to is None else f' to "{to}"')
        case s.Vary(names, over):
            return f"vary {', '.join(names)} in {expr_text(over)}"
        case s.Report(values):
            return f"report {_list(values)}"
        case _:
            raise TypeError(f"{type(node).__name__} is no statement")
