"""Loading a spec and compiling it: the verbs behind `dln.load` and the commands.

This file joins the layers: it hands the compiler the parser's trees and the readers' headers, and
the runtime the compiler's plan.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from dln.compiler.schema import arguments
from dln.compiler.schema.headers import DataSource, Schema
from dln.flags import read_flags
from dln.grammar.diagnostics import DlnError, Fault, Problem, Source, nearest
from dln.grammar.record import Record
from dln.kept.facts import SpecFacts, facts_of
from dln.kept.kept_spec import KeptSpec
from dln.kept.questions import Doors
from dln.settings import Settings, SpecOptions, chosen

if TYPE_CHECKING:
    import networkx as nx

    from dln.compiler.frontend.context.outside import Outside
    from dln.compiler.frontend.tracing.applied import Trace
    from dln.compiler.ir.graph import Node
    from dln.compiler.model import Model
    from dln.compiler.plan import Plan, Program
    from dln.given import GivenSet
    from dln.grammar import syntax
    from dln.grammar.syntax import Module
    from dln.runtime.data.raw import Read
    from dln.runtime.session import Session

LONGEST = 60  # characters of a name that is shown
STANDARD = "std.dln"  # the library: no file of that name beside a spec takes its place
LIBRARIES = ("std", "lstms", "mnist", "mnist32", "shakespeare")  # nothing runs in them


def specs_folder() -> Path:
    return Path(__file__).with_name("specs")


def lecture() -> dict[str, Path]:
    """The specs of the lecture by name, libraries included."""
    return {p.stem: p for p in sorted(specs_folder().glob("*.dln"))}


def gallery() -> dict[str, Path]:
    """The specs beyond the lecture by name, each a network of its own."""
    return {p.stem: p for p in sorted(specs_folder().glob("gallery/*.dln"))}


def shipped() -> dict[str, Path]:
    """The shipped specs by name, libraries included."""
    return lecture() | gallery()


def find(name: str) -> Path:
    """The file of a spec: a path, or the name of a shipped one. Raises DlnError with a hint."""
    path = Path(name)
    try:
        if name and path.is_file():
            return path
    except OSError:  # a name that no file can have
        path = Path(path.name[:LONGEST])
    known = shipped()
    if name.removesuffix(".dln") in known:
        return known[name.removesuffix(".dln")]
    if path.exists() and name:
        where = f"is {'a folder' if path.is_dir() else 'no ordinary file'}, not a spec"
        raise DlnError([Problem("E010", f"{name} {where}", remedy=_nearest_file(path))])
    where = "no such file" if name.endswith(".dln") or os.sep in name else "no such spec or file"
    shown = name if len(name) <= LONGEST else f"{name[:LONGEST]}..."
    remedy = _nearest_file(path) if name else ""
    remedy = remedy or nearest(path.stem, known) or "dln, which lists the shipped specs"
    raise DlnError([Problem("E010", f"{where}: {shown or 'its name is empty'}", remedy=remedy)])


def _nearest_file(path: Path) -> str:
    """The spec of a folder, of that of a path or the one at work in, that was most likely meant."""
    folder = path if path.is_dir() else path.parent
    places = [f for f in dict.fromkeys((folder, Path())) if f.is_dir()]
    here = [f / p for f in places for p in sorted(os.listdir(f))[:1000] if p.endswith(".dln")]
    if path.is_dir():
        return ", ".join(map(str, here[:5])) if here and folder == here[0].parent else ""
    same = [p for p in here if p.stem.casefold() == path.stem.casefold()]
    near = nearest(path.stem, [p.stem for p in here])
    return str(next((p for p in here if p in same or p.stem == near), ""))


def read(path: Path) -> Source:
    """The text of a spec file. Raises DlnError where it cannot be read as one."""
    try:
        return Source(str(path), path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Fault(f"cannot read {path}: {error.strerror}", code="E011").at(None) from None
    except UnicodeDecodeError as error:
        text = f"{path} is not a text in UTF-8 (byte {error.start})"
        raise Fault(text, "is this a .dln file?", "E011").at(None) from None


def used_file(path: str, user: Source) -> Source:
    """A file named after `use`: beside the user's file, or shipped. Nothing else is opened. Raises
    `Fault` E384."""
    if "\0" in path or Path(path).is_absolute() or ".." in Path(path).parts:
        raise Fault(f'use "{path}" leaves the folder of the spec', "name a file beside it", "E384")
    from dln.runtime.readers.files import within  # late: a spec may stand alone

    folder = Path(user.path).parent
    known = {p.name: p for p in shipped().values()} | {f"std/{p.name}": p for p in _library()}
    beside = os.path.lexists(folder / path)
    if path == STANDARD and beside and folder.resolve() != specs_folder().resolve():
        if f'"{path}"' in user.text:
            message = f"{path} is the library, which is always there; the file here is not read"
            raise Fault(message, "give the file another name", "E384")
        beside = False
    found = folder / path if beside else known.get(path)
    if found is None:
        there = f"{path}.dln" in known or os.path.lexists(folder / f"{path}.dln")
        hint = f"{path}.dln" if there else nearest(path, known) or ""
        raise Fault(f'there is no file "{path}"', hint and f'use "{hint}"', "E384")
    if within(found, [folder, specs_folder()]) is None:
        message = f'use "{path}" is a link that leaves the folder of the spec'
        raise Fault(message, "put the file itself there", "E384")
    if not found.is_file():
        raise Fault(f'use "{path}": this is no ordinary file', "name a file with a spec", "E384")
    return read(found)


def load_used(path: str, user: Source) -> tuple[Source, syntax.Module]:
    """A used file with its tree. Raises `Fault` E384, `DlnError` for what is no spec."""
    return parsed_source(used_file(path, user))


def parsed_source(found: Source) -> tuple[Source, Module]:
    """A used file with its tree."""
    return parsed(found.path, found.text)


@lru_cache(maxsize=32)
def parsed(path: str, text: str) -> tuple[Source, syntax.Module]:
    """A used file with its tree, which is frozen: specs that use the same text share it."""
    from dln.grammar.parser import parse_library, parse_source  # late: what is kept was parsed

    source, standard = Source(path, text), specs_folder() / STANDARD
    library = Path(path).parent == specs_folder() / "std" or Path(path) == standard
    return source, (parse_library if library else parse_source)(source)


@lru_cache(maxsize=1)
def shelf() -> Mapping[str, str]:
    """In which file of `std/` each definition stands; a file is read when a name of it is used."""
    from dln.grammar.parser import DEFINED  # late: the parser

    files = ((path.name, read(path).text) for path in _library())
    return {name: f"std/{path}" for path, text in files for name in DEFINED.findall(text)}


def _library() -> list[Path]:
    return sorted(specs_folder().glob("std/*.dln"))


def header(declared: DataSource) -> Schema:
    """The header of a data set's files."""
    from dln.runtime.readers.readers import probe  # late: many specs have no files

    return probe(declared)


