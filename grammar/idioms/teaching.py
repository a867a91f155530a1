"""What the tables of idioms say of a problem, and how a text of another tool is written here."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from dln.grammar.diagnostics import Problem, Source, Span, slips
from dln.grammar.idioms import forms, heads, names, operations, statements
from dln.grammar.idioms.forms import Idiom

if TYPE_CHECKING:
    from dln.grammar.idioms.concepts.filling import Told

MOST = 2_000  # characters of a statement that is looked at
MANY = 40  # lines of one
PROBLEMS = 50  # that are looked at
KNOWN = frozenset("E301 E305 E310 E321 E322 E326 E327 E328 E333".split())
QUOTED = r"[\"'][A-Za-z_]\w*[\"']"
ADVICE = ": "  # before a text that fits into no place
Cut = tuple[int, int, str]  # from where to where of a text, and what stands there instead

# ---- what a spec means -------------------------------------------------------------------------


def taught(problems: Sequence[Problem], known: Collection[str]) -> list[Problem]:
    """The problems of a spec with these names, said in the words of the tool that a line comes
    from."""
    writer = Translator(" ".join(known))
    return [_taught(p, writer) if k < PROBLEMS else p for k, p in enumerate(problems)]


def _taught(p: Problem, writer: Translator) -> Problem:
    if p.span is None or p.code not in (*KNOWN, "E324"):
        return p
    base, text = statement(p.span.source, p.span.start)
    if p.code == "E324":
        return _quoted(p, text, base, writer) or p
    found = _at(text, p.span.start - base, p.span.stop - base, p.code, writer)
    if text[p.span.start - base : p.span.stop - base] in TRUTHS:
        from dln.grammar.idioms.concepts import lookup  # late: most words are no truths

        if (told := lookup.setting(text, p.span.start - base)) is not None:
            return _of_word(p, text, base, told, writer)
    strong = found is not None and (
        (found[0] not in operations.WEAK and found[2] != "")
        or bool(found[2] and not found[2].startswith(ADVICE))
    )
    if _is_word(p) and writer.parameter(text) is None:
        from dln.grammar.idioms.concepts import lookup  # late: most words have a form of their own

        known, field = frozenset(writer.known.split()), _in_data(p.span)
        told = lookup.told(text, p.span.start - base, known, writer.rewritten, field)
        if told is not None and (told.sure or not strong):
            return _of_word(p, text, base, told, writer)
    if found is None:
        return p
    row, match, here = found
    start, stop, remedy = writer.replaced(text, match.span(), here)
    says, facts = row.says, _facts(here)
    if (other := _misspelt(p, match.group(), here)) and remedy:
        facts, remedy = (f"as in {remedy}; {other} is another",), ""
    if p.code == "E301" and (made := writer.parameter(text)) is not None:
        says, start, stop, remedy = operations.LEARNT, *match.span(), made
    span = Span(p.span.source, base + start, base + stop)
    others = writer.others(row, match) if remedy else ()
    ways = tuple((span, writer.replaced(text, match.span(), other)[2]) for other in others)
    return Problem(p.code, says, span, facts=facts, remedy=remedy, word=p.word, ways=ways)


def _quoted(p: Problem, text: str, base: int, writer: Translator) -> Problem | None:
    """`init = "GlorotNormal"`: a word in quotes where a function stands."""
    if p.span is None or not re.fullmatch(QUOTED, p.span.text):
        return None
    from dln.grammar.idioms.concepts import lookup  # late: most options are no texts

    known = frozenset(writer.known.split())
    told = lookup.told(text, p.span.start - base + 1, known, writer.rewritten)
    if told is None:
        return None
    remedy = told.remedies[0] if told.remedies else ""
    return Problem(p.code, told.says, p.span, facts=told.facts, remedy=remedy, word=p.word)


def _of_word(p: Problem, text: str, base: int, told: Told, writer: Translator) -> Problem:
    """A problem as what is said of a word of another tool."""
    source = p.span.source if p.span else Source("", "")
    start, stop, remedy = told.start, told.stop, ""
    facts, ways = told.facts, tuple[tuple[Span, str], ...]()
    if told.remedies:
        cuts = [writer.replaced(text, (told.start, told.stop), here) for here in told.remedies]
        start, stop, remedy = cuts[0]
        ways = tuple((Span(source, base + a, base + z), here) for a, z, here in cuts[1:])
        form = text[told.start : told.stop]
        other = _misspelt(p, form, told.remedies[0])
        if other and remedy and re.search(rf"\b(?:fn|block|let|param) +{other}\b", source.text):
            facts, remedy = (f"as in {remedy}; {other} is another",), ""
    if " clip " in remedy:  # what stands behind a call is no part of it
        remedy = (text[:start] + remedy + text[stop:]).strip()
    span = Span(source, base + start, base + stop)
    return Problem(p.code, told.says, span, facts=facts, remedy=remedy, word=p.word, ways=ways)


OTHERS = re.compile(r"\b(?:activation|nonlinearity|padding|\w+_initializer)\s*=")
TRUTHS = ("True", "False", "None", "true", "false")
MAKERS = "fn|block|let|param|fixed|const|optimiser|data|for|scan|state|watch"


def _is_word(p: Problem) -> bool:
    """Whether a problem is a word that there is not, for which none of the spec's own is near."""
    if p.code == "E327":
        return "tensor" in p.message
    if p.code != "E301":
        return False
    if " has no part " in p.message:
        return not p.remedy and not p.facts
    near = p.remedy if p.remedy.isidentifier() else ""
    text = p.span.source.text if p.span else ""
    made = rf"^\s*(?:(?:{MAKERS}) +)?{near}\b[^=~\n]*[=~]|^(?:{MAKERS}) [^\n]*[(,;]\s*{near}\b"
    own = bool(near) and re.search(made, text, re.MULTILINE) is not None
    return p.message.startswith(("there is no name ", "there is no reader ")) and not own


