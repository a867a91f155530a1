"""What becomes of a mutant when its remedies are applied as they are written."""

import re
from dataclasses import dataclass

from dln.compiler.fingerprint import fingerprint
from dln.grammar.diagnostics import CHOICES, DlnError
from dln.grammar.parser import parse
from dln.grammar.printer import to_text
from dln.grammar.remedies import edit
from dln.grammar.syntax import Check, Sweep, Task
from dln.spec import Spec
from mutation.edits import Edit, tokens
from mutation.judging import Answer, answer

ROUNDS = 4
RESTORED, OTHER, ERROR, ADVICE, ABSENT = "restored", "other", "error", "advice", "absent"


@dataclass(frozen=True)
class Mended:
    """What a remedy did, with the text that it led to."""

    outcome: str
    text: str = ""


def mended(found: Answer, slip: Edit, name: str, original: Spec) -> Mended:
    """The remedy of the first problem applied, then that of what is left, some times."""
    first = found.problems[0]
    if not first.remedy or first.remedy.startswith(CHOICES):
        return Mended(ABSENT)
    if (change := edit(first)) is None:
        return Mended(ADVICE)
    text = change.changed
    for _ in range(ROUNDS):
        if same_text(text, slip, original):
            return Mended(RESTORED, text)
        again = answer(text, name)
        if again.made is not None:
            same = alike(again.made, original)
            return Mended(RESTORED if same else OTHER, text)
        if (change := edit(again.problems[0])) is None or change.span.source.text != text:
            break
        text = change.changed
    return Mended(ERROR, text)


def alike(one: Spec, two: Spec) -> bool:
    """Whether two specs of other texts give the same numbers, in the same tasks and checks."""
    try:
        return asked(one) == asked(two) and fingerprint(one.model) == fingerprint(two.model)
    except DlnError:  # data that are not given yet may leave open what there is a model of
        return False


def same_text(text: str, slip: Edit, spec: Spec) -> bool:
    """Whether a text is that of a spec, but for its layout, or for another name where the slip had
    changed one, there and wherever it is used."""
    if slip.old.isidentifier() and slip.text.isidentifier():
        text = renamed(text, slip)
    if text.split() == spec.source.text.split():
        return True
    try:
        return to_text(parse(text)) == to_text(spec.syntax)
    except DlnError:
        return False


def renamed(text: str, slip: Edit) -> str:
    """A text with the old name at the place of a slip, and in its uses: where the original has it
    and this text the new one."""
    words, own = tokens(text), tokens(slip.original)
    changed = [
        a for a, b in zip(words, own, strict=False) if (a.text, b.text) == (slip.text, slip.old)
    ]
    if len(words) != len(own) or len(changed) < 2:
        return re.sub(rf"\b{slip.text}\b", slip.old, text)
    for word in reversed(changed):
        text = text[: word.start] + slip.old + text[word.stop :]
    return text


def asked(spec: Spec) -> tuple[object, ...]:
    """What a fingerprint leaves out: how long phases last, tasks, sweeps, checks."""
    items = tuple(i for i in spec.syntax.items if isinstance(i, Check | Sweep | Task))
    lasting = [p.duration for p in spec.model.phases.values()]
    return to_text(spec.syntax.changed(items=items)), repr(lasting)