def text_file(name: str, base: str) -> Source:
    """A file of drawings, looked for where data files are."""
    from dln.runtime.readers.readers import drawing  # late: few specs have drawings

    return Source(*drawing(name, base))


@arguments.found_in("spec.compile().session()")
@dataclass(frozen=True)
class Spec:
    """A spec that has been read: resolved, typed, ready to be compiled.

    `graph` is the NetworkX graph itself: nodes with `op`, `name`, `shape`, `spans` as attributes.
    What an earlier process has read is `kept`: its tree and model are made when they are asked
    for, from the texts and headers that it was asked with.
    """

    name: str
    source: Source
    given_options: SpecOptions = field(repr=False)
    kept: KeptSpec = field(repr=False)
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)
    arrays: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def syntax(self) -> syntax.Module:
        from dln.grammar.parser import parse_source  # late: what is kept was parsed before

        return parse_source(self.source)

    @cached_property
    def model(self) -> Model:
        from dln.compiler.reading import read as understood  # late: what is kept was read before

        return understood(self.source, lambda: self.syntax, self.outside())

    def outside(self, trace: Trace | None = None) -> Outside:
        """What reading it asks for; with a `trace` what is applied to what is kept there."""
        from dln.compiler.reading import Outside  # late: what is kept was read before

        asked = self.kept.questions
        return Outside(load=self._used, shelf=shelf(), probe=asked.probe, trace=trace,
                       text_file=asked.text_file, **vars(self.given_options))  # fmt: skip

    @cached_property
    def facts(self) -> SpecFacts:
        """What it holds, without its graph."""
        found = self.kept.get("facts")
        if isinstance(found, SpecFacts):
            return found
        made = facts_of(self.model)
        self.kept.settle()
        self.kept.put("facts", made)
        return made

    @cached_property
    def graph(self) -> nx.MultiDiGraph[Node]:
        return self.model.graph.annotated()

    @cached_property
    def given(self) -> Mapping[str, GivenSet]:
        """The data sets that are to be handed their examples, each with its fields and with the
        sizes that are open until it is."""
        from dln import given  # late: the syntax, which what is kept needs not

        found = given.asked(self.source, self.syntax, self._used)
        return given.described(found, self.given_options.constants)

    def _used(self, path: str, user: Source) -> tuple[Source, Module]:
        return parsed_source(self.kept.questions.use(path, user))

    @property
    def constants(self) -> Mapping[str, object]:
        return self.facts.constants

    @arguments.verb
    def compile(
        self, backend: str = "numpy", dtype: str | None = None, threads: int | None = None,
        memory_limit: int | str | None = None, data: Mapping[str, Any] | None = None,
        shards: int | None = None,
    ) -> Compiled:  # fmt: skip
        """The plan for a backend. Programs are compiled when they are first needed.

        `data` are the examples of sets that are `given(...)`, by set: `{"d": (x, label)}`; sizes
        that the spec leaves open are theirs. `dtype` overrides the precision the phases ask for,
        `shards` in how many each minibatch is summed, `threads` the number of threads of the linear
        algebra. What would take this process beyond `memory_limit` (bytes, or a text such as "2GB")
        is refused before it takes any memory. Raises DlnError where the backend cannot be had.
        """
        if data is not None:
            options = {k: v for k, v in vars(self.given_options).items() if k != "handed"}
            more = {**self.data, **arguments.by_name("data", data)}
            made = from_source(self.source, self.name, data=more, **options)
            return made.compile(backend, dtype, threads, memory_limit, shards=shards)
        from dln.kept.plans import plan_of  # late: `dln check` compiles nothing

        threads = None if threads is None else arguments.whole("threads", threads, 1)
        shards = None if shards is None else arguments.whole("shards", shards, 1)
        limit = None if memory_limit is None else arguments.memory("memory_limit", memory_limit)
        dtype = dtype if dtype is None or isinstance(dtype, str) else arguments.shown(dtype)
        backend = backend if isinstance(backend, str) else arguments.shown(backend)
        try:
            plan = plan_of(self.kept, self._compiled, backend, dtype, shards)
        except Fault as fault:
            raise fault.at(None) from None
        return Compiled(self, plan, backend, threads, limit)

    def _compiled(self, backend: str, dtype: str | None, shards: int | None) -> Plan:
        from dln.compiler.pipeline import compile_model  # late: what is kept was compiled before

        return compile_model(self.model, backend, dtype, self.name, shown(), shards)

    def __repr__(self) -> str:
        return f"Spec({self.name})"  # of any, also one that lacks its data


