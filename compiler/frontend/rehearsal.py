"""Definitions that nothing uses, worked out once: what is wrong in one is wrong before it is used.

A block is built with its default options over ports of open sizes, a function with what its ports
say, an optimiser for a parameter of any length, and a `let` as it stands. An option without a
default is an open size where the block takes it for one; of any other, and of what a function
takes anything for, nothing is known, nor of what depends on it: there names and the options of
calls are looked at. Each file has a build of its own, of which the problems alone are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dln.compiler.frontend.context import broadcasting
from dln.compiler.frontend.context.build_context import (
    BlockDef,
    Build,
    Built,
    Chain,
    Instance,
    Naming,
    Scope,
    Value,
)
from dln.compiler.frontend.context.frame import Drawing, Frame
from dln.compiler.frontend.context.place import Poisoned, replace
from dln.compiler.frontend.context.static_values import domain_of, lookup, word
from dln.compiler.frontend.context.values import Function, OptimiserDef, OptimiserUse
from dln.compiler.frontend.definitions import STANDARD, Files
from dln.compiler.frontend.expressions.calls import apply
from dln.compiler.frontend.instances import application, instances
from dln.compiler.frontend.instances.options import option_values
from dln.compiler.frontend.training import line_search, optimisers
from dln.compiler.frontend.unresolved import look, look_in
from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import BATCH_SIZE, Size, Var
from dln.compiler.ir.tensor_type import PROB, Domain, Kind, TensorType
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Problem, Source, Span

TIME = "time"
ALONE = "alone"
GUESSES = (None, "prob", ALONE, 0, 1, 2, 3)
"""What ports may be given that do not say what their numbers are: reals, probabilities, reals
without a batch, or one of them a class."""
OF_GUESS = ("E210", "E310", "E311", "E341")  # what another guess may mend


class Guess(NamedTuple):
    """A guess at what the ports of a definition are given that do not say it."""

    said: str | int | None

    def domain(self, place: int, declared: Domain | None) -> Domain | None:
        """What a port by its place is taken for."""
        if declared is None and self.said == "prob":
            return PROB
        return Domain("class", _open("k")) if declared is None and self.said == place else declared

    def type(self, running: tuple[str, ...], sizes: tuple[Size, ...], kind: Kind) -> TensorType:
        """A tensor for each example, or one for all."""
        lead = tuple(map(_open, running))
        if self.said == ALONE:
            return TensorType((*lead, *sizes), running, kind)
        return TensorType((BATCH_SIZE, *lead, *sizes), ("batch", *running), kind)


def rehearse(b: Build, files: Files) -> None:
    """Add the problems of what a spec and the files that it uses define, and nothing has met."""
    shipped = {Path(path).parent for path in files.scopes if Path(path).name == STANDARD}
    for source, module, scope in files.opened:
        own = source is b.source
        if own or Path(source.path).parent not in shipped:
            idle = [name for name in scope.names if _idle(b, name, scope, own)]
            if idle:
                _rehearse_file(b, source, module, idle)


def _idle(b: Build, name: str, scope: Scope, own: bool) -> bool:
    """Whether a definition of a file has not been worked out, or an instance never applied."""
    binding = scope.names[name]
    if binding.static:
        found: Value = next(iter(binding.cache.values()), None) or binding.find(b)
        if not isinstance(found, Function | BlockDef | OptimiserDef):
            return False
        return id(found.syntax) not in b.built.met
    if not binding.cache:
        return not own  # a `let` of a used file
    return any(_waits(i) for value in binding.cache.values() for i in _instances(value))


def _waits(made: Instance) -> bool:
    """Whether an instance has equations that were never worked out."""
    return made.last is None and bool(made.definition.syntax.results or made.groups)


def _instances(value: Value) -> Iterator[Instance]:
    """The instances that a `let` has made; of a chain the one that it begins with."""
    if isinstance(value, Instance):
        yield value
    parts = value.parts[:1] if isinstance(value, Chain) else value
    for part in parts if isinstance(parts, list | tuple) else ():
        yield from _instances(part)


def _rehearse_file(b: Build, source: Source, module: s.Module, idle: list[str]) -> None:
    """What is idle in a file, as if the file stood alone."""
    for name in idle:
        tries = list(_tries(b, source, module, name))
        fitting = (t for t in tries if not any(p.code in OF_GUESS for p in t))
        for p in next(fitting, tries[0] if tries else ()):
            if p not in b.problems.found:
                b.problems.found.append(p)


def _tries(b: Build, source: Source, module: s.Module, name: str) -> Iterator[list[Problem]]:
    """The problems of a definition, with one guess after the other at what its ports are given
    where they do not say it, until the domains fit."""
    for guess in GUESSES:
        inner, scope = _alone(b, source, module)
        if (span := scope.names[name].span) is None:
            return
        at = word(span, name)
        with inner.collecting():
            _work_out(inner, lookup(inner, name, at, scope), at, Guess(guess))
        yield inner.built.missing.told(inner.problems.found)
        if all(p.code not in OF_GUESS for p in inner.problems.found):
            return


def _alone(b: Build, source: Source, module: s.Module) -> tuple[Build, Scope]:
    """A build of a file by itself, with its scope; what is given from outside is the spec's."""
    old = b.built
    outside = old.outside
    if source is not b.source:
        outside = replace(outside, constants={}, data_paths={})
    built = Built(source=source, outside=outside, rules=old.rules, binders=old.binders,
                  sources={source.path: source}, rehearsal=True)  # fmt: skip
    inner = Build(built=built, frame=Frame(0, "rehearsal", batched=True), naming=Naming())
    return inner, Files(inner).open(source, module, [])


