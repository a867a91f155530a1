"""A wrong command line as a problem with its remedy: the command as it would be right, whole.

What was meant is looked for in the spec (its constants and phases), among the options of this
command and of others, and among the words of other tools. Nothing is guessed beyond that.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import click
from click.exceptions import BadOptionUsage, NoSuchCommand

from dln.grammar import syntax
from dln.grammar.diagnostics import DlnError, Fault, Problem, Span, nearest
from dln.grammar.parser import parse_source
from dln.spec import find, read
from dln.usage.idioms import COMMANDS, CONSTANTS, EXAMPLES, OPTIONS, VALUES, meant
from dln.usage.twice import Twice

NEEDS = {
    "spec": ("which spec?", ["SPEC", "mlp"]),
    "runs": ("which runs?", ["RUN RUN", "runs/mlp-1 runs/mlp-2"]),
    "run_dir": ("which run, and which task of it?", ["RUN NAME", "runs/hello-1 sample"]),
    "name": ("which task?", ["NAME", ""]),
    "run": ("which run, and which network of it?", ["RUN NET", "runs/mlp-1 net"]),
    "net": ("which network of the run?", ["NET", "net"]),
    "new": ("which data is it applied to?", ["--data FILE", "--data new.csv"]),
}  # fmt: skip
EXTRA = re.compile(r"Got unexpected extra arguments? \((.*)\)", re.DOTALL)
SEEDS = ("seeds", "n-seeds", "num-seeds", "repeats", "runs", "trials")
SHOWN = 60  # characters of a word


@dataclass
class CommandLine:
    """The words of a command line, and what is known of them."""

    words: list[str]
    commands: dict[str, click.Command]

    @cached_property
    def command(self) -> str:
        """The command called, or nothing."""
        return next((w for w in self.words if w in self.commands), "")

    @cached_property
    def spec(self) -> str:
        """The word that is a spec, or nothing."""
        return next((w for w in self.words if w != self.command and is_spec(w)), "")

    @cached_property
    def items(self) -> tuple[syntax.Item, ...]:
        """The items of the spec, where it can be read."""
        try:
            return parse_source(read(find(self.spec))).items if self.spec else ()
        except DlnError:
            return ()

    def names(self, kind: type[syntax.Const | syntax.Train]) -> list[str]:
        """The constants or the phases of the spec."""
        found = (item.name for item in self.items if isinstance(item, kind))
        return [name if isinstance(name, str) else name.name for name in found]

    def with_(self, at: int, count: int, *instead: str, command: str = "") -> str:
        """The command with other words in place of `count` of them."""
        words = [*self.words[:at], *instead, *self.words[at + count :]]
        if command and self.command:
            words[words.index(self.command)] = command
        return "dln " + shlex.join(words)

    def option(self, name: str) -> tuple[int, str, str | None, int]:
        """Where an option stands, its word, its value, and how many words that is."""
        marks = (name, "--" if name[:2] == "--" else "-")  # `-h2` is said to be `-2`
        at = next((i for m in marks for i, w in enumerate(self.words) if w.startswith(m)), 0)
        word, given, value = self.words[at].partition("=")
        if given:
            return at, word, value, 1
        after = self.words[at + 1] if at + 1 < len(self.words) else "-"
        if re.match(r"-\D|-?$", after) or (after == self.spec and self.words.count(after) == 1):
            return at, word, None, 1
        return at, word, after, 2


def is_spec(word: str) -> bool:
    """Whether a word leads to a spec."""
    try:
        return bool(word) and word[0] != "-" and find(word).suffix == ".dln"
    except (DlnError, Fault):
        return False


def answer(
    error: click.ClickException, words: list[str], commands: dict[str, click.Command]
) -> Problem:
    """What is wrong with a command line, and how it is written."""
    line = CommandLine(words, commands)
    ctx = getattr(error, "ctx", None)
    command = ctx.command if ctx is not None else None
    match error:
        case NoSuchCommand():
            text, remedy = no_command(line, error.command_name)
        case click.NoSuchOption() if isinstance(command, click.Group):
            text, remedy = before_command(line, error.option_name)
        case click.NoSuchOption() if command is not None:
            text, remedy = no_option(line, command, error.option_name)
        case click.MissingParameter():
            text, remedy = missing(line, error.param.name if error.param else None)
        case BadOptionUsage():
            name = error.option_name
            example = EXAMPLES.get(name, "")
            text = f"{name} is followed by its value" if example else error.format_message()
            remedy = example and f"{name} {example}"
        case Twice():
            text, remedy = error.message, one_alone(line, error.options)
        case click.BadParameter():
            text, remedy = error.message, getattr(error, "remedy", "") or unsaid(line)
        case _ if (found := EXTRA.fullmatch(error.format_message())) and command is not None:
            text, remedy = too_many(line, found[1])
        case _:
            text, remedy = error.format_message(), ""
    return Problem("E001", text, remedy=remedy)


# ---- commands ----------------------------------------------------------------------------------


def no_command(line: CommandLine, word: str) -> tuple[str, str]:
    """A spec in place of a command, another tool's word, or a slip."""
    at = line.words.index(word)
    if is_spec(word) or word.endswith(".dln"):
        if (behind := line.words[at + 1 : at + 2]) and behind[0] in line.commands:  # `h.dln run`
            return f"the command stands first: {behind[0]}", line.with_(at, 2, behind[0], word)
        return f"what shall be done with {cut(word)}?", line.with_(at, 1, "run", word)
    spoken = [w for words in COMMANDS.values() for w in words.split()]
    found = word if word in spoken else nearest(word, [*line.commands, *spoken])
    name = found if found in line.commands else meant(found or "", COMMANDS)
    text = f"dln has no command {cut(word)}"
    if name is None:
        near = nearest_spec(word)
        return text, line.with_(at, 1, "run", near) if near else "dln, which lists them"
    if name == "--help" and len(line.words) > at + 1:
        return text, f"dln {line.words[at + 1]} --help"
    return text, line.with_(at, 1, name) if name[:1] not in ("", "-") else f"dln {name}".strip()