class Compiled(Record):
    """A spec compiled for a backend."""

    spec: Spec
    plan: Plan
    backend: str
    threads: int | None
    memory_limit: int | None = None
    describe: ClassVar[Callable[..., None] | None] = None  # of those that Python loads: `dln`

    @arguments.verb
    def session(self, seed: int = 0, read: Read | None = None, comm: object = None) -> Session:
        """Parameters with their first values, and the verbs on them: the only mutable object.

        `seed` decides every draw and order. `read` takes the place of reading the files of data.
        `comm` is a communicator of mpi4py: what is trained is shared out to its ranks, each of
        which has such a session. Raises `DlnError` E563 for what is no seed or communicator, E520
        where the device cannot be had.
        """
        from dln.runtime.opening import opened  # late: NumPy

        flags, arrays = read_flags(), self.spec.arrays
        made = opened(self.plan, self.backend, self.threads, seed, read, self.memory_limit, arrays,
                      comm, flags.poison, flags.direct)  # fmt: skip
        made.describe = self.describe
        return made

    @arguments.verb
    def text(self, program: str | None = None) -> str:
        """The text of one program, or of all, with buffer tables and totals."""
        from dln.compiler.show import plan_text  # late: seldom asked for

        names = chosen(program, self.plan.programs, "program")
        return "\n\n".join(plan_text(self.plan.programs[n]) for n in names)


