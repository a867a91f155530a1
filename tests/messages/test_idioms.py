"""What people write who come from other tools: whole specs, each with one such habit.

The texts and messages are golden cases of the compiler, `tools.txt` and `habits.txt`. Here each
remedy is put in place, and those that are left until none is: what comes out is read.
"""

import re
from pathlib import Path

import pytest

import dln
from dln.grammar import remedies
from dln.grammar.diagnostics import DlnError
from dln.grammar.idioms import operations, statements
from dln.grammar.idioms.forms import Idiom

GOLDEN = Path(__file__).parents[1] / "compiler" / "golden"
STEPS = 6  # remedies for one spec, at most
# Those that are told what to write in words alone: what is meant is more than a line, or open.
TOLD = {
    "numpy: slice with a step", "numpy: len",
    "torch: class with forward", "torch: the loop of training", "torch: backward in a phase",
    "torch: no_grad", "keras: compile and fit", "keras: padding same",
    "keras: metrics accuracy", "jax: grad of a function",
    "jax: lax.scan", "darknet: cfg", "convnetjs: layer_defs", "python: f-string",
    "training: lr in the header", "training: vary an option", "recurrence: for t in range",
    "Keras Sequential", "sweep over an instance's option",
    "a task that calls the net on the data", "sgd learning_rate momentum nesterov",
    "for 5 epoch:", "train(net, mnist)", "import torch",
    "return_sequences", "num_layers", "append", "elif", "watch every 10", "net.eval()",
    "len(mnist)", "lambda inline", "while",
}  # fmt: skip


def specs() -> dict[str, str]:
    """The texts of the golden cases, by name."""
    found = {}
    for name in ("tools.txt", "habits.txt"):
        parts = re.split(r"^==== (.*)\n", (GOLDEN / name).read_text(), flags=re.MULTILINE)[1:]
        cases = zip(parts[::2], parts[1::2], strict=True)
        found.update({case: part.split("----\n")[0] for case, part in cases})
    return found


def mended(text: str) -> str:
    """A spec after all of its remedies, as far as they go; the message that is left."""
    for _ in range(STEPS):
        try:
            dln.load(text)
        except DlnError as error:
            found = next(filter(None, map(remedies.edit, error.problems)), None)
            if found is None:
                return str(error)
            text = found.changed
        else:
            return ""
    return "no end"


SPECS = specs()


@pytest.mark.parametrize("name", SPECS)
def test_remedies_mend_it(name: str) -> None:
    assert bool(mended(SPECS[name])) == (name in TOLD)


def test_most_are_mended_by_what_is_printed() -> None:
    assert len(TOLD) <= len(SPECS) / 3


@pytest.mark.parametrize("row", [*operations.REFUSED, *statements.ROWS], ids=lambda r: r.form)
def test_every_form_is_read(row: Idiom) -> None:
    assert row.pattern.groupindex.keys() or row.form
    assert row.says and not row.says.endswith(".")
