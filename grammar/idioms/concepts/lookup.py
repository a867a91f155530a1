"""What is meant by a word of another tool at the place where it stands, and how it is written here.

A word is looked up without regard to case and `_`, in the tables of the kinds that the place may
mean: behind `with` an optimiser, behind `->` a layer. A word of another kind is told as what it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from dln.grammar.idioms import forms, names
from dln.grammar.idioms.concepts import calls, filling
from dln.grammar.idioms.concepts.filling import Told, Usage, Writer
from dln.grammar.idioms.concepts.tables import tables

MORE = frozenset(
    "pd pandas sklearn torchvision datasets transforms preprocessing metrics Flux Lux jsp stats "
    "rng "
    "callbacks regularizers constraints lr_scheduler schedules model_selection layers lib os sys "
    "random data utils io scipy special signal nnet bricks objectives updates optimiser losses "
    "torchmetrics functional keras applications losses".split()
)
LIBRARY = frozenset(forms.LIBRARY) | MORE
DOTTED = re.compile(r"[^\W\d]\w*(?:\s*\.\s*[^\W\d]\w*)*")
RECEIVER = re.compile(rf"({forms.BEFORE_POINT})\s*\.\s*$")


# ---- where a word stands -----------------------------------------------------------------------

PLACES = (
    ("with", r"\bwith\s+[\"']?$"),
    ("rate", r"\b(?:lr|learning_rate|rate|lr_schedule|schedule|lr_policy)\s*=\s*$"),
    ("act", r"\b(?:act|activation|nonlinearity|act_fn)\s*=\s*[\"']?$"),
    ("penalty", r"\b\w*(?:regularizer|constraint|regularization)\s*=\s*$"),
    ("init", r"\b(?:init|\w*_init|\w*initializer|weight_filler|init_\w+)\s*=\s*[\"']?$"),
    ("draw", r"^\s*param\b[^\n]*=\s*$|~[^~\n]*$"),
    ("flow", r"->\s*$"),
    ("loss", r"^\s*minimize\b(?![^\n]*\bwith\b)[^\n]*$"),
    ("watch", r"^\s*(?:watch|until|expect|checkpoint|keep|report)\b[^\n]*$"),
    ("data", r"^\s*data\s+\w+\s*=\s*$"),
    ("let", r"^\s*let\s+\w+\s*=\s*$"),
    ("line", r"^\s*$"),
)
ORDER = {
    "with": "optimiser rate penalty training",
    "rate": "rate function draw optimiser",
    "act": "curve function layer",
    "penalty": "penalty init",
    "init": "init draw curve function",
    "draw": "init draw function curve",
    "flow": "layer curve function loss",
    "loss": "loss penalty function curve metric",
    "watch": "metric loss method function curve penalty",
    "data": "data", "let": "layer data training method", "field": "data function curve",
    "line": "function curve layer draw init training rate penalty method data optimiser loss",
    "method": "method function curve", "value": "function curve layer loss draw",
}  # fmt: skip
REST = "subject layer function loss metric optimiser rate init penalty training draw data method"
KINDS = {
    "subject": "no part of a network", "layer": "a layer", "function": "a function",
    "curve": "a function", "loss": "a loss", "metric": "what is measured", "rate": "a rate",
    "optimiser": "an optimiser", "init": "a first value", "penalty": "a penalty",
    "training": "said in a phase", "draw": "a draw", "data": "said of data",
    "method": "said of an instance",
}  # fmt: skip


def _place(text: str, start: int, receiver: str, field: bool) -> str:
    before = text[:start]
    found = next((k for k, form in PLACES if re.search(form, before)), "value")
    if receiver:
        return "watch" if found == "watch" else "method"
    return "field" if field and found in ("value", "line") else found


def _used(text: str, start: int, known: frozenset[str], write: Writer, field: bool) -> Usage | None:
    """The word at a place of a statement, with its arguments."""
    for found in DOTTED.finditer(text):
        if not found.start() <= start < found.end():
            continue
        parts = re.split(r"\s*\.\s*", found.group())
        receiver, begin = "", found.start()
        left = RECEIVER.search(text[:begin])
        if left is not None:
            receiver, begin = left[1], left.start(1)
        elif len(parts) > 1 and parts[0] not in LIBRARY and (start > begin or parts[0] in known):
            receiver = ".".join(parts[:-1])
        stop, args, again = found.end(), None, None
        if (first := calls.brackets(text, stop)) is not None:
            args, stop = calls.split(first[0]), first[1]
        made = stop
        if first is not None:
            chained = re.compile(r"\s*\.\s*fit_transform|\s*\.\s*transform").match(text, stop)
            after = calls.brackets(text, chained.end() if chained else stop)
            if after is not None:
                again, stop = calls.split(after[0]), after[1]
        place = _place(text, begin, receiver, field)
        name, head = parts[-1], text[:begin]
        return Usage(name, begin, stop, made, place, args, again, receiver, head, known, write)
    return None


def set_elsewhere(name: str) -> tuple[str, ...]:
    """Where that stands here which other tools set by a name: why, and an example."""
    here, says = tables()["setting"].get(names.plain(name), ("", ""))
    return (says, _example(here)) if here else ()


def layer(name: str, write: Writer) -> tuple[str, ...]:
    """What is written for a layer of which the type is said."""
    head = "h = x -> "
    found = told(f"{head}{name}(32)", len(head), frozenset(), write)
    if found is None:
        return ()
    return found.facts or tuple(f"as in {head}{remedy}" for remedy in found.remedies[:1])


SETTING = re.compile(r",?\s*\b(\w+)\s*=\s*(True|False|None|true|false)\b")


def setting(text: str, place: int) -> Told | None:
    """`keepdims=True` at a place: what is said of such a setting, and the call without it."""
    if re.match(r"\s*(?:block|fn|optimiser)\b", text):
        return None  # a default
    for found in CALLED.finditer(text[:place]):
        held = calls.brackets(text, found.end())
        if held is None or not found.end() <= place < held[1]:
            continue
        for named in SETTING.finditer(text, found.end(), held[1]):
            if not named.start() <= place < named.end():
                continue
            name, call = named[1], found.group()
            said = names.ARGUMENTS.get(name) or names.INSTEAD.get(name)
            if name in names.NEEDLESS or name in names.TRUE:
                said = f"{name} follows from what is written anyway"
            if said is None:
                return None
            rest = text[found.start() : named.start()] + text[named.end() : held[1]]
            rest = re.sub(r"\(\s*,\s*", "(", rest)
            sure = named[2].casefold() == "true" or name in names.ARGUMENTS
            remedy = (rest,) if sure and name not in names.INSTEAD else ()
            says = f"{call} has no {name} here"
            return Told(found.start(), held[1], says, remedy, (said,), sure=True)
    return None


CALLED = re.compile(r"[^\W\d][\w.]*(?=\()")


def around(text: str, place: int, write: Writer, tuples: bool) -> Told | None:
    """What is said of the call of another tool around a place that the parser refuses; of one of
    ours where it is given tuples, with nothing new to say of it."""
    for found in CALLED.finditer(text[:place]):
        held = calls.brackets(text, found.end())
        if held is None or not found.end() <= place < held[1]:
            continue
        use = _used(text, found.end() - 1, frozenset(), write, False)
        own = use is not None and names.plain(use.name) == use.name and "." not in found.group()
        if use is not None and (tuples or not own) and use.place in ("flow", "with", "rate"):
            for kind in ("layer", "optimiser", "rate"):
                if kind in ORDER[use.place].split() and (it := _of_kind(use, kind)) is not None:
                    same = any(here.startswith(f"{use.name}(") for here in it.remedies)
                    return it._replace(says="") if same else it
    return None


# ---- what the tables say -----------------------------------------------------------------------


def told(
    text: str, start: int, known: frozenset[str], write: Writer, field: bool = False
) -> Told | None:
    """What is said of the word of another tool at a place of a statement."""
    use = _used(text, start, known, write, field)
    if use is None or (use.name in known and not use.receiver and not _qualified(use, text)):
        return None
    bare = use.args is None and not use.receiver and not _qualified(use, text)
    if bare and (use.place in ("value", "line", "let") or len(use.name) < 3):
        return None
    word = names.plain(use.name)
    if bare and use.place in BARE and word not in tables()[BARE[use.place]]:
        return None
    if bare and use.place == "watch" and not use.head.lstrip().startswith("watch"):
        return None  # of what is watched
    if word in tables()["common"] and not use.receiver and not _qualified(use, text):
        return None
    if use.name in tables()["false"] and use.place in ("value", "loss", "watch", "line"):
        here, says = tables()["false"][use.name]
        return Told(use.start, use.stop, says, facts=(_example(here),), sure=True)
    for kind in _kinds(use.place):
        if (found := _of_kind(use, kind)) is not None:
            return found
    return None


BARE = {"loss": "loss", "watch": "metric"}  # what a word alone is in a place


def _qualified(use: Usage, text: str) -> bool:
    return (
        text[use.start : use.stop].split(".")[0].strip() in LIBRARY
        and "." in text[use.start : use.stop]
    )


def _kinds(place: str) -> Iterator[str]:
    own = ORDER[place].split()
    yield from own
    yield from (k for k in REST.split() if k not in own)


# What is told of a word of the library's in a place for another kind.
ELSEWHERE = {
    "layer": ("made", "a layer stands behind an arrow, in a block", "as in h = x -> {}"),
    "optimiser": ("optimisers", "an optimiser stands behind with, in a phase",
                  "as in minimize cross_entropy(net(x), label) over net with {}(lr = 0.01)"),
    "init": ("inits", "first values stand where a parameter is declared",
             "as in param W[10, 784] ~ {0}(784, 10), or dense(10; init = {0})"),
}  # fmt: skip


def _of_kind(use: Usage, kind: str) -> Told | None:
    """What is said of a word as one of a kind."""
    word, own = names.plain(use.name), kind in ORDER[use.place].split()
    if kind in ("layer", "optimiser", "init"):
        made = {"layer": calls.layer, "optimiser": calls.optimiser, "init": calls.first_value}
        args = use.args
        if kind == "optimiser" and own and args:
            args, rate = _rated(use, args)
            if rate is not None:
                return rate
        built = made[kind](word, args, use.head, use.write) if own else None
        if built is not None:
            return Told(use.start, use.made, built.says, built.remedies, built.facts, built.sure)
    if not own and kind in ELSEWHERE and word in tables()[ELSEWHERE[kind][0]]:
        section, says, shown = ELSEWHERE[kind]
        here = tables()[section][word][0].split("|")[0].strip()
        example = shown.format(calls.shown(here) if kind == "layer" else here)
        return Told(use.start, use.stop, says, facts=(example,))
    if kind in ("curve", "function") and (here := _name(use, word)):
        return _renamed(use, here)
    row = tables()[kind].get(word)
    if kind == "layer" and row is None:
        row = tables()["flow"].get(word)
    if row is None:
        return None
    here, says = row
    says = says or f"{use.name} is written out here"
    if here.startswith(":"):
        sure = own and kind in ("draw", "init") and use.place == kind
        return Told(use.start, use.stop, says, facts=(_example(here),), sure=sure)
    return filling.filled(use, kind, here, says, own)


def _rated(use: Usage, args: tuple[str, ...]) -> tuple[tuple[str, ...], Told | None]:
    """The arguments of an optimiser, with a rate that another tool makes written as here."""
    given = list(args)
    for k, arg in enumerate(args):
        made = re.match(r"(?:(\w+)\s*=\s*)?([\w.]+\([\s\S]*\))$", arg)
        if made is None or made[2].endswith("parameters()"):
            continue
        head = "with sgd(lr = "
        found = told(head + made[2], len(head), use.known, use.write)
        if found is not None and found.remedies:
            given[k] = f"lr = {found.remedies[0]}"
        elif found is not None:
            return args, found._replace(start=use.start, stop=use.stop)
    return tuple(given), None


def _example(here: str) -> str:
    bare = here.removeprefix(":").strip()
    return (
        bare
        if re.match(
            r"(?:there|they|a|an|what|of|in|letters|truths|its|classes|numbers|texts) ", bare
        )
        else f"as in {bare}"
    )


def _name(use: Usage, word: str) -> str:
    """What a function is called here, of which another tool has the name otherwise."""
    other = tables()["renamed"].get(word, ("",))[0] or names.OTHER.get(use.name.casefold(), "")
    same = ""
    block = word in tables()["made"] or word in tables()["optimisers"]
    if not block and len(word) > 2 and not use.receiver:
        same = next((k for k in use.known if names.plain(k) == word), "")
    here = other or same
    return here if here in use.known or here in ("id",) or not use.known else ""


def _renamed(use: Usage, here: str) -> Told | None:
    """A function under its name here."""
    says = (
        f"this function is called {here} here"
        if here != use.name
        else "functions are called by their names alone"
    )
    whole = calls.plain_args(use.args)
    if use.place in ("act", "flow", "init") or use.args is None:
        text = here
        if use.again is not None:
            text = f"{here}({', '.join(map(use.write, use.again))})"
        elif use.args is None and use.receiver:
            text = f"{here}({use.receiver})"
        elif whole and use.place == "flow" and not _quantity(whole):
            text = f"{here}({', '.join(map(use.write, whole))})"
        return Told(use.start, use.stop, says, (text,), sure=bool(use.args))
    given = [use.receiver] * bool(use.receiver) + list(
        use.again if use.again is not None else whole
    )
    if not given:
        return Told(use.start, use.stop, says, (here,))
    return Told(use.start, use.stop, says, (f"{here}({', '.join(map(use.write, given))})",))


def _quantity(args: tuple[str, ...]) -> bool:
    """Whether arguments are settings of a function, which it has not here."""
    return all(re.fullmatch(r"-?\d[\w.]*|\w+\s*=.*", a.strip()) for a in args)
