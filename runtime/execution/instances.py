"""Instances of blocks as functions: called with arrays, whole or step by step.

Faults: E560 no such instance, E563 wrong arguments, E565 an instance that is no function on its
own; those of `readers.validation` for arrays that do not fit, E600 where the numbers are left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dln.compiler.plan import AppliedSpec
from dln.grammar.diagnostics import DlnError, Problem
from dln.runtime.device.source_map import placed, unknown
from dln.runtime.execution.executable import Bound
from dln.runtime.execution.programs import Programs
from dln.runtime.execution.store import HostArray
from dln.runtime.readers.validation import check_fields

ASKED = ("up", "down", "free")
"""What machines are asked for by name."""


class CallableInstances:
    """The instances of a plan as functions, by path."""

    def __init__(self, programs: Programs) -> None:
        self.programs, self.plan = programs, programs.plan
        self._names: dict[str, tuple[str, ...]] = {}

    # ---- by path -------------------------------------------------------------------------------

    def known(self, path: str) -> bool:
        return path in self.plan.applied or path in self.plan.refused

    def asked_of(self, path: str) -> list[str]:
        """What a machine can be asked for, or is refused with a reason."""
        return [verb for verb in ASKED if self.known(f"{path}.{verb}")]

    def is_machine(self, path: str) -> bool:
        """Whether what stands at a path is asked for by name: `R.up`, `R.free`."""
        return not self.known(path) and bool(self.asked_of(path))

    def spec(self, path: str) -> AppliedSpec:
        """The instance at a path, as a function. Raises `DlnError` where there is none."""
        if not isinstance(path, str):
            raise unknown("E560", "instance", path, list(self.plan.applied))
        if path in self.plan.applied and path not in self.plan.refused:
            return self.plan.applied[path]
        if self.is_machine(path):
            asked = " or ".join(f"{path}.{verb}" for verb in self.asked_of(path))
            raise DlnError([Problem("E563", f"{path} is a machine: ask for {asked}")])
        if path in self.plan.refused:
            raise self._refused(path)
        raise unknown("E560", "instance", str(path), list(self.plan.applied))

    def _refused(self, path: str) -> DlnError:
        """Why an instance is no function on its own: E565."""
        reason = self.plan.refused[path]
        message = f"{path} cannot be called on its own: {reason.message}"
        return DlnError([replace(reason, code="E565", message=message)])

    # ---- called --------------------------------------------------------------------------------

    def apply(self, path: str, arrays: Sequence[object], named: Mapping[str, object]) -> Any:
        """The results on examples: one array, or several by name; first axis the example. Raises
        `DlnError`: E550 to E556 for arrays that do not fit the ports, E563 for arguments, E565 for
        an instance that cannot be called on its own."""
        spec, called = self.spec(path), f"apply:{path}"
        given = dict(zip(self._names_of(path, spec), arrays, strict=False))
        given.update(named)
        bound = None
        if len(given) == len(arrays) + len(named):  # none too many, none given twice
            bound = self.programs.again(called, given, dict, lambda: _call(path, spec))
        if bound is None:
            checked, owner = self._ports(path, spec, arrays, named)
            with placed(self.plan.texts):
                executable = self.programs.executable(spec.program)
                rows = max(map(len, checked.values()), default=1)
                bound = self.programs.run_once(executable, checked, owner, rows=rows)
            self.programs.remember(called, spec.program, bound, spec.ports, given)
        return self._results(spec, bound)

    def _names_of(self, path: str, spec: AppliedSpec) -> tuple[str, ...]:
        """The names of the ports of an instance, kept for calls that come again."""
        if path not in self._names:
            self._names[path] = tuple(p.name for p in spec.ports)
        return self._names[path]

    def apply_step(
        self,
        path: str,
        held: dict[str, HostArray],
        arrays: Sequence[object],
        named: Mapping[str, object],
    ) -> Any:
        """One step of an instance that takes sequences, on arrays [example, ...]; `held` is what it
        carries from step to step, empty before the first one, and is changed. Raises `DlnError` as
        `apply` does, and E563 where it takes no sequences or the examples are others than before.
        """
        step = self.spec(path).step
        if step is None and f"{path}.step" in self.plan.refused:
            raise self._refused(f"{path}.step")
        if step is None:
            message = f"{path} takes no sequence, so there are no steps"
            raise DlnError([Problem("E563", message, remedy=f"call {path} itself")])
        checked, owner = self._ports(f"{path}.step", step, arrays, named)
        n = len(next(iter(checked.values())))
        if held and len(next(iter(held.values()))) != n:
            message = f"{owner} has gone through sequences of another number of examples than {n}"
            raise DlnError([Problem("E563", message, remedy=f"{path}.reset() begins anew")])
        with placed(self.plan.texts):
            if not held and step.first is not None:
                held.update(self.programs.run(step.first, n=n))
            executable = self.programs.executable(step.program)
            bound = self.programs.run_once(executable, {**checked, **held}, owner, rows=n)
        held.update({key: self.programs.device.to_host(bound.values[key]) for key in step.carried})
        return self._results(step, bound)

    def _results(self, spec: AppliedSpec, bound: Bound) -> Any:
        values, to_host = bound.values, self.programs.device.to_host
        if len(spec.results) == 1:
            return to_host(values[spec.results[0]])
        return {name: to_host(values[name]) for name in spec.results}

    def _ports(
        self, path: str, spec: AppliedSpec, arrays: Sequence[object], named: Mapping[str, object]
    ) -> tuple[Mapping[str, HostArray], str]:
        """The arrays for the ports of an instance, checked, and how the call reads."""
        owner = _call(path, spec)
        if len(arrays) > len(spec.ports):
            found = f"{owner} takes {len(spec.ports)} arrays, not {len(arrays)}"
            raise DlnError([Problem("E563", found)])
        given = {p.name: a for p, a in zip(spec.ports, arrays, strict=False)}
        twice = sorted(given.keys() & named.keys())
        if twice:
            raise DlnError([Problem("E563", f"{owner} is given {twice[0]} twice")])
        return check_fields(spec.ports, {**given, **named}, owner, self.plan.texts), owner


def _call(path: str, spec: AppliedSpec) -> str:
    """How a call of an instance reads."""
    return f"{path}({', '.join(p.name for p in spec.ports)})"


class CallableInstance:
    """An instance of a block, called with arrays: `session.net(images)`.

    Arrays are given by position or by port, [example, ...] each, or [example, time, ...] of
    sequences. One that takes sequences also goes step by step: `lm = session.lm; lm.step(x)` takes
    the next element of each sequence and remembers, `lm.reset()` begins anew.
    """

    def __init__(self, functions: CallableInstances, path: str) -> None:
        self._functions, self._path = functions, path
        self._held: dict[str, HostArray] = {}

    def __call__(self, *arrays: object, **named: object) -> Any:
        return self._functions.apply(self._path, arrays, named)

    def step(self, *arrays: object, **named: object) -> Any:
        """The results for the next element of each sequence, first axis the sequence."""
        return self._functions.apply_step(self._path, self._held, arrays, named)

    def read(self, elements: object) -> HostArray:
        """Go through sequences [example, time, ...] from their beginning, but for the last element
        of each, which is given back: it is what the first `step` takes. Raises `DlnError` E563
        where there is no last element."""
        rows = np.asarray(elements)
        if rows.ndim < 2 or not rows.shape[1]:
            message = f"{self._path}.read takes sequences: [example, time, ...]"
            shape = f"this has the shape {list(rows.shape)}"
            raise DlnError([Problem("E563", message, facts=(shape,))])
        self.reset()
        for t in range(rows.shape[1] - 1):
            self.step(rows[:, t])
        return rows[:, -1]

    def reset(self) -> None:
        """Forget all steps."""
        self._held.clear()

    def __getattr__(self, name: str) -> CallableInstance:
        if name.startswith("_") or not self._functions.known(f"{self._path}.{name}"):
            raise AttributeError(f'{self._path} has no instance "{name}"')
        return CallableInstance(self._functions, f"{self._path}.{name}")

    def __repr__(self) -> str:
        if self._functions.is_machine(self._path):
            asked = ", ".join(self._functions.asked_of(self._path))
            return f"{self._path} (a machine: {asked})"
        if self._path in self._functions.plan.refused:
            return f"{self._path} (cannot be called on its own)"
        ports = ", ".join(p.name for p in self._functions.spec(self._path).ports)
        return f"{self._path}({ports})"
