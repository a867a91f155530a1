"""`start net := load("net.safetensors")`: a phase that begins with the arrays of a file.

Names and shapes are those of its header, known when the spec is read: each parameter made in what
starts has its array there. `load("a.safetensors").enc` means the arrays of `enc` in the file.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from dln.compiler.frontend.context.build_context import Build, Chain, Instance, Scope
from dln.compiler.frontend.context.static_values import whole
from dln.compiler.frontend.context.values import shown
from dln.compiler.frontend.instances.owning import owned_by
from dln.compiler.frontend.training.objectives import one_parameter
from dln.compiler.frontend.training.optimisers import own_call
from dln.compiler.frontend.training.phase_scope import PhaseBody
from dln.compiler.ir.graph import Node
from dln.compiler.ir.structure import is_param
from dln.compiler.model import Loading
from dln.compiler.schema.headers import DataSource, Schema
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Fault, nearest

SHOWN = 3  # arrays that do not fit which are told


def call(b: Build, expr: s.Expr, scope: Scope) -> tuple[s.Call, str] | None:
    """The call of `load` that stands behind `:=`, and the part of its file that is meant."""
    if isinstance(expr, s.Group):
        return call(b, expr.body, scope)
    if isinstance(expr, s.Attr | s.Index):
        found = call(b, expr.body, scope)
        if found is None:
            return None
        if isinstance(expr, s.Attr):
            return found[0], f"{found[1]}.{expr.name}".lstrip(".")
        numbers = [whole(b, part, scope, "a part of a chain") for part in expr.indices]
        return found[0], found[1] + "".join(f"[{n}]" for n in numbers)
    made = own_call(b, expr, scope, "load")
    return None if made is None else (made, "")


def start(b: Build, st: s.Start, scope: Scope, asked: tuple[s.Call, str], got: PhaseBody) -> None:
    """A line that starts parameters with what a file holds."""
    made, part = asked
    word = b.evaluate(made.only, scope) if made.only is not None else None
    if not isinstance(word, str):
        text = "load takes the name of a safetensors file"
        at = made.span if made.only is None else made.only.span
        label = "" if made.only is None else f"is {shown(word)}"
        remedy = '"net.safetensors"' if made.only is not None else 'load("net.safetensors")'
        b.fail("E436", text, at, label, remedy=remedy)
    base = str(Path(made.span.source.path).resolve().parent)
    file = DataSource("safetensors", (word,), {}, base)
    try:
        schema = b.outside.probe(file)
    except Fault as fault:
        remedy = "put the file beside the spec" if "--data" in fault.remedy else fault.remedy
        at = made.only.span if made.only else made.span
        raise Fault(fault.message, remedy, fault.code).at(at) from None
    whole_of, paths = _begun(b, st, scope)
    names = {path: (part or whole_of) + path.removeprefix(whole_of) for path in paths}
    for path, name in names.items():
        if path in (begun := got.begun()):
            b.refuse_again(f"{path} starts twice", st.span, begun[path])
        got.loads.append(Loading(path, file, name, st.span))
    b.owned.requirements.append(partial(_fits, b, st, word, schema, whole_of, names))


def _begun(b: Build, st: s.Start, scope: Scope) -> tuple[str, list[str]]:
    """The path of what starts, an instance, a chain, what an equation has made or one parameter,
    and the parameters made in it."""
    target = b.evaluate(st.target, scope)
    if isinstance(target, Node) and is_param(target):
        path = one_parameter(b, st.target, scope, "start sets")
        return path, [path]
    path = target.path if isinstance(target, Instance | Chain) else st.target.span.text
    paths = [p for p in owned_by(b, st.target, scope) if p.startswith((f"{path}.", f"{path}["))]
    if not paths:
        text = f"{st.target.span.text} has no parameters of its own, which a file could hold"
        b.fail("E436", text, st.target.span)
    return path, paths


def _fits(
    b: Build, st: s.Start, word: str, schema: Schema, whole_of: str, names: dict[str, str]
) -> None:
    """Refuse a file that lacks an array, or has one of another shape."""
    wrong = []
    for path, name in names.items():
        shape = [b.sizes.resolve(x).value for x in b.owned.params[path].node.type.shape]
        there = schema.fields.get(name)
        if there is None:
            near = nearest(name, schema.fields)
            wrong.append(f"there is no {name}" + (f", the nearest is {near}" if near else ""))
        elif list(there.shape) != shape:
            wrong.append(f"{name} is {list(there.shape)} there, {path} is {shape}")
    if wrong:
        known = list(schema.fields)
        has = f"it has {', '.join(known[:8])}" + (" ..." if len(known) > 8 else "")
        more = [f"and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
        text = f'"{word}" does not hold what {st.target.span.text} starts with'
        facts, remedy = (*wrong[1:SHOWN], *more, has), ""
        for part in _parts(schema, whole_of, list(names)):
            remedy = f'load("{word}").{part}'
        b.fail("E436", text, st.value.span, wrong[0], (), remedy, facts)


def _parts(schema: Schema, whole_of: str, paths: list[str]) -> list[str]:
    """The parts of a file that hold an array for each of some parameters, by name."""
    ends = [path.removeprefix(whole_of) for path in paths]
    found = [k.removesuffix(ends[0]) for k in schema.fields if k.endswith(ends[0])]
    return [p for p in found if p and all(f"{p}{end}" in schema.fields for end in ends)]
