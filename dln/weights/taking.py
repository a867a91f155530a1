"""What a map asks for, held against both sides before any number is read; then the parameters.

Faults: E627 what does not fit, with the line of the map and every way in which it would.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import permutations
from math import prod
from types import EllipsisType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.grammar.diagnostics import DlnError, Fault, Problem, nearest
from dln.weights.held import WeightsFile
from dln.weights.mapping import MapLine, MapStep, NamedPart, Place, named

Shape = tuple[int, ...]
MOST_AXES = 5  # of arrays whose axes are tried in other orders


@dataclass(frozen=True)
class Move:
    """A line that fits: from where to where, and how; of what shape at its end."""

    line: MapLine
    theirs: NamedPart
    ours: NamedPart
    shape: Shape

    @property
    def added(self) -> bool:
        return any(s.word == "added" for s in self.line.steps)

    @property
    def also(self) -> str:
        """Another way in which it fits, which shapes cannot tell from this one."""
        return next(iter(ways(self.shape, self.shape)), "") if not self.line.steps else ""


@dataclass(frozen=True)
class Fit:
    """Moves that fit, and what is left on either side with the reason."""

    moves: tuple[Move, ...]
    here: Mapping[str, str]
    there: Mapping[str, str]


# ---- shapes ------------------------------------------------------------------------------------


def part_of(shape: Shape, name: NamedPart) -> Shape:
    """The shape of a place. Raises `Fault` E627 where there is no such one."""
    if len(name.place) > len(shape):
        raise Fault(f"{name.name} is {list(shape)}, and has no place {name}", code="E627")
    left = list[int]()
    for size, at in zip(shape, name.place, strict=False):
        low, high = (at, at + 1) if isinstance(at, int) else (at.start or 0, at.stop)
        high = size if high is None else high
        if not low < high <= size:
            raise Fault(f"{name.name} is {list(shape)}, and has no place {name}", code="E627")
        if not isinstance(at, int):
            left.append(high - low)
    return (*left, *shape[len(name.place) :])


def after(shape: Shape, steps: Iterable[MapStep], target: Shape) -> Shape:
    """The shape that steps make of one. Raises `Fault` E627 for a step that cannot be taken."""
    for step in steps:
        if step.word == "transposed":
            shape = shape[::-1]
        elif step.word == "axes":
            if sorted(step.numbers) != list(range(len(shape))):
                text = f"axes takes each of {len(shape)} axes of {list(shape)} once, from 0"
                raise Fault(text, f"axes {' '.join(map(str, range(len(shape))[::-1]))}", "E627")
            shape = tuple(shape[n] for n in step.numbers)
        elif step.word == "reshaped":
            wanted = step.numbers or target
            if prod(wanted) != prod(shape):
                text = f"{list(shape)} has {prod(shape):,} numbers, {list(wanted)} {prod(wanted):,}"
                raise Fault(text, code="E627")
            shape = wanted
        elif step.word == "flipped" and (not step.numbers or max(step.numbers) >= len(shape)):
            raise Fault(f"flipped takes some of the axes of {list(shape)}, from 0", "flipped 0",
                        "E627")  # fmt: skip
    return shape


def turned(array: NDArray[Any], steps: Iterable[MapStep], target: Shape) -> NDArray[Any]:
    """What steps make of an array."""
    for step in steps:
        if step.word == "transposed":
            array = array.T
        elif step.word == "axes":
            array = array.transpose(step.numbers)
        elif step.word == "reshaped":
            array = array.reshape(step.numbers or target)
        elif step.word == "flipped":
            array = np.flip(array, step.numbers)
    return array


def ways(shape: Shape, target: Shape) -> list[str]:
    """How an array of a shape can become one of another: its axes in another order, or its numbers
    in theirs. Of a shape that is the same, how it may still be turned.

    >>> ways((3, 2), (2, 3)), ways((5, 5, 1, 6), (6, 1, 5, 5))[:1], ways((4, 4), (4, 4))
    (['transposed', 'reshaped'], ['axes 3 2 0 1'], ['transposed'])
    """
    found = list[str]()
    if shape == target:  # of windows every order would do
        return ["transposed"] if len(shape) == 2 and len({*shape}) == 1 and shape[0] > 1 else []
    if sorted(shape) == sorted(target) and 1 < len(shape) <= MOST_AXES:
        for order in permutations(range(len(shape))):
            if tuple(shape[n] for n in order) == target:
                whole = order == tuple(range(len(shape)))[::-1] and len(shape) == 2
                found.append("transposed" if whole else f"axes {' '.join(map(str, order))}")
    return found + ["reshaped"] * (prod(shape) == prod(target))


# ---- lines against both sides ------------------------------------------------------------------


def fitted(lines: Iterable[MapLine], there: WeightsFile, here: Mapping[str, Shape]) -> Fit:
    """The moves of a map, every one of which fits, and every parameter that is named is whole.
    Raises `DlnError` E627 with all that does not."""
    moves, wrong = list[Move](), list[Problem]()
    left: tuple[dict[str, str], dict[str, str]] = {}, {}
    for line in lines:
        try:
            theirs, ours = named(line.theirs, there.arrays), named(line.ours, here)
            if theirs.name:
                _known(theirs, there)
            if ours.name and ours.name not in here:
                near = nearest(ours.name, here) or ""
                text = f"{ours.name} is no parameter of the spec"
                raise Fault(text, near or "dln show SPEC, which lists them", "E627")
            if not theirs.name or not ours.name:
                left[bool(theirs.name)][theirs.name or ours.name] = "left out by the map"
            else:
                moves.append(_move(line, theirs, ours, there, here))
        except Fault as fault:
            wrong += fault.at(line.span).problems
    wrong += [] if wrong else _whole(moves, here)
    if wrong:
        raise DlnError(wrong)
    mine, other = {m.ours.name for m in moves}, {m.theirs.name for m in moves}
    silent = "no line of the map names it"
    rest = {k: left[0].get(k, silent) for k in here if k not in mine}
    apart = {k: left[1].get(k, silent) for k in there.arrays if k not in other}
    return Fit(tuple(moves), rest, {**apart, **there.others})


def _known(theirs: NamedPart, there: WeightsFile) -> None:
    """Raise `Fault` E627 for an array that is not to be had."""
    if theirs.name in there.others:
        text = f"{theirs.name} {there.others[theirs.name]}, and parameters are real numbers"
        raise Fault(text, "save it as float", "E627")
    if theirs.name not in there.arrays:
        near = nearest(theirs.name, there.arrays) or ", ".join(list(there.arrays)[:5])
        raise Fault(f"{there.path} has no {theirs.name}", near, "E627")


def _move(
    line: MapLine, theirs: NamedPart, ours: NamedPart, there: WeightsFile, here: Mapping[str, Shape]
) -> Move:
    """A line as a move. Raises `Fault` E627 where shapes differ, with how they would not."""
    source = part_of(there.arrays[theirs.name].shape, theirs)
    target = part_of(here[ours.name], ours)
    found = after(source, line.steps, target)
    if found == target:
        return Move(line, theirs, ours, target)
    made = f", {line.how}: {list(found)}" if line.steps else ""
    text = f"{theirs} is {list(source)}{made}, and {ours} is {list(target)}"
    raise Fault(text, meant(theirs, source, ours, target), "E627")


def meant(theirs: NamedPart, source: Shape, ours: NamedPart, target: Shape) -> str:
    """Lines of a map that would fit, to choose from; the rows of gates one by one."""
    quoted = [f'"{n}"' if "," in str(n) else str(n) for n in (theirs, ours)]
    if source == target:
        return f"{','.join(quoted)},"
    if found := ways(source, target):
        return " or ".join(f"{','.join(quoted)},{how}" for how in found[:3])
    if not theirs.place and source and target and source[1:] == target[1:]:
        if source[0] > target[0]:
            return f"{theirs}[0:{target[0]}],{ours}"
    return "a layer of the same size on both sides"


def _whole(moves: list[Move], here: Mapping[str, Shape]) -> list[Problem]:
    """What is wrong where the lines of a parameter do not fill it, or fill a place twice."""
    wrong = list[Problem]()
    for path in dict.fromkeys(m.ours.name for m in moves):
        filled, mine = np.zeros(here[path], bool), [m for m in moves if m.ours.name == path]
        for move in (m for m in mine if not m.added):
            place = indices(move.ours.place)
            if filled[place].any():
                text = f"{move.ours} is given twice"
                wrong.append(Problem("E627", text, move.line.span,
                                     remedy="added, where both are to be summed"))  # fmt: skip
            filled[place] = True
        if not filled.all():
            first = [int(n) for n in np.argwhere(~filled)[0]]
            text = f"{path} is {list(here[path])}, and nothing is put to {first}"
            wrong.append(Problem("E627", text, mine[0].line.span,
                                 remedy="a line for each of its places"))  # fmt: skip
    return wrong


def indices(place: Place) -> Place | EllipsisType:
    """A place as an index of NumPy; of no place the whole."""
    return place or ...


# ---- numbers -----------------------------------------------------------------------------------


def taken(fit: Fit, there: WeightsFile, here: Mapping[str, Shape]) -> dict[str, NDArray[Any]]:
    """The parameters that the moves make, whole, in the precision of the file, float32 at least.
    Raises `DlnError` E627 where numbers are none."""
    made, wrong = dict[str, NDArray[Any]](), list[Problem]()
    for move in sorted(fit.moves, key=lambda m: (m.ours.name, m.added)):
        array = there.arrays[move.theirs.name].read()[indices(move.theirs.place)]
        if not np.isfinite(array).all():
            text = f"{move.theirs} holds what is no number"
            wrong.append(Problem("E627", text, move.line.span, remedy="look at how it was trained"))
            continue
        path, dtype = move.ours.name, np.promote_types(array.dtype, np.float32)
        whole = made.get(path, np.zeros(here[path], dtype))
        whole = whole.astype(np.promote_types(whole.dtype, dtype), copy=False)
        values = turned(array, move.line.steps, move.shape)
        if move.added:
            whole[indices(move.ours.place)] += values
        else:
            whole[indices(move.ours.place)] = values
        made[path] = whole
    if wrong:
        raise DlnError(wrong)
    return made
