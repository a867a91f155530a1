"""Texts become the syntax that their author meant."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dln.grammar import syntax as s
from dln.grammar.diagnostics import DlnError, Source
from dln.grammar.parser import Library, parse, parse_library, parse_source
from dln.grammar.printer import expr_text
from dln.spec import specs_folder

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.dln"))


def value(text: str) -> s.Expr:
    (item,) = parse(f"let x = {text}\n").items
    assert isinstance(item, s.Let)
    return item.value


def bracketed(expr: s.Arg | s.Slice) -> str:
    """An expression with brackets around every operation, to show what binds what."""
    match expr:
        case s.Binary(op, left, right):
            return f"({bracketed(left)} {op} {bracketed(right)})"
        case s.Unary(op, body):
            return f"({op} {bracketed(body)})"
        case s.Flow(source, target):
            return f"({bracketed(source)} -> {bracketed(target)})"
        case s.Choose(then, test, other):
            return f"({bracketed(then)} if {bracketed(test)} else {bracketed(other)})"
        case s.Asserted(body, domain):
            return f"({bracketed(body)} as {domain.name})"
        case s.RangeOf(first, last, _):
            return f"({bracketed(first)} .. {bracketed(last)})"
        case s.Transpose(body):
            return f"({bracketed(body)} ')"
        case _:
            return expr_text(expr)


@pytest.mark.parametrize("path", CORPUS, ids=lambda p: p.stem)
def test_every_spec_of_the_design_parses(path: Path) -> None:
    assert parse(path.read_text(), path.name).items


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("a + b * c", "(a + (b * c))"),
        ("a - b - c", "((a - b) - c)"),
        ("-a^2", "(- (a ^ 2))"),
        ("2^-a^b", "(2 ^ (- (a ^ b)))"),
        ("a @ b' * c", "((a @ (b ')) * c)"),
        ("x -> f -> g", "((x -> f) -> g)"),
        ("a -> f + 1", "(a -> (f + 1))"),
        ("a if b else c if d else e", "(a if b else (c if d else e))"),
        ("x -> f if a else g", "(x -> (f if a else g))"),
        ("a or b and not c == d", "(a or (b and (not (c == d))))"),
        ("a < b + 1 as prob", "(a < ((b + 1) as prob))"),
        ("0..n - 1", "(0 .. (n - 1))"),
        ("a.b[0](c)'", "(a.b[0](c) ')"),
    ],
)
def test_what_binds_what(text: str, meant: str) -> None:
    assert bracketed(value(text)) == meant


def test_numbers_keep_their_kind() -> None:
    assert [value(t) for t in ("2", "2.0", "1e3")] == [
        s.Number(2, span=value("2").span),
        s.Number(2.0, span=value("2").span),
        s.Number(1000.0, span=value("2").span),
    ]
    kinds = [type(n.value) for n in map(value, ("2", "2.0", "1e3")) if isinstance(n, s.Number)]
    assert kinds == [int, float, float]


def test_calls_keep_ports_and_options_apart() -> None:
    call = value("f(a, b = 1; c, d = 2)")
    assert isinstance(call, s.Call)
    assert [expr_text(a) for a in call.arguments] == ["a", "b = 1"]
    assert [expr_text(a) for a in call.options] == ["c", "d = 2"]
    alone = value("f(; c)")
    assert isinstance(alone, s.Call)
    assert (len(alone.arguments), len(alone.options)) == (0, 1)


@pytest.mark.parametrize(
    "word",
    "step data batch order seed total best every epoch update updates steps state energy to on "
    "over check fit time class like by watch".split(),
)
def test_keywords_are_names_where_names_stand(word: str) -> None:
    text = f"block b(x) {{\n  y = {word} + first.{word} + f({word} = 1, {word})[{word}]\n}}\n"
    (block,) = parse(text).items
    assert isinstance(block, s.Block)
    (equation,) = block.body
    assert isinstance(equation, s.Define)
    assert expr_text(equation.value) == text.splitlines()[1].split(" = ", 1)[1]


@pytest.mark.parametrize("word", "step data batch order seed best every update start state".split())
def test_keywords_are_bound_where_a_mark_shows_it(word: str) -> None:
    text = f"train t on d.all for 1 epoch {{\n  {word} = 1\n  {word} ~ f(x)\n}}\n"
    (train,) = parse(text).items
    assert isinstance(train, s.Train)
    assert [type(one) for one in train.body] == [s.Define, s.Draw]


def test_units_are_singular() -> None:
    for unit in ("epoch", "update", "step", "second"):
        for written in (unit, unit + "s"):
            (train,) = parse(f"train t on d for 3 {written} {{\n}}\n").items
            assert isinstance(train, s.Train)
            assert isinstance(train.clauses[0], s.Clause)
            assert train.clauses[0].unit == unit


def test_spans_are_the_text_of_the_construct() -> None:
    text = "block b(x[n]) -> y {\n  y[i] = sum(j: x[j])  # a comment\n}\nlet c = b()\n"
    block, let = parse(text, "a.dln").items
    assert isinstance(block, s.Block)
    (define,) = block.body
    assert isinstance(define, s.Define)
    assert block.span.text == text[: text.index("\nlet")]
    assert define.span.text == "y[i] = sum(j: x[j])"
    assert define.target.span.text == "y[i]"
    assert define.value.span.text == "sum(j: x[j])"
    assert str(let.span) == "a.dln:4:1"


@pytest.mark.parametrize(
    "text",
    ["", "\n", "# only a comment", "\ufefflet a = 1", "let a = 1", "let a = 1 # end",
     "\r\n\r\nlet a = f(1,\r\n  2)\r\n", "\n\n# x\n\nlet a = 1\n\n\n",
     "let a = x\n  # then\n  -> f\n"],
)  # fmt: skip
def test_layout_means_nothing(text: str) -> None:
    assert len(parse(text).items) == ("let" in text)


def test_newlines_in_long_texts_are_the_same_on_every_system() -> None:
    assert parse('let a = """x\r\ny"""\n') == parse('let a = """x\ny"""\n')


def test_layout_is_no_part_of_the_tree() -> None:
    assert parse("let a=f( 1,\n 2 )  # c\n") == parse("\nlet a = f(1, 2)\n")
    assert parse("let a = 1\n") != parse("let a = 2\n")


def test_threads_share_the_parser() -> None:
    texts = [p.read_text() for p in CORPUS]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(parse, texts * 2)) == [parse(t) for t in texts] * 2


def test_a_failed_parse_leaves_nothing_behind() -> None:
    with pytest.raises(DlnError):
        parse("let a = 1e999\nlet b = (\n")
    assert len(parse("let a = 1\n").items) == 1


def test_a_body_of_one_statement_stands_on_one_line() -> None:
    short = "block b(x) -> y { scan t in time { y[t] = x[t] } }\nblock c(x) -> y {}\n"
    long = "block b(x) -> y {\n scan t in time {\n  y[t] = x[t]\n }\n}\nblock c(x) -> y {\n}\n"
    assert parse(short) == parse(long)
    assert parse("block b(x) { # what it is\n  y = x }\n") == parse("block b(x) {\n  y = x\n}\n")


@pytest.mark.parametrize("path", ["std.dln", "std/layers.dln"])
def test_a_file_of_the_library_is_read_definition_by_definition(path: str) -> None:
    source = Source(path, (specs_folder() / path).read_text("utf-8"))
    whole, library = parse_source(source), parse_library(source)
    assert isinstance(library, Library) and not library.known
    assert library.item("dense" if path == "std.dln" else next(iter(library.places)))
    assert len(library.known) == 1
    assert library.items == whole.items
    assert [i.span for i in library.items] == [i.span for i in whole.items]
    other = Source("std.dln", f"{source.text}\nlet net = 1\n")
    assert not isinstance(parse_library(other), Library)
