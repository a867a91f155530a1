"""Plans that are kept: the plan itself, and each of its programs from when it is first compiled.

A program from the cache is a text like any other: it is looked at before it becomes code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from dln.compiler.plan import Plan, Program, ProgramTable
from dln.kept.kept_spec import KeptSpec

Compile = Callable[[str, str | None, int | None], Plan]
"""A plan for a target, in a precision and so many shards, where those are said."""


def plan_of(
    kept: KeptSpec, compiled: Compile, target: str, dtype: str | None, shards: int | None = None
) -> Plan:
    """The plan of a spec, as it is kept or as it is compiled."""
    what = f"{target} {dtype or 'its own'}" + ("" if shards is None else f" shards {shards}")
    made = partial(compiled, target, dtype, shards)
    held, names = KeptPrograms(kept, made, what), [k for k in Plan._fields if k != "programs"]
    found = kept.get(f"plan {what}")
    sources = kept.questions.sources
    if isinstance(found, tuple) and len(found) == 2:
        alike, fields = found
        if list(fields) == names and set(fields["texts"]) <= set(sources):
            held.alike = alike
            texts = {path: sources[path].text for path in fields["texts"]}
            return Plan(**{**fields, "texts": texts, "programs": ProgramTable(held)})
    plan = held.plan
    fields = {**{k: getattr(plan, k) for k in names}, "texts": tuple(plan.texts)}
    kept.put(f"plan {what}", (held.alike, fields))
    return plan.changed(programs=ProgramTable(held))


class KeptPrograms(Mapping[str, Program]):
    """The programs of a plan by the texts of their keys. `alike` gives of each the first that is
    made of the same: such are one."""

    def __init__(self, kept: KeptSpec, compiled: Callable[[], Plan], what: str) -> None:
        self.kept, self.compiled, self.what = kept, compiled, what
        self.made: dict[str, Program] = {}
        self._plan: Plan | None = None
        self._alike: Mapping[str, str] | None = None

    @property
    def plan(self) -> Plan:
        """The plan as it is compiled, where that is needed."""
        if self._plan is None:
            self._plan = self.compiled()
        return self._plan

    @property
    def alike(self) -> Mapping[str, str]:
        if self._alike is None:
            self._alike = self.plan.programs.alike
        return self._alike

    @alike.setter
    def alike(self, found: Mapping[str, str]) -> None:
        self._alike = found

    def __getitem__(self, name: str) -> Program:
        first = self.alike[name]
        if first not in self.made:
            self.made[first] = self._found(name, first)
        return self.made[first]

    def _found(self, name: str, first: str) -> Program:
        place = f"program {self.what} {first}"
        found = self.kept.get(place)
        if isinstance(found, Program):
            return found.changed(name=name)
        made = self.plan.programs[name]
        self.kept.put(place, made)
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(self.alike)

    def __len__(self) -> int:
        return len(self.alike)
