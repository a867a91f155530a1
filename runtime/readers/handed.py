"""Sets that are handed their examples: `given(x[784], label: class(10))`.

Nothing is read of them but what takes the place of what Python hands over: a file with arrays that
are called as the set calls them. Faults: those of the file, E551 and E505 where it does not fit,
E518 where there are no examples at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dln.compiler.schema.headers import DataSource, HeaderField, Schema, Stretch, WantedField
from dln.grammar.diagnostics import Fault, Problem, nearest
from dln.runtime.readers.binary import cut
from dln.runtime.readers.files import file_of
from dln.runtime.readers.table.by_field import FieldColumns, columns_by_field, is_table

if TYPE_CHECKING:
    from numpy.typing import NDArray


def wanted(decl: DataSource) -> list[WantedField]:
    """What a set wants to be handed."""
    return [f for f in decl.args if isinstance(f, WantedField)]


def probe(decl: DataSource) -> Schema:
    """What a set wants, and how many examples it has been given, if it has."""
    fields = {f.name: HeaderField(f.shape, f.kind) for f in wanted(decl)}
    occur = names_of(decl)
    names = {f.name: occur.get(f.name, ()) for f in wanted(decl) if f.named}
    if decl.override is None:
        count = decl.options.get("count")
        number = count if isinstance(count, int) else 0
        return Schema(fields, number, counted=count is not None, names=names)
    if is_table(decl.override):
        held = _of_table(decl)
        shapes = {k: HeaderField(a.shape[1:], fields[k].kind) for k, a in held.items()}
        for f in wanted(decl):
            _fits(decl, f, shapes)
        return Schema(fields, len(next(iter(held.values()))), names=names)
    from dln.runtime.readers.npz import reading  # late: few sets are npz

    found = reading.probe(as_file(decl))
    for f in wanted(decl):
        _fits(decl, f, found.fields)
    return Schema(fields, found.count, names=names)


def read(decl: DataSource, stretch: Stretch | None) -> dict[str, NDArray[Any]]:
    """The arrays of the file that takes the place of what is handed over, [example, ...] by
    field."""
    if decl.override is None:
        raise unhanded(decl)
    if is_table(decl.override):
        return {name: cut(a, stretch) for name, a in _of_table(decl).items()}
    from dln.runtime.readers.npz import reading  # late: few sets are npz

    found = reading.read(as_file(decl), stretch)
    return {f.name: found[f.name] for f in wanted(decl) if f.name in found}


def _of_table(decl: DataSource) -> dict[str, NDArray[Any]]:
    """The columns of a table, by field; classes as whole numbers, where they are such. Raises
    `Fault` E623, E624, and E554 for a class that was not there before."""
    import numpy as np  # late: NumPy

    from dln.runtime.readers.frames import coded  # late: NumPy

    asked = {f.name: FieldColumns(bool(f.shape), f.timed, f.named) for f in wanted(decl)}
    found = columns_by_field(str(decl.override), asked)
    for f in wanted(decl):
        if names := names_of(decl).get(f.name):
            codes = coded(found[f.name], names)
            if isinstance(codes, Problem):
                raise Fault(f"{decl.override}: {codes.message}", code=codes.code)
            found[f.name] = codes
        elif f.kind == "index" and not f.named and not (found[f.name] % 1).any():
            found[f.name] = found[f.name].astype(np.int64)
    return found


def names_of(decl: DataSource) -> Mapping[str, tuple[str, ...]]:
    """The names of classes by field, in the order in which they are numbered."""
    found = decl.options.get("names")
    return found if isinstance(found, Mapping) else {}


def unhanded(decl: DataSource, name: str = "the set") -> Fault:
    """No examples where some are needed, and how they are handed over."""
    names = [f.name for f in wanted(decl)]
    listed = f"({', '.join(names)})" if len(names) > 1 else names[0]
    remedy = f'data={{"{name}": {listed}}} from Python, or --data {name}=FILE.npz'
    return Fault(f"{name} has been given no examples", remedy, "E518")


def as_file(decl: DataSource) -> DataSource:
    """The file that takes the place of what is handed over, as a set of its own."""
    if is_table(decl.override):
        return decl.changed(reader="table", args=(str(decl.override),), options={})
    said = {k: v for k, v in decl.options.items() if k == "mapped"}
    return decl.changed(reader="npz", args=("examples.npz",), options=said)


def _fits(decl: DataSource, f: WantedField, held: Mapping[str, HeaderField]) -> None:
    """Raise `Fault` where a file has no such array, or one of another shape."""
    path = file_of(as_file(decl))
    found = held.get(f.name)
    if found is None and f.domain == "length":
        return
    if found is None:
        raise _without(path, f.name, held)
    if found.shape != f.shape:
        message = f"{path}: each example of {f.name} is {_each(found.shape)}"
        raise Fault(f"{message}, and the spec wants {_each(f.shape)}", code="E551")


def _each(shape: tuple[int, ...]) -> str:
    return str(list(shape)) if shape else "one number"


def _without(path: Path, name: str, held: Iterable[str]) -> Fault:
    near = nearest(name, held)
    said = f"{name}={near}" if near else f"{name}=..."
    remedy = f'numpy.savez("{path.name}", {said}, ...)'
    return Fault(f"{path} holds {', '.join(held)}, and no {name}", remedy, "E550")


def looked_at(
    path: str, names: Mapping[str, bool], asked: Mapping[str, FieldColumns]
) -> dict[str, NDArray[Any]]:
    """Arrays of a file by name, to look at their shapes, and at the values of those that are one
    number for each example; `names` says which may be left out, `asked` what they want of a table.
    Raises the faults of reading, and E550 for one that is missing."""
    if is_table(path):
        return columns_by_field(path, asked)
    import numpy as np  # late: NumPy

    from dln.runtime.readers.npz.members import members  # late: few sets are npz

    decl = as_file(DataSource("npz", (), {}, "", path))
    with readable_file(path):
        held = {m.name: m for m in members(file_of(decl))}
        for name, optional in names.items():
            if name not in held and not optional:
                raise _without(Path(path), name, held)
        with np.load(path, allow_pickle=False) as z:
            shapes = {n: held[n].shape for n in names if n in held}
            return {
                n: z[n] if len(shape) == 1 else np.broadcast_to(np.float64(0), shape)
                for n, shape in shapes.items()
            }


@contextmanager
def readable_file(path: str) -> Iterator[None]:
    """Refusals of the system, and damage, as faults. Raises `Fault` E511 or E503."""
    try:
        yield
    except OSError as e:
        raise Fault(
            f"cannot read {path}: {e.strerror or e}", "check that you may read it", "E511"
        ) from e
    except (ValueError, KeyError, EOFError) as e:
        raise Fault(f"{path} is damaged: {e}", "write it again", "E503") from e
