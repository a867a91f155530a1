"""Which value of a spec an estimator gives back: instances of its nets, one applied to another.

By itself it is the value that the loss of the phase takes; of `decode(encode(x))` the codes are
what `encode` gives; of a machine what it infers of its hidden units. Faults: E591 where it is not
one value, with the place of the loss.
"""

from __future__ import annotations

from collections.abc import Iterator

from dln.compiler.plan import Plan
from dln.grammar import syntax as s
from dln.grammar.diagnostics import DlnError, Problem, Source, Span, nearest
from dln.grammar.record import Record
from dln.sklearn.columns import module_of, refuse
from dln.spec import load_used, shelf


class NetChain(Record):
    """Instances applied one after another, by `paths` from the first on, to a field of the data.
    `domain` is what is asked of the value by the function that takes it."""

    field: str
    paths: tuple[str, ...]
    domain: str = ""

    def __str__(self) -> str:
        return " -> ".join((self.field, *self.paths))


class Loss:
    """The losses of a phase in the text of a spec, and the chains of instances that they take."""

    def __init__(self, source: Source, phase: str, plan: Plan) -> None:
        self.source, self.plan = source, plan
        self.names: dict[str, s.Expr] = {}
        self.machines: dict[str, None] = {}
        self.odd: list[Span] = []
        self.span: Span | None = None
        self.found: dict[tuple[str, tuple[str, ...]], str] = {}
        for item in module_of(source).items:
            if isinstance(item, s.Train) and item.name.name == phase:
                for line in _lines(item):
                    if isinstance(line, s.Define):
                        self.names[line.target.name] = line.value
                    elif isinstance(line, s.Minimize):
                        self.span = self.span or line.loss.span
                        self._walk(line.loss, "")

    @property
    def chains(self) -> list[NetChain]:
        """What the losses take, each once."""
        return [NetChain(*key, domain) for key, domain in self.found.items()]

    def _walk(self, expr: s.Syntax, domain: str) -> None:
        """Take up the outermost instances of an expression, of which a `domain` is asked."""
        if isinstance(expr, s.Group):
            return self._walk(expr.body, domain)
        if isinstance(expr, s.Name):
            if f"{expr.id}.up" in self.plan.applied:
                self.machines[expr.id] = None
            elif expr.id in self.names:
                self._walk(self.names[expr.id], domain)
            return
        if self._called(expr) is not None:
            if (chain := self._chain(expr)) is None:
                self.odd.append(expr.span)
                return
            key = chain.field, chain.paths
            self.found[key] = self.found.get(key) or domain
            return
        asked = self._asked(expr) if isinstance(expr, s.Call) else []
        for i, inner in enumerate(expr.arguments if isinstance(expr, s.Call) else ()):
            self._walk(inner, asked[i] if i < len(asked) else "")
        for part in expr.children():
            if not (isinstance(expr, s.Call) and part in expr.arguments):
                self._walk(part, "")

    def _called(self, expr: s.Syntax) -> tuple[str, list[s.Expr]] | None:
        """The instance that an expression applies, with what it is applied to."""
        if isinstance(expr, s.Flow):
            path = expr.target.span.text
            return (path, [expr.source]) if path in self.plan.applied else None
        if isinstance(expr, s.Call):
            path = expr.function.span.text
            values = [*expr.plain, *(a.value for a in expr.named.values())]
            return (path, values) if path in self.plan.applied else None
        return None

    def _chain(self, expr: s.Syntax) -> NetChain | None:
        """An expression as instances one after another on a field; None where it is another."""
        if isinstance(expr, s.Group):
            return self._chain(expr.body)
        if isinstance(expr, s.Name):
            if expr.id in self.names:
                return self._chain(self.names[expr.id])
            return NetChain(expr.id, ())
        called = self._called(expr)
        if called is None or len(called[1]) != 1:
            return None
        inside = self._chain(called[1][0])
        return None if inside is None else inside.changed(paths=(*inside.paths, called[0]))

    def _asked(self, call: s.Call) -> list[str]:
        """The domains that a function asks of its arguments, "" where it asks none."""
        name = call.function.span.text
        for item in module_of(self.source).items:
            if isinstance(item, s.Fn | s.Block) and item.name == name:
                return [_domain(p) for p in item.ports]
        for path in (p for p in ("std.dln", shelf().get(name)) if p):
            for item in load_used(path, self.source)[1].items:
                if isinstance(item, s.Fn | s.Block) and item.name == name:
                    return [_domain(p) for p in item.ports]
        return []


