"""Tasks: what a spec emits once it is trained, printed or written to files.

Faults: E015 a file name that leaves its folder, E562 a watch of a phase that has not run.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dln.grammar.diagnostics import DlnError, Fault, Problem, clean
from dln.printing.terminal import Terminal, number
from dln.runtime.device.source_map import placed

if TYPE_CHECKING:
    from dln.compiler.plan import EmitSpec, PartSpec, TaskSpec
    from dln.printing.pictures import Curve
    from dln.runtime.execution.phase_result import Report
    from dln.runtime.session import Session
    from dln.spec import Spec


def run_all(terminal: Terminal, session: Session, spec: Spec, folder: Path) -> dict[str, Any]:
    """Every task of a spec; what each emitted, for `--json`. Those of phases that were left out
    are left out too."""
    found: dict[str, Any] = {}
    for name, task in session.plan.tasks.items():
        try:
            found[name] = run_one(terminal, session, task, folder)
        except DlnError as error:
            if any(p.code != "E562" for p in error.problems):
                raise
            terminal.say(f"{name}: not run: {error.problems[0].message}")
    return {"tasks": found} if found else {}


def run_one(
    terminal: Terminal, session: Session, task: TaskSpec, folder: Path
) -> list[dict[str, Any]]:
    """One task: values to files of `folder`, or printed. Raises E562 where a phase that it comes
    after has not run."""
    for phase in task.after:
        if phase not in session.results:
            message = f"{task.name} comes after the phase {phase}, which has not run"
            raise DlnError([Problem("E562", message)])
    values = session.evaluate(task.program)
    emitted: list[dict[str, Any]] = []
    for emit in task.emits:
        with placed(session.plan.texts, emit.place):
            value = made(session, emit, values)
            if emit.to is None:
                terminal.result(f"{task.name}: {shown(value)}")
                emitted.append({"value": value})
                continue
            name, value = in_words(terminal, task.name, emit, value)
            path = write(folder, name, encoded(emit, Path(name).suffix, value))
        terminal.say(f"{task.name}: wrote {path}")
        emitted.append({"file": str(path)})
    return emitted


def made(session: Session, emit: EmitSpec, values: Mapping[str, Any]) -> Any:
    """What is emitted: a text, an array, or a list of curves."""
    if emit.form == "text":
        return "".join(spelled(part, values) for part in emit.parts)
    if emit.form == "value":
        return values[emit.parts[0].key]
    if emit.form == "examples":
        from dln.runtime.data.example_picker import examples

        return examples(session.programs, session.datasets, emit)
    by_epoch = all(part.axis == "epoch" for part in emit.parts)
    return [curve(session, part, values, by_epoch, emit.parts) for part in emit.parts]


def spelled(part: PartSpec, values: Mapping[str, Any]) -> str:
    """A piece of a text: itself, a number, or the letters of classes."""
    if part.source == "text":
        return part.key
    value = values[part.key]
    if not part.alphabet:
        return number(value)
    return "".join(part.alphabet[int(i)] for i in value.reshape(-1))


def curve(
    session: Session,
    part: PartSpec,
    values: Mapping[str, Any],
    by_epoch: bool,
    beside: Sequence[PartSpec] = (),
) -> Curve:
    """A vector over its positions, or a watch over epochs or updates: from where the phases end
    that its own comes after, if the picture shows those too."""
    import numpy as np

    from dln.printing.pictures import Curve

    if part.source == "value":
        y = values[part.key]
        return Curve(part.label, np.arange(len(y)), y, part.axis)
    updates, epochs, y = map(np.array, zip(*history(session, part.key), strict=True))
    shown = {phase_of(session, p.key) for p in beside if p.source == "history"}
    start = began(session, phase_of(session, part.key), shown, by_epoch)
    x, axis = (epochs, "epoch") if by_epoch else (updates, "update")
    return Curve(part.label, x + start, y, axis, what=part.key.rpartition(".")[2])


def phase_of(session: Session, watch: str) -> str:
    """The phase of a watch called `sse.error`, "" if it has not run."""
    return next((name for name in session.results if watch.startswith(f"{name}.")), "")


def began(session: Session, phase: str, shown: set[str], by_epoch: bool) -> int:
    """How many epochs or updates lie before a phase, in the phases shown that it comes after."""
    before = [name for name in session.plan.phases[phase].after if name in shown]
    ends = []
    for name in before:
        result = session.results[name]
        length = result.epochs if by_epoch else result.updates
        ends.append(length + began(session, name, shown, by_epoch))
    return max(ends, default=0)


def history(session: Session, watch: str) -> list[Report]:
    """All values of a watch, called `sse.error`. Raises `Fault` if its phase has not run."""
    for name, result in session.results.items():
        rows = result.history.get(watch[len(name) + 1 :])
        if watch.startswith(f"{name}.") and rows:
            return rows
    phase = watch.rpartition(".")[0]
    message = f'{watch} is not known before the phase "{phase}" has run'
    raise Fault(message, "train it first", "E562")


# ---- printed and written -----------------------------------------------------------------------


def shown(value: Any) -> str:
    """A value as text: a number, a short row, or one line for each row."""
    if isinstance(value, str):
        return "\n" + clean(value)
    if value.ndim < 2:
        return number(value)
    rows = value.reshape(value.shape[0], -1)
    return "\n" + "\n".join("  ".join(number(x) for x in row) for row in rows)


def in_words(terminal: Terminal, task: str, emit: EmitSpec, value: Any) -> tuple[str, Any]:
    """The file's name and what goes into it: numbers instead of a picture without matplotlib."""
    from dln.printing import pictures

    assert emit.to is not None
    if Path(emit.to).suffix not in pictures.KINDS or pictures.available():
        return emit.to, value
    terminal.say(f"{task}: {emit.to} needs matplotlib: pip install 'dln[plot]'")
    return str(Path(emit.to).with_suffix(".npy")), value


