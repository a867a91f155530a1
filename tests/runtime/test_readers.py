"""Readers: the shipped sets against their published facts, and every way a file can be wrong."""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dln.compiler.plan import DataSource
from dln.grammar.diagnostics import Fault
from dln.runtime.readers import files
from dln.runtime.readers.readers import (
    HeaderField,
    Schema,
    locate,
    probe,
    read,
)
from dln.runtime.readers.table import arrow, columns
from dln.runtime.readers.table.cells import missing
from dln.runtime.readers.table.dialect import recognised

TRAIN = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
TEST = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def decl(reader: str, *args: object, base: object = "nowhere", **options: object) -> DataSource:
    return DataSource(reader, args, options, str(base))


def fault(d: DataSource, code: str, *parts: str) -> Fault:
    """The fault that both verbs give, with the code and the words it must show."""
    with pytest.raises(Fault) as caught:
        read(d)
    shown = f"{caught.value.message} {caught.value.remedy}"
    assert caught.value.code == code, shown
    assert "\n" not in shown
    for part in parts:
        assert part in shown
    return caught.value


def alphabet(d: DataSource) -> str:
    """The characters of a `text` set: index i stands for character i."""
    found = probe(d).alphabet
    assert found is not None
    return found


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    return (
        struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape) + array.tobytes()
    )


# ---- the shipped data --------------------------------------------------------------------------


def test_mnist_has_the_published_bytes() -> None:
    train, test = read(decl("idx", *TRAIN)), read(decl("idx", *TEST))
    head = struct.pack(">IIII", 0x803, 60000, 28, 28)
    md5 = hashlib.md5(head + train["image"].tobytes()).hexdigest()
    assert md5 == "6bbc9ace898e44ae57da46a324031adb"
    head = struct.pack(">IIII", 0x803, 10000, 28, 28)
    md5 = hashlib.md5(head + test["image"].tobytes()).hexdigest()
    assert md5 == "2646ac647ad5339dbf082846283269ea"
    assert train["label"][:8].tolist() == [5, 0, 4, 1, 9, 2, 1, 3]
    assert test["label"][:8].tolist() == [7, 2, 1, 0, 4, 1, 4, 9]
    assert train["image"].dtype == np.uint8 and train["label"].dtype == np.int64


def test_mnist_is_probed() -> None:
    fields = {"image": HeaderField((28, 28), "real"), "label": HeaderField((), "index")}
    assert probe(decl("idx", *TRAIN)) == Schema(fields, 60000)
    assert probe(decl("idx", *TEST)) == Schema(fields, 10000)


def test_shakespeare() -> None:
    """Windows of 1 lose nothing; with 50 there are as many as char-rnn finds."""
    d = decl("text", "tinyshakespeare.txt", window=1)
    characters, values = alphabet(d), read(d)[""]
    assert probe(d) == Schema({"": HeaderField((2,), "index")}, 1115393, 65, characters)
    text = characters[values[0, 0]] + "".join(characters[i] for i in values[:, 1])
    assert hashlib.md5(text.encode()).hexdigest() == "6fb458f1232090904fb40fe944165e91"
    found = probe(decl("text", "tinyshakespeare.txt"))
    assert found.fields[""].shape == (51,) and found.count // 50 == 446


@pytest.mark.parametrize("name", ["and", "or", "nand", "xor"])
def test_truth_tables(name: str) -> None:
    rules: dict[str, Callable[[int, int], int]] = {
        "and": lambda a, b: a and b,
        "or": lambda a, b: a or b,
        "nand": lambda a, b: not (a and b),
        "xor": lambda a, b: a != b,
    }
    rows = [[a, b, int(rules[name](a, b))] for a in (0, 1) for b in (0, 1)]
    assert read(decl("table", f"{name}.csv"))[""].tolist() == rows