def _in_data(span: Span) -> bool:
    """Whether a place is in a data set."""
    before = f"\n{span.source.text[: span.start]}"
    body = before[before.rfind("\ndata ") + 1 :] if "\ndata " in before else ""
    return "{" in body.split("\n")[0] and "\n}" not in body


def _misspelt(p: Problem, form: str, here: str) -> str:
    """The name that a word of another tool may be a slip of as well: `tan`, of `tanh`."""
    other, word = p.remedy, p.span.text if p.span else ""
    near = form.startswith(word) and other.isidentifier() and slips(word, other) == 1
    return other if near and not re.search(rf"\b{other}\b", here) else ""


def _facts(here: str) -> tuple[str, ...]:
    """What a row advises, where it puts nothing in place."""
    return (f"as in {here.removeprefix(ADVICE)}",) if here.startswith(ADVICE) else ()


def statement(source: Source, place: int) -> tuple[int, str]:
    """Where the line of a place begins, and its text as far as its brackets go."""
    first = source.position(place)[0]
    base, text = source.starts[first - 1], ""
    for number in range(first, min(first + MANY, len(source.starts) + 1)):
        text += "\n" * bool(text) + source.line(number)
        if sum(map(text.count, "([")) <= sum(map(text.count, ")]")):
            return base, text[:MOST]
    return base, source.line(first)[:MOST]


def _at(
    text: str, start: int, stop: int, code: str, writer: Translator
) -> tuple[Idiom, re.Match[str], str] | None:
    """The row that fits at a place, which stands in no hole of it, and what is written here. What
    is known is no library of another tool."""
    for row, match in _matches(text, operations.REFUSED):
        holes = (match.span(name) for name in match.re.groupindex if name not in forms.PART)
        within = match.start() <= start < match.end()
        within &= not any(a <= start < b for a, b in holes)
        if code != "E301" and _FROM_LIBRARY.match(match.group()):
            continue
        here = writer.here(row, match) if within or match.span() == (start, stop) else None
        if here is not None:
            return row, match, here
    return None