def write(folder: Path, name: str, content: bytes) -> Path:
    """Write a file of a folder, whole or not at all."""
    from dln.runtime.checkpoint.checkpoint import atomic_write

    wanted = Path(name)
    if wanted.is_absolute() or ".." in wanted.parts or "\0" in name:
        raise Fault(f'the task emits to "{name}"', "name a file of the run directory", "E015")
    path = folder / wanted
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, content)
    except OSError as error:
        message = f"cannot write {path}: {error.strerror}"
        raise DlnError([Problem("E542", message, remedy="free some space, or use --out")]) from None
    return path


def encoded(emit: EmitSpec, kind: str, value: Any) -> bytes:
    """The bytes of a file of that kind."""
    from dln.printing import pictures

    if isinstance(value, str):
        return value.encode()
    part = emit.parts[0]
    if kind in pictures.KINDS:
        if emit.form in ("value", "examples"):
            return pictures.of_array(value, part.label, kind, part.axis, part.rows)
        return pictures.of_curves(value, kind, emit.form == "log_plot")
    return _curves(kind, value) if "plot" in emit.form else _array(kind, value)


def _array(kind: str, value: Any) -> bytes:
    """An array as .npy, .csv or .txt."""
    if kind == ".npy":
        return _npy(value)
    rows = value.reshape(-1, 1) if value.ndim < 2 else value.reshape(value.shape[0], -1)
    separator = "," if kind == ".csv" else " "
    lines = (separator.join(repr(x) for x in row) for row in rows.tolist())
    return "".join(line + "\n" for line in lines).encode()


def _curves(kind: str, curves: list[Curve]) -> bytes:
    """Curves as rows: which, x, y. In .npy `which` is the curve's number, counted from 0."""
    import numpy as np

    if kind == ".npy":
        return _npy(np.concatenate([
            np.stack([np.full(len(c.x), float(i)), c.x, c.y], axis=1)
            for i, c in enumerate(curves)
        ]))  # fmt: skip
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(["curve", "x", "y"])
    rows.writerows([c.label, x, y] for c in curves
                   for x, y in zip(c.x.tolist(), c.y.tolist(), strict=True))  # fmt: skip
    return out.getvalue().encode()


def _npy(value: Any) -> bytes:
    import numpy as np

    out = io.BytesIO()
    np.save(out, value, allow_pickle=False)
    return out.getvalue()