def nearest_spec(word: str) -> str:
    """A spec whose name is a slip away."""
    try:
        find(word)
    except DlnError as error:
        near = error.problems[0].remedy
        return near if is_spec(near) else ""
    return word


def before_command(line: CommandLine, name: str) -> tuple[str, str]:
    """Options stand behind the command."""
    at, word, value, count = line.option(name)
    if line.command:
        moved = [w for w in line.words if w not in line.words[at : at + count]]
        behind = line.words[at : at + count]
        return f"{cut(word)} stands behind the command", "dln " + shlex.join([*moved, *behind])
    version = word.lstrip("-").lower() in ("v", "vesion", "ver")
    return f"dln has no option {cut(word)}", "dln --version" if version else "dln --help"


# ---- options -----------------------------------------------------------------------------------


def no_option(line: CommandLine, command: click.Command, name: str) -> tuple[str, str]:
    """An option that the command does not take: a constant of the spec, one of another name or of
    another command, or a slip."""
    at, word, value, count = line.option(name)
    text = f"dln {line.command} has no option {cut(word)}"
    plain = word.lstrip("-").replace("_", "-").lower()
    constant = constant_of(plain.replace("-", "_"), line.names(syntax.Const))
    if constant and line.spec:
        return text, line.with_(at, count, "-D", f"{constant}={value or 'VALUE'}")
    if plain in SEEDS:
        many = value if value and value.isdigit() else "5"
        file = Path(line.spec).name or "the spec"
        remedy = f"sweep seeds {{ vary seed in 1..{many} ... }} in {file}, then dln sweep {file}"
        return text, remedy
    if (instead := meant(plain, OPTIONS)) is None:
        long = [o for o in taken(command) if o.startswith("--")]
        near = nearest(word if word[:2] == "--" else f"--{plain}", long)
        instead = near and (near if flag(command, near) else f"{near} {{}}")
    if instead == "":
        return f"{text}, and needs none", line.with_(at, 1)
    if instead is None and f"--{plain}" in taken(*line.commands.values()):
        instead = f"--{plain} {{}}"
    if instead is not None:
        return text, replaced(line, command, instead, at, value, count)
    return in_spec(line, text, plain.replace("-", "_"), value)


def one_alone(line: CommandLine, options: tuple[str, ...]) -> str:
    """The command with the first of some options alone, or with the last alone."""
    takes_none = flag(line.commands[line.command], options[0])
    places = [i for i, w in enumerate(line.words) if w.partition("=")[0] in options]
    found = []
    for kept in (places[:1], places[-1:]):
        left = set(places) - set(kept)
        for i in () if takes_none else tuple(left):  # with its value, where that is its own word
            left |= {i + 1} if "=" not in line.words[i] and line.words[i + 1][:1] != "-" else set()
        words = [w for j, w in enumerate(line.words) if j not in left]
        found.append("dln " + shlex.join(words))
    return "; ".join(dict.fromkeys(found))


