"""Pictures in folders: what is decoded, against NumPy by hand; which files, in which order."""

from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import dln
from dln import cli
from dln.compiler.schema.headers import DataSource
from dln.grammar.diagnostics import DlnError, Fault
from dln.runtime.readers import readers
from dln.runtime.readers.folders import patterns, pictures
from dln.runtime.readers.folders.pictures import PictureSize, pixels_of

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
GREY, COLOUR = PictureSize(6, 8, 1, "stretch"), PictureSize(6, 8, 3, "stretch")
NET = """data d = images("train/*/*.png", 4, 4) {
  x[16]: prob = raw.image / 255
  label: class = raw.label
}
data t = images("test/*/*.png", 4, 4) like d
let f = dense(3)
train fit on d batch 4 for 2 epochs {
  minimize cross_entropy(f(x), label) over f with sgd(lr = 0.1)
  watch wrong = argmax(f(x)) != label on t
}
"""


def saved(path: Path, image: Any, **how: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **how)
    return path


def refused(call: Any) -> Fault:
    with pytest.raises(Fault) as e:
        call()
    return e.value


def test_every_kind_of_picture_is_brought_to_bytes(tmp_path: Path) -> None:
    at = tmp_path / "a.png"

    def seen(image: Any, asked: PictureSize, name: str = "a.png", **how: Any) -> NDArray[Any]:
        return pixels_of(saved(tmp_path / name, image, **how), asked).astype(int)

    np.testing.assert_array_equal(seen(RGB, COLOUR), RGB.transpose(2, 0, 1))
    assert np.abs(seen(RGB, GREY) - RGB @ [0.299, 0.587, 0.114]).max() <= 0.5
    np.testing.assert_array_equal(seen(RGB[..., 0], GREY), RGB[..., 0])
    np.testing.assert_array_equal(seen(RGB[..., 0], COLOUR), np.stack([RGB[..., 0]] * 3))
    bits = Image.fromarray(RGB[..., 0] > 99)
    np.testing.assert_array_equal(seen(bits, GREY), 255 * (RGB[..., 0] > 99))
    deep = RNG.integers(0, 65536, (6, 8)).astype(np.uint16)
    np.testing.assert_array_equal(seen(deep, GREY), np.rint(deep / 257))
    clear = np.dstack([RGB, np.full((6, 8), 51, np.uint8)])
    over_white = np.rint(RGB * 0.2 + 255 * 0.8).transpose(2, 0, 1)
    assert np.abs(seen(clear, COLOUR) - over_white).max() <= 1
    palette = Image.fromarray(RGB).convert("P")
    np.testing.assert_array_equal(
        seen(palette, COLOUR), np.asarray(palette.convert("RGB")).transpose(2, 0, 1)
    )
    one = palette.getpixel((0, 0))
    assert seen(palette, GREY, transparency=one)[0, 0] == 255
    turned = Image.Exif()
    turned[0x112] = 6
    stored = np.asarray(Image.open(saved(tmp_path / "a.jpg", RGB, exif=turned)))
    found = pixels_of(tmp_path / "a.jpg", PictureSize(8, 6, 3, "stretch"))
    np.testing.assert_array_equal(found.transpose(1, 2, 0), np.rot90(stored, -1))
    even = np.full((6, 8, 3), 7, np.uint8)
    even[:, :1] = even[:, -1:] = 200  # which a square of the middle leaves out
    saved(at, even)
    assert set(pixels_of(at, PictureSize(6, 6, 1, "crop")).flat) == {7}
    padded = pixels_of(at, PictureSize(8, 8, 1, "pad"))
    assert not padded[0].any() and not padded[-1].any() and padded[1:-1].all()
    halved = pixels_of(saved(at, np.full((6, 8), 100, np.uint8)), PictureSize(3, 4, 1, "stretch"))
    assert halved.shape == (3, 4) and set(halved.flat) == {100}


