"""What a model does without: calls that nobody reads, axes turned twice; and what its values are
called."""

from __future__ import annotations

from collections.abc import Mapping

from dln.exporting.listing import OnnxGraph, OnnxModel, OnnxNode, renamed


def tidied(made: OnnxModel) -> None:
    """Make a model as short as it can be."""
    turned_once(made)
    living(made)
    reshaped_once(made)
    living(made)


# ---- what is not needed --------------------------------------------------------------------------


def living(made: OnnxModel) -> None:
    """Leave out calls and arrays that no output needs."""
    needed = needed_by(made.listing, set())
    made.arrays = {name: array for name, array in made.arrays.items() if name in needed}


def needed_by(listing: OnnxGraph, outside: set[str]) -> set[str]:
    """The names that a graph's outputs need, once its other calls are left out."""
    needed, kept = set(listing.outputs) | outside, list[OnnxNode]()
    for call in reversed(listing.calls):
        if needed.isdisjoint(call.outputs):
            continue
        kept.append(call)
        needed.update(call.inputs)
        if call.body is not None:
            needed |= needed_by(call.body, set())
    listing.calls = kept[::-1]
    return needed


# ---- turned axes ---------------------------------------------------------------------------------


def turned_once(made: OnnxModel) -> None:
    """Two orders of axes, one after the other, are one; where that is none, there is none."""
    makers = {name: call for each in made.listing.every() for call in each.calls
              for name in call.outputs}  # fmt: skip
    for each in list(made.listing.every()):
        for call in each.calls:
            if call.op != "Transpose":
                continue
            below = makers.get(call.inputs[0])
            while below is not None and below.op == "Transpose":
                inner, outer = below.attrs["perm"], call.attrs["perm"]
                call.attrs["perm"] = tuple(inner[p] for p in outer)
                call.inputs = list(below.inputs)
                below = makers.get(call.inputs[0])
    outputs = {name for each in made.listing.every() for name in each.outputs}
    names = dict[str, str]()
    for each in made.listing.every():
        for call in each.calls:
            if call.op == "Transpose" and list(call.attrs["perm"]) == sorted(call.attrs["perm"]):
                (source,), (name,) = call.inputs, call.outputs
                call.op, call.attrs = "Identity", {}
                if name not in outputs:
                    names[name] = names.get(source, source)
    for each in made.listing.every():
        each.calls = [call for call in each.calls if names.keys().isdisjoint(call.outputs)]
    renamed(made.listing, names)


def reshaped_once(made: OnnxModel) -> None:
    """A shape that is asked for of another is asked for at once, and not at all where it is what
    there was."""
    makers = {name: call for each in made.listing.every() for call in each.calls
              for name in call.outputs}  # fmt: skip
    outputs = {name for each in made.listing.every() for name in each.outputs}
    names = dict[str, str]()
    for each in made.listing.every():
        for call in each.calls:
            if call.op != "Reshape":
                continue
            below = makers.get(call.inputs[0])
            while below is not None and below.op == "Reshape":
                call.inputs[0] = below.inputs[0]
                below = makers.get(call.inputs[0])
            source, name = call.inputs[0], call.outputs[0]
            old, new = (made.facts[n].type for n in (source, name))
            if old is not None and new is not None and old.shape == new.shape:
                if name not in outputs:
                    names[name] = names.get(source, source)
    for each in made.listing.every():
        each.calls = [call for call in each.calls if names.keys().isdisjoint(call.outputs)]
    renamed(made.listing, names)


# ---- names ---------------------------------------------------------------------------------------


def baptised(made: OnnxModel, ends: Mapping[str, str]) -> None:
    """Give every value the name that it has in the file: ports, results (`ends`) and parameters
    their own, values those of the spec, others that of what they are for with what they do."""
    names, taken = dict[str, str](), dict[str, int]()
    for name, said in ends.items():
        names[name] = unique(said, taken)
    values = [*made.arrays]
    for each in made.listing.every():
        values += [*each.inputs, *(n for call in each.calls for n in call.outputs)]
    for spoken in (True, False):
        for name in values:
            facts = made.facts[name] if name in made.facts and name not in names else None
            if facts is not None and bool(facts.name) is spoken:
                words = facts.name or ".".join(p for p in (facts.owner, facts.does) if p)
                names[name] = unique(words, taken)
    renamed(made.listing, names)
    made.arrays = {names[name]: array for name, array in made.arrays.items()}
    made.facts = {names[name]: facts for name, facts in made.facts.items() if name in names}


def unique(name: str, taken: dict[str, int]) -> str:
    """A name that is not taken, by a number behind it; from now on it is. `taken` says by which
    number each name was last made another one."""
    found = name
    while found in taken:
        taken[name] += 1
        found = f"{name}_{taken[name]}"
    taken[found] = 1
    return found