_FROM_LIBRARY = re.compile(forms.LIBRARY_NAME)


@cache
def _by_word(rows: tuple[Idiom, ...]) -> dict[str, list[int]]:
    """The numbers of the rows by each alternative of their first word; those without any stand
    under ""."""
    found: dict[str, list[int]] = {}
    for k, row in enumerate(rows):
        for word in [*forms.words(row.form), [""]][0]:
            found.setdefault(word, []).append(k)
    return found


def _matches(
    text: str, rows: tuple[Idiom, ...], line: str = ""
) -> Iterator[tuple[Idiom, re.Match[str]]]:
    """Where rows fit into a text, in the order of the table; what does not begin with ^ is looked
    for in the first line alone where that is given."""
    there, table, line = set(re.findall(r"\w+", text)), _by_word(rows), line or text
    for row in (rows[k] for k in sorted({k for w in ("", *there) for k in table.get(w, ())})):
        within = text if row.form.startswith("^") else line
        if not all(map(within.__contains__, forms.marks(row.form))):
            continue
        if all(there.intersection(some) for some in forms.words(row.form)):
            found = row.pattern
            first = (found.match(within),) if within is text and line is not text else ()
            yield from ((row, m) for m in first or found.finditer(within) if m)


# ---- how it is written here --------------------------------------------------------------------

# What makes the first value of a weight elsewhere: its shape, and what is written for it.
_WRAPPED = re.compile(
    rf"^{forms.LIBRARY_NAME}*(?:shared|Variable|Parameter|tensor)"
    r"\(([\s\S]*?)(?:, *\w+ *= *[^()]*)?\)$"
)
_MADE = re.compile(
    rf"{forms.LIBRARY_NAME}*(zeros|ones|empty|randn|rand|standard_normal|random_normal)"
    rf"\(({forms.INNER})\)|"
    rf"{forms.LIBRARY_NAME}+(normal|uniform)\(([^(),]+,[^(),]+),"
    r"\s*(?:size\s*=\s*)?[(\[]([\d, ]+)[)\]]\)"
)
_VALUES = {"zeros": "0", "empty": "0", "ones": "1", "rand": "uniform(0, 1)"}


OF_OTHERS = re.compile(r"(?<![\w.])[a-z]\w*(?![\w(.])")  # a name, of no library and no function


