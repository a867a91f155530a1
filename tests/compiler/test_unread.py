"""What a spec says and nothing follows from is warned of, at its place; what is meant is not."""

from collections.abc import Sequence

import pytest

import dln
from dln.spec import shipped

SPEC = """const rate = 0.1
data d = rows([[1, 2], [3, 4]]) {
  x[1] = raw[:1]
  t[1] = raw[1:]
}
block line(x[n]; scale = 2) -> y[1] {
  param W[1, n] = 1
  h = W @ x
  y = scale * h
}
let net = line()
train fit on d batch 1 for 2 epochs {
  y = net(x)
  minimize sum((y - t)^2) over net with sgd(lr = rate)
  watch e = sum((y - t)^2) every 1 epoch
}
task t(n = 3) {
  z = n * net([1])
  emit z to "z.csv"
}
"""


def warned(text: str) -> list[tuple[str, str]]:
    """The code and the marked text of every warning."""
    found = dln.load(text).model.warnings
    return [(w.code, w.span.text) for w in found if w.span is not None]


def test_a_spec_without_such() -> None:
    assert warned(SPEC) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("lr = rate", "lr = 0.1", [("W303", "rate")]),
        ("x[n]; scale", "x[n]; m = 3, scale", [("W303", "m")]),
        ("  y = scale * h", "  k = h + 1\n  y = scale * h", [("W303", "k")]),
        ("scale * h", "2 * h", [("W303", "scale")]),
        ("(x[n];", "(x[n], q[k];", [("W303", "q")]),
        ("  y = net(x)", "  y = net(x)\n  v = y + 1", [("W303", "v")]),
        ("n * net", "2 * net", [("W303", "n")]),
        ('  emit z to "z', '  w = z + 1\n  emit z to "z', [("W303", "w")]),
        ("lr = rate", "lr = 0 * rate", [("W305", "0 * rate")]),
        ("sgd(lr = rate)", "adam(lr = rate - 0.1)", [("W305", "rate - 0.1")]),
        ("sgd(lr = rate)", "momentum(lr = 0 * rate)", [("W305", "0 * rate")]),
        ("minimize sum(", "minimize 0 * sum(", [("W305", "0 * sum((y - t)^2)")]),
        ("every 1 epoch", "every 3 epochs", [("W304", "every 3 epochs")]),
        ("every 1 epoch", "every 5 updates", [("W304", "every 5 updates")]),
        ("1 epoch\n}", "1 epoch\n  checkpoint every 9 epochs\n}", [("W304", "every 9 epochs")]),
        ("1 epoch\n}", "1 epoch\n  until epoch > 2\n}", [("W304", "epoch > 2")]),
        ("1 epoch\n}", "1 epoch\n  until 4 < update\n}", [("W304", "4 < update")]),
        ("1 epoch\n}", "1 epoch\n  until e < 0.1 or epoch == 9\n}", [("W304", "epoch == 9")]),
        ("task t", "sweep s {\n  vary rate in [0.1]\n  report rate\n}\ntask t",
         [("W306", "vary rate in [0.1]")]),
    ],
)  # fmt: skip
def test_what_nothing_follows_from(old: str, new: str, expected: Sequence[object]) -> None:
    text = SPEC.replace(old, new, 1)
    if "q[k]" in new:
        text = text.replace("net(x)", "net(x, x)").replace("net([1])", "net([1], [1])")
    assert text != SPEC and warned(text) == expected


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("n * net([1])", "n * net([1]) + net.h"),  # read behind a dot
        ("every 1 epoch", "every 2 epochs"),
        ("every 1 epoch", "every 4 updates"),
        ("1 epoch\n}", "1 epoch\n  until epoch == 1\n}"),
        ("1 epoch\n}", "1 epoch\n  until e < 0.1 and epoch > 1\n}"),
        ("2 epochs {", "2 seconds {"),
        ("lr = rate", "lr = rate * progress"),
        ("lr = rate", "lr = rate, decay = 0"),
        ("task t", "sweep s {\n  vary rate in [0.2]\n  report rate\n}\ntask t"),
        ('  emit z to "z.csv"', '  for i in 1..2 {\n    emit i * z to "z.csv"\n  }'),
    ],
)
def test_what_is_meant(old: str, new: str) -> None:
    text = SPEC.replace(old, new, 1)
    assert text != SPEC and warned(text) == []


@pytest.mark.parametrize("name", ["tour", "lstm_variants", "adding1997", "std"])
def test_shipped_specs_say_nothing_for_nothing(name: str) -> None:
    assert name in shipped() and not dln.load(name).model.warnings
