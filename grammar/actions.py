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
from dln.grammar.expression_actions import Expressions, Kids, Piece, is_node


def _singular(unit: str) -> str:
    return unit.removesuffix("s")


class Actions(Expressions):
    """The actions. `begin` a source, let Lark parse it, read `problems`."""

    # ---- a file ------------------------------------------------------------------------------

    def start(self, c: Kids) -> s.Module:
        version = [k.value for k in c if isinstance(k, s.Number)]
        items = tuple(k for k in c if is_node(k) and not isinstance(k, s.Number))
        whole = Span(self.source, 0, len(self.source.text))
        return s.Module(version[0] if version else None, items, span=whole)

    def version(self, c: Kids) -> s.Number:
        return self.number(c[1:2])

    # ---- definitions -------------------------------------------------------------------------

    def use(self, c: Kids) -> s.Use:
        return self.make(s.Use, c, c[1].value[1:-1], c[3] and c[3].value)

    def const(self, c: Kids) -> s.Const:
        return self.make(s.Const, c, c[1].value, c[3])

    def let(self, c: Kids) -> s.Let:
        return self.make(s.Let, c, c[1].value, c[3])

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

    def state(self, c: Kids) -> Piece:
        return self.piece(c)

    def init_value_of(self, c: Kids) -> s.State:
        return self.make(s.State, c, c[0].value, c[2], c[3] and self.every(c[3:6]))

    def set_to(self, c: Kids) -> s.SetTo:
        return self.make(s.SetTo, c, c[0].value, c[2])

    def ports(self, c: Kids) -> Piece:
        return self.piece(c)

    def port(self, c: Kids) -> s.Port:
        return self.make(s.Port, c, c[0].value, None if c[1] is None else tuple(c[1]), c[3])

    target = port

    def dims(self, c: Kids) -> Piece:
        return self.piece(c)

    def domain(self, c: Kids) -> s.Domain:
        return self.expr(s.Domain, c, c[0].value, c[2])

    def options(self, c: Kids) -> Piece:
        return self.piece(c)

    def option(self, c: Kids) -> s.Option:
        return self.make(s.Option, c, c[0].value, None if c[1] is None else tuple(c[1]), c[3])

    def names(self, c: Kids) -> Piece:
        return self.piece(c, [k.value for k in c if k.type == "NAME"])

    # ---- statements of a block -----------------------------------------------------------------

    def param(self, c: Kids) -> s.Param:
        return self.make(s.Param, c, tuple(filter(is_node, c)))

    def fixed(self, c: Kids) -> s.Fixed:
        return self.make(s.Fixed, c, tuple(filter(is_node, c)))

    def hidden(self, c: Kids) -> s.Hidden:
        return self.make(s.Hidden, c, tuple(c[1]))

    def pdecl(self, c: Kids) -> s.Declared:
        dims = None if c[1] is None else tuple(c[1])
        mark, value = c[2]
        return self.make(s.Declared, c, c[0].value, dims, value, mark == "~", c[4])

    def init_value(self, c: Kids) -> Piece:
        return self.piece(c, c)

    init_draw = init_value

    def define(self, c: Kids) -> s.Define:
        return self.make(s.Define, c, c[0], c[2])

    def draw(self, c: Kids) -> s.Draw:
        return self.make(s.Draw, c, c[0], c[2])

    def energy(self, c: Kids) -> s.Energy:
        return self.make(s.Energy, c, c[2])

    def scan(self, c: Kids) -> s.Scan:
        return self.make(s.Scan, c, c[1].value, c[3], _body(c[4:]))

    def for_stmts(self, c: Kids) -> s.For:
        return self.make(s.For, c, c[1].value, c[3], _body(c[4:]))

    for_items = for_t = for_k = for_c = for_stmts

    def expect(self, c: Kids) -> s.Expect:
        return self.make(s.Expect, c, c[1], c[3])

    # ---- data ----------------------------------------------------------------------------------

    def data(self, c: Kids) -> s.Data:
        like = c[5] and c[5].value
        return self.make(s.Data, c, c[1].value, c[3], like, _body(c[6:]))

    def field(self, c: Kids) -> s.Field:
        return self.make(s.Field, c, c[0], c[2], c[1] == "~")

    field_draw = field

    def split(self, c: Kids) -> s.Split:
        return self.make(s.Split, c, tuple(filter(is_node, c)))

    def part(self, c: Kids) -> s.Part:
        return self.make(s.Part, c, c[0].value, c[1])

    def setting(self, c: Kids) -> s.Setting:
        return self.make(s.Setting, c, c[1].value, c[3])

    # ---- training ------------------------------------------------------------------------------

    def train(self, c: Kids) -> s.Train:
        clauses = tuple(k for k in c[4:] if isinstance(k, s.Clause | s.After))
        body = tuple(k for k in _body(c[4:]) if not isinstance(k, s.Clause | s.After))
        return self.make(s.Train, c, c[1], c[3], clauses, body)

    def name_ix(self, c: Kids) -> s.NameIx:
        return self.make(s.NameIx, c, c[0].value, c[2])

    def batch(self, c: Kids) -> s.Clause:
        return self.make(s.Clause, c, c[0].value, c[1])

    stream = order = seed = batch

    def duration(self, c: Kids) -> s.Clause:
        return self.make(s.Clause, c, "for", c[1], _singular(c[2]))

    def dtype(self, c: Kids) -> s.Clause:
        return self.make(s.Clause, c, "dtype", None, None, c[1].value)

    def after(self, c: Kids) -> s.After:
        return self.make(s.After, c, tuple(filter(is_node, c)))

    def kept(self, c: Kids) -> s.Kept:
        mark, value = c[2]
        return self.make(s.Kept, c, c[1], value, mark == "~")

    def minimize(self, c: Kids) -> s.Minimize:
        return self.make(s.Minimize, c, c[1] is not None, c[2], tuple(c[4]), c[6])

    def update(self, c: Kids) -> s.Update:
        return self.make(s.Update, c, c[1] is not None, c[2], c[4])

    def assign(self, c: Kids) -> s.Start:
        return self.make(s.Start, c, c[1], c[3])

    def step(self, c: Kids) -> s.Step:
        return self.make(s.Step, c, c[1].value, _body(c[2:]))

    def watch(self, c: Kids) -> s.Watch:
        every = c[7] and self.every(c[7:10])
        return self.make(s.Watch, c, c[1] is not None, c[2].value, c[4], c[6], every)

    def keep(self, c: Kids) -> s.Checkpoint:
        every = c[1] if isinstance(c[1], s.Every) else None
        return self.make(s.Checkpoint, c, every, None if every else c[1][0])

    def every(self, c: Kids) -> s.Every:
        return self.make(s.Every, c, c[1], _singular(c[2]))

    def best(self, c: Kids) -> Piece:
        return self.piece(c)

    def until(self, c: Kids) -> s.Until:
        return self.make(s.Until, c, c[1])

    def exprs(self, c: Kids) -> Piece:
        return self.piece(c)

    # ---- tasks, sweeps, checks -----------------------------------------------------------------

    def task(self, c: Kids) -> s.Task:
        options, after = tuple(c[3] or ()), c[5].phases if c[5] is not None else ()
        return self.make(s.Task, c, c[1].value, options, after, _body(c[6:]))

    def emit(self, c: Kids) -> s.Emit:
        return self.make(s.Emit, c, c[1], c[3] and c[3].value[1:-1])

    def sweep(self, c: Kids) -> s.Sweep:
        return self.make(s.Sweep, c, c[1].value, _body(c[2:]))

    def vary(self, c: Kids) -> s.Vary:
        return self.make(s.Vary, c, c[1], c[3])

    def report(self, c: Kids) -> s.Report:
        return self.make(s.Report, c, tuple(filter(is_node, c)))

    def check(self, c: Kids) -> s.Check:
        return self.make(s.Check, c, c[1].value[1:-1], c[2] is not None, _body(c[3:]))


def _body(kids: Kids) -> tuple[Any, ...]:
    """The statements between braces, of what follows a header."""
    braces = [i for i, k in enumerate(kids) if type(k) is Token and k.type == "LBRACE"]
    return tuple(filter(is_node, kids[braces[0] :])) if braces else ()