def _work_out(b: Build, value: Value, span: Span, guess: Guess) -> None:
    """A definition, or the instances of a `let`, in a frame of its own."""
    batched = guess.said != ALONE
    frame, drawing = Frame(next(b.counter), "rehearsal", batched=batched), None
    if isinstance(value, Function):  # it may be there to draw
        drawing = Drawing("rehearsal", None)
    b = replace(b, frame=frame, drawing=drawing)
    match value:
        case Function():
            _function(b, value, span, guess)
        case BlockDef():
            made = instances.instance(b, value, *_options(b, value), span)
            _apply(b, made, span, guess)
        case OptimiserDef():
            _optimiser(b, value, span)
        case _:
            for made in _instances(value):
                if _waits(made):
                    _apply(b, made, span, guess)


# ---- what is given where nobody gives anything -------------------------------------------------


def _open(name: str) -> Size:
    return Size.of(Var(name))


def _given(b: Build, name: str, type: TensorType, span: Span) -> Node:
    """A tensor of which its type alone is known."""
    return b.mark(b.at(span)("input", name=f"{name}.{next(b.counter)}", type=type), span, name)


def _tensor(b: Build, name: str, running: tuple[str, ...], sizes: tuple[Size, ...],
            domain: Domain | None, guess: Guess, span: Span) -> Node:  # fmt: skip
    kind: Kind = "index" if domain is not None and domain.name == "class" else "real"
    return _given(b, name, guess.type(running, sizes, kind).like(domain=domain), span)


def _of_port(b: Build, port: s.Port, scope: Scope, place: int, guess: Guess) -> Value:
    """What a function is given: a tensor, if its port says anything, else what nobody knows."""
    if port.dims is None and port.domain is None:
        return Poisoned
    dims = [d.id if isinstance(d, s.Name) else "n" for d in port.dims or ()]
    timed = dims[:1] == [TIME]
    sizes = tuple(map(_open, dims[timed:]))
    domain = guess.domain(place, domain_of(b, port.domain, scope.child(), {}))
    return _tensor(b, port.name, (TIME,) if timed else (), sizes, domain, guess, port.span)


def _function(b: Build, value: Function, span: Span, guess: Guess) -> None:
    ports = value.syntax.ports
    given = {p.name: (_of_port(b, p, value.scope, i, guess), p.span) for i, p in enumerate(ports)}
    inner = value.scope.child()
    for p in ports:
        inner.value(p.name, Poisoned)
        for d in p.dims or ():
            if isinstance(d, s.Name):
                inner.value(d.id, Poisoned)
    with b.collecting():
        application.call_function(b, value, given, span)
    if not b.problems.found:
        look(b, value.syntax.value, inner)


