"""What a command and Python ask for: an instance of a session as a file of ONNX."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from dln.compiler.model import Applied
from dln.compiler.schema import arguments
from dln.exporting.file import encoded, package
from dln.exporting.instance import instance_model
from dln.exporting.listing import Array
from dln.grammar.diagnostics import DlnError, Fault, Problem
from dln.grammar.record import Record
from dln.runtime.execution.instances import CallableInstances
from dln.runtime.session import Session
from dln.spec import Spec

MANY = 8  # instances that a message names
STEP = ".step"


class Exported(Record):
    """A file of ONNX: the instance that is in it, its bytes, how many operators it is made of, what
    goes in and what comes out; of one step what is carried, and whether it begins as other
    numbers than 0."""

    net: str
    data: bytes
    operators: int
    ports: tuple[str, ...]
    results: tuple[str, ...]
    begins: Mapping[str, bool]


@arguments.verb
def onnx_file(spec: Spec, session: Session, net: str | None = None) -> Exported:
    """An instance with the parameters of a session, in its precision; the only one of a spec needs
    no name. Raises `DlnError` E612 where it must be named, E560, E563 and E565 for one that there
    is not or that is no function, E587 where there is none, E610 for what a model cannot hold, E613
    without the package `onnx`, E614 for more than a file holds."""
    try:
        package()
        path = named(spec, session, net)
        applied, begins = function(spec, session, path)
        made = instance_model(spec.model, applied, session.params, session.plan.dtype)
        told = {k: json.dumps(v.tolist()) for k, v in begins.items() if v.any()}
        data = encoded(made, path, f"{path} of {spec.name}.dln", told)
    except Fault as fault:
        raise fault.at(None) from None
    inside = sum(len(each.calls) for each in made.listing.every())
    return Exported(path, data, inside, tuple(made.listing.inputs), tuple(made.listing.outputs),
                    {name: name in told for name in begins})  # fmt: skip


def named(spec: Spec, session: Session, net: str | None) -> str:
    """The instance that is asked for, or the only one. Raises `DlnError` as `onnx_file` says."""
    known, callable = list(session.plan.applied), CallableInstances(session.programs)
    if net is not None:
        base = net.removesuffix(STEP)
        if net == base or net in session.plan.refused or callable.spec(base).step is None:
            callable.spec(net)
        return net
    for path in session.plan.refused if not known else ():
        callable.spec(path)
    if not known:
        text = f"{spec.name} has no instance that could be applied"
        raise DlnError([Problem("E587", text)])
    if len(known) > 1:
        some = ", ".join(known[:MANY]) + (", ..." if len(known) > MANY else "")
        text = f"{spec.name} has {len(known)} instances, and a model of ONNX is one: {some}"
        raise DlnError([Problem("E612", text, remedy=f"--net {known[0]}")])
    return known[0]


def function(spec: Spec, session: Session, path: str) -> tuple[Applied, Mapping[str, Array]]:
    """An instance as a function; of one step what is carried goes in and comes out, and is given as
    it begins, for one example."""
    known = spec.model.functions.applied
    if path in known:
        return known[path], {}
    base = path.removesuffix(STEP)
    step, planned = known[base].step, session.plan.applied[base].step
    assert step is not None and planned is not None and planned.first is not None
    ports = {k: held for k, (_, held, _) in step.carried.items()}
    after = {f"{k}.next": value for k, (_, _, value) in step.carried.items()}
    begins = {k: np.asarray(v)[0] for k, v in session.programs.run(planned.first, n=1).items()}
    return step.changed(path=path, ports={**step.ports, **ports},
                        results={**step.results, **after}, carried={}), begins  # fmt: skip