def unsaid(line: CommandLine) -> str:
    """`-D rate` without its value, which may be the next word."""
    values = {i.name: i.value.span.text for i in line.items if isinstance(i, syntax.Const)}
    for at, word in enumerate(line.words[1:], 1):
        if word in values and line.words[at - 1] == "-D":
            after = line.words[at + 1 : at + 2]
            if after and re.match(r"[\d.\[+-]+[\d\]]|[\d]", after[0]):
                return line.with_(at, 2, f"{word}={after[0]}")
            return f"-D {word}={values[word]}"
    return ""


def replaced(
    line: CommandLine, command: click.Command, instead: str, at: int, value: str | None, count: int
) -> str:
    """The command with another option, or the command that takes it."""
    option, _, wants = instead.partition(" ")
    takers = [n for n, c in line.commands.items() if option in taken(c)]
    other = "" if option in taken(command) else min(takers, key=lambda n: n != "run", default="")
    if flag(line.commands[other] if other else command, option):
        return line.with_(at, count if option == "--json" else 1, option, command=other)
    given = meant(value or "", VALUES) or value or EXAMPLES.get(option, "")
    if wants != "{}":  # the value is in the word: what follows is none of it
        count, given = (count if value in ("true", "1", "all") else 1), wants
    return line.with_(at, count, option, *([given] if given else []), command=other)


def in_spec(line: CommandLine, text: str, plain: str, value: str | None) -> tuple[str, str]:
    """What only the spec can say."""
    file = Path(line.spec).name or "the spec"
    for words, use in CONSTANTS:
        if plain in words.split():
            text += f", and {file} no constant for it" if line.spec else ""
            if value and (at := said_in(line.items, words.split())):
                start = at.source.text.rfind("\n", 0, at.start) + 1
                whole = at.source.line(at.line)
                edited = whole[: at.start - start] + value + whole[at.stop - start :]
                return text, f"{edited.strip()} in line {at.line} of {file}"
            used = f", {use.format(plain)}" if use else ""
            written = f"const {plain} = {value or '...'} in {file}, used where it is meant{used}"
            return text, f"{written}; then -D {plain}={value or '...'} turns it"
    return text, f"dln {line.command} --help"


def said_in(items: Iterable[syntax.Syntax], words: Sequence[str]) -> Span | None:
    """Where a spec says the first value of that name: a clause, or an option of a call."""
    for part in items:
        named = part.kind if isinstance(part, syntax.Clause) else getattr(part, "name", "")
        if (
            isinstance(part, syntax.Clause | syntax.Named)
            and named in words
            and part.value is not None
        ):
            return part.value.span
        if found := said_in(part.children(), words):
            return found
    return None


def constant_of(name: str, known: list[str]) -> str | None:
    """The constant of a spec that an option stands for."""
    for words, _ in CONSTANTS:
        same = [k for k in known if k in words.split()]
        if name in words.split() and name not in known and len(same) == 1:
            return same[0]
    return name if name in known else nearest(name, known)


def taken(*commands: click.Command) -> list[str]:
    """The options of commands."""
    return [o for c in commands for p in c.params if isinstance(p, click.Option) for o in p.opts]


def flag(command: click.Command, option: str) -> bool:
    """Whether an option takes no value."""
    return any(p.is_flag for p in command.params
               if isinstance(p, click.Option) and option in p.opts)  # fmt: skip


# ---- arguments ---------------------------------------------------------------------------------


def missing(line: CommandLine, name: str | None) -> tuple[str, str]:
    """An argument that was left out."""
    text, (form, example) = NEEDS.get(name or "", ("what is it about?", ["--help", ""]))
    shown = shlex.join(line.words)
    if name == "name":
        return text, f"dln {shown} {form}"
    return text, f"dln {shown} {form}, for instance dln {shown} {example}"


def too_many(line: CommandLine, said: str) -> tuple[str, str]:
    """A word too many: a constant, another spec, a phase."""
    word = said.split(" ")[0]
    at = len(line.words) - 1 - line.words[::-1].index(word) if word in line.words else -1
    text = f"dln {line.command} has no use for {cut(said)}"
    if at < 0:
        return text, ""
    if re.fullmatch(r"[A-Za-z_]\w*=.+", word):
        return text, line.with_(at, 1, "-D", word)
    if is_spec(word):
        one, other = (line.with_(line.words.index(w), 1) for w in (word, line.spec))
        return f"dln {line.command} takes one spec at a time", f"{one}; {other}"
    if word in line.names(syntax.Train) and "--phase" in taken(line.commands[line.command]):
        return text, line.with_(at, 1, "--phase", word)
    return text, line.with_(at, len(said.split(" ")))


def cut(word: str) -> str:
    """A word, its middle left out where it is long."""
    return word if len(word) <= SHOWN else f"{word[:SHOWN]}..."
