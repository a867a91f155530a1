"""What a target is, and how an operation is spelled for one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import OPS, Spell, Spelling
from dln.compiler.plan import site_number
from dln.grammar.diagnostics import Fault


@dataclass(frozen=True, slots=True)
class Target:
    """A way of running a program.

    `keys` are looked up in an operation's spellings, in this order; `spell` overrides them for
    some operations, and `words` replaces calls in any spelling. `boxes`: single numbers are
    handed to array operations as 0-d arrays, not as Python numbers.
    """

    name: str
    keys: tuple[str, ...]
    boxes: bool
    spell: Mapping[str, Spell] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    dtypes: tuple[str, ...] = ("float32", "float64")


def spelling(target: Target, node: Node) -> Spelling:
    """How a node is spelled for a target. Raises `Fault` if it is not."""
    found = target.spell.get(node.op)
    record = OPS.get(node.op)
    for key in target.keys:
        if found is None and record is not None:
            found = record.spell.get(key)
    if found is None:
        raise Fault(f"the operation {node.op} cannot be run with {target.name}")
    found = found if isinstance(found, Spelling) else found(node)
    form = found.form
    for word, better in target.words.items():
        form = form.replace(word, better)
    return found if form == found.form else Spelling(form, found.scratch)


def draw(node: Node) -> Spelling:
    """A draw as a call of the helper of its kind, its site as a number."""
    return Spelling(f"{node['kind']}({{out}}, seed, {site_number(node['site'])}, update)")
