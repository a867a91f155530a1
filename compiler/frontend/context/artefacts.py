"""What a task can emit: the table of its forms.

A form is a row here and a file of its name in `dln/artefacts/`, which makes and writes it.
"""

from __future__ import annotations

from dln.compiler.ir.graph import Node
from dln.compiler.model import EmittedPart
from dln.compiler.schema.records import On
from dln.compiler.schema.tables import PICTURES
from dln.grammar.diagnostics import Span
from dln.grammar.record import Record

NUMBERS = (".npy", ".csv")
FILES = (*PICTURES, *NUMBERS, ".txt")


class Form(Record):
    """What it is called, the files that it fits into, and one to `suggest` where it does not;
    whether it can be `printed` as well.

    It is made of `curves`, of one `array` (a picture of which has one to four axes), or neither.
    What is made of the examples of a data set has an `example` of how it is written; `each` names
    the classes that it takes of every example, which are counted, or `shares` of these counts are
    told; `most` says how many examples are taken where the
    spec does not, 0 for all.
    """

    what: str
    files: tuple[str, ...]
    suggest: str
    printed: bool = True
    curves: bool = False
    array: bool = False
    example: str = ""
    each: tuple[str, ...] = ()
    shares: bool = False
    most: int = 0


PLOT = Form("a plot", (*PICTURES, *NUMBERS), "curve.png", printed=False, curves=True)
FORMS = {
    "value": Form("a value", FILES, "value.npy", array=True),
    "text": Form("a text", (".txt",), "sample.txt"),
    "plot": PLOT,
    "log_plot": PLOT,
    "examples": Form(
        "examples of data", FILES, "value.npy", example="examples(x, on = mnist_test)", most=20,
        array=True,
    ),
    "confusion": Form(
        "a table of classes", FILES, "confusion.png", each=("found", "true"),
        example="confusion(argmax(net(x)), label, on = mnist_test)",
    ),
    "by_class": Form(
        "a table of shares", (*NUMBERS, ".txt"), "by_class.csv", each=("found", "true"),
        example="by_class(argmax(net(x)), label, on = mnist_test)", shares=True,
    ),
}  # fmt: skip

Part = tuple[EmittedPart, Span]
"""A part of what is emitted, and where it is written."""


class Artefact(Record, eq=False):
    """Something to be emitted, as a value of the language: a form with its parts, each with the
    place where it is written. Of examples it is made `on` a part of data, of the first `count` that
    `where` holds for."""

    form: str
    parts: tuple[Part, ...]
    on: On | None = None
    where: Node | None = None
    count: int = 0

    @property
    def what(self) -> str:
        return FORMS[self.form].what