class Translator(NamedTuple):
    """Writes what other tools call otherwise, in the names that are known here."""

    known: str

    def replaced(self, text: str, place: tuple[int, int], here: str) -> Cut:
        """What is replaced in a statement, and by what: the form, or all that is defined where
        there are more of them."""
        start, stop = place
        if here.startswith(ADVICE) or not here:
            return start, stop, ""
        here = forms.bracketed(here, text[:start], text[stop:])
        head = re.match(r"[^=~#]*?(?<![=!<>:+])[=~](?!=)\s*", text)
        begin, end = head.end() if head else start, len(re.sub(r"\s*(#[^\n]*)?$", "", text))
        before, after = text[begin:start], text[stop:end]
        whole = self.rewritten(before) + here + self.rewritten(after)
        if begin > start or whole == before + here + after:
            return start, stop, here
        return begin, end, whole

    def here(self, row: Idiom, match: re.Match[str], **around: str) -> str | None:
        """What a row puts in the place of what it fits; None where it does not after all."""
        filling = {k: self._inside(k, v) for k, v in match.groupdict(default="").items()}
        filling |= {"known": self.known, **around}
        here = row.here.split(forms.OR)[0] if isinstance(row.here, str) else row.here
        return here(filling) if callable(here) else forms.filled(here, filling)

    def others(self, row: Idiom, match: re.Match[str]) -> list[str]:
        """What a row may put in the place of what it fits as well, where it is not sure."""
        filling = {k: self._inside(k, v) for k, v in match.groupdict(default="").items()}
        more = row.here.split(forms.OR)[1:] if isinstance(row.here, str) else ()
        return [forms.filled(here, filling) for here in more]

    def _inside(self, hole: str, text: str) -> str:
        if hole == "more":
            return names.options(text, self.known.split(), self.rewritten)
        return self.rewritten(text.strip()) if hole in (*"abcdx", "inside") else text.strip()

    def rewritten(self, text: str) -> str:
        """A text with all the forms in it that have one of ours in their place."""
        if len(text) > MOST or not re.search(r"\w", text):
            return text
        for row, match in list(_matches(text, operations.ROWS)):
            here = self.here(row, match)
            if here and not here.startswith(ADVICE) and match.group() in text:
                before, _, after = text.partition(match.group())
                text = before + forms.bracketed(here, before, after) + after
        return names.padded(text)

    def parameter(self, text: str) -> str | None:
        """`W = np.random.randn(784, 10) * 0.01` as the parameter that it is meant to be."""
        line = re.fullmatch(r"\s*(param\s+)?(\w+)(\[[^\]]*\])?\s*=\s*(.*?)\s*(#.*)?", text)
        bare = _WRAPPED.sub(r"\1", line[4]) if line else ""
        made = _MADE.search(bare)
        if line and made and OF_OTHERS.search(bare.replace(made.group(), "")):
            return None
        if line is None or made is None or (bare, made[1]) == (line[4], made.group().split("(")[0]):
            return None
        if made[3]:
            value = bare.replace(made.group(), f"{made[3]}({made[4].strip()})")
            return f"param {line[2]}{line[3] or f'[{made[5]}]'} ~ {self.rewritten(value)}"
        shape = re.sub(r"^\s*(?:size|shape)\s*=\s*", "", made[2]).strip("()[] ")
        value = bare.replace(made.group(), _VALUES.get(made[1], "normal(0, 1)"))
        sign = "=" if made[1] in ("zeros", "empty", "ones") else "~"
        sizes = line[3] or f"[{shape}]"
        return f"param {line[2]}{sizes} {sign} {self.rewritten(value)}"

    def line(self, text: str, row: Idiom, match: re.Match[str], here: str) -> str:
        """The lines that a form stands in, with what is written here in its place wherever it
        stands in them."""
        begin = text.rfind("\n", 0, match.start()) + 1
        if "tuple" in match.re.groupindex:  # of a call that has a row of its own
            first = text[begin:].split("\n")[0]
            known = self.parameter(first) or self.rewritten(first)
            if known != first and not row.pattern.search(known):
                return known.strip()
        end = (text.find("\n", match.end()) + len(text) + 1) % (len(text) + 1)
        lead = match.start() + len(match.group()) - len(match.group().lstrip())
        line = text[begin:lead] + here + text[match.end() : end]
        if not row.form.startswith("^"):
            for again in list(row.pattern.finditer(line, match.start() - begin)):
                line = line.replace(again.group(), self.here(row, again) or again.group())
        if line.lstrip().startswith("train"):
            for other, again in list(_matches(line, statements.CLAUSES)):
                line = line.replace(again.group(), self.here(other, again) or again.group())
            line = re.sub(r"[ \t,]*\bshuffle\b[ \t]*=?[ \t]*\w+", "", line)
        margin = len(line) - len(line.lstrip())
        lines = [x[margin:] if x[:margin].isspace() else x for x in line.split("\n")]
        bare = (x if x.startswith("#") else x.split("#")[0].rstrip() for x in lines)
        whole = "\n".join(bare)
        return self.parameter(whole) or self.rewritten(whole)


# ---- what the parser refuses -------------------------------------------------------------------


def rewritten(text: str, around: str, source: str) -> Iterator[tuple[Idiom, str]]:
    """A statement whose parts have the form of another tool, as it is written here."""
    writer = Translator("")
    for row, match in _matches(text, heads.REWRITES):
        if here := writer.here(row, match, around=around, above="", source=source):
            yield row, here + text[match.end() :]