def shown() -> tuple[Callable[[Program], None], ...]:
    """Who is shown each program that is compiled: the verifier of texts, where it is asked for."""
    if not read_flags().verify:
        return ()
    from dln.compiler.lower.definite import verify_program  # late: seldom asked for

    return (verify_program,)


@arguments.verb
def load(
    spec: str | os.PathLike[str],
    *,
    data_paths: Mapping[str, str] | None = None,
    data: Mapping[str, Any] | None = None,
    **constants: object,
) -> Spec:
    """Read a spec: a path, the name of a shipped one, or the text itself (more than one line).

    `constants` take the place of `const` values of the spec, `data` are the examples of sets that
    are `given(...)`: `{"d": (x, label)}`. Sizes that are open stay so until there are any. Raises
    DlnError, whose `problems` hold everything that is wrong.
    """
    whole_text = isinstance(spec, str) and "\n" in spec
    text = str(spec) if whole_text else arguments.path("the spec", spec, "mlp.dln")
    paths = arguments.by_name("data_paths", {} if data_paths is None else data_paths)
    paths = {k: arguments.path(f"data_paths: {k}", p, "mine.csv") for k, p in paths.items()}
    for name, value in constants.items():
        if isinstance(value, Mapping) and nearest(name, ["data_paths"]):
            arguments.refuse(f"load takes no {name}", "data_paths=...")
    constants = {name: arguments.constant(name, value) for name, value in constants.items()}
    examples = arguments.by_name("data", {} if data is None else data)
    path = Path("text") if whole_text else find(text)
    source = Source("<text>", text) if whole_text else read(path)
    return from_source(source, path.stem, constants, paths, data=examples)


def from_file(path: Path, given: Settings, functions: bool = False) -> Spec:
    """A spec as the options of a command want it. Raises `DlnError`."""
    made = from_source(read(path), path.stem, given.constants, given.data, functions, given.limit)
    _ = made.facts  # what is open stays open here
    return made


def from_source(
    source: Source, name: str, constants: Mapping[str, object] | None = None,
    data_paths: Mapping[str, str] | None = None, functions: bool = True, limit: int | None = None,
    anew: bool = False, data: Mapping[str, Any] | None = None,
) -> Spec:  # fmt: skip
    """A spec from its source, through parse, build and infer, unless an earlier process has done
    the same and it is not to be done `anew`. Raises `DlnError`.

    Without `functions` it can be checked and trained; its instances cannot be called. What stands
    whole of a data set has at most `limit` examples. `data` are examples by set. A spec of which
    nothing but sizes is missing is not read to its end yet.
    """
    said, paths = dict(constants or {}), dict(data_paths or {})
    sizes, handed, arrays = dict[str, int](), dict[str, Any](), dict[str, Any]()
    if data or (paths and re.search(r"\bgiven\b|^use\b", source.text, re.MULTILINE)):
        from dln.given import taken  # late: few specs are handed anything

        sizes, handed, arrays = taken(source, said, paths, data or {}, load_used)
    options = SpecOptions(constants={**sizes, **said}, data_paths=paths,
                          handed=handed, functions=functions, limit=limit)  # fmt: skip
    kept = KeptSpec(source, Doors(used_file, header, text_file), anew, name=name, **vars(options))
    made = Spec(name, source, options, kept, data or {}, arrays)
    try:
        _ = made.facts
    except DlnError as error:
        if rest := [p for p in error.problems if p.code != "E517"]:
            raise DlnError(rest) from None
    return made
