"""What a command and Python ask for: an instance of a session as a file of ONNX."""

from __future__ import annotations

from dln.compiler.schema import arguments
from dln.exporting.file import encoded, package
from dln.exporting.instance import instance_model
from dln.grammar.diagnostics import DlnError, Fault, Problem
from dln.grammar.record import Record
from dln.runtime.execution.instances import CallableInstances
from dln.runtime.session import Session
from dln.spec import Spec

MANY = 8  # instances that a message names


class Exported(Record):
    """A file of ONNX: the instance that is in it, its bytes, how many operators it is made of, what
    goes in and what comes out."""

    net: str
    data: bytes
    operators: int
    ports: tuple[str, ...]
    results: tuple[str, ...]


@arguments.verb
def onnx_file(spec: Spec, session: Session, net: str | None = None) -> Exported:
    """An instance with the parameters of a session, in its precision; the only one of a spec needs
    no name. Raises `DlnError` E612 where it must be named, E560, E563 and E565 for one that there
    is not or that is no function, E587 where there is none, E610 for what a model cannot hold, E613
    without the package `onnx`, E614 for more than a file holds."""
    try:
        package()
        path = named(spec, session, net)
        made = instance_model(spec.model, spec.model.functions.applied[path], session.params,
                              session.plan.dtype)  # fmt: skip
        data = encoded(made, path, f"{path} of {spec.name}.dln")
    except Fault as fault:
        raise fault.at(None) from None
    inside = sum(len(each.calls) for each in made.listing.every())
    return Exported(path, data, inside, tuple(made.listing.inputs), tuple(made.listing.outputs))


def named(spec: Spec, session: Session, net: str | None) -> str:
    """The instance that is asked for, or the only one. Raises `DlnError` as `onnx_file` says."""
    known = list(session.plan.applied)
    if net is not None:
        CallableInstances(session.programs).spec(net)
        return net
    for path in session.plan.refused if not known else ():
        CallableInstances(session.programs).spec(path)
    if not known:
        text = f"{spec.name} has no instance that could be applied"
        raise DlnError([Problem("E587", text)])
    if len(known) > 1:
        some = ", ".join(known[:MANY]) + (", ..." if len(known) > MANY else "")
        text = f"{spec.name} has {len(known)} instances, and a model of ONNX is one: {some}"
        raise DlnError([Problem("E612", text, remedy=f"--net {known[0]}")])
    return known[0]
