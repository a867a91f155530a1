"""Syntax to text: `to_text(module)` in the canonical layout, `expr_text(expr)` for one expression.

Laws, tested on every spec: parsing the text gives the same tree, and printing that tree gives the
same text. Brackets are printed where they were written, and where a tree built without them needs
them. Comments are no part of the tree.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntEnum

from dln.grammar import syntax as s

INDENT = "  "
WIDTH = 88

Binds = IntEnum(
    "Binds", "FLOW CHOOSE OR AND NOT COMPARE AS RANGE SUM TERM UNARY POWER POSTFIX ATOM", start=0
)
"""How tightly each kind of expression binds; an operand must bind at least as its place asks."""

_BINARY = {  # how an operator binds, and what its left and its right side must bind at least
    Binds.OR: (Binds.OR, Binds.AND),
    Binds.AND: (Binds.AND, Binds.NOT),
    Binds.COMPARE: (Binds.AS, Binds.AS),
    Binds.SUM: (Binds.SUM, Binds.TERM),
    Binds.TERM: (Binds.TERM, Binds.UNARY),
    Binds.POWER: (Binds.POSTFIX, Binds.UNARY),
}
_OPERATORS = {
    "or": Binds.OR, "and": Binds.AND, "+": Binds.SUM, "-": Binds.SUM, "*": Binds.TERM,
    "/": Binds.TERM, "@": Binds.TERM, "^": Binds.POWER,
}  # fmt: skip
_OTHERS = {
    s.Flow: Binds.FLOW, s.Choose: Binds.CHOOSE, s.Asserted: Binds.AS, s.RangeOf: Binds.RANGE,
    s.Call: Binds.POSTFIX, s.Reduce: Binds.POSTFIX, s.Index: Binds.POSTFIX, s.Attr: Binds.POSTFIX,
    s.Transpose: Binds.POSTFIX,
}  # fmt: skip

# How each construct is written. {field} is what the record holds there, {field:SUM} an expression
# that must bind so tightly; what stands between two | is left out where nothing is held.
PARTS: Mapping[type[s.Syntax], str] = {
    s.Flow: "{source} -> {target:CHOOSE}",
    s.Choose: "{then:OR} if {test:OR} else {other:CHOOSE}",
    s.Asserted: "{body:RANGE} as {domain}",
    s.RangeOf: "{first:SUM}..{last:SUM}| by {step:SUM}|",
    s.Call: "{function:POSTFIX}({arguments}|; {options}|)",
    s.Reduce: "{function:POSTFIX}({indices}: {body})",
    s.Index: "{body:POSTFIX}[{indices}]",
    s.Attr: "{body:POSTFIX}.{name}",
    s.Transpose: "{body:POSTFIX}'",
    s.String: '{long}"{value}"{long}',
    s.Name: "{id}",
    s.Group: "({body})",
    s.ListOf: "[{items}]",
    s.Comprehension: "[for {name} in {range}: {body}]",
    s.Named: "{name} = {value}",
    s.Ranged: "{name} in {range}",
    s.Slice: "|{start}|:|{stop}|",
    s.Domain: "{name}|({size})||({words})|",
    s.Port: "{name}|[{dims}]||: {domain}|",
    s.Option: "{name}|[{dims}]|| = {default}|",
    s.Declared: "{name}|[{dims}]| {drawn} {value}| where {where}|",
    s.NameIx: "{name}|[{index}]|",
    s.Clause: "{kind}| {value}|| times {times}|| {unit}|| {word}|",
    s.After: "after {phases}",
    s.Every: "every {count} {unit}",
    s.Stalls: "stalls for {count} {unit}| by {by}|",
    s.Part: "{name}| {size}||[{folds}]|",
    s.Given: "given({ports})",
}
STATEMENTS: Mapping[type[s.Syntax], str] = {
    s.Use: 'use "{path}"| as {alias}|',
    s.Const: "const {name} = {value}",
    s.Let: "let {name} = {value}",
    s.Fn: "fn {name}({ports})| -> {domain}| = {value}",
    s.Block: "block {name}({ports}|; {options}|)| -> {results}|",
    s.Param: "param {declared}",
    s.Fixed: "fixed {declared}",
    s.Hidden: "hidden {ports}",
    s.Define: "{target} {adds} {value}",
    s.Draw: "{target} ~ {value}",
    s.Energy: "energy = {value}",
    s.Scan: "scan {name}| in {range}|| by {by}|{backwards}",
    s.For: "for {name} in {range}",
    s.Optimiser: "optimiser {name}({names}; {options})",
    s.State: "state {name} = {value}| {every}|",
    s.SetTo: "{name} := {value}",
    s.Data: "data {name} = {reader}| like {like}|",
    s.Field: "{port} {drawn} {value}",
    s.Split: "split {parts}| {clauses}|",
    s.Setting: "set {name} = {value}",
    s.Train: "train {name} on {on}| {clauses}|",
    s.Kept: "state {target} {drawn} {value}",
    s.Minimize: "minimize {total}{loss} over {over} with {optimiser}| clip {clip}|",
    s.Update: "update {total}{target} += {value}",
    s.Start: "start {target} := {value}",
    s.Step: "step {name}| {times} times|",
    s.Watch: "watch {total}{name} = {value}| on {on}|| {every}|",
    s.Checkpoint: "{handed} |{every}||best by {best}|",
    s.Until: "until {value}| {stalls}|",
    s.Task: "task {name}({options})| after {after}|",
    s.Emit: 'emit {value}| to "{to}"|',
    s.Sweep: "sweep {name}",
    s.Vary: "vary {names} in {range}",
    s.Report: "report {values}",
    s.Check: 'check "{text}"{slow}',
    s.Expect: "expect {value}| within {within}|",
}
_FLAGS = {
    "adds": ("=", "+="), "drawn": "=~", "total": ("", "total "), "slow": ("", " slow"),
    "long": ("", '""'), "backwards": ("", " backwards"), "handed": ("checkpoint", "keep"),
}  # fmt: skip
_FIELD = re.compile(r"\{(\w+):?(\w*)\}")


def to_text(module: s.Module) -> str:
    """The text of a module, ending with a newline; empty for an empty module."""
    lines = [] if module.version is None else [f"dln {_number(module.version)}"]
    previous: s.Item | None = None
    for item in module.items:
        if lines and (_braced(item) or (_braced(previous) and not isinstance(item, s.Let))):
            lines.append("")
        written = _statement(item)
        if isinstance(item, s.Const) and _beside(item, previous):
            lines[-1] += "," + written.pop().removeprefix("const")
        lines += written
        previous = item
    return "".join(line + "\n" for line in lines)


def _braced(node: s.Syntax | None) -> bool:
    return hasattr(node, "body") and not (isinstance(node, s.Data) and not node.body)


def _statement(node: s.Syntax) -> list[str]:
    """The lines of a statement or an item."""
    line = _filled(node, STATEMENTS, "statement")
    if _braced(node):
        return [f"{line} {{", *_body(node), "}"]
    if isinstance(node, s.Minimize) and len(line) > WIDTH:
        at = line.rindex(f" with {expr_text(node.optimiser)}")
        return [line[:at], INDENT + line[at + 1 :]]
    return [line]


def _beside(node: s.Syntax, before: s.Syntax | None) -> bool:
    """Whether two of a kind were written on one line, behind one word."""
    return type(before) is type(node) and before.span.line == node.span.line


def _body(node: s.Syntax) -> list[str]:
    lines: list[str] = []
    states: s.State | None = None  # the last statement, where it was a state
    for part in getattr(node, "body", ()):
        written = _statement(part)
        if isinstance(part, s.State) and _beside(part, states):
            lines[-1] += "," + written[0].removeprefix("state")
        else:
            lines += [INDENT + line if line else line for line in written]
        states = part if isinstance(part, s.State) else None
    return lines


def expr_text(expr: s.Syntax, least: int = Binds.FLOW) -> str:
    """The text of an expression, in brackets where it binds less tightly than `least`."""
    match expr:
        case s.Binary(op, left, right):
            binds = _OPERATORS.get(op, Binds.COMPARE)
            before, after = _BINARY[binds]
            mark = op if op == "^" else f" {op} "
            text = expr_text(left, before) + mark + expr_text(right, after)
        case s.Unary(op, body):
            binds, mark = (Binds.NOT, "not ") if op == "not" else (Binds.UNARY, op)
            text = mark + expr_text(body, binds)
        case s.Number(value):
            binds, written = Binds.ATOM, expr.span.text
            same = re.fullmatch(r"[\d.]+([eE][+-]?\d+)?", written) and float(written) == value
            text = written if same else _number(value)
        case _:
            binds = _OTHERS.get(type(expr), Binds.ATOM)
            text = _filled(expr, PARTS, "expression")
    return text if binds >= least else f"({text})"


def _number(value: int | float) -> str:
    return re.sub(r"e([+-])0*", lambda m: "e" + m[1].replace("+", ""), repr(value))


def _filled(node: s.Syntax, texts: Mapping[type[s.Syntax], str], what: str) -> str:
    """How a construct is written, with what its record holds."""
    if type(node) not in texts:
        raise TypeError(f"{type(node).__name__} is no {what}")
    parts = texts[type(node)].split("|")
    for i, part in enumerate(parts):
        fields = _FIELD.findall(part)
        if i % 2 and not all(_given(name, getattr(node, name)) for name, _ in fields):
            parts[i] = ""
    return _FIELD.sub(lambda m: _held(node, m[1], m[2]), "".join(parts))


def _given(name: str, value: object) -> bool:
    """Whether there is something to write: `x[]` has brackets, `f()` no options."""
    return value is not None and (name == "dims" or value != ())


def _held(node: s.Syntax, name: str, least: str) -> str:
    """What a field of a record holds, as text."""
    match getattr(node, name):
        case bool() as flag:
            return _FLAGS[name][flag]
        case str() as unit if name == "unit":
            count = node.value if isinstance(node, s.Clause) else getattr(node, "count", None)
            return unit if isinstance(count, s.Number) and count.value == 1 else f"{unit}s"
        case tuple() as several:
            texts = (_index(v) if isinstance(node, s.Index) else _one(v) for v in several)
            return (" " if name == "clauses" else ", ").join(texts)
        case one:
            return _one(one, Binds[least] if least else Binds.FLOW)


def _one(value: object, least: int = Binds.FLOW) -> str:
    return expr_text(value, least) if isinstance(value, s.Syntax) else str(value)


def _index(index: s.Syntax) -> str:
    """An index; a lag is written close: `t-1`."""
    match index:
        case s.Binary("+" | "-" as op, s.Name(name), s.Number() as lag):
            return f"{name}{op}{expr_text(lag)}"
        case _:
            return expr_text(index)
