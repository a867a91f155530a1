"""The laws of the printer."""

import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dln.grammar import syntax as s
from dln.grammar.diagnostics import DlnError, Source, Span
from dln.grammar.parser import parse
from dln.grammar.printer import PARTS, STATEMENTS, expr_text, to_text

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.dln"))
NOWHERE = Span(Source("<made>", ""), 0, 0)


def check_laws(text: str) -> None:
    module = parse(text)
    printed = to_text(module)
    assert parse(printed) == module
    assert to_text(parse(printed)) == printed


@pytest.mark.parametrize("path", CORPUS, ids=lambda p: p.stem)
def test_laws_on_every_spec(path: Path) -> None:
    check_laws(path.read_text())


def name(text: str) -> s.Expr:
    return s.Name(text, span=NOWHERE)


NUMBERS = st.one_of(
    st.integers(0, 10**20), st.floats(0, allow_nan=False, allow_infinity=False)
)  # fmt: skip
LEAVES = st.one_of(
    NUMBERS.map(lambda n: s.Number(n, span=NOWHERE)),
    st.sampled_from(["x", "y", "epoch", "step"]).map(name),
)


def grown(inner: st.SearchStrategy[s.Expr]) -> st.SearchStrategy[s.Expr]:
    ops = st.sampled_from("+ - * / @ ^ == < and or".split())
    return st.one_of(
        st.builds(lambda op, a, b: s.Binary(op, a, b, span=NOWHERE), ops, inner, inner),
        st.builds(lambda op, a: s.Unary(op, a, span=NOWHERE), st.sampled_from(["-", "not"]), inner),
        st.builds(lambda a, b: s.Flow(a, b, span=NOWHERE), inner, inner),
        st.builds(lambda a, b, c: s.Choose(a, b, c, span=NOWHERE), inner, inner, inner),
        st.builds(lambda a, b: s.RangeOf(a, b, None, span=NOWHERE), inner, inner),
        st.builds(lambda a, b: s.Call(a, (b,), span=NOWHERE), inner, inner),
        st.builds(lambda a, b: s.Index(a, (b,), span=NOWHERE), inner, inner),
        st.builds(lambda a: s.Transpose(a, span=NOWHERE), inner),
        st.builds(lambda a: s.Attr(a, "b", NOWHERE, span=NOWHERE), inner),
    )


def bare(expr: object) -> object:
    """An expression as nested tuples without its brackets."""
    if isinstance(expr, s.Group):
        return bare(expr.body)
    if isinstance(expr, tuple):
        return tuple(map(bare, expr))
    if isinstance(expr, s.Syntax):
        fields = [f for f in expr._fields if "span" not in f]
        return (type(expr).__name__, *(bare(getattr(expr, f)) for f in fields))
    return expr


@settings(max_examples=300, deadline=None)
@given(st.recursive(LEAVES, grown, max_leaves=12))
def test_a_tree_made_without_brackets_gets_those_it_needs(expr: s.Expr) -> None:
    (item,) = parse(f"let a = {expr_text(expr)}\n").items
    assert isinstance(item, s.Let)
    assert bare(item.value) == bare(expr)


TEXTS = [p.read_text() for p in CORPUS]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(TEXTS), st.randoms(use_true_random=False))
def test_laws_on_changed_specs(text: str, rng: random.Random) -> None:
    """Specs with a line left out, doubled or moved: those that still parse keep the laws."""
    lines = text.splitlines()
    for _ in range(rng.randint(1, 4)):
        i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
        match rng.randrange(3):
            case 0 if len(lines) > 2:
                del lines[i]
            case 1:
                lines.insert(i, lines[j])
            case _:
                lines[i], lines[j] = lines[j], lines[i]
    try:
        check_laws("\n".join(lines))
    except DlnError:
        pass


@pytest.mark.parametrize("kind", [*PARTS, *STATEMENTS], ids=lambda k: k.__name__)
def test_texts_name_fields_of_their_record(kind: type[s.Syntax]) -> None:
    named = re.findall(r"\{(\w+)", {**PARTS, **STATEMENTS}[kind])
    assert set(named) <= set(kind._fields)


def test_the_canonical_layout() -> None:
    text = 'use "a.dln"\nblock b(x[ n ];m=3)->y{\n y=x[t - 1]*2\n}\nlet c=b( )\nconst d=1\n'
    assert to_text(parse(text)).splitlines() == [
        'use "a.dln"',
        "",
        "block b(x[n]; m = 3) -> y {",
        "  y = x[t-1] * 2",
        "}",
        "let c = b()",
        "const d = 1",
    ]


def test_what_is_no_syntax_is_refused() -> None:
    statement: Any = s.Until(name("x"), span=NOWHERE)
    with pytest.raises(TypeError, match="no expression"):
        expr_text(statement)
