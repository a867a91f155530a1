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
Action = Callable[["Actions", Kids], s.Syntax]

VERSION = 1
MAX_DEPTH = 200  # of an expression: recursive walks over it stay below Python's own limit
MAX_OPERANDS = 10_000
MAX_DIGITS = 4_300


class Piece(tuple[Any, ...]):
    """Several values that are no node of their own, and the stretch of text they come from."""

    span: Span


def is_node(kid: Any) -> bool:
    return isinstance(kid, s.Syntax)


def held(kid: Any) -> Any:
    """What a node holds of a child: the text of a token, without its quotes; several values as a
    tuple."""
    if type(kid) is Token:
        return kid.value[1:-1] if kid.type == "STRING" else kid.value
    return tuple(kid) if type(kid) is Piece else kid


def expression(kind: type[s.Syntax], *places: int) -> Action:
    """The action that makes an expression of the children at some places."""
    return lambda self, c: self.expr(kind, c, *[held(c[i]) for i in places])


def statement(kind: type[s.Syntax], *places: int) -> Action:
    """The action that makes a statement, an item or a part of one."""
    return lambda self, c: self.make(kind, c, *[held(c[i]) for i in places])


def several(kind: type[s.Syntax]) -> Action:
    """The action that makes a statement of all children that are nodes."""
    return lambda self, c: self.make(kind, c, tuple(filter(is_node, c)))


def braced(kind: type[s.Syntax], *places: int) -> Action:
    """The action that makes a statement or an item with a body."""
    return lambda self, c: self.make(kind, c, *[held(c[i]) for i in places], _body(c))


def _body(kids: Kids) -> tuple[Any, ...]:
    """The statements between braces, of what follows a header."""
    braces = [i for i, k in enumerate(kids) if type(k) is Token and k.type == "LBRACE"]
    return _nodes(kids[braces[0] :]) if braces else ()


def _nodes(kids: Kids) -> tuple[Any, ...]:
    """The statements or items among children; one line of text may give several."""
    several = (kid if type(kid) is Piece else (kid,) for kid in kids)
    return tuple(part for parts in several for part in parts if is_node(part))


