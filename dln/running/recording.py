"""What is written down of a run before it begins: all that its numbers depend on, with hashes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dln.compiler.plan import Plan
from dln.kept import answered
from dln.printing.terminal import plain, present
from dln.reading.resolved import resolved
from dln.runtime.checkpoint.checkpoint import sha256
from dln.runtime.checkpoint.rundir import (
    MANIFEST,
    RESOLVED,
    SPEC,
    RunDirectory,
    machine,
    manifest_text,
)
from dln.runtime.data.class_names import class_names
from dln.runtime.readers import readers
from dln.runtime.readers.files import within
from dln.settings import Settings
from dln.spec import Compiled, Spec, specs_folder

WORDS = ("data", "epochs", "limit", "phase", "slow", "dtype", "backend", "threads", "seed")
"""The settings of a run that its log holds, beside the constants."""
PYTHON = "python"
"""What the log of a run says that Python trained."""
LATER = ("shards",)
"""Settings that came later: the log holds those that were given."""


Begun = Mapping[str, Any] | None
"""What a manifest says of the parameters that a run began with, if it took them from elsewhere."""


def manifest_of(
    spec: Spec, compiled: Compiled, given: Settings, text: str, begun: Begun = None,
    files: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """What the manifest of a run holds; `files` with the hashes of those of data."""
    plan = compiled.plan
    return {
        "seed": given.seed, "threads": given.threads, "backend": given.backend,
        "dtype": plan.dtype, "constants": dict(spec.constants), "fingerprint": plan.fingerprint,
        "resolved": sha256(text.encode()),
        "sources": {_called(path, spec): sha256(text.encode()) for path, text in
                    plan.texts.items()},
        "data": data_hashes(compiled) if files else {},
        **({} if begun is None else {"from": begun}), **of_tables(plan),
    }  # fmt: skip


def of_tables(plan: Plan) -> dict[str, Any]:
    """What the data sets have of their tables: the names of classes in their order, by field, and
    the numbers that stand for missing ones, by column."""
    classes = {name: list(names) for name, names in class_names(plan).items()}
    fills: dict[str, Any] = {name: d.options.get("fill", ()) for name, d in plan.data.items()}
    filled = {name: dict((str(k), v) for k, v in fill) for name, fill in fills.items() if fill}
    return present(classes=classes or None, filled=filled or None)


def written(
    rundir: RunDirectory, spec: Spec, compiled: Compiled, given: Settings, path: str, text: str,
    begun: Begun = None,
) -> None:  # fmt: skip
    """Write the texts and the manifest of a run, and into its log what it was asked for."""
    manifest = manifest_text(**manifest_of(spec, compiled, given, text, begun))
    files = {SPEC: spec.source.text, RESOLVED: text, MANIFEST: manifest}
    if headers := _headers(spec, path):
        files[answered.FILE] = headers
    words = {word: plain(getattr(given, word)) for word in WORDS} | later(vars(given))
    rundir.begin(files, spec=path, constants=dict(given.constants), **words,
                 manifest=sha256(manifest.encode()))  # fmt: skip


def from_python(compiled: Compiled, rundir: RunDirectory, seed: int) -> None:
    """Write down what a run is of that Python trains, so that it can be opened. On what it trains
    is not known here, so that it cannot be replayed: its log says so."""
    spec, plan = compiled.spec, compiled.plan
    kinds = {plan.programs[phase.step].dtype for phase in plan.phases.values()}
    given = Settings(
        constants=dict(spec.given_options.constants), data=dict(spec.given_options.data_paths),
        backend=compiled.backend, threads=compiled.threads, seed=seed,
        dtype=kinds.pop() if len(kinds) == 1 else None,
    )  # fmt: skip
    text, path = resolved(spec), spec.source.path
    facts = {**manifest_of(spec, compiled, given, text, files=False), PYTHON: True}
    manifest = manifest_text(**facts)
    files = {SPEC: spec.source.text, RESOLVED: text, MANIFEST: manifest}
    if headers := _headers(spec, path):
        files[answered.FILE] = headers
    words = {word: plain(getattr(given, word)) for word in WORDS}
    rundir.begin(files, spec=path, constants=dict(given.constants), **words, **{PYTHON: True},
                 manifest=sha256(manifest.encode()))  # fmt: skip


def later(said: Mapping[str, Any]) -> dict[str, Any]:
    """Of what settings or the log of a run say what came later, as far as it was given."""
    return present(**{word: said.get(word) for word in LATER})


def _headers(spec: Spec, path: str) -> str:
    """What the spec was told of files, but for texts that are dln's own."""
    own, asked = [specs_folder()], spec.kept.questions
    shipped = frozenset(p for p in asked.sources if within(Path(p), own) is not None)
    return answered.answered(asked, path, shipped, vars(spec.given_options))


def expected(
    spec: Spec, compiled: Compiled, given: Settings, text: str, begun: Begun = None
) -> dict[str, Any]:
    """The whole manifest as it would be written now, as it is read back."""
    now = manifest_of(spec, compiled, given, text, begun)
    found: dict[str, Any] = plain({**now, **machine()})
    return found


def data_hashes(compiled: Compiled) -> Mapping[str, Mapping[str, str]]:
    """SHA-256 of each file of each data set, by the name that the spec has for it, and of those
    that phases `load`; of the files of a pattern one."""
    known: dict[Path, str] = {}
    found: dict[str, dict[str, str]] = {}
    plan = compiled.plan
    asked = [(name, data.source) for name, data in plan.data.items()]
    asked += [("load", load.file) for phase in plan.phases.values() for load in phase.loads]
    for name, source in asked:
        if readers.reader_of(source).files:
            found.setdefault(name, {})
            for word, paths in readers.paths(source).items():
                for path in (path for path in paths if path not in known):
                    known[path] = file_hash(path)
                found[name][word] = known[paths[0]] if len(paths) == 1 else hash_of(paths, known)
    return found


def hash_of(paths: Sequence[Path], known: Mapping[Path, str]) -> str:
    """One SHA-256 for several files, in their order."""
    return sha256("\n".join(known[path] for path in paths).encode())


def file_hash(path: Path) -> str:
    """SHA-256 of the bytes of a file, read a piece at a time."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _called(path: str, spec: Spec) -> str:
    """A source of a spec by a name that is the same on every machine, where it lies beside the spec
    or is shipped."""
    if path == spec.source.path:
        return "spec.dln"
    shipped, beside = specs_folder(), Path(spec.source.path).parent
    for folder, before in ((shipped, "dln:"), (beside, "")):
        if within(Path(path), [folder]) is not None:
            return before + os.path.relpath(os.path.realpath(path), os.path.realpath(folder))
    return path
