"""Print what the data sets of a spec hold, and draw examples.

For each of them: where it comes from, its parts, the range of each field and what is odd in it, how
often each class occurs, how long its sequences are, its first examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import click
from numpy.typing import NDArray

from dln.artefacts.made import save
from dln.artefacts.value import Array
from dln.compiler.model import DataSet
from dln.compiler.schema.tables import PICTURES
from dln.grammar import remedies
from dln.grammar.diagnostics import clean
from dln.options import Wrong, compiled, settings, takes
from dln.printing.columns_of_tables import column_table, table_data, table_said
from dln.printing.terminal import Terminal, columns, cut, number, plural, present
from dln.reading import tables
from dln.reading.counts import part_data, part_texts, reader_text
from dln.reading.data_facts import FIRST, DataFacts, FieldFacts, data_facts
from dln.reading.data_pictures import images
from dln.runtime.readers.folders.telling import listening
from dln.runtime.session import Session
from dln.settings import chosen

ORDER = 15
MANY = 20  # classes of which only the commonest and the rarest are printed
ENDS = 6  # of each, then
ACROSS = 10  # classes on a line
LINE = 60  # characters of a text


@click.command(help=__doc__)
@click.argument("spec")
@click.argument("name", required=False)
@click.option(
    "--pictures", "to", metavar="[FILE]", is_flag=False, flag_value="", default=None,
    help="Draw examples of each class, for instance to digits.png [SPEC-data.png].",
)  # fmt: skip
@takes("spec", "files")
def command(
    terminal: Terminal, /, spec: str, name: str | None, to: str | None, force: bool, **given: Any
) -> int:
    """What each data set of a spec, or one, holds, then what a run would refuse; 2 if it would."""
    asked = settings(terminal, given)
    if to and Path(to).suffix not in PICTURES:
        raise Wrong(f"--pictures draws {', '.join(PICTURES)}, not {Path(to).suffix or to}",
                    f"--pictures {Path(to).stem}.png")  # fmt: skip
    made = compiled(terminal, spec, asked, functions=False)
    unlearned = made.changed(plan=made.plan.changed(params={}))  # no need to draw any
    session, model = unlearned.session(asked.seed), made.spec.model
    names = chosen(name, model.data, "data set")
    if not names:
        terminal.result(f"{made.spec.name} has no data")
    if name is None:  # what is still to be handed over is said, and holds nothing yet
        for each in [n for n in names if not model.data[n].counted]:
            told = reader_text(model.data[each]), f"--data {each}=FILE.npz"
            terminal.result(f"{each}: examples to be given, {told[0]}: {told[1]}\n")
            names.remove(each)
    tables.check_tables(model)
    found = {}
    for each in names:
        with listening(terminal.say):
            found[each] = data_facts(session, each)
        terminal.result(text(model.data[each], found[each]) + "\n")
    path = None if to is None else Path(to or f"{made.spec.name}-data.png")
    drawn = draw(terminal, session, names, path, force) if path else []
    problems = [p for f in found.values() for p in f.problems]
    facts = {each: as_data(model.data[each], f) for each, f in found.items()}
    terminal.data({"spec": made.spec.name, "data": facts, "pictures": drawn,
                   **present(problems=[remedies.as_data(p) for p in problems])})  # fmt: skip
    terminal.wrong(problems)
    return 2 if problems else 0


def draw(
    terminal: Terminal, session: Session, names: list[str], to: Path, force: bool
) -> list[str]:
    """Pictures of examples, one of each data set that has such; the files. Raises `Fault` E611 for
    one that is there."""
    found = {name: seen for name in names if (seen := images(session, name))}
    if not found:
        terminal.say("no field of the data is an image")
    written = []
    for name, (array, classes) in found.items():
        path = to if len(found) == 1 else to.with_name(f"{to.stem}-{name}{to.suffix}")
        made = Array(array, name, "example", tuple(classes))
        written.append(str(save(terminal, name, path, made, force)))
        terminal.say(f"{name}: wrote {written[-1]}")
    return written


# ---- for people --------------------------------------------------------------------------------


def text(data: DataSet, found: DataFacts) -> str:
    """All that is known of a data set."""
    parts = [f"{name} {many} example{'s' * (many != '1')} {at}"
             for name, many, at in part_texts(data)]  # fmt: skip
    head = [("from", reader_text(data)), *(("", file) for file in found.files)]
    head += [("parts", "; ".join(parts))] if parts else []
    head += [("seen", f"the first {found.seen:,}")] if found.seen < data.count else []
    head += [("letters", f"{len(data.alphabet)}: {shown(data.alphabet)}")] if data.alphabet else []
    if found.table is not None:
        head += table_said(data, found.table)
    if found.lengths:
        low, middle, high = map(number, found.lengths.values())
        head.append(("lengths", low if low == high else f"{low} to {high}, median {middle}"))
    blocks = [columns(head, lead="  ")]
    blocks += [column_table(data, found.table)] if found.table and found.table.columns else []
    blocks.append(field_table(data, found))
    blocks += [class_text(data, f) for f in found.fields.values() if f.classes is not None]
    rows = [(f"example {i}" if k == 0 else "", name, value_text(data, f, f.first[i]))
            for i in range(min(FIRST, data.count))
            for k, (name, f) in enumerate(found.fields.items())]  # fmt: skip
    blocks.append(columns(rows, lead="  "))
    return f"{clean(data.name)}: {plural(data.count, 'example')}\n" + "\n\n".join(blocks)


def shown(text: str) -> str:
    """A text in a line, its ends told apart from what is around it."""
    return repr(cut(text, LINE))


def shown_name(name: str) -> str:
    """The name of a class, as it is printed."""
    return cut(clean(name), LINE) if name.strip() else repr(name)


def field_table(data: DataSet, found: DataFacts) -> str:
    """Each field with its type, the range of its numbers, and what is odd among them."""
    rows = [("field", "least", "mean", "most", "")]
    for name, f in found.fields.items():
        declared = f"{name}{data.fields[name].node.type}" if name in data.fields else name
        mean = float("nan") if f.classes is not None else f.mean
        least, middle, most = (number(v) if isfinite(v) else "" for v in (f.least, mean, f.most))
        rows.append((declared, least, middle, most, remarks(data, f)))
    return columns(rows, right=[1, 2, 3], lead="  ")


def remarks(data: DataSet, f: FieldFacts) -> str:
    """What is odd in a field, and whether it is drawn."""
    size = max(1, f.low.size)
    of = f" of {size:,} numbers" if size > 1 else ""
    never = 0 if f.classes is None else int((f.classes == 0).sum())
    odd = {"NaN": f.nan, "infinite": f.infinite, "outside of the domain": f.outside,
           "without a class": f.no_class}  # fmt: skip
    said = [f"{count:,} {what}" for what, count in odd.items() if count]
    if f.constant and data.count > 1:
        said.append(f"{f.constant:,}{of} the same in all examples" if of else "always the same")
    own = (m for m in data.measured.values() if m.field == f.spec.name)
    said += [f"{m.kind} by {m.part}" for m in own]
    said += [f"{never} of {f.spec.classes} classes never"] if never else []
    return ", ".join(["drawn anew at each visit"] * is_drawn(data, f) + said)


def is_drawn(data: DataSet, f: FieldFacts) -> bool:
    return f.spec.name in data.fields and data.fields[f.spec.name].drawn


def class_text(data: DataSet, f: FieldFacts) -> str:
    """How often each class occurs; of many the commonest and the rarest."""
    assert f.classes is not None
    counts = f.classes
    lettered = data.alphabet is not None and len(data.alphabet) == len(counts)
    names: Sequence[object] = list(map(repr, data.alphabet or "")) if lettered else ()
    names = names or data.names.get(f.spec.name) or range(len(counts))
    cells = [
        f"{shown_name(str(name))} {count:,}" for name, count in zip(names, counts, strict=True)
    ]
    rows = [cells[i : i + ACROSS] for i in range(0, len(cells), ACROSS)]
    if len(counts) > MANY:
        ranked = [cells[k] for k in sorted(range(len(counts)), key=lambda k: -counts[k])]
        rows = [["commonest", *ranked[:ENDS]], ["rarest", *ranked[-ENDS:]]]
    wide = max(map(len, rows))
    head = f"  {f.spec.name}, how often each of {len(counts):,} classes occurs"
    return f"{head}\n{columns([r + [''] * (wide - len(r)) for r in rows], lead='    ')}"


def value_text(data: DataSet, f: FieldFacts, value: NDArray[Any]) -> str:
    """A value of an example, of any shape: letters as text, few numbers one by one, of many the
    first."""
    if f.classes is not None and f.spec.timed and data.alphabet is not None:
        known = [data.alphabet[int(k)] for k in value.reshape(-1) if 0 <= k < len(data.alphabet)]
        return shown("".join(known))
    names = data.names.get(f.spec.name, ())
    if names and not value.shape and 0 <= int(value) < len(names):
        return shown_name(names[int(value)])
    return cut(number(value), LINE)


# ---- for programs ------------------------------------------------------------------------------


def as_data(data: DataSet, found: DataFacts) -> dict[str, Any]:
    """What `--json` prints of a data set."""
    return {
        "examples": data.count, "from": reader_text(data), "files": found.files, "seen": found.seen,
        "parts": {name: part_data(data, part) for name, part in data.parts.items()},
        "fields": {name: field_data(data, f) for name, f in found.fields.items()},
        **present(alphabet=data.alphabet, lengths=found.lengths,
                  table=found.table and table_data(data, found.table)),
    }  # fmt: skip


def field_data(data: DataSet, f: FieldFacts) -> dict[str, Any]:
    """A field, its numbers as they are; those of its first examples in full."""
    found: dict[str, Any] = {
        "shape": list(f.spec.shape), "domain": f.spec.domain,
        "drawn": is_drawn(data, f),
        "least": f.least, "mean": f.mean, "most": f.most, "nan": f.nan, "infinite": f.infinite,
        "outside": f.outside, "constant": f.constant if data.count > 1 else 0, "first": f.first,
    }  # fmt: skip
    if f.classes is not None:
        found |= {"classes": f.classes, "no_class": f.no_class}
        found |= present(names=list(data.names.get(f.spec.name, ())) or None)
    return found
