"""The types of what a scan carries: its step is worked out until it gives what it was given."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import NoReturn

from dln.compiler.frontend.context import broadcasting
from dln.compiler.frontend.context.build_context import Build
from dln.compiler.frontend.context.place import Poisoned
from dln.compiler.frontend.scan.equations import promised
from dln.compiler.frontend.scan.ranks import axes_given
from dln.compiler.frontend.scan.recurrences import FirstName, Recurrences
from dln.compiler.frontend.scan.scan_step import Attempt
from dln.compiler.ir.sizes import BATCH_SIZE, Conflict, Size, Var
from dln.compiler.ir.tensor_type import BINARY, REAL, TensorType, fits
from dln.grammar.diagnostics import DlnError

OF_SHAPES = "E2"  # how codes of problems with shapes begin
ROUNDS = 6  # what is carried has its final type after two or three


def settled(b: Build, scan: Recurrences) -> Attempt:
    """The step worked out with the types that it gives itself, first with as many axes as are read
    off its equations. What does not go with these is told of without them."""
    types = _first_types(b, scan)
    try:
        return _settled(b, scan, types)
    except DlnError as error:
        if not error.problems[0].code.startswith(OF_SHAPES):
            raise
        plain = _first_types(b, scan, read=False)
        if all(len(plain[n].example) == len(t.example) for n, t in types.items()):
            raise
        first = error
    try:
        return _settled(b, scan, plain)
    except Poisoned:  # what has failed once is not told again
        raise first from None


def _settled(b: Build, scan: Recurrences, types: dict[str, TensorType]) -> Attempt:
    """The same, from some types. Zeros and ones at the beginning are bits by chance: they are
    taken for such only where nothing else fits."""
    first: DlnError | None = None
    for chance in (BINARY, REAL):
        begun = {n: t.like(domain=REAL) if t.domain == chance else t for n, t in types.items()}
        try:
            return _rounds(b, scan, begun)
        except (DlnError, Poisoned) as error:
            if first is None and isinstance(error, DlnError):
                first = error
            if first is None or first.problems[0].code != "E310":
                raise
    assert first is not None
    raise first


def _rounds(b: Build, scan: Recurrences, types: dict[str, TensorType]) -> Attempt:
    for _ in range(ROUNDS):
        attempt = Attempt(b, scan, types)
        try:
            attempt.work_out()
        except DlnError as error:
            raise _explained(b, scan, error) from None
        types, changed = _found_types(attempt)
        if not changed:
            return attempt
    name = next(iter(types))
    at, text = scan.lines[name].target.span, f"the shape of {name}[{scan.st.name}] is not clear"
    label, remedy = (
        "grows from step to step",
        f"say how it begins: {scan.begins(name)} = zeros(...)",
    )
    b.fail("E336", f"{text} from its equation", at, label, remedy=remedy)


def _explained(b: Build, scan: Recurrences, error: DlnError) -> DlnError:
    """An error in a step, with the sequences of which nobody says how they begin: what they
    hold is then a guess."""
    unsaid = [
        n
        for n in scan.lines
        if scan.looks_back(n)
        and scan.begins(n) not in scan.scope.names
        and promised(b, n, scan.scope) is None
    ]
    first = error.problems[0]
    of_sizes = first.code.startswith(OF_SHAPES) and first.code != "E214"
    if not unsaid or not of_sizes or first.remedy:
        return error
    words = re.findall(r"[A-Za-z_]\w*", first.span.text) if first.span is not None else ()
    name = next((n for n in unsaid if n in words), unsaid[0])
    fact = f"nothing says what {name} holds before the first step"
    said = replace(first, facts=(*first.facts, fact), remedy=f"{scan.begins(name)} = ...")
    return DlnError([said, *error.problems[1:]])


# ---- what is taken at first --------------------------------------------------------------------


def _first_types(b: Build, scan: Recurrences, read: bool = True) -> dict[str, TensorType]:
    """What each sequence is taken for at first: from its first value or the block's ports, else a
    tensor with as many axes as are `read` off its equation, or as all equations ask for."""
    running = ("batch",) if b.frame.batched else ()
    lead = (BATCH_SIZE,) if running else ()
    found = {}
    for name in scan.lines:
        if (begun := _begun(b, scan, name)) is not None:
            found[name] = begun
        elif (sizes := promised(b, name, scan.scope)) is not None:
            found[name] = TensorType((*lead, *sizes), running)
    open_ = [name for name in scan.lines if name not in found]
    known = {name: len(type.example) for name, type in found.items()}
    given = axes_given(b, scan, known) if open_ and read else {}
    for name in open_:
        span, axes = scan.lines[name].target.span, given.get(name) or scan.axes(b, name)
        sizes = tuple(Size.of(Var(name, span=span)) for _ in range(axes))
        found[name] = TensorType((*lead, *sizes), running)
    return {name: found[name] for name in scan.lines}


def _begun(b: Build, scan: Recurrences, name: str) -> TensorType | None:
    """The type of what a sequence is said to begin with: `h[-1]`, `h[-2]`, together."""
    firsts = [k for k in scan.scope.names if isinstance(k, FirstName)]
    lags = sorted(k.lag for k in firsts if k == scan.begins(name, k.lag))
    found = [(node, lag) for lag in lags if (node := scan.first(b, name, lag)) is not None]
    if not found:
        return None
    nodes, at = [node for node, _ in found], scan.lines[name].target.span
    said = [scan.scope.names[scan.begins(name, lag)].span or at for _, lag in found]
    return broadcasting.align(b, nodes, at, said, full=True)[0].type


# ---- what the equations give -------------------------------------------------------------------


def _found_types(attempt: Attempt) -> tuple[dict[str, TensorType], bool]:
    """The types that the equations give, and whether those of any slot are others."""
    found, changed = dict(attempt.types), False
    used = {name for name, _ in attempt.loop.slots}
    for name in attempt.scan.lines:
        node, taken = attempt.current(attempt.b, name), attempt.types[name]
        type = TensorType(node.type.shape, node.type.running, node.type.kind)
        if node.type.kind == "index":
            type = type.like(domain=node.type.domain)
        elif fits(node.type.domain, taken.domain):
            type = type.like(domain=taken.domain)  # what it begins with, and the equation too
        elif name in used:
            changed = True
        if name in used and not _same(attempt, name, taken, type):
            changed = True
        if set(type.running) < set(taken.running):  # at least over what its first value does
            shape = (*taken.lead, *type.example)
            type = type.like(shape=shape, running=taken.running)
        found[name] = type
    return found, changed


def _same(attempt: Attempt, name: str, taken: TensorType, found: TensorType) -> bool:
    if len(taken.example) != len(found.example) or taken.kind != found.kind:
        return False
    if any(a not in taken.running for a in found.running):
        return False
    b, line = attempt.b, attempt.scan.lines[name]

    def complain(c: Conflict | None) -> NoReturn:
        text = f"{name} changes its shape from step to step"
        label = f"was {b.shown(taken)}, becomes {b.shown(found)}"
        b.fail("E202", text, line.target.span, label)

    why = f"{name} keeps its shape"
    b.same_shape(taken.example, found.example, line.span, why, complain)
    return True
