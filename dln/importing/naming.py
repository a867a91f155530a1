"""Names in a spec for what a file calls `encoder.layers.0.linear1.weight`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from dln.compiler.frontend.expressions.builtin_functions import builtins
from dln.spec import shelf, shipped

# What exporters append to the name of a layer, and names that nobody gave.
TAILS = re.compile(
    r"weights?|bias|kernel|gamma|beta|recurrent_kernel|moving_\w+|running_\w+|matmul|biasadd|gemm"
    r"|readvariableop|resource|cast|const|coef|intercept|output|reshape|gatherv2|convolution"
    r"|tensordot|x|w|b|r|[\d_]*", re.I,
)  # fmt: skip
NOBODY = re.compile(
    r"(val|t|x|v|tmp|node|const\w*|constant|onnx|variable|tensor|keras_tensor|input|output|y)?_?\d*"
    r"|\w*__\d+",
    re.I,
)
WORD = re.compile(r"^(?:fn|block|optimiser) (\w+)", re.M)
LETTERS = "ijklmnpqrsuvabcdefgh"  # of indices
LONGEST = 24  # characters of a name
KEYWORDS = frozenset(
    "and or not if else for in as with param fixed hidden let update scan energy expect batch time "
    "others epoch progress start state block fn use const data train task sweep check".split()
)


@lru_cache(maxsize=1)
def reserved() -> frozenset[str]:
    """What a name here would hide, or be taken for."""
    library = WORD.findall(shipped()["std"].read_text("utf-8"))
    return KEYWORDS | {*builtins().names, *library, *shelf()}


def candidates(name: str) -> Iterator[str]:
    """Readable names for what a file calls so, the shortest first.

    >>> [*candidates("encoder.layers.0.linear1.weight")]
    ['linear1', 'layers0_linear1', 'encoder_layers0_linear1']
    >>> [*candidates("0.weight")], [*candidates("onnx::MatMul_12")]
    ([], [])
    """
    name = re.sub(r"(_bias|_weight)?(:\d+)?$", "", name)
    parts = [p for p in re.split(r"[/.:;\\]+", name) if p]
    while parts and TAILS.fullmatch(parts[-1]) and not parts[-1].isdigit():
        parts.pop()
    joined: list[str] = []
    for part in parts:
        word = re.sub(r"\W", "_", part, flags=re.A).strip("_").lower()
        if word.isdigit() and joined:
            joined[-1] += word
        elif word and not word.isdigit():
            joined.append(word)
    if not joined or NOBODY.fullmatch(joined[-1]) or parts[0].lower() == "onnx":
        return
    for k in range(1, len(joined) + 1):
        found = "_".join(joined[-k:])
        if 1 < len(found) <= LONGEST and found[0].isalpha():
            yield found if found not in reserved() else f"{found}1"


class Names:
    """The names of a block, each once."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self.taken = {*taken}

    def free(self, name: str) -> bool:
        return name not in self.taken and name not in reserved()

    def new(self, hints: Iterable[str], plain: str) -> str:
        """The first hint that is free, else the plain name with a number."""
        for hint in hints:
            if self.free(hint):
                return self.take(hint)
        k = 1
        while not self.free(f"{plain}{k}"):
            k += 1
        return self.take(f"{plain}{k}")

    def take(self, name: str) -> str:
        self.taken.add(name)
        return name

    def indices(self, timed: list[bool]) -> list[str]:
        """Index names for axes, t for those that run over time."""
        letters = iter([c for c in LETTERS if c not in self.taken])
        times = iter([c for c in ("t", "r", "s") if c not in self.taken])
        return [next(times if over else letters) for over in timed]
