"""What a model holds, in few words: its parameters, where its data come from."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

from dln.grammar.diagnostics import clean
from dln.printing.terminal import cut, plural
from dln.spec import Spec

if TYPE_CHECKING:
    from dln.compiler.model import DataSet
    from dln.compiler.schema.records import Division, Portion


def count_text(data: DataSet) -> str:
    """How many examples it has."""
    return f"{data.count:,} examples" if data.counted else "examples to be given"


def headline(spec: Spec) -> str:
    """`mlp: 79,400 parameters in 2 tensors, 1 phase, 2 data sets`."""
    facts = spec.facts
    tensors, phases = plural(facts.tensors, "tensor"), plural(len(facts.phases), "phase")
    held = f"{plural(facts.parameters, 'parameter')} in {tensors}, {phases}"
    return f"{clean(spec.name)}: {held}, {plural(len(facts.data), 'data set')}"


def reader_text(data: DataSet) -> str:
    """`idx(train-images-idx3-ubyte, ...)`, or the path that takes its place."""
    if data.override is not None:
        return f"{data.reader} from {data.override}"
    if data.ports:
        fields = (f"{span.text}" for span in data.ports.values())
        return f"{data.reader}({cut(', '.join(fields), 60)})"
    return f"{data.reader}({cut(', '.join(map(str, data.args)), 60)})"


def part_texts(data: DataSet) -> Iterator[tuple[str, str, str]]:
    """The parts that a spec writes: what each is called, how many examples it has, and which:
    `("fit", "50,000", "from 0")`, `("fold[0..4]", "30", "each, shuffled by label")`."""
    if not data.counted:  # how large they will be depends on what is given
        yield from ((p.name, f"[{p.folds}]" if p.folds else f"{p.size:g}", "") for p in data.asked)
        return
    division = data.division
    how = " ".join(f"{word} {field}".strip() for word, field in _how(division).items())
    own = [(name, part) for name, part in data.parts.items() if not set("+-") & set(name)]
    for name, some in groupby(own, lambda each: each[0].partition("[")[0]):
        parts = [part for _, part in some]
        stretch = division.stretch(parts[0])
        if name == "all":
            continue
        if len(parts) == 1 and name in data.parts:
            yield name, f"{parts[0].count:,}", how if stretch is None else f"from {stretch[0]:,}"
        else:
            least, most = (f(part.count for part in parts) for f in (min, max))
            mark = "or" if most - least < 2 else "to"
            many = f"{least:,}" if least == most else f"{least:,} {mark} {most:,}"
            place = how if stretch is None else f"one after the other from {stretch[0]:,}"
            yield f"{name}[0..{len(parts) - 1}]", many, f"each, {place}"


def part_data(data: DataSet, part: Portion) -> dict[str, Any]:
    """A part for programs: where in the file it begins, if it is one stretch of it, how many
    examples it has, and else how they are chosen."""
    stretch, division = data.division.stretch(part), data.division
    if stretch is not None:
        return {"from": stretch[0], "examples": part.count}
    said: dict[str, Any] = _how(division)
    if division.shuffled:
        said["shuffled"] = division.seed
    return {"examples": part.count, **said}


def _how(division: Division) -> dict[str, str]:
    """How examples are dealt out: the words of a `split`, each with the field behind it."""
    said = {"shuffled": ""} if division.shuffled else {}
    said |= {"by": division.by} if division.by else {}
    apart = getattr(division, "apart", "")
    return {**said, "apart": apart} if apart else said
