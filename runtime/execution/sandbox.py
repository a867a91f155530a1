"""The sandbox that a program's text runs in.

The text is code, so it is looked at before it is run: only straight-line calls of known array
functions, arithmetic on numbers and views are let through, and it sees no builtins.
"""

from __future__ import annotations

import ast
import builtins
import math
import re
from collections import deque
from collections.abc import Callable
from functools import cache
from types import CodeType
from typing import Any

import numpy as np

from dln.compiler.plan import Program
from dln.grammar.diagnostics import Fault
from dln.runtime.device.device import Device

NAMES = {name: getattr(builtins, name) for name in "abs min max float int bool range zip".split()}
"""The builtins that a program may call, on numbers."""


def filename(program: Program) -> str:
    """The name under which a program's text appears in tracebacks."""
    return f"<dln program {program.name}>"


def load(program: Program, device: Device, **more: object) -> Callable[..., Callable[..., None]]:
    """The function `bind` of a program's text, which sees some names more. Raises `Fault` if the
    text is not of the kind."""
    space: dict[str, Any] = {"__builtins__": {}, "math": math, **NAMES, **device.kernels, **more}
    exec(compiled(program.text, filename(program)), space)
    bind: Callable[..., Callable[..., None]] = space["bind"]
    return bind


@cache
def compiled(text: str, name: str) -> CodeType:
    """Checked and compiled text. Raises `Fault` for what is no program text."""
    tree = ast.parse(text, name)
    check(tree)
    return compile(tree, name, "exec", dont_inherit=True)


NODES = frozenset(
    "Module FunctionDef arguments arg Assign Expr Return Pass Call keyword Attribute Name Load "
    "Store Constant Tuple Subscript Slice BinOp UnaryOp BoolOp Compare IfExp Add Sub Mult Div Pow "
    "Mod FloorDiv USub UAdd Not And Or Eq NotEq Lt LtE Gt GtE For If ListComp comprehension".split()
)
PLAIN = frozenset("Assign Expr Call Load Store Constant Tuple Slice BinOp keyword arg".split())
"""Those of them of which nothing more is asked."""
FUNCTIONS = frozenset(
    "all any arange argmax argmin broadcast_to clip copyto cumsum dot einsum lib max mean min "
    "outer prod sum take where".split()
)
"""What a text may call of the array module, beside every ufunc."""
METHODS = frozenset(
    "T fill reshape transpose swapaxes ravel sum max min dot take put squeeze argmax argmin mT "
    "reduce accumulate at shape size strides stride_tricks as_strided".split()
)


def check(tree: ast.AST) -> None:
    """Raise `Fault` for anything that a program text does not consist of."""
    front = deque([tree])
    while front:  # as `ast.walk`, in a third of its time
        node = front.popleft()
        kind = type(node).__name__
        for name in node._fields:
            held = getattr(node, name, None)
            if isinstance(held, list):
                front.extend(each for each in held if isinstance(each, ast.AST))
            elif isinstance(held, ast.AST):
                front.append(held)
        if kind in PLAIN:
            continue
        wrong = _wrong(node) if kind in NODES else f"may not contain {kind}"
        if wrong and isinstance(node, ast.comprehension):
            raise Fault(f"a program text {wrong}")
        if wrong:
            raise Fault(f"a program text {wrong} (line {getattr(node, 'lineno', 0)})")


def _wrong(node: ast.AST) -> str:
    """What is wrong with a node of a kind that occurs; empty where it is as it should be."""
    match node:
        case ast.Name(id=name) if name.startswith("_"):
            return f"may not use {name}"
        case ast.FunctionDef(name=name, args=a):  # `bind` and `run`, with plain arguments
            plain = not (node.decorator_list or a.defaults or a.kw_defaults or node.returns)
            return "" if plain and name in ("bind", "run") else f"may not define {name}"
        case ast.Attribute() if not _known(node):
            return f"may not use .{node.attr}"
        case ast.For(target=ast.Name(), iter=ast.Call(func=ast.Name("range")), orelse=[]):
            return ""
        case ast.For():  # the numbers are known when the text is written
            return "loops over a range of numbers only"
        case ast.If(test=ast.Name("looked"), orelse=[]):
            return ""
        case ast.If():  # no statement depends on what others compute
            return "leaves out only what nobody looks at"
        case ast.comprehension(ifs=[], is_async=0, iter=ast.Call(func=ast.Name("range" | "zip"))):
            return ""
        case ast.comprehension(ifs=[], is_async=0, iter=ast.Name(n)) if re.fullmatch(r"w\d+", n):
            return ""
        case ast.comprehension():
            return "may not contain a list of anything but views"
    return ""


def _known(node: ast.Attribute) -> bool:
    """Attributes are functions of the array module, of `math`, or a few methods of arrays."""
    owner = node.value.id if isinstance(node.value, ast.Name) else ""
    if owner == "xp":
        return node.attr in FUNCTIONS or isinstance(getattr(np, node.attr, None), np.ufunc)
    if owner == "math":
        return not node.attr.startswith("_") and hasattr(math, node.attr)
    return node.attr in METHODS and not isinstance(node.value, ast.Constant)
