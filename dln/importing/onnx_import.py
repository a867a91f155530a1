"""An ONNX model as a spec with its weights, held against onnxruntime where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dln.grammar.diagnostics import DlnError, Fault, Source
from dln.importing import onnx_file
from dln.importing.comparing import Compared, compared
from dln.importing.model import FileModel
from dln.importing.spec_text import Written, double, spec_of
from dln.importing.walking import understood
from dln.printing.files import put, spared
from dln.printing.terminal import Terminal
from dln.spec import from_source

REMEDY = "free some space, or give another --to"


def imported(terminal: Terminal, file: Path, target: Path, force: bool) -> int:
    """Write the spec and its weights; 1 where it computes other numbers than the file says. Raises
    `DlnError` E615 to E622, `Fault` E542, E611 for files that are there."""
    spared(target, target.with_suffix(".safetensors"), force=force)
    model = onnx_file.read(file)
    found = understood(model)
    written = spec_of(model, found, target)
    session = filled(written, target, "float64" if double(model) else "float32")
    result = compared(model, found, session)
    if isinstance(result, Compared) and not result.agrees:
        target = target.with_suffix(".differs.dln")
        written.text = (
            f"# It computes other numbers than {file.name}: do not use it.\n{written.text}"
        )
        spared(target, target.with_suffix(".safetensors"), force=force)
    beside = target.with_suffix(".safetensors")
    put(target, written.text.encode(), REMEDY)
    session.save(beside)
    terminal.say(f"wrote {target}: {written.text.count(chr(10))} lines")
    terminal.say(f"wrote {beside}: {written.learnt:,} parameters")
    return told(terminal, model, target, written, result)


def filled(written: Written, target: Path, dtype: str) -> Any:
    """A session of the spec with the weights of the file. Raises `Fault` E620 where they are not
    those of the spec, E622 where it cannot be read."""
    try:
        spec = from_source(Source(str(target), written.text), target.stem)
        session = spec.compile(dtype=dtype).session()
    except DlnError as error:
        first = error.problems[0]
        message = f"what {target} would be is no spec: {first.message}"
        raise Fault(message, "report it, with the file", "E622") from error
    if session.params.keys() != written.weights.keys():
        odd = sorted({*session.params} ^ {*written.weights})
        raise Fault(
            f"the parameters of the spec are not those of the file: {', '.join(odd[:5])}",
            code="E620",
        )
    for path, array in written.weights.items():
        session.params[path][...] = array
    return session


def told(
    terminal: Terminal, model: FileModel, target: Path, written: Written, result: Compared | str
) -> int:
    """What came of the comparison. Raises `Fault` E620 where the numbers differ."""
    facts: dict[str, Any] = {
        "file": model.file, "spec": str(target), "weights": str(target.with_suffix(".safetensors")),
        "parameters": written.learnt,
    }  # fmt: skip
    if isinstance(result, str):
        terminal.say(f"not compared: {result}")
        terminal.data({**facts, "compared": False, "why": result})
        return 0
    size = f"{result.difference:.1e}, of numbers up to {result.scale:.3g}"
    if not result.agrees:
        message = f"the spec computes other numbers than {result.by} of {model.file}: by {size}"
        raise Fault(message, f"look at {target}, report it, and do not use it", "E620")
    terminal.result(f"largest difference from {result.by}: {size}")
    terminal.data({**facts, "compared": True, **vars(result)})
    return 0
