"""A frozen value with some fields changed.

Where we are in a spec changes with every name, call and list. `dataclasses.replace` goes through
all fields one by one, which takes a twentieth of the time that a spec is read in; this copies them
at once. For the type checker it is the same: a field of another name or type is an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import replace as replace
else:

    def replace(old, /, **changes):
        new = object.__new__(old.__class__)
        new.__dict__.update(old.__dict__)
        new.__dict__.update(changes)
        return new
