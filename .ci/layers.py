"""Print how much of each layer the tests have run, lines and branches together.

The goal is all of the actions of the grammar and of the rules of shapes and derivatives, and 95 %
of the rest: exits with 1 where it is less.
Reads what `pytest --cov` has left.
"""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import coverage

ROWS = {
    "actions of the grammar": ("grammar/actions.py",),
    "rules of shapes and derivatives": ("compiler/ir/ops/", "compiler/autodiff/"),
    "grammar": ("grammar/",),
    "compiler": ("compiler/",),
    "runtime": ("runtime/",),
    "dln": ("dln/",),
}
RULES = 2  # rows of which all is to be run
LEAST = 95.0


def counted(files: dict[str, dict[str, dict[str, int]]], starts: tuple[str, ...]) -> float:
    """Per cent of the lines and branches of the files that begin so."""
    found = [f["summary"] for name, f in files.items() if name.startswith(starts)]
    run = sum(s["covered_lines"] + s["covered_branches"] for s in found)
    return 100 * run / max(1, sum(s["num_statements"] + s["num_branches"] for s in found))


def main() -> int:
    data = coverage.Coverage()
    data.load()
    with TemporaryDirectory() as folder:
        path = Path(folder, "coverage.json")
        try:
            data.json_report(outfile=str(path))
        except coverage.exceptions.NoDataError:
            print("nothing was measured to the end")
            return 1
        files = json.loads(path.read_text())["files"]
    found = {name: counted(files, starts) for name, starts in ROWS.items()}
    rules = [start for starts in list(ROWS.values())[:RULES] for start in starts]
    rest = {name: f for name, f in files.items() if not name.startswith(tuple(rules))}
    found["all but the first two"] = counted(rest, ("",))
    for name, share in found.items():
        print(f"{share:6.2f} %  {name}")
    shares = list(found.values())
    return 0 if min(shares[:RULES]) == 100 and shares[-1] >= LEAST else 1


sys.exit(main())
