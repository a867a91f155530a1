"""What files define: each read once, its names over those of the library and of files it uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from dln.compiler.frontend.context.build_context import Binding, BlockDef, Build, Scope, Value
from dln.compiler.frontend.context.place import poison
from dln.compiler.frontend.context.static_values import lookup, static
from dln.compiler.frontend.context.values import Function, Module, OptimiserDef, describe
from dln.compiler.frontend.data import datasets
from dln.compiler.frontend.expressions.builtin_functions import builtins
from dln.compiler.frontend.scan import equations
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Fault, Note, Source
from dln.grammar.parser import Library

STANDARD = "std.dln"
DEEPEST_USE = 16


class Files:
    """The used files, each read once; their definitions are shared."""

    def __init__(self, b: Build) -> None:
        self.b, self.load = b, b.outside.load
        self.scopes: dict[str, Scope] = {}
        self.opened: list[tuple[Source, s.Module, Scope]] = []
        self.outer = self.standard = builtins()
        self.library: Source | None = None
        for name, path in b.outside.shelf.items():
            find = partial(self._from_shelf, name=name, path=path)
            self.outer.names[name] = Binding(None, find, static=True)

    def open(self, source: Source, module: s.Module, trail: list[str]) -> Scope:
        """The scope of a file, over the standard library and the files it uses."""
        b = self.b
        if not trail and (found := self._standard(source, module)) is not None:
            library, definitions = found
            b.built.sources[library.path] = self.library = library
            self.standard = self.scopes[library.path] = Scope(self.outer)
            bind_library(b, definitions, self.standard)
        scope = Scope(self.standard.child())
        for item in module.items:
            if isinstance(item, s.Use):
                failures = b.built.failures
                with b.collecting():
                    self._use(item, source, scope, [*trail, source.path])
                if b.built.failures > failures and item.alias is None:
                    b.built.missing.lost = True
                elif b.built.failures > failures:
                    scope.names[str(item.alias)] = Binding(item.span, poison, static=True)
        bind_items(b, module.items, scope)
        self.opened.append((source, module, scope))
        return scope

    def _standard(self, source: Source, module: s.Module) -> tuple[Source, s.Module] | None:
        """The library beneath a spec; None where it is the spec itself."""
        try:
            found = self.load(STANDARD, source)
        except Fault as fault:
            asked = (i.span for i in module.items if isinstance(i, s.Use) and i.path == STANDARD)
            raise fault.at(next(asked, None)) from None
        itself = Path(source.path).name == STANDARD and found[0].text == source.text
        return None if itself else found

    def _from_shelf(self, _: Build, name: str, path: str) -> Value:
        """What a file of the library defines that is read when one of its names is used."""
        b = self.b
        source, module = self.load(path, self.library or b.source)
        if source.path not in self.scopes:
            b.built.sources[source.path] = source
            self.scopes[source.path] = Scope(self.standard)
            bind_library(b, module, self.scopes[source.path])
        return self.scopes[source.path].names[name].find(b)

    def _use(self, item: s.Use, source: Source, scope: Scope, trail: list[str]) -> None:
        b = self.b
        try:
            found, module = self.load(item.path, source)
        except Fault as fault:
            raise fault.at(item.span) from None
        if found.path in trail:
            circle = " -> ".join([*trail, found.path])
            b.fail("E380", "files use each other in a circle", item.span, facts=(circle,))
        if len(trail) > DEEPEST_USE:
            b.fail("E381", "files use each other too deeply", item.span)
        if found.path not in self.scopes:
            b.built.sources[found.path] = found
            self.scopes[found.path] = self.open(found, module, trail)
        used = self.scopes[found.path]
        if item.alias is not None:
            scope.value(item.alias, Module(item.alias, used), item.span)
        elif used is not self.standard and scope.parent is not None:
            scope.parent.names.update(used.names)


# ---- items -------------------------------------------------------------------------------------


def bind_items(b: Build, items: Sequence[s.Item | s.Stmt], scope: Scope, turn: str = "") -> None:
    """Bind what a file defines. Of a `for`, `turn` is the round: what a `let` makes in `net[0]` is
    not what it makes in `net[1]`."""
    for item in items:
        with b.collecting():
            match item:
                case s.Const():
                    find = partial(_const, item=item, scope=scope)
                    equations.once(b, scope, item.name, item.span, find, True)
                    scope.names[item.name].constant = True
                    if item.span.source is b.source:  # so that `-D` and `vary` find it
                        b.built.constants[item.name] = lookup(b, item.name, item.span, scope)
                case s.Fn() | s.Block() | s.Optimiser():
                    _define(b, item, scope)
                case s.Let():
                    path = item.name + turn
                    find = partial(equations.let, path=path, expr=item.value, scope=scope)
                    equations.once(b, scope, item.name, item.span, find)
                case s.Data():
                    datasets.declare(b, item, scope)
    for item in items:
        if isinstance(item, s.Data):
            datasets.declare_sizes(b, item, scope)


def bind_library(b: Build, module: s.Module, scope: Scope) -> None:
    """Bind what a file of the library defines; most of it no spec asks for."""
    if not isinstance(module, Library):
        bind_items(b, module.items, scope)
        return
    for name in module.places:
        find = partial(_of_library, name=name, module=module, scope=scope)
        scope.names[name] = Binding(None, find, static=True)


def _of_library(_: Build, name: str, module: Library, scope: Scope) -> Value:
    item, binding = module.item(name), scope.names[name]
    made = DEFINED[type(item)](item, scope)
    binding.span, binding.find = item.span, lambda _: made
    return made


DEFINED: dict[type, Callable[..., Value]] = {
    s.Fn: Function, s.Block: BlockDef, s.Optimiser: OptimiserDef,
}  # fmt: skip


def _define(b: Build, item: s.Fn | s.Block | s.Optimiser, scope: Scope) -> None:
    made = DEFINED[type(item)](item, scope)
    equations.once(b, scope, item.name, item.span, lambda _: made, True)
    if isinstance(item, s.Block) and not item.results:
        _refuse_results(b, item)


def _refuse_results(b: Build, item: s.Block) -> None:
    """A result among the ports: what has an equation flows out of a block."""
    inner = [line for st in item.body if isinstance(st, s.Scan) for line in st.body]
    made = {x.target.name: x.target.span for x in (*item.body, *inner) if isinstance(x, s.Define)}
    results = [p for p in item.ports if p.name in made]
    if not results:
        return
    ports = ", ".join(p.span.text for p in item.ports if p not in results)
    given = "; " * bool(item.options) + ", ".join(o.span.text for o in item.options)
    head = f"block {item.name}({ports}{given}) -> {', '.join(p.span.text for p in results)} {{"
    notes = (Note(made[results[0].name], "has an equation"),)
    text = f"{results[0].name} flows into the block, and has an equation in it"
    b.fail("E334", text, results[0].span, "flows in", notes, head)


def _const(b: Build, item: s.Const, scope: Scope) -> Value:
    """A constant's value: what was given from outside, else what is written."""
    written = static(b, item.value, scope, f"the constant {item.name}")
    if item.name not in b.outside.constants or item.span.source is not b.source:
        return written
    given = b.outside.constants[item.name]
    b.built.used.add(item.name)
    number = isinstance(written, int | float) and not isinstance(written, bool)
    other = isinstance(written, str) != isinstance(given, str)
    other |= isinstance(written, bool) != isinstance(given, bool)
    other |= isinstance(written, list) and isinstance(given, int | float)
    if other or (number and not isinstance(given, int | float)):
        text = f"{item.name} is {describe(written)}"
        cut = repr(given) if len(repr(given)) < 60 else f"{repr(given)[:60]}..."
        remedy = f"{item.name}={item.value.span.text}"
        if isinstance(written, list):
            remedy = f"{item.name}=[{given}]"
        b.fail("E382", text, item.span, f"was given {cut} from outside", remedy=remedy)
    return given