class Actions:
    """The actions. `begin` a source, let Lark parse it, read `problems`."""

    source: Source
    problems: list[Problem]

    def begin(self, source: Source) -> None:
        self.source = source
        self.problems = []
        self._sizes: dict[int, tuple[int, int]] = {}

    # ---- places and limits -----------------------------------------------------------------

    def span(self, kids: Kids) -> Span:
        """Where the text of the children stands, the end of a line left out."""
        i, j = 0, -1
        while kids[i] is None:
            i += 1
        while kids[j] is None or (type(kids[j]) is Token and kids[j].type == "_NL"):
            j -= 1
        first, last = kids[i], kids[j]
        start = (first.start_pos or 0) if type(first) is Token else first.span.start
        stop = (last.end_pos or 0) if type(last) is Token else last.span.stop
        return Span(self.source, start, stop)

    def make(self, kind: Callable[..., Node], kids: Kids, *values: Any) -> Node:
        """A statement, an item or a part of one."""
        return kind(*values, span=self.span(kids))

    def expr(self, kind: Callable[..., Node], kids: Kids, *values: Any) -> Node:
        """An expression, refused when it is too deep or too long."""
        node = kind(*values, span=self.span(kids))
        leaf = len(kids) == 1 and type(kids[0]) is Token
        self._sizes[id(node)] = (1, 1) if leaf else self._measure(kids, node.span)
        return node

    def _measure(self, kids: Kids, span: Span) -> tuple[int, int]:
        """Depth of the expression built from `kids` and its number of operands."""
        sizes, depth, operands = self._sizes, 0, 0
        for kid in kids:
            for part in kid if type(kid) is Piece else (kid,):
                size = sizes.get(id(part)) if isinstance(part, s.Syntax) else None
                if size:
                    depth, operands = max(depth, size[0]), operands + size[1]
        if depth < MAX_DEPTH and operands <= MAX_OPERANDS:
            return depth + 1, max(1, operands)
        message = f"this expression is longer than {MAX_OPERANDS} operands"
        if depth >= MAX_DEPTH:
            message = f"this expression is more than {MAX_DEPTH} operations deep"
        start = Span(span.source, span.start, span.start + 1)
        remedy = "give parts of it names of their own, or reduce over an index: sum(i: ...)"
        raise DlnError([Problem("E151", message, start, "starts here", remedy=remedy)])

    def piece(self, kids: Kids, values: Iterable[Any]) -> Piece:
        made = Piece(values)
        made.span = self.span(kids)
        return made

    def pieces(self, c: Kids) -> Piece:
        """Those of the children that are nodes."""
        return self.piece(c, filter(is_node, c))

    def pair(self, c: Kids) -> Piece:
        """A mark and what follows it."""
        return self.piece(c, c)

    init_value = init_draw = pair
    ports = dims = places = windows = options = state = best = exprs = arglist = index = pieces

    # ---- a file ------------------------------------------------------------------------------

    def start(self, c: Kids) -> s.Module:
        version = [k.value for k in c if isinstance(k, s.Number)]
        items = tuple(k for k in _nodes(c) if not isinstance(k, s.Number))
        whole = Span(self.source, 0, len(self.source.text))
        return s.Module(version[0] if version else None, items, span=whole)

    def version(self, c: Kids) -> s.Number:
        number = self.number(c[1:2])
        if number.value != VERSION:
            text = f"there is no version {c[1].value} of the language"
            problem = Problem("E120", text, number.span, "unknown", remedy=str(VERSION))
            self.problems.append(problem)
        return number

    # ---- definitions -------------------------------------------------------------------------

    use = statement(s.Use, 1, 3)
    constant = statement(s.Const, 0, 2)
    let = statement(s.Let, 1, 3)

    def const(self, c: Kids) -> Piece:
        """`const a = 1, b = 2`: a constant each; the word belongs to the first."""
        first, *more = filter(is_node, c)
        return self.piece(c, [first.changed(span=self.span([c[0], first])), *more])

    def fn(self, c: Kids) -> s.Fn:
        return self.make(s.Fn, c, c[1].value, tuple(c[3] or ()), c[6], c[8])

    def block(self, c: Kids) -> s.Block:
        ports, options, results = (tuple(part or ()) for part in (c[3], c[5], c[8]))
        return self.make(s.Block, c, c[1].value, ports, options, results, _body(c))

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

    define = statement(s.Define, 0, 2)

    def added(self, c: Kids) -> s.Define:
        target = self.make(s.Port, c[:2], c[0].value, tuple(c[1]), None)
        return self.make(s.Define, c, target, c[3], True)

    draw = statement(s.Draw, 0, 2)
    energy = statement(s.Energy, 2)
    for_items = for_stmts = for_t = for_k = for_c = braced(s.For, 1, 3)
    expect = statement(s.Expect, 1, 3)

    def scan(self, c: Kids) -> s.Scan:
        over, by = c[3] if type(c[3]) is Piece else (c[3], None)
        return self.make(s.Scan, c, c[1].value, over, by, c[4] is not None, _body(c))

    # ---- data ----------------------------------------------------------------------------------

    data = braced(s.Data, 1, 3, 5)

    def given(self, c: Kids) -> s.Given:
        return self.make(s.Given, c, tuple(c[2] or ()))

    def field(self, c: Kids) -> s.Field:
        return self.make(s.Field, c, c[0], c[2], c[1] == "~")

    field_draw = field

    def split(self, c: Kids) -> s.Split:
        parts = tuple(k for k in c if isinstance(k, s.Part))
        clauses = tuple(k for k in c if isinstance(k, s.Clause))
        return self.make(s.Split, c, parts, clauses)

    def part(self, c: Kids) -> s.Part:
        """`fold[5]` is cut as a name and a list."""
        many = isinstance(c[1], s.ListOf) and len(c[1].items) == 1
        sizes = (None, c[1].items[0]) if many else (c[1],)
        return self.make(s.Part, c, c[0].value, *sizes)

    shuffled = statement(s.Clause, 0)

    def by_field(self, c: Kids) -> s.Clause:
        return self.make(s.Clause, c, "by", None, None, c[1].value)

    def apart(self, c: Kids) -> s.Clause:
        return self.make(s.Clause, c, "apart", None, None, c[1].value)

    setting = statement(s.Setting, 1, 3)

    # ---- training ------------------------------------------------------------------------------

    def train(self, c: Kids) -> s.Train:
        clauses = tuple(k for k in c[4:] if isinstance(k, s.Clause | s.After))
        return self.make(s.Train, c, c[1], c[3], clauses, _body(c))

    name_ix = statement(s.NameIx, 0, 2)
    batch = stream = order = seed = shards = statement(s.Clause, 0, 1)

    def together(self, c: Kids) -> s.Clause:
        return self.make(s.Clause, c, "batch", c[1], None, None, c[3])

    def duration(self, c: Kids) -> s.Clause:
        return self.make(s.Clause, c, "for", c[1], c[2].removesuffix("s"))

    def dtype(self, c: Kids) -> s.Clause:
        return self.make(s.Clause, c, "dtype", None, None, c[1].value)

    after = several(s.After)

    def kept(self, c: Kids) -> s.Kept:
        mark, value = c[2]
        return self.make(s.Kept, c, c[1], value, mark == "~")

    def minimize(self, c: Kids) -> s.Minimize:
        return self.make(s.Minimize, c, c[1] is not None, c[2], tuple(c[4]), c[6], c[8])

    def update(self, c: Kids) -> s.Update:
        return self.make(s.Update, c, c[1] is not None, c[2], c[4])

    assign = statement(s.Start, 1, 3)
    step = braced(s.Step, 1, 2)

    def watch(self, c: Kids) -> s.Watch:
        every = c[7] and self.every(c[7:10])
        return self.make(s.Watch, c, c[1] is not None, c[2].value, c[4], c[6], every)

    def keep(self, c: Kids) -> s.Checkpoint:
        every = c[1] if isinstance(c[1], s.Every) else None
        return self.make(s.Checkpoint, c, every, None if every else c[1][0])

    def handed(self, c: Kids) -> s.Checkpoint:
        return self.make(s.Checkpoint, c, None, c[3], True)

    def every(self, c: Kids) -> s.Every:
        return self.make(s.Every, c, c[1], c[2].removesuffix("s"))

    def stalls(self, c: Kids) -> s.Stalls:
        return self.make(s.Stalls, c, c[2], c[3].removesuffix("s"), c[5])

    until = statement(s.Until, 1, 2)

    # ---- tasks, sweeps, checks -----------------------------------------------------------------

    def task(self, c: Kids) -> s.Task:
        options, after = tuple(c[3] or ()), c[5].phases if c[5] is not None else ()
        return self.make(s.Task, c, c[1].value, options, after, _body(c))

    emit = statement(s.Emit, 1, 3)
    sweep = braced(s.Sweep, 1)
    vary = statement(s.Vary, 1, 3)
    report = several(s.Report)

    def check(self, c: Kids) -> s.Check:
        return self.make(s.Check, c, held(c[1]), c[2] is not None, _body(c))

    # ---- expressions ---------------------------------------------------------------------------

    flow = expression(s.Flow, 0, 2)
    choose = expression(s.Choose, 0, 2, 4)
    binary = expression(s.Binary, 1, 0, 2)
    or_ = and_ = compare = add = sub = mul = div = dot = pow = binary
    minus = not_ = expression(s.Unary, 0, 1)
    asserted = expression(s.Asserted, 0, 2)
    span_of = expression(s.RangeOf, 0, 2, 4)

    def domain(self, c: Kids) -> s.Domain:
        name, given = held(c[0]), tuple(c[2] or ())
        words = tuple(k for k in given if isinstance(k, s.String))
        if name == "class" and len(given) > 1 and len(words) < len(given):
            text = f"{name} takes one number, or the names of its classes"
            at = next(k for k in given if k not in words)
            example = 'class(3), or class("no", "yes")'
            self.problems.append(Problem("E117", text, at.span, "is no text", remedy=example))
        if words and name != "class":
            text = f"{name} has no names, which classes have"
            self.problems.append(Problem("E117", text, words[0].span, remedy="class(...)"))
        for i, k in enumerate(words):
            if k.value in [w.value for w in words[:i]]:
                text = f'"{k.value}" stands twice among the classes'
                self.problems.append(Problem("E117", text, k.span, "again"))
        size = given[0] if given and not words else None
        return self.expr(s.Domain, c, name, size, words)

    named = expression(s.Named, 0, 2)
    ranged = expression(s.Ranged, 0, 2)
    reduce = expression(s.Reduce, 0, 2, 4)
    index_of = expression(s.Index, 0, 2)
    slice = expression(s.Slice, 0, 2)
    transpose = expression(s.Transpose, 0)
    string = expression(s.String, 0)
    name = expression(s.Name, 0)
    group = expression(s.Group, 1)
    comprehension = expression(s.Comprehension, 2, 4, 6)

    def call(self, c: Kids) -> s.Call:
        return self.expr(s.Call, c, c[0], *(c[2] or ((), ())))

    def args(self, c: Kids) -> Piece:
        before, after = (c[0], None) if len(c) == 1 else (c[0], c[2])
        return self.piece(c, (tuple(before or ()), tuple(after or ())))

    def attr(self, c: Kids) -> s.Attr:
        return self.expr(s.Attr, c, c[0], c[2].value, self.span(c[2:]))

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

    def long_string(self, c: Kids) -> s.String:
        return self.expr(s.String, c, c[0].value[3:-3].replace("\r\n", "\n"), True)

    def list(self, c: Kids) -> s.ListOf:
        return self.expr(s.ListOf, c, tuple(c[1] or ()))
