"""The five errors of the language's design, drawn from problems built by hand."""

import pytest

from dln.grammar.diagnostics import DlnError, Fault, Note, Problem, Problems, Source, Span, nearest

AUTOENCODER = Source(
    "autoencoder.dln",
    """use "std.dln"
use "mnist.dln"
block autoencoder(x[n]; m) -> r[n]: prob {
  let enc = dense(m, act = sigmoid)
  let dec = dense(n, act = sigmoid, W = enc.W)
  z = enc(x)
  r = dec(z)
}
""",
)
DIGITS = Source(
    "digits.dln",
    """use "std.dln"
use "mnist.dln"

block digits(x[n]) -> y[10]: prob {
  h = x -> dense(300, act = sigmoid)
  y = h -> dense(10, act = softmax)
}
train sse on mnist.fit for 3 epochs {
  minimize cross_entropy(y, label) over net
}
""",
)
PAIRS = Source(
    "pairs.dln",
    """use "std.dln"
block pairs(v[n]: binary; m) {
  hidden h[m]: binary
  param W[n, m] ~ normal(0, 0.01), L[m, m] ~ normal(0, 0.01), a[n] = 0

  energy = -(a @ v) - (v @ W @ h) - (h @ L @ h)
}
""",
)
OPEN = Source(
    "net.dln", "block net(x[n]) -> y[m] {\n  y = tanh(W @ x + b\n  z = y -> dense(10)\n}\n"
)
FUTURE = Source(
    "net.dln",
    """block rnn(x[time, n]; m) -> h[time, m] {
  param Wx[m, n] ~ glorot(n, m), Wh[m, m] ~ glorot(m, m), b[m] = 0
  scan t in time {
    h[t] = tanh(Wx @ x[t] + Wh @ h[t+1] + b)
  }
}
""",
)


def place(source: Source, line: int, text: str, nth: int = 0) -> Span:
    """The nth place of a text on a line."""
    start = source.starts[line - 1] - 1
    for _ in range(nth + 1):
        start = source.text.index(text, start + 1)
    return Span(source, start, start + len(text))


TIED = (
    Problem(
        "E203",
        "the tied weights have the wrong shape",
        place(AUTOENCODER, 5, "enc.W"),
        "is [500, 784], but dec needs W[784, 500]",
        (
            Note(
                place(AUTOENCODER, 4, "dense(m, act = sigmoid)"),
                "enc.W is [500, 784]: m = 500 outputs, 784 inputs from x (line 3)",
            ),
            Note(
                place(AUTOENCODER, 7, "z"),
                "z is [500], so dec has 500 inputs and n = 784 outputs",
            ),
        ),
        remedy="W = enc.W'",
    ),
    """error[E203]: the tied weights have the wrong shape
  --> autoencoder.dln:5:41
   |
 4 |   let enc = dense(m, act = sigmoid)
   |             ----------------------- enc.W is [500, 784]: m = 500 outputs, \
784 inputs from x (line 3)
 5 |   let dec = dense(n, act = sigmoid, W = enc.W)
   |                                         ^^^^^ is [500, 784], but dec needs W[784, 500]
 7 |   r = dec(z)
   |           - z is [500], so dec has 500 inputs and n = 784 outputs
   |
   = try: W = enc.W'""",
)
TWICE = (
    Problem(
        "E310",
        "softmax is applied twice",
        place(DIGITS, 9, "y", 1),
        "cross_entropy takes a logit and applies softmax itself",
        (Note(place(DIGITS, 6, "softmax"), "makes y a prob"),),
        remedy="drop `act = softmax` on line 6, or use nll(y, label), which takes a prob",
    ),
    """error[E310]: softmax is applied twice
  --> digits.dln:9:26
   |
 6 |   y = h -> dense(10, act = softmax)
   |                            ------- makes y a prob
 9 |   minimize cross_entropy(y, label) over net
   |                          ^ cross_entropy takes a logit and applies softmax itself
   |
   = try: drop `act = softmax` on line 6, or use nll(y, label), which takes a prob""",
)
GIBBS = (
    Problem(
        "E412",
        "no Gibbs step for h: the energy is not linear in h",
        place(PAIRS, 6, "h @ L @ h"),
        "joins units of h with one another",
        (Note(place(PAIRS, 3, "h", 1), "h is declared here"),),
        facts=(
            "a restricted machine has no links inside a layer; to keep L, sample unit by unit: "
            'gibbs(..., order = "units")',
        ),
    ),
    """error[E412]: no Gibbs step for h: the energy is not linear in h
  --> pairs.dln:6:38
   |
 3 |   hidden h[m]: binary
   |          - h is declared here
 6 |   energy = -(a @ v) - (v @ W @ h) - (h @ L @ h)
   |                                      ^^^^^^^^^ joins units of h with one another
   |
   = a restricted machine has no links inside a layer; to keep L, sample unit by unit: \
gibbs(..., order = "units")""",
)
BRACKET = (
    Problem(
        "E101",
        "this ( is never closed",
        place(OPEN, 2, "("),
        "opened here",
        (Note(place(OPEN, 3, "z ="), "a new equation starts here"),),
        remedy="y = tanh(W @ x + b)",
    ),
    """error[E101]: this ( is never closed
  --> net.dln:2:11
   |
 2 |   y = tanh(W @ x + b
   |           ^ opened here
 3 |   z = y -> dense(10)
   |   --- a new equation starts here
   |
   = try: y = tanh(W @ x + b)""",
)
AHEAD = (
    Problem(
        "E330",
        "h needs its own future",
        place(FUTURE, 4, "h[t+1]"),
        "scan runs t upwards, so only h[t-1], h[t-2], ... exist here",
        remedy="h[t-1]",
    ),
    """error[E330]: h needs its own future
  --> net.dln:4:34
   |
 4 |     h[t] = tanh(Wx @ x[t] + Wh @ h[t+1] + b)
   |                                  ^^^^^^ scan runs t upwards, so only h[t-1], h[t-2], ... \
exist here
   |
   = try: h[t-1]""",
)