def _advised(line: str, writer: Translator) -> tuple[Idiom, str] | None:
    """What is advised in place of a call of another tool that stands on a line by itself."""
    for row, match in _matches(line.strip(), operations.ADVISED):
        if match.start() == 0 and (here := writer.here(row, match)) is not None:
            return row, here
    return None


def refused(source: Source, start: int, place: int, around: str) -> Problem | None:
    """What is wrong with a statement of another tool that begins at a place, and that the parser
    refuses at another."""
    if not source.line(source.position(place)[0])[: source.position(place)[1] - 1].strip():
        start = place
    base, line = statement(source, start)
    text = "\n".join(source.text[base : base + MOST].split("\n")[:MANY])
    above, writer = source.text[max(0, base - MOST) : base], Translator("")
    for row, match in _matches(text, statements.ROWS, line):
        begin = match.end("margin") if "margin" in match.re.groupindex else match.start()
        at_end = place - base == match.end() and not text[match.end() :].split("\n")[0].strip()
        if not (begin <= place - base < max(match.end(), begin + 1) or at_end):
            continue
        here = writer.here(row, match, around=around, above=above, source=source.text)
        if here is not None and row in statements.LAST and (other := _advised(line, writer)):
            row, here = other
        elif row in statements.LAST and (here == "" or _facts(here or "")):
            word = base + len(line) - len(line.lstrip())
            if (said := _of_line(line, row.code, Span(source, word, base + len(line)))) is not None:
                return said
        tuples = "tuple" in match.re.groupindex
        if here is not None and (tuples or row.code == "E105"):
            from dln.grammar.idioms.concepts import lookup  # late: most texts have none

            tuples = tuples or OTHERS.search(line) is not None
            told = lookup.around(text, place - base, writer.rewritten, tuples)
            if told is not None:
                span, remedy = Span(source, base + told.start, base + told.stop), ""
                if told.remedies:  # the whole statement: the rest of it is read by it
                    whole = text[: told.start] + told.remedies[0] + text[told.stop :]
                    remedy = writer.rewritten(whole.split("\n")[0].split("#")[0].strip())
                return Problem(
                    row.code, told.says or row.says, span, facts=told.facts, remedy=remedy
                )
        if here is not None:
            span = Span(source, base + begin, base + match.end())
            facts = _facts(here)
            remedy = "" if facts or not here else writer.line(text, row, match, here)
            kind = re.search(r"\btype\s*[:=]\s*[\"'](\w+)[\"']", line)
            if kind is not None and not remedy:
                from dln.grammar.idioms.concepts import lookup  # late: most lines set nothing

                facts = lookup.layer(kind[1], writer.rewritten) or facts
            return Problem(row.code or "E113", row.says, span, facts=facts, remedy=remedy)
    from dln.grammar.idioms.concepts import lookup  # late: most lines set nothing

    setting = re.match(r"\s+(?:set\s+)?(\w+)\s*[:=]", line)  # in a body
    if setting is None or not (why := lookup.set_elsewhere(setting[1])):
        return None
    at = Span(source, base + setting.start(1), base + setting.end(1))
    return Problem("E113", why[0], at, facts=why[1:])


def _of_line(line: str, code: str, span: Span) -> Problem | None:
    """What is said of a call of another tool that stands on a line by itself."""
    from dln.grammar.idioms.concepts import lookup  # late: most lines call nothing

    called = re.match(r"\s*(?:\w+\s*\.\s*)*", line)
    start = called.end() if called else 0  # the last word, of what stands before it
    told = lookup.told(line, start, frozenset(), str)
    if told is None or told.stop < len(line.split("#")[0].rstrip()):
        return None
    facts = told.facts or tuple(f"as in {remedy}" for remedy in told.remedies[:1])
    return Problem(code, told.says, Span(span.source, span.start, span.stop), facts=facts)
