"""What a build is given from outside, as one record."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dln.compiler.frontend.tracing.applied import Trace
from dln.compiler.schema.headers import DataSource, Schema
from dln.grammar.diagnostics import Source
from dln.grammar.record import bundle, field
from dln.grammar.syntax import Module


@bundle(frozen=True, kw_only=True)
class Outside:
    """What a build is given from outside.

    `load(path, from)` finds and parses a used file, `shelf` says of what the library defines beside
    `std.dln` in which file it stands, `probe` reads the header of a data set,
    `text_file(name, folder)` finds and reads a file of drawings. `constants` take the place of the
    spec's, `data_paths` that of files of data sets; `handed` says of sets that have been given
    arrays how many examples those have (`count`) and what their classes are called (`names`). Of
    each part of a data set so many examples as `limit` says are taken, where one stands whole.
    Without `functions` the instances are not laid out as functions for Python, and nothing else is
    different. What is applied to what goes into the `trace`, if there is one.
    """

    load: Callable[[str, Source], tuple[Source, Module]]
    probe: Callable[[DataSource], Schema]
    shelf: Mapping[str, str] = field(default_factory=dict)
    text_file: Callable[[str, str], Source] = lambda name, folder: Source(name, "")
    constants: Mapping[str, object] = field(default_factory=dict)
    data_paths: Mapping[str, str] = field(default_factory=dict)
    handed: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    functions: bool = True
    limit: int | None = None
    trace: Trace | None = None