@pytest.mark.parametrize(
    ("problem", "drawn"),
    [TIED, TWICE, GIBBS, BRACKET, AHEAD],
    ids=["E203", "E310", "E412", "E101", "E330"],
)
def test_drawn_like_the_design(problem: Problem, drawn: str) -> None:
    assert str(problem) == drawn


def test_a_tab_moves_the_mark() -> None:
    source = Source("a.dln", "\ty = z\n")
    problem = Problem("E1", "m", place(source, 1, "z"))
    assert str(problem).splitlines()[-2:] == [" 1 |     y = z", "   |         ^"]


def test_a_long_line_is_cut_around_the_mark() -> None:
    source = Source("a.dln", "let a = " + "1 + " * 300 + "x" + " + 1" * 300 + "\n")
    lines = str(Problem("E1", "m", place(source, 1, "x"), "here")).splitlines()
    assert max(map(len, lines)) <= 130
    column = lines[-1].index("^")
    assert lines[-2][column] == "x"
    assert lines[-2].count("...") == 2


def test_control_characters_do_not_reach_the_terminal() -> None:
    source = Source("a.dln", "let a = \x1b[31m\n")
    drawn = str(Problem("E1", "bad \x1b[0m", place(source, 1, "\x1b")))
    assert "\x1b" not in drawn
    assert "\\x1b[31m" in drawn


def test_notes_in_another_source() -> None:
    other = Source("std.dln", "fn id(a) = a\n")
    note = Note(place(other, 1, "id"), "defined here")
    drawn = str(Problem("E1", "m", place(OPEN, 2, "tanh"), notes=(note,)))
    assert drawn.endswith("   ::: std.dln:1:4\n 1 | fn id(a) = a\n   |    -- defined here")


def test_problems_are_collected_once() -> None:
    problem = Problem("E1", "m", place(OPEN, 2, "tanh"))
    found = Problems()
    found.raise_if_any()
    for _ in range(2):
        found.add(DlnError([problem]))
    assert list(found) == [problem]
    with pytest.raises(DlnError, match="m"):
        found.raise_if_any()


def test_a_fault_gets_its_place() -> None:
    error = Fault("too small", "make it larger", "E501").at(place(OPEN, 2, "tanh"), "here")
    assert error.problems[0].as_data() == {
        "code": "E501",
        "message": "too small",
        "at": {"path": "net.dln", "line": 2, "column": 7, "length": 4},
        "label": "here",
        "notes": [],
        "facts": [],
        "remedy": "make it larger",
    }


def test_the_nearest_spelling() -> None:
    assert nearest("Dense", ["dense", "conv"]) == "dense"
    assert nearest("xyzzy", ["dense", "conv"]) is None
