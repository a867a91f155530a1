"""Blocks and functions that have been written: their text, and what they give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from drawing.choices import Shape
from drawing.terms import Env, Var, literal


@dataclass
class Block:
    """A block that has been written: what it takes, gives and owns, and its equations."""

    name: str
    ports: list[Var]
    result: Var
    heads: list[Any]
    lines: list[str]
    runs: list[Callable[[Env], None]]
    values: dict[str, Any]
    fixed: dict[str, Any]
    parts: dict[str, Block]
    names: dict[int, str] = field(default_factory=dict)

    @property
    def loops(self) -> bool:
        return any(line.lstrip().startswith("scan") for line in self.lines)

    @property
    def timed(self) -> bool:
        return any(p.steps for p in self.ports)

    def text(self) -> str:
        ports = ", ".join(port(v, self.names) for v in self.ports)
        heads = [h if isinstance(h, str) else declared(h, self.names) for h in self.heads]
        body = "".join(f"  {line}\n" for line in (*heads, *self.lines))
        return f"block {self.name}({ports}) -> {port(self.result, self.names)} {{\n{body}}}\n"

    def params(self, path: str) -> Env:
        """The first values of its parameters, those of its parts among them."""
        own = {f"{path}.{k}": v for k, v in self.values.items()}
        for name, part in self.parts.items():
            own |= part.params(f"{path}.{name}")
        return own

    def apply(self, given: Env, params: Env, path: str) -> Any:
        env: Env = {**given, **self.fixed, "": (params, path)}
        env |= {k: params[f"{path}.{k}"] for k in self.values}
        for run in self.runs:
            run(env)
        return env[self.result.key]


def dims(shape: Shape, names: dict[int, str], time: bool = False) -> str:
    found = ["time"] * time + [names.get(n, str(n)) for n in shape]
    return f"[{', '.join(found)}]" if found else ""


def port(v: Var, names: dict[int, str]) -> str:
    of_classes = f": class({v.classes})" if v.classes else ""
    return v.text + dims(v.shape, names, bool(v.steps)) + of_classes


def declared(head: tuple[str, Var, Any], names: dict[int, str]) -> str:
    word, v, value = head
    return f"{word} {v.text}{dims(v.shape, names)} = {literal(value)}"


@dataclass
class Function:
    """A `fn` of the spec; with a signature it takes tensors of these shapes and gives a number."""

    name: str
    text: str
    fn: Any
    shapes: tuple[Shape, ...] | None
    arity: int


@dataclass
class World:
    """What the blocks of a spec may use."""

    functions: list[Function] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    ragged: bool = False
