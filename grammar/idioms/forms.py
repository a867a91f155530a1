"""Forms of other tools, as patterns with holes, and what is put in their place.

A form is what is written, with holes in braces: `~dot|matmul({a}, {b})`. Words joined by `|` are
alternatives, `~` is the name of a library where there is one, `lib.` where there must be. A name
of a hole says what it takes: `a b c d` an argument, `x` a value before a point, `f g` a word, `k` a
whole number, `more` further arguments, `inside` all of a pair of brackets, `rest` the rest of the
line. What is put in place is a text with the same holes; what fills them is rewritten first.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

LIBRARY = (
    "np numpy jnp jax torch nn F tf keras K T theano tensor math cmath layers optim optimizers "
    "functional linalg random lax special scipy Math losses metrics initializers activations init "
    "models lasagne cupy cp mx nd gluon chainer L flax linen haiku hk nnx sk ops utils backend "
    "nnet contrib convnetjs caffe lua autograd optax flax plt sns"
).split()


OR = " ~~ "  # between what may be meant, where the order of arguments or a domain decides


class Idiom(NamedTuple):
    """A form, what is written here in its place, and why. What begins with a colon is advice, which
    fits into no place; `code` is that of a line that the parser refuses."""

    form: str
    here: str | Callable[[dict[str, str]], str | None]
    says: str
    code: str = ""

    @property
    def pattern(self) -> re.Pattern[str]:
        """The regular expression of the form; of a line, it goes on within brackets alone."""
        return pattern(self.form, r"[ \t]*" if self.code else r"\s*")


_TEXT = r'"[^"\n]*"|\'[^\'\n]*\''


def _inner(depth: int) -> str:
    """All that stands inside of brackets, with brackets in it. Which bracket closes which is for
    the parser to say."""
    deeper = rf"|[(\[{{]{_inner(depth - 1)}[)\]}}]" if depth else ""
    return rf"(?:[^()\[\]{{}}\"']|{_TEXT}{deeper})*+"


INNER = _inner(3)
_PAIRS = rf"[(\[]{INNER}[)\]]"
ARGUMENT = rf"(?:[^()\[\]{{}},\"'\n=]|[=!<>]=|{_TEXT}|{_PAIRS}|\{{{INNER}\}})++"
BEFORE_POINT = rf"(?<![\w.)\]'])(?:[A-Za-z_]\w*|{_PAIRS})(?:\s*\.\s*[A-Za-z_]\w*|{_PAIRS}|')*?"
_ATOM = rf"(?:[A-Za-z_]\w*|{_PAIRS})(?:\.[A-Za-z_]\w*|{_PAIRS}|')*+"
_LINE = r"(?=\s*(?:#|\n|$))"


_ALONE = r"(?<![\w)\]'])(?<![-+*/@^])(?<![-+*/@^]\s)"


def _any(words: str) -> str:
    return rf"\b(?:{'|'.join(words.split())})\b"


HOLES = {
    **dict.fromkeys("abcd", ARGUMENT),
    **dict.fromkeys("fg", r"\b[A-Za-z_]\w*+"),
    "x": BEFORE_POINT,
    "k": r"-?\d+",
    "number": r"\b\d[\d.]*(?:e-?\d+)?",
    "more": rf"(?:,{INNER})?",
    "inside": INNER,
    "inner": ARGUMENT,
    "method": r"\b[A-Za-z_]\w*",
    **dict.fromkeys(("cmp", "less"), r"[<>]=?"),
    "atom": rf"(?:{_ATOM}|\b\d[\d.]*+)",
    "thousands": r"\d{1,3}(?:,\d{3})+\b",
    "slice": r"[^\[\]:,\n]*:[^\[\]:,\n]*:[^\[\]:,\n]+",
    "fn": r"\b(?:sigmoid|tanh|relu|softmax|exp|log|sqrt|norm|sum|mean|argmax)\b(?=[ \t]+\w)",
    "index": r"[\w.]+?",
    **dict.fromkeys("lr", rf"(?:{_ATOM}|\b\d[\d.]*+)"),
    "equal": r"[^\n#,]+==[^\n#,]+?",
    "cond": r"[^\n#]+?",
    "q": r"[^=?:|,\n]+?",
    "rest": rf"[^\n#]+?{_LINE}",
    "tuple": rf"{_ALONE}\((?:[^()]|\({INNER}\))+?,(?:[^()]|\({INNER}\))+?\)(?!\s*[-+*/@^'])",
    "choice": (
        r"if (?P<test>[^\n]+?)\s*(?:(?P<curly>\{)|:)\s*\n\s*"
        r"(?P<target>\w[^\n=]*?)\s*=\s*(?P<then>[^\n]+?)\s*\n"
        r"\s*(?:\}\s*)?else\s*[:{]\s*\n\s*(?P=target)\s*=\s*(?P<other>[^\n]+?)(?(curly)\s*\n\s*\}|(?=\n))"
    ),
    "when": (
        r"if (?P<test>[^\n]+?)\s*(?:(?P<curly>\{)|:)\s*\n?\s*"
        r"(?P<target>\w+)\s*=\s*(?P<then>[^\n{}]+?)[ \t]*(?(curly)\n?\s*\}|(?=\n|$))"
    ),
    "body": r"\{\s*(?:return\s+)?(?P<one>[^\n{}=]+?);?\s*\}",
    "calls": rf"(?:[ \t]*\n[ \t]*[A-Za-z]\w*\({INNER}\)(?=[ \t]*(?:#|\n|$)))*",
    "pair": r"(?:[A-Za-z_]\w*|[)\]'])",
    "joins": _any("init initializer initialized initialised with by using from glorot"),
    **dict.fromkeys(("first", "each", "stop"), r"[\w.]+"),
    "dots": r"[^\n#\"]*[A-Za-z]\w*\.\([^\n#\"]*|[^\n#\"]*[\w)\]]\s*\.[-+*/^](?!\d)[^\n#\"]*",
    "argmaxed": r"\barg(?:max|min)_([a-z])[ \t]+[\w.()]+?(?:\[[a-z]\]|_[a-z]\b)",
    "exponent": r"\b\d[\d.]*[eE][ \t]*[-+][ \t]+\d+|\b\d[\d.]*[eE][ \t]+[-+][ \t]*\d+",
    "logic": r"[^\n#\"]*(?:&&|\|\||!(?!=))[^\n#\"]*",
    "values": r"[^\n#=]+?,[^\n#=]+",
    **dict.fromkeys(("test", "then", "other"), ARGUMENT),
    "option": r"\b(?:strides?|kernel_size|pool_size|filter_size|size|padding|dilation)",
    "lrest": r"[^\n#]+?",
    "side": r"[^\n#=!<>]+?",
    "one": r"=(?!=)",
    "again": r"(?P=k)",
    "closed": rf"(?:[^()\[\];\n#]|{_PAIRS})+",
    "blank": _LINE,
    "stepwise": r"(?:->[^{}\n]*)?\{\s*\n?(?P<steps>[^{}]*)\}",
    "improves": r"[^\n#]*\b(?:improv|better|decreas|increas|fall|plateau|progress)[^\n#]*",
    "factored": r"[^\[\]\n#]*\b\d+[a-z][^\[\]\n#]*",
    "listing": r"[^{}:=\n#]+,[^{}:=\n#]*",
    "named": r"(?:logit|prob|binary|positive|real|class\([^()\n]*\))",
    "untold": r"every\b[^\n=#]*",
    "shared": r"[^\n#]*\d\s*(?:per ?cent|pct)\b[^\n#]*",
    "squared": r"\b(?P<edge>\d+)x(?P=edge)\b",
    "rowed": r"[^\[\];\n#]+;[^\[\]\n#]*",
    "reckoned": r"(?=\s*[-+*/^](?!>))",
    "put": r"<-|=",
    "dotpow": r"\.\^",
    "whole": "//",
    "roughly": "~=",
    "flow": r"[A-Za-z_]\w*[ \t]*->[^\n#]*?",
    "keyed": r"(?:[^()\[\]:\n]*,)?[ \t]*[A-Za-z_]\w*[ \t]*:[^()\[\]:\n]*,[^()\[\]\n]*:[^()\[\]\n]*",
    "apart": r"[^\n#\"{}]*?\b[A-Za-z]\w*'?[ \t]+[A-Za-z]\w*[^\n#\"{}]*",
    "head": r"(?:block|fn)\b[^\n#]*?",
    "about": r"~|=~|approx(?:imately)?",
    "file": r"[\w/-]+\.\w+",
    "unequal": r"~=|=/=|<>",
    "clause": r"(?:=\s*)?[\w.]*",
    "tail": rf"[^\n#]*?{_LINE}",
    "all": r"[\s\S]*?",
    "names": r"[A-Za-z_]\w*(?:\s*,\s*[A-Za-z_]\w*)+",
    "loop": r"[^\n#]*(?:range|load|enumerate|zip|batch|epoch|data)[^\n#]*?",
    "vars": r"[\w, ()]+?",
    "args": r"[\w, ]*",
    "sign": r"[-+*/]",
    "unit": r"\b(?:epochs?|updates?|steps?|seconds?)\b",
    "listed": r"[^\n#\[\]]+?,[^\n#\[\]]+",
    "layers": r"\b(?:model|net|network|layers|seq|nn)\b",
    "lines": r"(?:\s*\n\s*\w+\.\w+\([^\n]*\)[ \t]*)*",
    "indented": r"(?:\n(?P=margin)[ \t]+[^\n]*|\n[ \t]*(?=\n))*",
    "returned": r"[ \t]*[^\s][^\n]*|[ \t]*\n[ \t]+return [^\n]+",
    "fields": rf"(?:\{{{INNER}\}}|(?:\n\s*\w+\s*=\s*[\w.,-]+[ \t]*)+)",
    "braces": rf"\{{{INNER}\}}",
    "text": r"[^\"\n]*",
    "quoted": r"[^'\n@+*/()\[\]=]*",
    "name": r"\b(?:act|activation|init|nonlinearity|loss|optimizer|order|dtype)\b",
    "bare": r"(?<!for )(?<!= )(?<!every )\b\d[\d.]*",
    "defaults": r"[^()\n]*=[^()\n]*",
    "grouped": r"\b\d+(?:_\d+)+\b",
    "suffixed": r"\b\d[\d.]*(?:[eE][+-]?\d+)?[fFLdj]\b",
    "hexadecimal": r"\b0[xX][0-9a-fA-F]+\b",
    "latex": (
        r"[^\n#\"]*?(?:\\[A-Za-z]+|[A-Za-z]_\{|\^\{|\b(?:sum|max|min)_\w+[ \t]+\w)[^\n#]*?" + _LINE
    ),
    "turned": rf"[^\n#\"]*?[\w)\]]\s*\^\s*\(?T\b[^\n#]*?{_LINE}",
    "summand": rf"(?:[^()\[\]{{}},\n]|{_PAIRS})+?",
    "summing": r"\b(?:sum|mean|max|min)_[a-z]{1,2}\b",
    "comma": (
        r",(?=[ \t]*(?:(?:for|batch(?:_size)?|stream|order|dtype|seed|after|with|over|on|every)\b"
        r"|epochs?\b|\d+[ \t]*(?:epochs?|updates?|steps?|seconds?|batch)\b))"
    ),
    "commenting": r"(?://|%)",
    "lineend": r"[^\s#\"][^\n#\"]*?",
    "before": r"(?:=|->|\()",
    "optimises": _any("optimi[sz]er optim opt"),
    "primed": r"[^\n#]*?\w'[^\n#]*",
    "namer": _any("train block task let const fn watch data sweep optimiser"),
    "heads": _any("train block data task check sweep step for scan"),
    "digited": r"\b\d+[A-Za-z_]\w*",
    "ports": r"[=:]?[ \t]*[(\w][^\n#]*\{[ \t]*",
    "loop_word": _any("scan for"),
    "loops": r"(?:=|:|\b(?:from|over|along|of)\b)",
    "along": ARGUMENT,
    "timed": r"[^\n{}#]*\btime\b[^\n{}#]*?",
    "reduced": _any("sum mean max min"),
    "heading": _any(
        "block fn def func function model network layer module net component cell unit machine"
    ),
    "declares": _any(
        "parameters? weights? bias(?:es)? learn(?:able|t)? trainable variable var let"
    ),
    "naming": _any("const let"),
    "wrt": (
        r"(?<!\w)(?:wrt|w\.r\.t\.?|(?:with )?respect to|on|for|against|through|params|parameters)"
        r"(?!\w)"
    ),
    "by": r"\b(?:using|by|via|optimi[sz]er|optim|opt)\b(?:\s*[=:])?",
    "declared": _any("param fixed"),
    "flows": _any("inputs? outputs? out ports? results?"),
    "begins": _any(
        "minimize update watch vary report expect emit until split set param "
        "fixed train checkpoint hidden use state"
    ),
    "given": rf"[ \t,:]*(?:\w+[ \t]*=|lr\b|eta\b|rate\b)[^\n#()]+?{_LINE}",
    "importing": r"(?:[ \t]+import\b[^\n#]*)?",
    "sets": r"(?:[:=]|\bis\b)?(?![ \t]*[.(\[])",
    "dotted": r"[A-Za-z]\w*(?:\[[^\[\]\n]*\])?(?:\.\w+(?:\[[^\[\]\n]*\])?)+",
    "validated": r"(?<![.\w])(?:validation|validate|valid|val|eval|evaluate|test)\b",
    "percent": r"\b\d[\d.]*\s?%(?!\s*[\w(])",
}
PART = ("index", "method", "summing", "timed")  # holes that are part of what is wrong
_HOLES, _WORDS = re.compile(r"\{\w+\}|«[^»]*»|lib\."), re.compile(r"\b[A-Za-z_]\w*(?:\|\w+)*")
_TOKEN = re.compile(r"\{(\w+)\}|«([^»]*)»|(~)|(lib\.)|(\^)|(\w+(?:\|\w+)*)|(\s+)|(.)")
LIBRARY_NAME = rf"\b(?:(?:{'|'.join(LIBRARY)})\s*\.\s*)"


@cache
def pattern(form: str, blanks: str) -> re.Pattern[str]:
    """The regular expression of a form; «...» is what stands before it. All of its repetitions are
    possessive, or end with what comes after, so that time is linear in the length of a line."""
    found, glued = "", True
    for hole, behind, some, must, start, word, blank, mark in _TOKEN.findall(form):
        if blank:
            continue
        found += "" if glued else blanks
        glued = bool(behind or some or must or start)
        if hole:
            found += rf"(?P<{hole}>{HOLES[hole]})"
        elif behind:
            found += f"(?:(?<={behind})|(?<={behind.replace(' ', '')}))"
        elif some or must:
            found += r"(?<![.\w])" + LIBRARY_NAME + ("*+" if some else "++")
        elif start:
            found += r"\A(?P<margin>[ \t]*)"
        elif word:
            found += rf"\b(?:{word})\b" if word[0].isalpha() else f"(?:{word})"
        else:
            found += re.escape(mark)
    return re.compile(found)


@cache
def words(form: str) -> list[list[str]]:
    """The words of a form that stand in every text that it fits, alternatives together."""
    return [w.split("|") for w in _WORDS.findall(_HOLES.sub(" ", form))]


@cache
def marks(form: str) -> set[str]:
    """The marks of a form that stand in every text that it fits."""
    return set(_WORDS.sub(" ", _HOLES.sub(" ", form))) - set("~^ ")


# ---- what is put in place ----------------------------------------------------------------------

ATOM = re.compile(rf"-?\d[\w.]*|{_ATOM}")
_CLAUSE = re.compile(r"(?:batch|for|scan) |\w+\(.*\) clip ")
_ENCLOSED = "([,;:="


def filled(here: str, holes: dict[str, str]) -> str:
    """A text with its holes filled; what is reckoned with stands in brackets."""

    def put(hole: re.Match[str]) -> str:
        value = holes[hole[1]]
        left = here[: hole.start()].rstrip()[-1:]
        right = here[hole.end() :].lstrip()[:1]
        alone = (not left or left in _ENCLOSED) and (not right or right in ")],;:")
        alone |= len(hole[1]) > 1  # what is more than an operand
        return value if alone or value[:1] in ("", ",") or ATOM.fullmatch(value) else f"({value})"

    return re.sub(r"\{(\w+)\}", put, here)


def bracketed(text: str, before: str, after: str) -> str:
    """A text in brackets where what stands around it binds closer."""
    left, right = before.rstrip()[-1:], after.lstrip()[:2]
    if ATOM.fullmatch(text) or _CLAUSE.match(text) or not re.search(r"[-+*/@^' ]", text):
        return text
    product = not re.search(r" (?:[-+]|if|->|and|or) ", f" {text} ")
    free_left = not left or left in _ENCLOSED or before.rstrip().endswith(("~", "->"))
    free_right = not right or right[0] in ")],;:#}\n"
    if product:
        free_left = free_left or left == "+"
        free_right = free_right or right[0] in "+-*/=<>!" and right != "->"
    return text if free_left and free_right else f"({text})"