def _domain(port: s.Port) -> str:
    return "" if port.domain is None else port.domain.name


def _lines(part: s.Train | s.Step | s.For) -> Iterator[s.Item | s.Stmt]:
    """The lines of a phase and of the steps in it."""
    for line in part.body:
        yield line
        if isinstance(line, s.Step | s.For):
            yield from _lines(line)


def value_of(
    source: Source, phase: str, plan: Plan, kind: str, fields: list[str], named: str
) -> tuple[NetChain, Span | None]:
    """The value that an estimator of a `kind` gives of one of the `fields`, that of the instance
    that is `named`, else the one that the loss of a phase takes; and where that loss stands. Raises
    `DlnError` E560 for no such instance, E591 where the phase does not say which."""
    loss = Loss(source, phase, plan)
    if named:
        return _named(loss, fields, named), loss.span
    chains, field = [c for c in loss.chains if c.field in fields], " or ".join(fields)
    if kind == "transformer":
        return _codes(loss, chains, fields), loss.span
    one = f"the value that a {kind} gives is what the loss of {phase} takes of {field}"
    remedy = _choices(plan)
    if loss.odd:
        text = f"{one}, and this is more than instances one after another on {field}"
        refuse(text, loss.odd[0], "", f"put what comes before into the block; or {remedy}")
    scores = [c for c in chains if c.domain in ("logit", "prob")]
    if kind == "classifier" and len(scores) == 1:
        return scores[0], loss.span
    if len(chains) != 1:
        how = f"several: {', '.join(map(str, chains))}" if chains else "no instance applied to it"
        refuse(f"{one}: {how}", loss.span, "is the loss", remedy)
    return chains[0], loss.span


def _named(loss: Loss, fields: list[str], named: str) -> NetChain:
    """The chain that ends in an instance, as the phase has it, else the instance on X itself."""
    if named not in loss.plan.applied:
        if named in loss.plan.refused:
            said = loss.plan.refused[named]
            text = f"{named} cannot be called on its own: {said.message}"
            refuse(text, said.span, said.label, _choices(loss.plan))
        remedy = nearest(named, loss.plan.applied) or _choices(loss.plan)
        raise DlnError([Problem("E560", f"there is no instance {named}", remedy=remedy)])
    ends = (c for c in loss.chains if named in c.paths and c.field in fields)
    if (chain := next(ends, None)) is None:
        return NetChain(_only(loss, fields), (named,))
    paths = chain.paths[: chain.paths.index(named) + 1]
    return chain if paths == chain.paths else NetChain(chain.field, paths)


def _only(loss: Loss, fields: list[str]) -> str:
    """The field that is meant where the phase applies nothing to it."""
    if len(fields) != 1:
        text = f"which of {', '.join(fields)} an instance is applied to is to be seen in the loss"
        refuse(text, loss.span, "does not apply it", "one field made of X")
    return fields[0]


def _codes(loss: Loss, chains: list[NetChain], fields: list[str]) -> NetChain:
    """What a transformer gives: the hidden units of a machine, or what comes before the last
    instance of a chain."""
    found = [NetChain(_only(loss, fields), (f"{name}.up",)) for name in loss.machines]
    found += [NetChain(c.field, c.paths[:-1]) for c in chains if len(c.paths) > 1]
    if len(set(found)) != 1:
        how = f"several: {', '.join(map(str, found))}" if found else "none"
        text = "a transformer gives the codes of decode(encode(x)), or the hidden units of a "
        remedy = f"minimize sum((decode(encode(x)) - x)^2) ..., or {_choices(loss.plan)}"
        refuse(f"{text}machine, and the loss has {how}", loss.span, "is the loss", remedy)
    return found[0]


def _choices(plan: Plan) -> str:
    """How an instance is named."""
    names = [path for path, a in plan.applied.items() if len(a.ports) == 1]
    return " or ".join(f'instance="{name}"' for name in names[:6]) or "let net = ..."
