"""Several files as one set, in order of names; arrays that stay in their files, through a map."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dln
from dln.compiler.schema.headers import DataSource, Stretch
from dln.grammar.diagnostics import DlnError, Fault
from dln.runtime.footprint.process import resident
from dln.runtime.readers import readers
from dln.runtime.readers.npz.file_rows import FileRows

RNG = np.random.default_rng(0)
X = RNG.normal(size=(9, 2, 3)).astype(np.float32)
Y = RNG.integers(0, 5, 9).astype(np.int16)
BOTH: tuple[Any, Any] = (X, Y)
CUTS = ((0, 4), (4, 5), (5, 9))


def source(folder: Path, reader: str, *args: Any, **options: Any) -> DataSource:
    return DataSource(reader, args, options, str(folder))


def refused(decl: DataSource) -> Fault:
    with pytest.raises(Fault) as e:
        readers.read(decl)
    return e.value


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """The same examples in one file and in three, of each kind."""
    np.savez(tmp_path / "whole.npz", x=X, y=Y)
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    for k, (low, high) in enumerate(CUTS):
        np.savez(tmp_path / f"part-{k}.npz", y=Y[low:high], x=X[low:high])
        np.save(tmp_path / f"x-{k}.npy", X[low:high])
        head = bytes([0, 0, 0x0D, 3]) + np.array([high - low, 2, 3], ">i4").tobytes()
        with (gzip.open if k == 1 else open)(tmp_path / f"image-{k}", "wb") as f:
            f.write(head + X[low:high].astype(">f4").tobytes())
    (tmp_path / "label").write_bytes(
        bytes([0, 0, 0x0B, 1]) + np.array([9], ">i4").tobytes() + Y.astype(">i2").tobytes()
    )
    return tmp_path


@pytest.mark.parametrize(
    ("reader", "args", "names"),
    [
        ("npz", ("part-*.npz",), ("x", "y")),
        ("npz", (["part-0.npz", "part-1.npz", "part-2.npz"],), ("x", "y")),
        ("npz", ("x-*.npy", "y.npy"), ("x", "y")),
        ("idx", ("image-*", "label"), ("image", "label")),
    ],
)
def test_files_are_one_after_the_other(parts: Path, reader: str, args: Any, names: Any) -> None:
    ways: list[dict[str, Any]] = [{}, {"mapped": "yes"}]
    for options in ways[: 2 if reader == "npz" else 1]:
        decl = source(parts, reader, *args, **options)
        assert readers.probe(decl).count == 9
        for stretch in (None, Stretch(0, 9, 9), Stretch(3, 7, 9), Stretch(5, 6, 9)):
            found: dict[str, Any] = readers.read(decl, stretch)
            low, high = (0, 9) if stretch is None else (stretch.start, stretch.stop)
            for name, wanted in zip(names, BOTH, strict=True):
                np.testing.assert_array_equal(found[name][:], wanted[low:high])
                assert found[name].dtype == (np.int64 if wanted is Y else np.float32)


def test_rows_of_a_map_are_gathered_from_all_files(parts: Path) -> None:
    for args in (("part-*.npz",), ("whole.npz",), ("x.npy", "y.npy")):
        found = readers.read(source(parts, "npz", *args, mapped="yes"))
        x, y = found["x"], found["y"]
        assert isinstance(x, FileRows) and x.shape == (9, 2, 3) and len(y) == 9
        at = np.array([8, 0, 4, 4, 3])
        np.testing.assert_array_equal(x[at], X[at])
        np.testing.assert_array_equal(y[at], Y[at])
        np.testing.assert_array_equal(x.part(2, 8)[1:20], X[3:8])
        np.testing.assert_array_equal(x.part(2, 8)[np.array([5, 0])], X[[7, 2]])
    np.save(parts / "big.npy", np.array([1, 2**60]))
    large = readers.read(source(parts, "npz", "big.npy", mapped="yes"))["big"]
    with pytest.raises(Fault, match="example 1 of big.npy has 1152921504606846976"):
        large[np.array([0, 1])]


def test_files_that_do_not_agree_are_named(parts: Path) -> None:
    np.savez(parts / "part-3.npz", x=X)
    fault = refused(source(parts, "npz", "part-*.npz"))
    assert fault.code == "E527" and fault.message.endswith("part-0.npz holds")
    np.savez(parts / "part-3.npz", x=X.astype(np.float64), y=Y)
    fault = refused(source(parts, "npz", "part-*.npz"))
    assert fault.code == "E527" and "part-3.npz: each example of x is <f8 [2, 3]" in fault.message
    np.savez(parts / "part-3.npz", x=X, y=Y[1:])
    fault = refused(source(parts, "npz", "part-*.npz"))
    assert fault.code == "E505" and "part-3.npz: the numbers of examples" in fault.message
    (parts / "part-3.npz").write_bytes(b"PK\5\6")
    assert refused(source(parts, "npz", "part-*.npz")).code == "E503"
    assert refused(source(parts, "npz", "whole.npz", "part-0.npz")).code == "E527"
    assert refused(source(parts, "npz", ["whole.npz", "whole.npz"])).code == "E509"
    (parts / "image-3").write_bytes(bytes([0, 0, 0x08, 1, 0, 0, 0, 1, 7]))
    fault = refused(source(parts, "idx", "image-*", "label"))
    assert fault.code == "E527" and "image-3: each example is u1 []" in fault.message


def test_what_no_map_shows_says_how_it_would(parts: Path) -> None:
    np.savez_compressed(parts / "packed.npz", x=X)
    np.save(parts / "turned.npy", np.asfortranarray(X))
    for name, said in (("packed.npz", "is packed"), ("turned.npy", "lies column by column")):
        fault = refused(source(parts, "npz", name, mapped="yes"))
        assert (
            fault.code == "E528"
            and said in fault.message
            and fault.remedy.startswith(
                "write it with numpy.savez" if name == "packed.npz" else "numpy.ascontiguousarray"
            )
        )
        np.testing.assert_array_equal(
            readers.read(source(parts, "npz", name))[name[:-4].replace("packed", "x")], X
        )
    whole = parts / "whole.npz"
    data = bytearray(whole.read_bytes())
    data[data.index(X.tobytes()) + 5] ^= 1
    whole.write_bytes(data)
    assert refused(source(parts, "npz", "whole.npz")).code == "E503"  # what is read is checked


NET = """data d = npz("part-*.npz") {
  x[time, 3] = raw.x * 2
  y: class(5) = raw.y
  split fit 6, valid 3 shuffled seed 3
  set mapped = no
}
let f = dense(5)
train fit on d.fit batch 4 for 3 epochs order balanced(y) dtype float64 {
  h = sum(time: x)
  minimize cross_entropy(f(h), y) over f with adam(lr = 0.01)
  watch wrong = argmax(f(h)) != y on d.valid every 1 epoch
}
"""


def trained(folder: Path, text: str, **options: Any) -> Any:
    (folder / "net.dln").write_text(text)
    session = dln.load(folder / "net.dln").compile().session(seed=2)
    session.train(**options)
    return session


def test_what_stays_in_its_files_trains_bit_for_bit(parts: Path) -> None:
    text = NET
    plain = trained(parts, text)
    other = trained(parts, text.replace("mapped = no", "mapped = yes"))
    for path in plain.params:
        np.testing.assert_array_equal(plain.params[path], other.params[path])
    assert plain.results["fit"].history == other.results["fit"].history
    np.savez(parts / "part-2.npz", x=X[5:], y=np.array([0, 7, 1, 1], np.int16))
    with pytest.raises(DlnError, match="example 6 .*has 7, expected a class, 0 to 4"):
        trained(parts, text.replace("mapped = no", "mapped = yes").replace("balanced(y)", "file"))


def test_a_file_that_is_larger_than_memory_may_be(tmp_path: Path) -> None:
    """A file with holes of 1.2 GB, of which a run looks at some rows."""
    rows = np.lib.format.open_memmap(
        tmp_path / "x.npy", mode="w+", dtype=np.float32, shape=(300_000, 1000)
    )
    rows[::1000] = 1
    rows.flush()
    text = """data d = npz("x.npy") {
  x[1000]: prob = raw.x
}
let f = dense(1)
train fit on d batch 10 for 30 updates {
  minimize sum(f(x)^2) over f with sgd(lr = 0.001)
}
"""
    (tmp_path / "net.dln").write_text(text)
    limit = resident() + 100_000_000
    made = dln.load(tmp_path / "net.dln").compile(memory_limit=limit)
    before = resident()
    made.session().train()
    assert resident() - before < 50_000_000
    given = text.replace('npz("x.npy")', "given(x[1000]: prob)").replace(
        "  x[1000]: prob = raw.x\n", ""
    )
    handed = dln.load(given, data={"d": np.load(tmp_path / "x.npy", mmap_mode="r")})
    handed.compile(memory_limit=limit).session().train()
    assert resident() - before < 50_000_000
    (tmp_path / "net.dln").write_text(text.replace("}\nlet", "  set mapped = no\n}\nlet"))
    with pytest.raises(DlnError, match="takes .* of memory at its peak"):
        dln.load(tmp_path / "net.dln").compile(memory_limit=limit).session().train()


def test_tables_are_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    whole = "a,b,kind\n1.5,2,x\n2.5,4,y\n3.5,7,z\n4,5,x\n"
    Path("whole.csv").write_text(whole)
    head, *lines = whole.splitlines(keepends=True)
    Path("t-1.csv").write_text(head + lines[0])
    Path("t-2.csv").write_text((head + "".join(lines[1:])).replace(",", ";").replace(".", ","))
    net = """data d = table("whole.csv") {
  x[2] = [raw.a, raw.b]
  label: class = raw.kind
}
"""

    def held(text: str) -> Any:
        Path("net.dln").write_text(text)
        session = dln.load("net.dln").compile().session()
        part = session.datasets.part("d", "all", "float64").arrays
        return part["x"].tolist(), part["label"].tolist(), session.plan.data["d"].names

    one = held(net)
    assert held(net.replace("whole.csv", "t-*.csv")) == one
    two = held(net.replace('"whole.csv"', '["t-2.csv", "t-1.csv"]'))
    assert two[0] == [*one[0][1:], one[0][0]] and two[2] == one[2]
    several = net.replace("whole.csv", "t-*.csv")
    for content, code, words in (
        ("a,c,kind\n1,2,x\n", "E527", 't-2.csv: column 2 is "c", in .*t-1.csv "b"'),
        ("a,b\n1,2\n", "E527", "t-2.csv has 2 columns"),
        ("1,2,x\n", "E527", "t-2.csv has no header"),
        ("a,b,kind\n1,w,x\n", "E507", 't-2.csv, line 2, column 2: "w"'),
    ):
        Path("t-2.csv").write_text(content)
        with pytest.raises(DlnError, match=words) as e:
            held(several)
        assert e.value.problems[0].code == code