def test_sums_in_the_readme_are_true() -> None:
    folder = locate("and.csv", decl("table", "and.csv")).parent
    lines = [line.split() for line in (folder / "README.md").read_text("utf-8").splitlines()]
    sums = {p[1]: p[0] for p in lines if len(p) == 2 and len(p[0]) == 64}
    assert len(sums) == 6
    for name, expected in sums.items():
        path = locate(name, decl("text", name))
        assert hashlib.sha256(path.read_bytes()).hexdigest() == expected


def test_probe_needs_no_numpy() -> None:
    code = (
        "import sys; from dln.runtime.readers.readers import probe\n"
        "from dln.compiler.plan import DataSource as Of\n"
        f"probe(Of('idx', {TRAIN!r}, {{}}, '.')); probe(Of('table', ('and.csv',), {{}}, '.'))\n"
        "probe(Of('text', ('tinyshakespeare.txt',), {}, '.'))\n"
        "probe(Of('synthetic', ('parity', 4), {}, '.'))\n"
        "print([m for m in ('numpy', 'safetensors', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---- what each reader gives --------------------------------------------------------------------


def test_idx_types_names_and_packing(tmp_path: Path) -> None:
    arrays = [
        np.arange(24, dtype="u1").reshape(2, 3, 4),
        np.array([7, 9], ">i4"),
        np.array([[0.5, 1.5], [2.5, 3.5]], ">f8"),
        np.array([1, 2], "u1"),
    ]
    for i, (a, kind) in enumerate(zip(arrays, [8, 12, 14, 8], strict=True)):
        (tmp_path / f"f{i}").write_bytes(idx(a, kind))
    (tmp_path / "f1").rename(tmp_path / "raw")
    packed = (tmp_path / "raw").read_bytes()  # two gzip members
    (tmp_path / "f1.gz").write_bytes(gzip.compress(packed[:5]) + gzip.compress(packed[5:]))
    found = read(decl("idx", "f0", "f1", "f2", "f3", base=tmp_path))
    assert list(found) == ["image", "label", "image2", "label2"]
    for a, b in zip(arrays, found.values(), strict=True):
        assert np.array_equal(a, b) and b.dtype.isnative
    fields = probe(decl("idx", "f0", "f1", "f2", "f3", base=tmp_path)).fields
    assert [f.kind for f in fields.values()] == ["real", "index", "real", "index"]
    assert [f.shape for f in fields.values()] == [(3, 4), (), (2,), ()]


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_npz(tmp_path: Path, write: Callable[..., None]) -> None:
    x, y = np.asfortranarray(np.arange(6.0, dtype="f4").reshape(2, 3)), np.array([1, 0], "u1")
    write(tmp_path / "a.npz", x=x, y=y)
    d = decl("npz", "a.npz", base=tmp_path)
    assert probe(d) == Schema({"x": HeaderField((3,), "real"), "y": HeaderField((), "index")}, 2)
    found = read(d)
    assert np.array_equal(found["x"], x) and found["x"].dtype == np.float32
    assert found["y"].tolist() == [1, 0] and found["y"].dtype == np.int64


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_table_headings_comments_and_line_ends(tmp_path: Path, end: str) -> None:
    text = "\ufeffa,b\r\n# a note\r\n1, 2\r\n\r\n-3e1,4.5\r\n".replace("\r\n", end)
    (tmp_path / "t.csv").write_bytes(text.encode())
    d = decl("table", "t.csv", base=tmp_path)
    assert read(d)[""].tolist() == [[1, 2], [-30, 4.5]]
    assert probe(d) == Schema({"": HeaderField((2,), "real")}, 2)


def test_text_of_any_characters(tmp_path: Path) -> None:
    text = "zé\r\nα𝐱z"
    (tmp_path / "t.txt").write_bytes(text.encode())
    d = decl("text", "t.txt", base=tmp_path, window=6)
    assert alphabet(d) == "".join(sorted(set(text)))
    assert "".join(alphabet(d)[i] for i in read(d)[""][0]) == text


@pytest.mark.parametrize("window", [1, 2, 3, 5, 8, 11])
def test_windows_overlap_by_one_character(tmp_path: Path, window: int) -> None:
    text = "to be or not"
    (tmp_path / "t.txt").write_text(text)
    d = decl("text", "t.txt", base=tmp_path, window=window)
    letters = sorted(set(text))
    windows = []
    at = 0
    while at + window + 1 <= len(text):
        windows.append([letters.index(c) for c in text[at : at + window + 1]])
        at += window
    assert read(d)[""].tolist() == windows
    fields = {"": HeaderField((window + 1,), "index")}
    assert probe(d) == Schema(fields, len(windows), len(letters), "".join(letters))


def test_an_alphabet_that_is_complete_late(tmp_path: Path) -> None:
    for text in ("ab" * 4000 + "z", "é" * 9000 + "a", "a" * 5000 + "é"):
        (tmp_path / "t.txt").write_text(text, encoding="utf-8")
        assert alphabet(decl("text", "t.txt", base=tmp_path)) == "".join(sorted(set(text)))


def test_windows_that_do_not_fit(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("twelve chars")
    (tmp_path / "one.txt").write_text("x")
    fault(decl("text", "t.txt", base=tmp_path, window=12), "E504", "12 characters", "window = 11")
    fault(decl("text", "t.txt", base=tmp_path), "E504", "a window of 50 takes one more")
    fault(decl("text", "one.txt", base=tmp_path), "E504", "a longer text")
    for window in (0, -1, 2.5, True):
        fault(decl("text", "t.txt", base=tmp_path, window=window), "E509", "at least 1")
    fault(decl("table", "and.csv", window=3), "E509", "window")
    fault(decl("text", "t.txt", base=tmp_path, windw=3), "E509", "windw")


def test_rows() -> None:
    d = decl("rows", [[0.05, 0.10, 1], (2, 3, 4)])
    assert probe(d) == Schema({"": HeaderField((3,), "real")}, 2)
    assert read(d)[""].tolist() == [[0.05, 0.10, 1], [2, 3, 4]]


def test_synthetic_sets() -> None:
    xor = read(decl("synthetic", "xor"))
    assert np.column_stack([xor["x"], xor["t"]]).tolist() == [
        [0, 0, 0],
        [0, 1, 1],
        [1, 0, 1],
        [1, 1, 0],
    ]
    for args in (("parity", 5), ("parity", 9, 100), ("gaussians", 4, 3, 20), ("xor",)):
        d = decl("synthetic", *args, seed=3)
        schema, found = probe(d), read(d)
        assert set(found) == set(schema.fields)
        for name, field in schema.fields.items():
            assert found[name].shape == (schema.count, *field.shape)
            assert (found[name].dtype == np.int64) == (field.kind == "index")
            assert np.array_equal(found[name], read(d)[name])
    parity = read(decl("synthetic", "parity", n=9, count=100, seed=1))
    assert np.array_equal(parity["x"].sum(1) % 2, parity["t"])
    other = read(decl("synthetic", "parity", n=9, count=100, seed=2))
    assert not np.array_equal(parity["x"], other["x"])


# ---- wrong files -------------------------------------------------------------------------------


def test_missing_files_say_where_and_what_is_near(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "digits.csv").write_text("1,2\n")
    fault(decl("table", "digit.csv", base=tmp_path), "E501", '"digits.csv"', str(tmp_path))
    fault(decl("idx", "train-image-idx3-ubyte"), "E501", '"train-images-idx3-ubyte"')
    fault(decl("table", "zzzz", base=tmp_path), "E501", "--data NAME=PATH")


def test_names_cannot_leave_the_folder(tmp_path: Path) -> None:
    base = tmp_path / "specs"
    base.mkdir()
    secret = tmp_path / "secret.csv"
    secret.write_text("1,2\n")
    (base / "link.csv").symlink_to(secret)
    (base / "inside").mkdir()
    (base / "inside" / "a.csv").write_text("1,2\n")
    (base / "ok.csv").symlink_to(base / "inside" / "a.csv")
    os.mkfifo(base / "pipe.csv")
    (base / "gone.csv").symlink_to(base / "nothing")
    hostile = [str(secret), "../secret.csv", "inside/../../secret.csv", "a\0b", "", "link.csv"]
    for name in [*hostile, "pipe.csv", "inside", "/dev/zero"]:
        fault(decl("table", name, base=base), "E502")
    fault(decl("table", "gone.csv", base=base), "E511")
    fault(decl("table", "x" * 5000, base=base), "E501")
    assert read(decl("table", "ok.csv", base=base))[""].tolist() == [[1, 2]]
    assert read(decl("table", "inside/../ok.csv", base=base))[""].tolist() == [[1, 2]]


def test_nothing_outside_is_opened(tmp_path: Path) -> None:
    """An audit hook sees each open; hooks cannot be removed, so it runs in its own process."""
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_text("1\n")
    for i, target in enumerate(["../secret", str(tmp_path / "secret"), "/etc/passwd"]):
        (tmp_path / "in" / f"l{i}").symlink_to(target)
    code = f"""
import sys
from dln.grammar.diagnostics import Fault
from dln.compiler.plan import DataSource
from dln.runtime.readers.readers import read
import dln.runtime.readers.synthetic, numpy, importlib.resources
opened = []
sys.addaudithook(lambda e, a: opened.append(str(a[0])) if e == "open" else None)
for name in ["l0", "l1", "l2", "../secret", "{tmp_path}/secret", "/etc/passwd", "/dev/zero"]:
    try:
        read(DataSource("table", (name,), {{}}, "{tmp_path}/in"))
    except Fault as f:
        assert f.code == "E502", f.message
    else:
        raise SystemExit("read " + name)
print([p for p in opened if "secret" in p or "passwd" in p or "zero" in p])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_user_may_point_anywhere(tmp_path: Path) -> None:
    (tmp_path / "my.csv").write_text("5,6\n")
    (tmp_path / "and.csv").write_text("7,8\n")
    for path, expected in ((tmp_path / "my.csv", [[5, 6]]), (tmp_path, [[7, 8]])):
        d = DataSource("table", ("and.csv",), {}, "nowhere", override=str(path))
        assert read(d)[""].tolist() == expected
    two = DataSource("idx", TRAIN, {}, "nowhere", override=str(tmp_path / "my.csv"))
    fault(two, "E502", "folder")
    fault(DataSource("idx", TRAIN, {}, "nowhere", override=str(tmp_path)), "E501", str(tmp_path))
    nowhere = DataSource("idx", TRAIN, {}, "nowhere", override=str(tmp_path / "none"))
    fault(nowhere, "E501", "none")
    gone = DataSource("table", ("a.csv",), {}, ".", override=str(tmp_path / "mi.csv"))
    fault(gone, "E501", '"my.csv"')
    out = DataSource("table", ("../and.csv",), {}, ".", override=str(tmp_path))
    fault(out, "E502")


def test_wrong_idx_files(tmp_path: Path) -> None:
    good = idx(np.zeros((3, 2, 2), "u1"))
    cases = {
        "magic": (b"\x89PNG" + good[4:], "E503"),
        "type": (b"\0\0\x07\x03" + good[4:], "E503"),
        "axes": (b"\0\0\x08\xff" + good[4:], "E503"),
        "empty": (b"", "E503"),
        "none": (idx(np.zeros((0, 2), "u1")), "E503"),
        "short": (good[:-1], "E504"),
        "long": (good + b"x", "E504"),
        "head": (good[:7], "E503"),
        "lies": (b"\0\0\x08\x03" + b"\xff" * 12, "E508"),
        "bomb.gz": (gzip.compress(b"\0\0\x08\x01\x00\xff\xff\xff" + b"\0" * 99), "E504"),
        "shortgz": (gzip.compress(good[:-1]), "E504"),
        "longgz": (gzip.compress(good + b"x" * 10**6), "E504"),
        "cut": (gzip.compress(good)[:-9], "E504"),
        "bits": (gzip.compress(good)[:-8] + b"\0" * 8, "E503"),
    }
    for name, (data, code) in cases.items():
        (tmp_path / name).write_bytes(data)
        assert name in fault(decl("idx", name, base=tmp_path), code).message
    (tmp_path / "images").write_bytes(good)
    (tmp_path / "labels").write_bytes(idx(np.zeros(4, "u1")))
    d = decl("idx", "images", "labels", base=tmp_path)
    fault(d, "E505", "images 3", "labels 4")
    with pytest.raises(Fault, match="numbers of examples"):
        probe(d)


def test_a_bomb_unpacks_no_further_than_its_header(tmp_path: Path) -> None:
    bomb, many = tmp_path / "bomb", tmp_path / "many"
    bomb.write_bytes(gzip.compress(b"x" * 10**8))
    assert len(files.whole(bomb, 1000)) == 1001
    many.write_bytes(gzip.compress(b"") * 100_000)
    assert files.whole(many, 1000) == b""


def test_wrong_npz_files(tmp_path: Path) -> None:
    def saved(**arrays: Any) -> bytes:
        np.savez(tmp_path / "t.npz", **arrays)
        return (tmp_path / "t.npz").read_bytes()

    def zipped(member: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
        with zipfile.ZipFile(tmp_path / "t.zip", "w", method) as z:
            z.writestr("x.npy", member)
        return (tmp_path / "t.zip").read_bytes()

    def npy(header: str, data: bytes = b"") -> bytes:
        return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode() + data

    shape = "{'descr': '<f8', 'fortran_order': False, 'shape': %s}\n"
    cases = [
        (b"nothing", "E503"),
        (saved(x=np.array([{}], object)), "E503"),
        (saved(x=np.array(["a"])), "E503"),
        (saved(x=np.zeros(3), y=np.zeros(4)), "E505"),
        (saved(x=np.float64(3)), "E503"),
        (saved(), "E503"),
        (saved(x=np.zeros(300))[:-100], "E503"),
        (zipped(b"\x93NUMPY"), "E503"),
        (zipped(npy("[" * 9000)), "E503"),
        (zipped(npy("__import__('os').getcwd()")), "E503"),
        (zipped(npy(shape % "(10,)", b"\0" * 8)), "E504"),
        (zipped(npy(shape % "(2**62,)", b"")), "E503"),
        (zipped(npy(shape % f"({2**62},)", b"")), "E504"),
        (zipped(npy(shape % "(1,)", b"\0" * 8), zipfile.ZIP_BZIP2), "E503"),
    ]
    for i, (data, code) in enumerate(cases):
        (tmp_path / f"{i}.npz").write_bytes(data)
        fault(decl("npz", f"{i}.npz", base=tmp_path), code)


def test_wrong_tables(tmp_path: Path) -> None:
    cases = [
        (b"a,b\n1,2\n1,2,3\n", "E506", "line 3: 3 cells, but 2 above"),
        (b"a,b\n1,2,3\n", "E506", "line 2"),
        (b"a;b\n1;2\n1,5;2;3\n", "E506", "3 cells, but 2 above, separated by semicolons"),
        (b'a,b\n1,"2\n', "E503", "close every quote"),
        (b"x\n\n", "E503", "no rows"),
        (b"a,b\n", "E503", "no rows"),
        (b"", "E503", "no rows"),
        (b"1\n\x81\xff\n", "E503", "line 2"),
        (b"1\n2\0\n", "E503", "line 2: a zero byte"),
        (b"PK\x03\x04", "E503", "an Excel workbook"),
        (b"a,b\nc,d\n", "E514", "line 1 may be a header or an example"),
        (b"a,2\n1,3\n", "E514", "set header = yes, or set header = no"),
        (b"1;1,234\n2;1,500\n", "E514", '"1,234" may be 1.234 or 1234'),
        (b"1 234,5 678\n2 345,6 789\n", "E514", "separated by commas (2 345 | 6 789) or by blanks"),
    ]
    for i, (data, code, part) in enumerate(cases):
        (tmp_path / f"{i}.csv").write_bytes(data)
        fault(decl("table", f"{i}.csv", base=tmp_path), code, part)


@pytest.mark.parametrize(
    ("text", "where", "column", "example", "said", "value"),
    [
        ("1,2\n\n3,x y\n", 3, 1, 1, "x y", None),
        ("1,x\n", 1, 1, 0, "x", None),
        ("a,b\n1,nan\n", 2, 1, 0, "nan", np.nan),
        ("nan,inf\n", 1, 0, 0, "nan", np.nan),
        ("1,1e999\n", 1, 1, 0, "1e999", np.inf),
        ("1,1_0\n", 1, 1, 0, "1_0", None),
        ("1,2\n3,\n", 2, 1, 1, "", None),
        ("1.5;2\n2,5;3\n", 2, 0, 1, "2,5", None),
        ("1,5;2\n2.5;3\n", 2, 0, 1, "2.5", None),
        ("1.5;2\n2.234,5;3\n", 2, 0, 1, "2.234,5", None),
    ],
)
def test_what_is_no_number_is_remembered_with_its_place(
    tmp_path: Path, text: str, where: int, column: int, example: int, said: str, value: Any
) -> None:
    """It is an error where a field reads its column: so `test_fields` has it."""
    (tmp_path / "t.csv").write_text(text)
    d = decl("table", "t.csv", base=tmp_path)
    odd = probe(d).odd[column]
    found = (odd.where, odd.example, odd.text)
    assert found == (f"{tmp_path / 't.csv'}, line {where}", example, said)
    if value is None:
        assert odd.value is None
    else:
        assert odd.value == value or (np.isnan(value) and np.isnan(odd.value or 0.0))
    assert np.isnan(read(d)[""][example, column])


@pytest.mark.parametrize(
    "text",
    [
        "a,b,name\n1.5,-2,robin\n3,4e1,wren\n",
        "a;b;name\n1,5;-2;robin\n3;4e1;wren\n",
        "1,5;-2;robin\n3,0;40;wren\n",
        "a\tb\tname\n1.5\t-2\trobin\n3\t40\twren\n",
        '"a","b, in cm","name"\n"1.5","-2","robin, a"\n"3", "40" ,wren\n',
        "a;b;name\n1.5;-2;a robin, grey\n3;40;wren\n",
    ],
)
def test_separators_quotes_and_words(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    found = read(decl("table", "t.csv", base=tmp_path))[""]
    assert found[:, :2].tolist() == [[1.5, -2], [3, 40]] and np.isnan(found[:, 2]).all()


def test_wrong_arguments() -> None:
    fault(decl("idz", "a"), "E509", "idx")
    fault(decl("table"), "E509")
    fault(decl("table", "a", "b"), "E509")
    fault(decl("table", 3), "E509")
    fault(decl("table", "and.csv", sep=1), "E509", "sep")
    fault(decl("rows"), "E509")
    fault(decl("rows", [1, 2]), "E509")
    fault(decl("rows", [[1], [1, 2]]), "E506", "row 2")
    fault(decl("rows", [["a"]]), "E507", "row 1, column 1")
    fault(decl("synthetic", "gausians"), "E510", "gaussians")
    fault(decl("synthetic"), "E510")
    fault(decl("synthetic", "parity", 0), "E510")
    fault(decl("synthetic", "parity", 63), "E510")
    fault(decl("synthetic", "parity", 40), "E508")
    fault(decl("synthetic", "parity", m=3), "E510", "one of n, count, seed")
    fault(decl("synthetic", "gaussians", 2, 2, 9, float("nan")), "E510")


def test_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.csv").write_text("1,2\n" * 100)
    (tmp_path / "b.csv").write_bytes(gzip.compress(b"1,2\n" * 100))
    for limit in ("LIMIT", "TEXT", "TABLE"):
        monkeypatch.setattr(f"dln.runtime.readers.files.{limit}", 300)
    fault(decl("table", "a.csv", base=tmp_path), "E508")
    fault(decl("table", "b.csv", base=tmp_path), "E508")
    fault(decl("idx", *TEST), "E508")


def test_damaged_files_are_refused_or_read(tmp_path: Path) -> None:
    """Flip, cut and insert at random: a fault or arrays, never another exception."""
    rng = random.Random(0)
    np.savez_compressed(tmp_path / "s.npz", x=np.eye(5), y=np.arange(5))
    sources = {
        "idx": idx(np.arange(30, dtype="u1").reshape(5, 6)),
        "idz": gzip.compress(idx(np.arange(30, dtype="u1").reshape(5, 6))),
        "npz": (tmp_path / "s.npz").read_bytes(),
        "table": b"a,b\n1,2\n3,4\n",
        "text": "héllo".encode(),
    }
    for kind, good in sources.items():
        for _ in range(150):
            data, at = bytearray(good), rng.randrange(len(good))
            match rng.randrange(3):
                case 0:
                    data[at] ^= 1 << rng.randrange(8)
                case 1:
                    del data[at:]
                case 2:
                    data[at:at] = rng.randbytes(3)
            (tmp_path / "f").write_bytes(data)
            d = decl("idx" if kind == "idz" else kind, "f", base=tmp_path)
            for verb in (probe, read):
                try:
                    verb(d)
                except Fault as f:
                    assert f.code.startswith("E50") or f.code == "E511"


# ---- large tables ------------------------------------------------------------------------------


def drawn_table(rng: random.Random) -> tuple[str, int]:
    """A table of numbers in all forms and of what people put among them, and how wide it is."""
    odd = ["", "NA", "null", "abc", "1_0", "+5", " 2.5", "inf", "1e999", "0x10", '"1,5"', "5%",
           '"a, b"', '5" pipe', "-", " NA ", "1 234", "é", "1e5e", "00012"]  # fmt: skip

    def cell(share: float) -> str:
        value = rng.choice([rng.gauss(0, 1), rng.uniform(-1e300, 1e300), rng.random() * 1e-300])
        forms = [repr(value), f"{value:.17e}", f"{rng.random():.30f}", str(rng.getrandbits(80))]
        return rng.choice(odd) if rng.random() < share else rng.choice(forms)

    width = rng.randrange(2, 5)
    shares = [rng.choice([0, 0, 0.1, 1]) for _ in range(width)]
    rows = [",".join(map(cell, shares)) for _ in range(rng.choice([3, 60]))]
    return "\n".join([",".join("abcd"[:width]), *rows, ""]), width


def test_a_large_table_is_read_as_a_small_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By pyarrow, to the bit what the standard library gives, and the same texts in the same rows;
    the numbers themselves where the file has nothing else."""
    pytest.importorskip("pyarrow")
    monkeypatch.setattr(arrow, "LARGE", 0)
    path, used = tmp_path / "t.csv", 0
    for seed in range(60):
        text, width = drawn_table(random.Random(seed))
        path.write_text(text, "utf-8")
        dialect = recognised(path, {"header": "yes"})
        found = arrow.gather(path, dialect, range(width))
        if found is None:  # the other reader has the word
            continue
        used += 1
        expected = columns.gather(path, dialect, range(width))
        for k in range(width):
            one, two = found.columns[k], expected.columns[k]
            assert np.array_equal(np.array(one.numbers), np.array(two.numbers), equal_nan=True)
            texts = [{r: "" if missing(t) else t for r, c in zip(col.rows, col.codes, strict=True)
                      for t in [list(col.texts)[c]]} for col in (one, two)]  # fmt: skip
            assert texts[0] == texts[1], seed
    assert used > 20
    values = np.random.default_rng(0).normal(size=(3000, 3)) * [1, 1e-290, 1e300]
    path.write_bytes(b"".join(b"%r,%r,%r\n" % tuple(row) for row in values.tolist()))
    assert np.array_equal(read(decl("table", "t.csv", base=tmp_path))[""], values)
