"""The actions of the grammar: each builds one node of `syntax` while Lark parses.

Lark calls the method named like the rule (or its alias) with every child of the rule, tokens
included, and None where an optional part was left out. Building during the parse costs no
recursion.
"""

from __future__ import annotations

from typing import Any

from lark import Token

from dln.grammar import syntax as s
from dln.grammar.diagnostics import Span
from dln.grammar.expression_actions import (
    Action,
    Expressions,
    Kids,
    Piece,
    held,
    is_node,
    statement,
)


def several(kind: type[s.Syntax]) -> Action:
    """The action that makes a statement of all children that are nodes."""
    return lambda self, c: self.make(kind, c, tuple(filter(is_node, c)))


def braced(kind: type[s.Syntax], *places: int) -> Action:
    """The action that makes a statement or an item with a body."""
    return lambda self, c: self.make(kind, c, *[held(c[i]) for i in places], _body(c))


def _singular(unit: str) -> str:
    return unit.removesuffix("s")


class Actions(Expressions):
    """The actions. `begin` a source, let Lark parse it, read `problems`."""

    ports = dims = options = state = best = exprs = Expressions.pieces

    # ---- a file ------------------------------------------------------------------------------

    def start(self, c: Kids) -> s.Module:
        version = [k.value for k in c if isinstance(k, s.Number)]
        items = tuple(k for k in c if is_node(k) and not isinstance(k, s.Number))
        whole = Span(self.source, 0, len(self.source.text))
        return s.Module(version[0] if version else None, items, span=whole)

    def version(self, c: Kids) -> s.Number:
        return self.number(c[1:2])

    # ---- definitions -------------------------------------------------------------------------

    use = statement(s.Use, 1, 3)
    const = statement(s.Const, 1, 3)
    let = statement(s.Let, 1, 3)

    def fn(self, c: Kids) -> s.Fn:
        return self.make(s.Fn, c, c[1].value, tuple(c[3] or ()), c[6], c[8])

    def block(self, c: Kids) -> s.Block:
        ports, options, results = (tuple(part or ()) for part in (c[3], c[5], c[8]))
        return self.make(s.Block, c, c[1].value, ports, options, results, _body(c[9:]))

    def optimiser(self, c: Kids) -> s.Optimiser:
        body: list[Any] = []
        for k in c[8:]:
            body += k if type(k) is Piece else [k] if is_node(k) else []
        return self.make(s.Optimiser, c, c[1].value, tuple(c[3]), tuple(c[5]), tuple(body))

    def init_value_of(self, c: Kids) -> s.State:
        return self.make(s.State, c, c[0].value, c[2], c[3] and self.every(c[3:6]))

    set_to = statement(s.SetTo, 0, 2)
    port = target = statement(s.Port, 0, 1, 3)
    option = statement(s.Option, 0, 1, 3)

    def names(self, c: Kids) -> Piece:
        return self.piece(c, [k.value for k in c if k.type == "NAME"])

    # ---- statements of a block -----------------------------------------------------------------

    param = several(s.Param)
    fixed = several(s.Fixed)
    hidden = statement(s.Hidden, 1)

    def pdecl(self, c: Kids) -> s.Declared:
        dims = None if c[1] is None else tuple(c[1])
        mark, value = c[2]
        return self.make(s.Declared, c, c[0].value, dims, value, mark == "~", c[4])

    def init_value(self, c: Kids) -> Piece:
        return self.piece(c, c)

    init_draw = init_value

    define = statement(s.Define, 0, 2)
    draw = statement(s.Draw, 0, 2)
    energy = statement(s.Energy, 2)
    scan = braced(s.Scan, 1, 3)
    for_items = for_stmts = for_t = for_k = for_c = braced(s.For, 1, 3)
    expect = statement(s.Expect, 1, 3)

    # ---- data ----------------------------------------------------------------------------------

    data = braced(s.Data, 1, 3, 5)

    def field(self, c: Kids) -> s.Field:
        return self.make(s.Field, c, c[0], c[2], c[1] == "~")

    field_draw = field

    split = several(s.Split)
    part = statement(s.Part, 0, 1)
    setting = statement(s.Setting, 1, 3)

    # ---- training ------------------------------------------------------------------------------

    def train(self, c: Kids) -> s.Train:
        clauses = tuple(k for k in c[4:] if isinstance(k, s.Clause | s.After))
        body = tuple(k for k in _body(c[4:]) if not isinstance(k, s.Clause | s.After))
        return self.make(s.Train, c, c[1], c[3], clauses, body)

    name_ix = statement(s.NameIx, 0, 2)
    batch = stream = order = seed = statement(s.Clause, 0, 1)

    def duration(self, c: Kids) -> s.Clause:
        return self.make(s.Clause, c, "for", c[1], _singular(c[2]))

    def dtype(self, c: Kids) -> s.Clause:
        return self.make(s.Clause, c, "dtype", None, None, c[1].value)

    after = several(s.After)

    def kept(self, c: Kids) -> s.Kept:
        mark, value = c[2]
        return self.make(s.Kept, c, c[1], value, mark == "~")

    def minimize(self, c: Kids) -> s.Minimize:
        return self.make(s.Minimize, c, c[1] is not None, c[2], tuple(c[4]), c[6])

    def update(self, c: Kids) -> s.Update:
        return self.make(s.Update, c, c[1] is not None, c[2], c[4])

    assign = statement(s.Start, 1, 3)
    step = braced(s.Step, 1)

    def watch(self, c: Kids) -> s.Watch:
        every = c[7] and self.every(c[7:10])
        return self.make(s.Watch, c, c[1] is not None, c[2].value, c[4], c[6], every)

    def keep(self, c: Kids) -> s.Checkpoint:
        every = c[1] if isinstance(c[1], s.Every) else None
        return self.make(s.Checkpoint, c, every, None if every else c[1][0])

    def every(self, c: Kids) -> s.Every:
        return self.make(s.Every, c, c[1], _singular(c[2]))

    until = statement(s.Until, 1)

    # ---- tasks, sweeps, checks -----------------------------------------------------------------

    def task(self, c: Kids) -> s.Task:
        options, after = tuple(c[3] or ()), c[5].phases if c[5] is not None else ()
        return self.make(s.Task, c, c[1].value, options, after, _body(c[6:]))

    emit = statement(s.Emit, 1, 3)
    sweep = braced(s.Sweep, 1)
    vary = statement(s.Vary, 1, 3)
    report = several(s.Report)

    def check(self, c: Kids) -> s.Check:
        return self.make(s.Check, c, held(c[1]), c[2] is not None, _body(c[3:]))


def _body(kids: Kids) -> tuple[Any, ...]:
    """The statements between braces, of what follows a header."""
    braces = [i for i, k in enumerate(kids) if type(k) is Token and k.type == "LBRACE"]
    return tuple(filter(is_node, kids[braces[0] :])) if braces else ()
