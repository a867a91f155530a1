"""Amounts of memory as people write and read them."""

from __future__ import annotations

import re

POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
FORM = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*([KMGT]?)(I?B)?", re.IGNORECASE | re.ASCII)


def bytes_of(text: str) -> int | None:
    """The bytes that a text says; None where it says none. `GB` is 10^9, `G` and `GiB` are 2^30.

    >>> bytes_of("2GB"), bytes_of("1.5 GiB"), bytes_of("512M"), bytes_of("4096"), bytes_of("much")
    (2000000000, 1610612736, 536870912, 4096, None)
    """
    found = FORM.fullmatch(text.strip())
    if found is None or len(text) > 40:
        return None
    number, unit, ending = float(found[1]), found[2].upper(), (found[3] or "").upper()
    if not unit and ending == "IB":
        return None
    base = 1000 if ending == "B" else 1024
    return int(number * float(base ** POWERS[unit]))


def said(count: int) -> str:
    """Bytes in three digits.

    >>> said(950), said(1_250_000), said(98_765_432_100)
    ('950 bytes', '1.25 MB', '98.8 GB')
    """
    for power, unit in ((4, "TB"), (3, "GB"), (2, "MB"), (1, "KB")):
        if count >= 999.5 * 1000 ** (power - 1):
            return f"{count / 1000**power:.3g} {unit}"
    return f"{count} bytes"
