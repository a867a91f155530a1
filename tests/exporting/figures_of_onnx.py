"""The table of `docs/onnx.md`: every instance of every shipped spec against onnxruntime.

PYTHONPATH=tests/exporting python tests/exporting/figures_of_onnx.py [--write] [NAME...]
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from comparing.differences import Row, rows

PAGE = Path(__file__).parents[2] / "docs/onnx.md"


def table(found: list[Row]) -> str:
    head = "| spec | instances | operators | float32 | float64 |\n| --- | --- | --- | --- | --- |\n"
    return head + "".join(f"| {' | '.join(map(str, row))} |\n" for row in found)


def main(words: list[str]) -> None:
    names = [word for word in words if word != "--write"]
    text = table([row for row in rows(names)])
    print(text, end="")
    if "--write" in words:
        page = PAGE.read_text("utf-8")
        made = re.sub(r"(?<=<!-- table -->\n).*(?=<!-- end -->)", text, page, flags=re.DOTALL)
        PAGE.write_text(made, "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
