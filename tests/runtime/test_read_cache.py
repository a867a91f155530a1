"""Files read once: the same arrays as the readers give, and no second look at the file."""

from pathlib import Path

import numpy as np
import pytest

from dln.compiler.plan import DataSource
from dln.runtime.readers import readers
from dln.runtime.readers.read_cache import MOST, ReadCache


def decl(tmp_path: Path, name: str = "a.csv") -> DataSource:
    path = tmp_path / name
    path.write_text("1,2\n3,4\n", encoding="utf-8")
    return DataSource("table", (name,), {}, str(tmp_path))


def test_it_gives_what_the_reader_gives(tmp_path: Path) -> None:
    wanted = readers.read(decl(tmp_path))
    found = ReadCache().read(decl(tmp_path))
    assert found.keys() == wanted.keys()
    assert all(np.array_equal(found[k], wanted[k]) for k in wanted)


def test_a_file_is_read_once(tmp_path: Path) -> None:
    kept, asked = ReadCache(), decl(tmp_path)
    first = kept.read(asked)
    (tmp_path / "a.csv").unlink()
    assert kept.read(asked) is first


def test_what_is_shared_cannot_be_written_to(tmp_path: Path) -> None:
    [array] = ReadCache().read(decl(tmp_path)).values()
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 0


def test_the_oldest_goes_first(tmp_path: Path) -> None:
    kept = ReadCache()
    first = kept.read(decl(tmp_path))
    for i in range(MOST):
        kept.read(decl(tmp_path, f"b{i}.csv"))
    assert kept.read(decl(tmp_path)) is not first


def test_what_no_file_holds_is_made_anew() -> None:
    kept, rows = ReadCache(), DataSource("rows", ([[1, 2]],), {}, ".")
    assert kept.read(rows) is not kept.read(rows)