def _options(b: Build, definition: BlockDef | OptimiserDef) -> tuple[list[s.Arg], Scope]:
    """The options that have no default, as they would be given, and the scope that knows them."""
    scope, given = definition.scope.child(), list[s.Arg]()
    for option in definition.syntax.options:
        if option.default is None:
            value: Value = Poisoned
            if isinstance(definition, OptimiserDef) and not _applies(definition, option.name):
                value = _given(b, option.name, TensorType(()), option.span)
            elif option.dims:
                sizes = tuple(_open(f"{option.name}{i}") for i in range(len(option.dims)))
                value = _given(b, option.name, TensorType(sizes), option.span)
            elif isinstance(definition, BlockDef) and takes_size(definition, option.name):
                value = _open(option.name)
            scope.value(option.name, value, option.span)
            name = s.Name(option.name, span=option.span)
            given.append(s.Named(option.name, name, span=option.span))
    return given, scope


def _applies(definition: OptimiserDef, name: str) -> bool:
    """Whether an optimiser takes an option for a function."""
    found: list[s.Syntax] = [definition.syntax]
    while found:
        part = found.pop()
        found += part.children()
        head = part.function if isinstance(part, s.Call) else None
        if isinstance(head, s.Name) and head.id == name:
            return True
    return False


def takes_size(definition: BlockDef, name: str, depth: int = 4) -> bool:
    """Whether a block takes an option for a size: in its own sizes, or in those of a block that it
    hands the option on to."""
    found: list[s.Syntax] = [definition.syntax]
    while found:
        part = found.pop()
        # of an equation the brackets hold indices
        found += [part.value] if isinstance(part, s.Define | s.Draw) else part.children()
        dims = getattr(part, "dims", None) or ()
        if any(isinstance(d, s.Name) and d.id == name for d in dims):
            return True
        if depth and isinstance(part, s.Call) and isinstance(part.function, s.Name):
            binding = definition.scope.lookup(part.function.id)
            made = binding.cache.get(0) if binding is not None and binding.static else None
            if isinstance(made, BlockDef):
                options = [o.name for o in made.syntax.options]
                pairs = [*zip(options, part.plain, strict=False),
                         *((k, a.value) for k, a in part.named.items())]  # fmt: skip
                if any(isinstance(e, s.Name) and e.id == name and takes_size(made, o, depth - 1)
                       for o, e in pairs):  # fmt: skip
                    return True
    return False


# ---- blocks and optimisers ---------------------------------------------------------------------


def _apply(b: Build, made: Instance, span: Span, guess: Guess) -> None:
    """An instance over ports of open sizes; every equation of it, whatever others fail."""
    syntax = made.definition.syntax
    if made.groups:
        _machine(b, made, span, guess)
        return
    nodes = []
    for i, port in enumerate(syntax.ports):
        running, sizes, domain = made.ports[i]
        node = _tensor(b, port.name, running, sizes, guess.domain(i, domain), guess, port.span)
        nodes.append((node, port.span))
    if syntax.results:  # without any, it is there for its parameters
        with b.collecting():
            apply(b, made, nodes, span)
    body = made.last or made.scope
    if not b.problems.found:
        for name in list(body.names):
            with b.collecting():
                lookup(b, name, body.names[name].span or span, body)
        while b.owned.inits:
            with b.collecting():
                b.owned.inits.pop(0)(b)
        for st in syntax.body:
            if isinstance(st, s.Update):
                with b.collecting():
                    broadcasting.quantity(b, b.evaluate(st.value, body), st.value.span)
        look_in(b, syntax, body)


def _machine(b: Build, made: Instance, span: Span, guess: Guess) -> None:
    """The energy of a machine, for a value of every group."""
    from dln.compiler.frontend.energy import derivation  # late: most specs have no energy

    nodes = []
    for g in made.groups:
        domain = PROB if g.domain.name == "binary" else g.domain
        nodes.append((_tensor(b, g.name, (), g.sizes, domain, guess, g.span), g.span))
    derivation.call(b, made, "energy", nodes, span)


def _optimiser(b: Build, value: OptimiserDef, span: Span) -> None:
    given, scope = _options(b, value)
    options = option_values(b, value.syntax, given, scope, span)
    made = {k: b.evaluate(e, where) for k, (e, where, _) in options.items()}
    places = {k: at for k, (_, _, at) in options.items()}
    use = OptimiserUse(value, made, places, span)
    if line_search.asked(b, use) is None:
        size = TensorType((_open("k"),))
        param = b.at(span)("param", path="p", type=size)
        loss = _given(b, "loss", TensorType(()), span)
        grad = _given(b, value.syntax.names[1], size, span)
        n, site = b.at(span)("clock", name="update"), "rehearsal"
        optimisers.optimise(b, use, param, held=param, grad=grad, count=n, site=site, loss=loss)
