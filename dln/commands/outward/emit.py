"""Write a file of Python that trains the spec, or a net as ONNX."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from dln.compiler.schema.tables import DTYPES
from dln.options import OneOf, Some, Wrong, compiled, settings, takes
from dln.printing.files import put, spared
from dln.printing.terminal import Terminal, plural
from dln.reading.counts import headline
from dln.running import beginning
from dln.running.training import opened, select
from dln.runtime.session import Session
from dln.settings import Settings
from dln.spec import Spec, shipped

ORDER = 85
FULL = "free some space, or give another --to"
OF_PYTHON = {"phase": "--phase NAME", "slow": "--slow", "inference": "--inference"}
OF_ONNX = {"net": "--net NAME", "dtype": "--dtype float64"}


@click.command(help=__doc__)
@click.argument("spec")
@click.option("--to", type=Some(), metavar="FILE", help="A .py or .onnx file [SPEC.py].")
@click.option("--inference", is_flag=True, help="Only what applies the instances.")
@click.option("--net", type=Some(), metavar="NAME", help="Of ONNX: this instance.")
@click.option("--dtype", type=OneOf(DTYPES), help="Of ONNX: the precision, in place of the spec's.")
@click.option("--weights", type=Some(), metavar="RUN",
              help="With --inference and of ONNX: the parameters of a run or file.")  # fmt: skip
@takes("phase", "spec", "files")
@click.option("--slow", is_flag=True, help="Also what only slow checks need: the full recipes.")
def command(
    terminal: Terminal, /, spec: str, to: str | None, weights: str | None, **given: Any
) -> int:
    """The file, which is written whole or not at all. Raises `Wrong` for options that do not go
    with the kind of file, `Fault` E611 for a file that is there."""
    asked, kind = settings(terminal, given), Path(to or ".py").suffix
    if to in (".py", ".onnx"):
        raise Wrong(f"--to {to} is a kind of file without a name", f"--to net{to}")
    if to is not None and kind not in (".py", ".onnx"):
        stem = Path(to).stem if kind else to
        right = ".onnx" if kind.startswith(".o") else ".py"
        raise Wrong(f"--to writes .py or .onnx, not {kind or to}", f"--to {stem}{right}")
    other = OF_PYTHON if kind == ".onnx" else OF_ONNX
    for name, words in other.items():
        if given[name]:
            wanted = f"{Path(to or spec).stem}{'.py' if kind == '.onnx' else '.onnx'}"
            raise Wrong(f"{words.split()[0]} goes with --to {wanted}", f"--to {wanted} {words}")
    if to is not None and kind == ".onnx":
        spared(Path(to), force=given["force"])
        return as_onnx(terminal, spec, to, weights, given["net"], asked)
    return as_python(terminal, spec, to, weights, given, asked)


def as_python(
    terminal: Terminal, spec: str, to: str | None, weights: str | None, given: Mapping[str, Any],
    asked: Settings,
) -> int:  # fmt: skip
    """The text of a file of Python. Raises `DlnError` E586 for what cannot stand alone."""
    from dln.standalone.page import inference_page, page  # late: ONNX needs none of it

    made, inference = compiled(terminal, spec, asked), given["inference"]
    chosen = select(made.spec, asked)
    phases = [made.plan.phases[name] for name in chosen.names]
    path = Path(to or f"{made.spec.name}.py")
    spared(path, force=given["force"])
    source, arrays = made.spec.source, dict[str, NDArray[Any]]()
    if weights is not None and not inference:
        raise Wrong("--weights goes with --inference", "--inference --weights RUN")
    if inference:
        text = inference_page(made.plan, source.text, source.path)
        if weights is not None:
            session = opened(made, 0)
            beginning.taken(terminal, session, weights)
            arrays = {k: np.array(session.params[k]) for k in made.plan.params}
    else:
        model, said = made.spec.model, headline(made.spec)
        text, arrays = page(made.plan, phases, source.text, source.path, model, said)
    lines, beside = text.count("\n"), path.with_suffix(".npz" if inference else ".data.npz")
    spared(*[beside] if arrays else [], force=given["force"])
    put(path, text.encode(), FULL)
    terminal.say(f"wrote {path}: {lines} lines")
    if arrays:
        held = BytesIO()
        np.savez_compressed(held, allow_pickle=False, **arrays)
        put(beside, held.getvalue(), FULL)
        terminal.say(f"wrote {beside}, which it reads")
    terminal.data({"spec": made.spec.name, "file": str(path), "lines": lines,
                   "phases": list(chosen.names), "left_out": list(chosen.left_out)})  # fmt: skip
    return 0


def as_onnx(
    terminal: Terminal, spec: str, to: str, weights: str | None, net: str | None, asked: Settings
) -> int:
    """An instance with the weights of a run or file, else with its first values."""
    from dln.exporting.exported import onnx_file  # late: Python needs none of it

    read, session = of_run(terminal, spec, weights, asked) or of_spec(terminal, spec, asked)
    if weights is not None:
        beginning.taken(terminal, session, weights)
    made = onnx_file(read, session, net)
    put(Path(to), made.data, FULL)
    ports, results = ", ".join(made.ports), ", ".join(made.results)
    count = plural(made.operators, "operator")
    terminal.say(f"wrote {to}: {made.net}({ports}) -> {results}, {count}")
    if made.begins:
        other = [name for name, by in made.begins.items() if by]
        stands = f", but for {', '.join(other)}, as the properties of the model say"
        terminal.say(f"{', '.join(made.begins)}: 0 before the first step{stands if other else ''}")
    terminal.data({"spec": read.name, "file": to, "net": made.net, "dtype": session.plan.dtype,
                   "operators": made.operators, "ports": list(made.ports),
                   "results": list(made.results)})  # fmt: skip
    return 0


def of_spec(terminal: Terminal, spec: str, asked: Settings) -> tuple[Spec, Session]:
    made = compiled(terminal, spec, asked)
    return made.spec, opened(made, 0)


def of_run(
    terminal: Terminal, run: str, weights: str | None, asked: Settings
) -> tuple[Spec, Session] | None:
    """A run by its directory, with what it has learnt; None for what is a spec."""
    from dln.applying import opening  # late: most often it is a spec

    recorded = (Path(run) / "log.jsonl").is_file() or run not in shipped()
    if not Path(run).is_dir() or not recorded:
        return None
    if weights is not None:
        raise Wrong(f"{run} is a run, with weights of its own", f"dln emit {run} --to net.onnx")
    found = opening.opened(run, backend="numpy", dtype=asked.dtype)
    for note in found.notes:
        terminal.say(f"note: {note}")
    return found.spec, found.session
