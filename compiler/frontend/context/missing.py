"""What was meant by a name that there is not: the nearest one of the kind that is meant there.

A name in front of brackets is one that is called, behind `with` an optimiser, behind `on` a data
set. Of names that are as near the innermost counts: one of the block or phase before one of the
file, and that before the library's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice
from types import UnionType
from typing import NamedTuple

from dln.compiler.frontend.context.artefacts import FORMS
from dln.compiler.frontend.context.build_context import (
    Binding,
    BlockDef,
    Build,
    Chain,
    Instance,
    Scope,
    Value,
)
from dln.compiler.frontend.context.place import Poisoned
from dln.compiler.frontend.context.size_places import field_elsewhere, known_elsewhere, other_kind
from dln.compiler.frontend.context.time_axis import step_before
from dln.compiler.frontend.context.values import (
    CALLABLE,
    INDEX,
    DataValue,
    Module,
    OptimiserDef,
    PhaseBest,
    PhaseGroup,
    PhaseValue,
    Results,
)
from dln.compiler.ir.graph import Node
from dln.compiler.ir.structure import is_clock
from dln.grammar import syntax as s
from dln.grammar.diagnostics import CHOICES, Span, nearest, slips

LIBRARY = 2  # the level of its names
SHORT = 3  # marks of a name that another one of as many may be by chance
MOST_HINTS = 20  # as many as are printed
MOST_NAMES = 1000  # among which a nearest one is looked for
MOST_CHOICES = 12  # that are listed where none is near
SIGNS = (*"*/@^+-<>", "==", "!=")
COUNTS = ("epochs", "updates", "seconds")
EMITTED = ("tiles", "text", *(name for name in FORMS if name != "value"))


class Meant(NamedTuple):
    """What may stand at a place: of these kinds, none of those. What is not known may be it."""

    kinds: type | UnionType = object
    none: type | UnionType | tuple[()] = ()

    def by(self, value: Value | None) -> bool:
        return value is None or (isinstance(value, self.kinds) and not isinstance(value, self.none))


OPTIMISER = Meant(OptimiserDef)
DATA = Meant(DataValue)
MOVED = Meant(Instance | Chain | Node | list)
CALLED = Meant(CALLABLE, OptimiserDef)
HAS_PARTS = Meant(Instance | Module | DataValue | PhaseValue | PhaseGroup | Results | Node)
RECKONED = Meant(object, CALLABLE | DataValue | Module | PhaseValue | PhaseGroup | PhaseBest)
ANY = Meant(object, OptimiserDef)
WORDS = {"with": OPTIMISER, "on": DATA, "over": MOVED}


def meant_at(span: Span) -> Meant:
    """What kind of thing is meant at a place."""
    text = span.source.text
    before, after = text[: span.start].rstrip(), text[span.stop :].lstrip(" ")
    word = before.rsplit(maxsplit=1)[-1:] or [""]
    if word[0] in WORDS:
        return WORDS[word[0]] if after[:1] != "." or word[0] == "with" else HAS_PARTS
    if after.startswith("."):
        return HAS_PARTS
    if after.startswith("(") or before.endswith("->"):
        return CALLED
    if after.startswith((*SIGNS, "[", "'")) or before.endswith(SIGNS):
        return RECKONED
    return ANY


def suggested(b: Build, name: str, span: Span, scope: Scope) -> str:
    """The name that was meant, or the way to write what is called so elsewhere."""
    if _too_many(scope) or other_kind(b, name, span, scope):
        return ""
    body = b.calls[-1].body if b.calls else None
    if body is not None and body.holds(span) and (before := step_before(body.text, name)):
        return before
    if not (meant_at(span) is MOVED or _waits(span)) and (it := elsewhere(b, name, span, scope)):
        return it
    if (pair := _run_together(b, name, scope)) is not None:
        alone = span.source.text[span.stop :].lstrip(" ")[:1] not in tuple("^'[(.")
        return " @ ".join(pair) if alone and _product(b, pair, scope) else ""
    if _worked_out(b, name, scope):
        return ""
    meant, found = meant_at(span), list[tuple[int, int, str]]()
    if scope.space.kind == "phase" and meant in (ANY, RECKONED):
        from dln.grammar.idioms import wishes  # late: most names are right

        if wished := wishes.in_phase(name, span):
            return wished
    if meant is CALLED and (other := _same(name)) and scope.lookup(other):
        return other
    for level, names in enumerate(_levels(scope)):
        fit = [k for k, to in names.items() if k[0] != "_" and meant.by(known(b, to))]
        hit = nearest(name, fit)
        if hit is not None and (level < LIBRARY or not _by_chance(name, hit)):
            found.append((slips(name.casefold(), hit.casefold()), level, hit))
    near = min(found)[2] if found else _cut_short(b, name, scope, meant)
    if not near:
        from dln.grammar.idioms import wishes  # late: most names are right

        near = wishes.of_data(name, span)
    return near or _choices(b, span, scope, meant)


def _same(name: str) -> str:
    """What other tools call a function otherwise."""
    from dln.grammar.idioms.names import OTHER  # late: most names are right

    return OTHER.get(name.casefold(), "")


def _cut_short(b: Build, name: str, scope: Scope, meant: Meant) -> str:
    """The one name of the place or the file that begins as another does: `inp`, of `input`."""
    own = {k: to for names in islice(_levels(scope), LIBRARY) for k, to in names.items()}
    for k in own:
        if name.startswith(k) and _has_part(b, known(b, own[k]), name.removeprefix(k)):
            return f"{k}.{name.removeprefix(k)}"
    low = name.casefold()
    found = [k for k, to in own.items() if min(len(k), len(low)) >= SHORT
             and (low.startswith(k.casefold()) or k.casefold().startswith(low))
             and k[0] != "_" and meant.by(known(b, to))]  # fmt: skip
    return found[0] if len(found) == 1 and not any(map(str.isdigit, name + found[0])) else ""


def _has_part(b: Build, value: Value | None, part: str) -> bool:
    """Whether a value has a part of that name: what stands behind a point that is lost."""
    phase = b.phases.made.get(value.name) if isinstance(value, PhaseValue) else None
    if phase is not None:
        return part in ("best", *(w.name for w in phase.watches))
    return isinstance(value, Instance) and part in value.scope.names


def _waits(span: Span) -> bool:
    """Whether a place is in a clause that looks at what its own phase watches."""
    return re.match(r"\s*(until|(checkpoint|keep) best)\b", span.source.line(span.line)) is not None


def _too_many(scope: Scope) -> bool:
    return sum(len(x.names) for x in scope.outwards()) > MOST_NAMES


def _choices(b: Build, span: Span, scope: Scope, meant: Meant) -> str:
    """The few names of the kind that is meant at a place, where none of them is near: of the place
    itself, but for optimisers, data sets, blocks in a pipeline and what emit takes."""
    before = span.source.text[: span.start].rstrip()
    if _waits(span) or span.text in ("batch", "batch_size") or before.endswith(" every"):
        return ""  # of what is watched: `ways` says so
    called, emitted = span.source.text[span.stop : span.stop + 1] == "(", before.endswith("emit")
    names = {k: to for level in _levels(scope) for k, to in level.items()}
    if meant is CALLED and (before.endswith("->") or emitted):
        library = EMITTED if emitted else ()
        fit = [k for k, to in names.items() if k in library or _is_block(known(b, to), emitted)]
    elif meant is HAS_PARTS:
        part = re.match(r"\.(\w+)", span.source.text[span.stop :].lstrip(" "))
        asked = part[1] if part else ""
        made = b.phases.made.values()
        fit = [p.name for p in made if asked in (*COUNTS, *(w.name for w in p.watches))]
    elif meant is MOVED:
        owning = Instance | Chain
        fit = [k for k, to in names.items() if isinstance(known(b, to), owning)]
    elif meant in (OPTIMISER, DATA):
        fit = [k for k, to in names.items() if isinstance(known(b, to), meant.kinds)]
    elif called or meant is CALLED:
        return ""
    else:
        own = next(_levels(scope)).items()
        found = ((k, known(b, to)) for k, to in own if not _stands_in(to, span) or _is_index(b, to))
        fit = [k for k, v in found if meant.by(v) and not (isinstance(v, Node) and is_clock(v))]
    sure = meant in (OPTIMISER, DATA, MOVED, HAS_PARTS)
    fit = [k for k in dict.fromkeys(fit) if k[0] != "_" and k.isidentifier()]
    if len(fit) == 1 and sure:
        return fit[0]
    return f"{CHOICES}{', '.join(fit)}" if 1 < len(fit) <= MOST_CHOICES else ""


def ways(b: Build, name: str, span: Span, scope: Scope, alone: bool) -> tuple[str, ...]:
    """How a name gets a meaning that means nothing here: as what is kept, called, learnt, or read;
    `alone` says that no other is near."""
    if (
        alone
        and not _too_many(scope)
        and (told := _worked_out(b, name, scope) or _two(b, name, scope))
    ):
        return told
    if told := other_kind(b, name, span, scope) or known_elsewhere(b, name, span):
        return told
    if ":=" in (line := span.source.line(span.line)) and re.match(rf"\s*{name}\s*:=", line):
        return (f"what is kept from update to update is a state: state {name} = 0, above it",)
    if _waits(span):
        word = span.source.line(span.line).split()[0]
        return (f"{word} sees what is watched: watch {name} = ... every 1 epoch, in the phase",)
    if name == "raw":
        return ("raw is what a file gives, inside of data; elsewhere its fields have their names",)
    if held := field_elsewhere(b, name, span):
        return held
    if other := _in_phases(b, name):
        if re.search(r"\bgrad\(\s*$", span.source.text[: span.start]):
            return (f"of its first update {other}.grad(net.W) is the gradient, in a check",)
        return (f"{name} is worked out in {other}: each phase has equations of its own",)
    from dln.grammar.idioms import wishes  # late: most names are right

    left = re.search(r"([\w.]+)\^\(?$", span.source.text[: span.start])
    if name == "T" and left is not None:
        return (f"a matrix is turned with a mark behind it: {left[1]}'",)
    if re.search(r"\.fold\[\s*$", span.source.text[: span.start]):
        return (f"which fold is a number: const {name} = 0, and vary {name} in 0..4 in a sweep",)
    if scope.space.kind == "phase" and name in ("batch", "batch_size", "N"):
        return ("a loss is the mean over the minibatch by itself, and total adds it up",)
    if told := wishes.stands(name, span):
        return told
    if not b.data.declared and re.search(r"\bon\s+$", span.source.text[: span.start]):
        return (f'a data set is declared by data, or in another file: use "{name}.dln"',)
    meant, body = meant_at(span), b.calls[-1].body if b.calls else None
    if meant is DATA and alone:
        return (f'a data set is declared by data, or in another file: use "{name}.dln"',)
    bare = re.sub(r"(?:_?score|_?loss|_?metric)$", "", name)
    if meant is CALLED and alone and bare not in ("", name):
        if found := {k for level in _levels(scope) for k in level if k.startswith(bare)}:
            return (f"is {min(found)} meant?",)
    if meant is CALLED and alone:
        return (f"a function has a line of its own, fn {name}(a) = ..., a layer is a block",)
    if name in ("params", "weights", "theta") and meant is ANY:
        return ("an instance has its parameters itself: net(x)",)
    inside = body is not None and body.holds(span) and body.text.startswith("block")
    block = f"\n{span.source.text[: span.start]}".rpartition("\nblock ")[2]
    if re.search(r"^\s*energy\b", block, re.MULTILINE) and "\n}" not in block:
        return (f"units that are not given are declared: hidden {name}[m]: binary",)
    stepped = re.search(r"\w\[\s*$", span.source.text[: span.start]) is not None
    if inside and body is not None and stepped and "[time" in body.text:
        return (f"the steps of a sequence are those of a scan: scan {name} in time {{ ... }}",)
    if body is not None and body.holds(span) and body.text.startswith("fn") and meant is RECKONED:
        return (f"a fn has no parameters: what is learnt stands in a block, as param {name}[m, n]",)
    if inside and meant is RECKONED:
        return (f"what is learnt is declared above, with its sizes: param {name}[m] = 0",)
    return ()


def hides(b: Build, name: str, scope: Scope) -> bool:
    """Whether a name that is bound in a scope is that of a function further out."""
    held = [x.names[name] for x in scope.outwards() if name in x.names]
    return any(isinstance(known(b, binding), CALLABLE) for binding in held[1:])


def is_learnt(b: Build, name: str, scope: Scope) -> bool:
    """Whether a name that is bound in a scope is that of an instance further out."""
    held = [x.names[name] for x in scope.outwards() if name in x.names]
    return any(isinstance(known(b, binding), Instance | Chain) for binding in held[1:])


def _in_phases(b: Build, name: str) -> str:
    """The phase that has an equation of a name, if one has."""
    made = ((key, b.phases.scopes[key][0]) for key in b.phases.made if key in b.phases.scopes)
    return next((key for key, scope in made if name in scope.names), "")


def _is_block(value: Value | None, emitted: bool) -> bool:
    return not emitted and isinstance(value, BlockDef | Instance | Chain)


def _stands_in(binding: Binding, at: Span) -> bool:
    """Whether a name is what the line at hand defines."""
    own = binding.span
    return own is not None and own.source is at.source and own.line == at.line


def _is_index(b: Build, binding: Binding) -> bool:
    """Whether a name is an index, which is bound on the line that has it."""
    return isinstance(known(b, binding), INDEX)


def _levels(scope: Scope) -> Iterator[dict[str, Binding]]:
    """The names around a place: those of its body, of the file, of the library."""
    scopes = list(scope.outwards())
    local, file, library = scopes[:-4], scopes[-4:-2], scopes[-2:]
    for part in (local, file, library):
        yield {k: to for x in reversed(part) for k, to in x.names.items()}


def elsewhere(b: Build, name: str, span: Span, scope: Scope) -> str:
    """`fit.error` for what a phase watches, `M.mnist` for a name of a file that is used as M."""
    outside: Callable[[str], Binding | None] = scope.lookup
    phases = (p for key, p in b.phases.made.items() if outside(key.split("[")[0]) is not None)
    found = [f"{p.name}.{name}" for p in phases if name in (*COUNTS, *(w.name for w in p.watches))]
    for key in scope.visible():
        value = known(b, scope.lookup(key))
        inside = isinstance(value, Module) and name in value.scope.names
        part = isinstance(value, DataValue) and name in b.data.sets[value.name].parts
        within = isinstance(value, Instance) and _works_out(value, name) and _sure(value, name)
        result = isinstance(value, Results) and name in value.values
        sure = key == "raw" or not field_elsewhere(b, name, span)  # of data, it may be meant so
        if inside or part or within or (result and sure):
            found.append(f"{key}.{name}")
    found = list(dict.fromkeys(found))
    return f"one of {', '.join(found)}" if 1 < len(found) <= 6 else "".join(found[:1])


def _by_chance(name: str, hit: str) -> bool:
    """Whether a short name differs from another one by a mark that stands for one of its marks."""
    one, other = name.casefold(), hit.casefold()
    return len(one) == len(other) <= SHORT and sorted(one) != sorted(other)


def _worked_out(b: Build, name: str, scope: Scope) -> tuple[str, ...]:
    """Where a name is one of an instance: its result, which an equation here may have to ask for,
    or a short one, that could be anything."""
    for key in scope.visible():
        value = known(b, scope.lookup(key))
        if isinstance(value, Instance) and _works_out(value, name):
            given = ", ".join(p.name for p in value.definition.syntax.ports)
            asked = f" = {key}({given}), on a line above" if name in _results(value) else ""
            own = f"here it is {key}.{name}" + (f", or {name}{asked}" if asked else "")
            return (f"{name} is a name of {key}'s own: {own}",)
    return ()


def _run_together(b: Build, name: str, scope: Scope) -> tuple[str, str] | None:
    """`Wx` or `looped2`: what may be two that have lost the mark between them."""
    own = {k for names in islice(_levels(scope), LIBRARY) for k in names}
    for cut in range(1, len(name)):
        left, right = name[:cut], name[cut:]
        both = [k for k in (left, right) if k in own and RECKONED.by(known(b, scope.lookup(k)))]
        if both == [left, right] or (both == [left] and right.isdigit()):
            return left, right
        long = cut >= SHORT and len(name) - cut > SHORT
        if long and scope.lookup(left) is not None and scope.lookup(right) is not None:
            return left, right
    return None


def _two(b: Build, name: str, scope: Scope) -> tuple[str, ...]:
    """What may stand between two that have run together."""
    if (found := _run_together(b, name, scope)) is None:
        return ()
    left, right = found
    if any(isinstance(known(b, scope.lookup(k)), CALLABLE) for k in found):
        return (f"{left} and {right} are two names, if they are meant",)
    marks = f"{left}^{right}, {left} * {right}" if right.isdigit() else f"{left} * {right}"
    if _product(b, found, scope):
        marks = f"{left} @ {right}"
    return (f"{left} and {right} are two, if they are meant, with a mark between them: {marks}",)


def _product(b: Build, pair: tuple[str, str], scope: Scope) -> bool:
    """Whether two names are a matrix and what it can be multiplied with."""
    values = [known(b, scope.lookup(k)) for k in pair]
    ranks = [len(v.type.example) for v in values if isinstance(v, Node)]
    return len(ranks) == 2 and ranks[0] == 2 and ranks[1] in (1, 2)


def _sure(made: Instance, name: str) -> bool:
    """Whether a name of an instance is hardly meant otherwise."""
    return len(name) >= SHORT and name not in _results(made)


def _results(made: Instance) -> list[str]:
    return [p.name for p in made.definition.syntax.results]


def _works_out(made: Instance, name: str) -> bool:
    """Whether a block of the user's has an equation or a parameter of a name."""
    body = made.definition.syntax.body
    if made.definition.syntax.span.source is not made.span.source:
        return False
    return name in made.scope.names or any(
        isinstance(st, s.Define | s.Draw) and st.target.name == name for st in body
    )


def known(b: Build, binding: Binding | None) -> Value | None:
    """What a name is bound to, if that is known without working anything out."""
    if binding is None or binding.cache:
        value = None if binding is None else next(iter(binding.cache.values()))
        return None if value is Poisoned else value
    try:
        return binding.find(b) if binding.static and not binding.busy else None
    except Exception:  # a definition that is wrong itself: its problem is told at its place
        return None