def test_what_is_no_picture_is_refused_with_its_path(tmp_path: Path) -> None:
    data = saved(tmp_path / "fine.png", RGB).read_bytes()
    broken = bytearray(data)
    broken[60] ^= 255
    for name, content, said in (
        ("cut.png", data[: len(data) // 2], "damaged"),
        ("broken.png", bytes(broken), "damaged"),
        ("empty.png", b"", "is empty"),
        ("text.png", b"hello", "is no picture: none of PNG"),
    ):
        (tmp_path / name).write_bytes(content)
        fault = refused(lambda name=name: pixels_of(tmp_path / name, GREY))
        assert fault.code == "E526" and f"{tmp_path / name}" in fault.message
        assert said in fault.message
    still = Image.fromarray(RGB)
    moving = saved(tmp_path / "a.gif", still, save_all=True, append_images=[still.rotate(90)])
    assert "2 frames" in refused(lambda: pixels_of(moving, GREY)).message
    floats = saved(tmp_path / "f.tif", RGB[..., 0].astype(np.float32))
    assert "no shades" in refused(lambda: pixels_of(floats, GREY)).message
    with mock.patch.object(pictures, "PIXELS", 20):
        assert (
            "more than 20 pixels" in refused(lambda: pixels_of(tmp_path / "fine.png", GREY)).message
        )
    with mock.patch.dict("sys.modules", {"PIL.Image": None}):
        assert refused(pictures.pillow).code == "E525"


def test_files_are_found_in_order_and_confined(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/10.png", "a/1.png", ".git/3.png", "a/.h.png", "c/4.txt"):
        (tmp_path / "spec" / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "spec" / "train" / name).write_bytes(b"")
    decl = DataSource("images", (), {}, str(tmp_path / "spec"))
    found = [n.name for n in patterns.matching("train/*/*.png", decl)]
    assert found == ["train/a/1.png", "train/b/10.png", "train/b/2.png"]
    assert [n.name for n in patterns.files_meant(decl, ["train/b/2.png", "train/a/*"])] == [
        "train/b/2.png", "train/a/1.png",
    ]  # fmt: skip
    for pattern, code, said in (
        ("train/*/*.jpg", "E501", "train/* holds"),
        ("trian/*/*.png", "E501", "holds train"),
        ("../*/*.png", "E502", "not a pattern inside"),
        ("train/**/*.png", "E509", "* is one folder"),
    ):
        fault = refused(lambda pattern=pattern: patterns.matching(pattern, decl))
        assert fault.code == code and said in fault.message, fault
    for slip in ("train/*/*.jpg", "trian/*/*.png"):
        assert refused(lambda slip=slip: patterns.matching(slip, decl)).remedy == '"train/*/*.png"'
    for slip in ("train", "train/", "train/*.png"):  # folders of folders of pictures
        fault = refused(lambda slip=slip: patterns.files_meant(decl, slip))
        assert fault.remedy == '"train/*/*.png"', fault
    assert refused(lambda: patterns.files_meant(decl, "train/b")).remedy == '"train/b/*.png"'
    (tmp_path / "secret.png").write_bytes(b"")
    (tmp_path / "spec" / "train" / "a" / "link.png").symlink_to(tmp_path / "secret.png")
    assert (
        "is a link that leaves" in refused(lambda: patterns.matching("train/*/*.png", decl)).message
    )
    other = DataSource("images", (), {}, "", str(tmp_path / "spec" / "train"))
    assert [n.name for n in patterns.matching("b/*", other)] == ["b/10.png", "b/2.png"]
    (tmp_path / "spec" / "train" / "a" / "link.png").unlink()
    found = [n.name for n in patterns.matching("elsewhere/*/*.png", other)]
    assert found[:2] == ["a/1.png", "b/10.png"]


def test_folders_are_classes_and_train_as_arrays_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    images = RNG.integers(0, 256, (10, 4, 4), dtype=np.uint8)
    folders = ["zebra", "ape", "bear", "ape", "zebra", "bear", "bear", "ape"]
    for i, folder in enumerate(folders):
        saved(Path("train", folder, f"{i}.png"), images[i])
    for i in (8, 9):
        saved(Path("test", "zebra", f"{i}.png"), images[i])
    Path("net.dln").write_text(NET)
    spec = dln.load("net.dln")
    plan = spec.compile().plan
    assert plan.data["d"].names == plan.data["t"].names == {"label": ("ape", "bear", "zebra")}
    session = spec.compile().session()
    session.train()
    order = sorted(range(8), key=lambda i: (folders[i], f"{i}.png"))
    raw = readers.read(plan.data["d"].source)
    np.testing.assert_array_equal(raw["image"], images[order])
    label = [sorted(set(folders)).index(folders[i]) for i in order]
    assert raw["image"].dtype == np.uint8 and raw["label"].tolist() == label
    other = spec.compile().session()
    other.train(data={"d": (images[order].reshape(8, 16) / 255, label),
                      "t": (images[8:].reshape(2, 16) / 255, [2, 2])})  # fmt: skip
    np.testing.assert_array_equal(other.params["f.W"], session.params["f.W"])
    assert other.results["fit"].watch == session.results["fit"].watch
    saved(Path("test", "cow", "1.png"), images[0])
    with pytest.raises(DlnError, match='raw.label has "cow", which is none of the classes'):
        dln.load("net.dln")
    Path("test", "cow", "1.png").unlink()
    for said, code, words in (
        ("4, 4, channels = 2", 2, "channels must be 1 or 3"),
        ("4, 4, chanels = 3", 2, "channels"),
        ("4", 2, "the height and the width"),
        ("4, 4, channels = 3", 2, "E216"),
    ):
        Path("net.dln").write_text(NET.replace("4, 4", said))
        assert cli.carried_out(["check", "net.dln"]) == code
        assert words in capsys.readouterr().err
    Path("net.dln").write_text(NET)
    assert cli.carried_out(["run", "net.dln", "--out", "run"]) == 0
    assert cli.carried_out(["verify", "run"]) == 0
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    capsys.readouterr()
    for named, shown in (("../test/*/8.png", 1), ("../test/zebra", 2), ("../test/zebra/9.png", 1)):
        assert cli.carried_out(["apply", "../run", "f", "--data", named]) == 0
        rows = capsys.readouterr().out.split("\n")[1:-1]
        assert len(rows) == shown and all(r.startswith("../test/zebra/") for r in rows)
    for asked, answer in (
        (["../run", "f", "--data", "../tst/*.png"], "../tst is no folder"),
        (["../run", "f"], "which data is it applied to?"),
        (["../run", "--data", "../test"], "which network of the run?"),
        ([], "dln apply RUN NET"),
    ):
        assert cli.carried_out(["apply", *asked]) == 2
        assert answer in capsys.readouterr().err
