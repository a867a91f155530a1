"""A scene laid out by Graphviz, where its `dot` is installed."""

from __future__ import annotations

import shutil
import subprocess

from dln.drawing import text_forms
from dln.drawing.scene import Scene
from dln.grammar.diagnostics import Fault

PATIENCE = 60  # seconds


def drawn(scene: Scene, suffix: str) -> bytes:
    """The picture as a file of that suffix (.svg, .png or .pdf). Raises `Fault` E576 where `dot` is
    not found, gives no picture or takes more than a minute."""
    program = shutil.which("dot")
    if program is None:
        remedy = "install Graphviz, or leave out --graphviz: dln lays pictures out itself"
        raise Fault(
            "--graphviz needs the command dot of Graphviz, which is not on PATH", remedy, "E576"
        )
    text = text_forms.dot(scene).encode()
    try:
        made = subprocess.run(
            [program, f"-T{suffix.removeprefix('.')}"],
            input=text,
            capture_output=True,
            timeout=PATIENCE,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _failed(str(error)) from error
    if made.returncode or not made.stdout:
        raise _failed(made.stderr.decode(errors="replace"))
    return made.stdout


def _failed(said: str) -> Fault:
    lines = said.strip().splitlines()
    reason = f": {lines[0]}" if lines else ""
    return Fault(f"dot of Graphviz gave no picture{reason}", "leave out --graphviz", "E576")
