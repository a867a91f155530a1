"""What an ONNX file holds once it has been read: plain records, arrays, nothing of protobuf."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dln.grammar.diagnostics import DlnError, Fault, clean

Array: TypeAlias = NDArray[Any]
SHOWN = 60  # characters of a name in a message


@dataclass(frozen=True)
class FileNode:
    """An operator applied. `number` is its place in the file, from 1; an input that is left out is
    the empty name."""

    op: str
    domain: str
    name: str
    number: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    @property
    def where(self) -> str:
        """Which node it is, for messages."""
        named = f" {shown(self.name)}" if self.name else ""
        return f"node {self.number}{named}"


@dataclass(frozen=True)
class FilePort:
    """An input or an output of the graph: a number for each fixed axis, a name or None for an open
    one; `dims` is None where the file does not say how many axes there are."""

    name: str
    dims: tuple[int | str | None, ...] | None
    dtype: np.dtype[Any] | None


@dataclass(frozen=True)
class FileModel:
    """A graph in the order of its nodes, with its constants as arrays."""

    file: str
    nodes: tuple[FileNode, ...]
    constants: Mapping[str, Array]
    inputs: tuple[FilePort, ...]
    outputs: tuple[FilePort, ...]
    opsets: Mapping[str, int]
    producer: str
    proto: Any = field(repr=False, compare=False)


class Unsaid(Exception):
    """What a spec cannot say of a node: the operator's part of a message, without its place. It
    may be `of_axes`, which are read as other than they are: then another reading may tell more."""

    def __init__(self, message: str, remedy: str = "", of_axes: bool = False) -> None:
        super().__init__(message)
        self.message, self.remedy, self.of_axes = message, remedy, of_axes


def refused(node: FileNode, unsaid: Unsaid) -> DlnError:
    """The same with its place in the file, E616."""
    op = shown(f"{node.domain}.{node.op}" if node.domain else node.op)
    return Fault(f"{op} ({node.where}): {unsaid.message}", unsaid.remedy, "E616").at(None)


def shown(name: str) -> str:
    """A name out of a file in a message: on one line, and not too long."""
    name = clean(name).replace("\n", " ")
    return f"{name[:SHOWN]}..." if len(name) > SHOWN else name
