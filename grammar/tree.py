"""The actions of the grammar: each builds one node of `syntax` while Lark parses.

Lark calls the method named like the rule (or its alias) with every child of the rule, tokens
included, and None where an optional part was left out. Building during the parse costs no
recursion.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from lark import Token

from dln.grammar import syntax as s
from dln.grammar.diagnostics import DlnError, Problem, Source, Span

Kids = list[Any]
Node = TypeVar("Node", bound=s.Syntax)

MAX_DEPTH = 200  # of an expression: recursive walks over it stay below Python's own limit
MAX_OPERANDS = 10_000
MAX_DIGITS = 4_300


class Piece(tuple[Any, ...]):
    """Several values that are no node of their own, and the stretch of text they come from."""

    start: int
    stop: int


def _ends(kid: Any) -> tuple[int, int]:
    if isinstance(kid, s.Syntax):
        return kid.span.start, kid.span.stop
    if isinstance(kid, Token):
        return int(kid.start_pos or 0), int(kid.end_pos or 0)
    return kid.start, kid.stop


def _stretch(kids: Kids) -> tuple[int, int]:
    """Where the text of the children starts and stops, the end of a line left out."""
    there = [k for k in kids if k is not None and not (type(k) is Token and k.type == "_NL")]
    return (_ends(there[0])[0], _ends(there[-1])[1]) if there else (0, 0)


def _is_node(kid: Any) -> bool:
    return isinstance(kid, s.Syntax)


def _singular(unit: str) -> str:
    return unit.removesuffix("s")


class Builder:
    """The actions. `begin` a source, let Lark parse it, read `problems`."""

    source: Source
    problems: list[Problem]

    def begin(self, source: Source) -> None:
        self.source = source
        self.problems = []
        self._sizes: dict[int, tuple[int, int]] = {}

    # ---- places and limits -----------------------------------------------------------------

    def span(self, kids: Kids) -> Span:
        return Span(self.source, *_stretch(kids))

    def make(self, kind: Callable[..., Node], kids: Kids, *values: Any) -> Node:
        """A statement, an item or a part of one."""
        return kind(*values, span=self.span(kids))

    def expr(self, kind: Callable[..., Node], kids: Kids, *values: Any) -> Node:
        """An expression, refused when it is too deep or too long."""
        node = kind(*values, span=self.span(kids))
        self._sizes[id(node)] = self._measure(kids, node.span)
        return node

    def _measure(self, kids: Kids, span: Span) -> tuple[int, int]:
        """Depth of the expression built from `kids` and its number of operands."""
        sizes, depth, operands = self._sizes, 0, 0
        for kid in kids:
            for part in kid if type(kid) is Piece else (kid,):
                size = sizes.get(id(part)) if isinstance(part, s.Syntax) else None
                if size:
                    depth, operands = max(depth, size[0]), operands + size[1]
        if depth >= MAX_DEPTH:
            raise DlnError([self._too_big(span, f"more than {MAX_DEPTH} operations deep")])
        if operands > MAX_OPERANDS:
            raise DlnError([self._too_big(span, f"longer than {MAX_OPERANDS} operands")])
        return depth + 1, max(1, operands)

    def _too_big(self, span: Span, what: str) -> Problem:
        start = Span(span.source, span.start, span.start + 1)
        remedy = "give parts of it names of their own, or reduce over an index: sum(i: ...)"
        return Problem("E151", f"this expression is {what}", start, "starts here", remedy=remedy)

    def piece(self, kids: Kids, values: Iterable[Any] | None = None) -> Piece:
        made = Piece(filter(_is_node, kids) if values is None else values)
        made.start, made.stop = _stretch(kids)
        return made

    # ---- a file ------------------------------------------------------------------------------

    def start(self, c: Kids) -> s.Module:
        version = [k.value for k in c if isinstance(k, s.Number)]
        items = tuple(k for k in c if _is_node(k) and not isinstance(k, s.Number))
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
            body += k if type(k) is Piece else [k] if _is_node(k) else []
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
        return self.make(s.Param, c, tuple(filter(_is_node, c)))

    def fixed(self, c: Kids) -> s.Fixed:
        return self.make(s.Fixed, c, tuple(filter(_is_node, c)))

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
        return self.make(s.Split, c, tuple(filter(_is_node, c)))

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
        return self.make(s.After, c, tuple(filter(_is_node, c)))

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
        return self.make(s.Report, c, tuple(filter(_is_node, c)))

    def check(self, c: Kids) -> s.Check:
        return self.make(s.Check, c, c[1].value[1:-1], c[2] is not None, _body(c[3:]))

    # ---- expressions ---------------------------------------------------------------------------

    def flow(self, c: Kids) -> s.Flow:
        return self.expr(s.Flow, c, c[0], c[2])

    def choose(self, c: Kids) -> s.Choose:
        return self.expr(s.Choose, c, c[0], c[2], c[4])

    def binary(self, c: Kids) -> s.Binary:
        return self.expr(s.Binary, c, c[1].value, c[0], c[2])

    or_ = and_ = compare = add = sub = mul = div = dot = pow = binary

    def minus(self, c: Kids) -> s.Unary:
        return self.expr(s.Unary, c, c[0].value, c[1])

    not_ = minus

    def asserted(self, c: Kids) -> s.Asserted:
        return self.expr(s.Asserted, c, c[0], c[2])

    def span_of(self, c: Kids) -> s.RangeOf:
        return self.expr(s.RangeOf, c, c[0], c[2], c[4])

    def call(self, c: Kids) -> s.Call:
        before, after = c[2] or ((), ())
        return self.expr(s.Call, c, c[0], before, after)

    def args(self, c: Kids) -> Piece:
        before, after = (c[0], None) if len(c) == 1 else (c[0], c[2])
        return self.piece(c, (tuple(before or ()), tuple(after or ())))

    def arglist(self, c: Kids) -> Piece:
        return self.piece(c)

    def named(self, c: Kids) -> s.Named:
        return self.expr(s.Named, c, c[0].value, c[2])

    def ranged(self, c: Kids) -> s.Ranged:
        return self.expr(s.Ranged, c, c[0].value, c[2])

    def reduce(self, c: Kids) -> s.Reduce:
        return self.expr(s.Reduce, c, c[0], tuple(c[2]), c[4])

    def index_of(self, c: Kids) -> s.Index:
        return self.expr(s.Index, c, c[0], tuple(c[2]))

    def index(self, c: Kids) -> Piece:
        return self.piece(c)

    def slice(self, c: Kids) -> s.Slice:
        return self.expr(s.Slice, c, c[0], c[2])

    def attr(self, c: Kids) -> s.Attr:
        return self.expr(s.Attr, c, c[0], c[2].value, self.span(c[2:]))

    def transpose(self, c: Kids) -> s.Transpose:
        return self.expr(s.Transpose, c, c[0])

    def number(self, c: Kids) -> s.Number:
        return self.expr(s.Number, c, self._value(c[0]))

    def _value(self, token: Token) -> int | float:
        """The value of a written number; one that no float holds is a problem, and 0."""
        whole = token.value.isdecimal()
        if len(token) <= MAX_DIGITS:
            value = int(token) if whole else float(token)
            if whole or math.isfinite(value):
                return value
        message = f"this number has more than {MAX_DIGITS} digits"
        if len(token) <= MAX_DIGITS:
            message = "this number is too large: the largest is about 1.8e308"
        self.problems.append(Problem("E152", message, self.span([token])))
        return 0

    def string(self, c: Kids) -> s.String:
        return self.expr(s.String, c, c[0].value[1:-1])

    def long_string(self, c: Kids) -> s.String:
        return self.expr(s.String, c, c[0].value[3:-3].replace("\r\n", "\n"), True)

    def name(self, c: Kids) -> s.Name:
        return self.expr(s.Name, c, c[0].value)

    def group(self, c: Kids) -> s.Group:
        return self.expr(s.Group, c, c[1])

    def list(self, c: Kids) -> s.ListOf:
        return self.expr(s.ListOf, c, tuple(c[1] or ()))

    def comprehension(self, c: Kids) -> s.Comprehension:
        return self.expr(s.Comprehension, c, c[2].value, c[4], c[6])


def _body(kids: Kids) -> tuple[Any, ...]:
    """The statements between braces, of what follows a header."""
    braces = [i for i, k in enumerate(kids) if type(k) is Token and k.type == "LBRACE"]
    return tuple(filter(_is_node, kids[braces[0] :])) if braces else ()
