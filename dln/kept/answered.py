"""What a spec was told of the files around it, kept with its run: it is read again without them.

The texts of used files and the headers of data files are what decides sizes, the names of classes
and of columns. With them a run is opened where its spec or its data lie no longer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dln.compiler.schema.headers import ColumnFacts, DataSource, Schema
from dln.grammar.diagnostics import Fault, Source
from dln.kept.as_text import Unkept, by_names, from_plain, to_plain
from dln.kept.questions import Doors, Questions

FILE = "headers.json"
IN_SPEC = ("rows", "synthetic")  # readers whose data stand in the spec


def answered(asked: Questions, spec: str, shipped: frozenset[str], given: Mapping[str, Any]) -> str:
    """What was told of files, as text; nothing where there are none. Folders stand as seen from
    that of the `spec`. Texts that are `shipped` are left out; `given` is what the spec was given
    beside its text."""
    texts, headers, glyphs = dict[str, list[str]](), dict[str, Any](), dict[str, list[str]]()
    for key, answer in asked.answers.items():
        if isinstance(answer, Schema):
            declared = from_plain(json.loads(key)[1], {})
            if declared.reader not in IN_SPEC:
                plain = by_names(to_plain(_short(declared, answer)))
                headers[_header_key(declared, spec)] = plain
        elif isinstance(answer, Source) and answer.path not in shipped:
            kind, name, where = json.loads(key)
            if kind == "use":
                texts[key] = [answer.path, answer.text]
            else:
                glyphs[_text_key(name, where, spec)] = [answer.path, answer.text]
    if not texts and not headers and not glyphs:
        return ""
    held = {"texts": texts, "headers": headers, "drawings": glyphs, "given": to_plain(dict(given))}
    return json.dumps(held) + "\n"


def _header_key(declared: DataSource, spec: str) -> str:
    """The question for a header, wherever the spec lies: what it says, and no default."""
    held = to_plain(declared.changed(base=_seen(declared.base, spec)))["r"][1:]
    said = {k: v for k, v in zip(declared._fields, held, strict=True) if v is not None}
    return json.dumps(["probe", said], sort_keys=True)


def _text_key(name: str, folder: str, spec: str) -> str:
    return json.dumps(["text", name, _seen(folder, spec)])


def _seen(folder: str, spec: str) -> str:
    """A folder as seen from that of the spec."""
    return os.path.relpath(folder or ".", os.path.dirname(os.path.abspath(spec)))


def _short(declared: DataSource, answer: Schema) -> Schema:
    """A header without what no reading asks again: how often each number of a column occurs."""
    if answer.table is None:
        return answer
    listed: Any = declared.options.get("classes", ())
    coded = {column for _, column, _ in listed}

    def short(k: int, c: ColumnFacts) -> ColumnFacts:
        plain = c.kind == "number" and k not in coded and c.distinct > 100
        return c.changed(words=(), counts=()) if plain else c

    columns = {k: short(k, c) for k, c in answer.table.columns.items()}
    return replace(answer, table=answer.table.changed(columns=columns))


def doors(text: str, others: Doors, spec: str, name: str) -> tuple[Doors, dict[str, Any]]:
    """What answers as the files did, and asks `others` what these were not asked; and what the spec
    was given. Raises `Fault` E541 for a text that dln has not written, of the file `name`."""
    try:
        held = json.loads(text)
        found: dict[str, Any] = {
            key: Source(*said) for kind in ("texts", "drawings") for key, said in held[kind].items()
        }
        found |= {key: from_plain(said, {}) for key, said in held["headers"].items()}
        given = dict(from_plain(held["given"], {}))
    except (ValueError, TypeError, KeyError, AttributeError, Unkept) as e:
        raise Fault(f"{name} is damaged", "put back the file as it was", "E541") from e
    return _Answers(found, others, spec).doors, given


class _Answers:
    def __init__(self, found: Mapping[str, Any], others: Doors, spec: str) -> None:
        self.found, self.others, self.spec = found, others, spec
        self.doors = Doors(self._use, self._probe, self._text)

    def _use(self, path: str, user: Source) -> Source:
        known = self.found.get(json.dumps(["use", path, user.path]))
        return known if isinstance(known, Source) else self.others.use(path, user)

    def _probe(self, declared: DataSource) -> Schema:
        known = self.found.get(_header_key(declared, self.spec))
        return known if isinstance(known, Schema) else self.others.probe(declared)

    def _text(self, name: str, folder: str) -> Source:
        known = self.found.get(_text_key(name, folder, self.spec))
        return known if isinstance(known, Source) else self.others.text_file(name, folder)
