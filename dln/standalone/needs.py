"""What a file needs beside its own functions, cut out of the source of dln, and what it imports."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dln.runtime.device.kernels import KERNELS
from dln.standalone.cutting import function

PIECES = """
    idx idx_of tensors handed sets_of fields drawn settled pick philox uniform permutation
    replacement cast marks in_shards over tallied estimate report heard fold finished picked shown
    save checked verdict brief wide
"""
TABLES = "counted shares share_rows of_counts of_shares aligned percent commas quoted"
PRODUCTS = "gemm add_rows add_scaled address lies openblas"
ORDERS = "WORD words unit stream balanced even"
SOURCES = {
    **dict.fromkeys(KERNELS, "runtime/device/kernels.py"),
    **dict.fromkeys(PIECES.split(), "standalone/pieces.py"),
    **dict.fromkeys(TABLES.split(), "standalone/class_tables.py"),
    **dict.fromkeys(PRODUCTS.split(), "runtime/device/openblas.py"),
    **dict.fromkeys(ORDERS.split(), "runtime/readers/sampling_order.py"),
    **dict.fromkeys(("LineDescent", "search", "cubic"), "standalone/descent.py"),
    "windows": "standalone/program/layouts.py",
    "class_weights": "runtime/execution/programs.py",
}
"""Where in the package what a file may need stands."""

IMPORTS = {
    "argparse": "import argparse", "ctypes.": "import ctypes", "gzip.": "import gzip",
    "json.": "import json",
    "math.": "import math", "time.": "import time",
    "@cache": "from functools import cache",
    "= reduce(": "from functools import reduce", "Path(": "from pathlib import Path",
}  # fmt: skip


def helpers(body: str, wide: int, drawn: bool) -> Iterator[str]:
    """The functions that a text calls, and those that these call; `wide` is the longest name of a
    phase, `drawn` whether fields of data are drawn."""
    wanted = {n for n in SOURCES if re.search(rf"(?<![\w.]){n}\(", body)}
    made: dict[str, str] = {}
    inside = re.compile(rf"(?<![\w.])({'|'.join(SOURCES)})[(,]|\b(WORD)\b")
    while wanted - made.keys():
        for name in sorted(wanted - made.keys()):
            made[name] = fitting(helper(name), wide, drawn)
            wanted |= {a or b for a, b in inside.findall(made[name].partition("\n")[2])}
    for name in SOURCES:
        if name in made:
            yield "\n" + made[name]


def fitting(text: str, wide: int, drawn: bool) -> str:
    """A function that is needed, for this file: where nothing is drawn, examples are taken as they
    are."""
    text = text.replace("WIDE", str(wide))
    if drawn:
        return text
    return re.sub(
        r"pick\((\w+), (.+?), update\)(\)?)", r"{k: a[\2] for k, a in \1.items()}\3", text
    )


def helper(name: str) -> str:
    """The text of a function that a file needs; one that fills an array gives it as well."""
    made = function(SOURCES[name], name)
    kernel = SOURCES[name].endswith("kernels.py")
    return made + "\n    return out" if kernel else made


def imports(body: str) -> Iterator[str]:
    """What a text imports."""
    body = re.sub(r"#.*", "", body)
    asked = [
        line for word, line in IMPORTS.items() if re.search(rf"(?<!\w){re.escape(word)}", body)
    ]
    yield "import " + ", ".join([line[7:] for line in asked if line.startswith("import")] + ["os"])
    parts = [line for line in asked if line.startswith("from")]
    yield from ["; ".join(parts)] if parts else []
    yield 'os.environ["OPENBLAS_NUM_THREADS"] = "1"; import numpy as np  # one thread, same bits'
