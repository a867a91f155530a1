"""Planted faults: each wrong rule, and each wrong step, is found and named.

The oracle is the plant: a rule of which a person knows that it is wrong. Without one nothing is
found, on a spec whose programs meet all these rules.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache, reduce
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

import dln
from dln.bisecting.comparing import differences
from dln.bisecting.given import Given
from dln.bisecting.lowering import Lowered
from dln.bisecting.rewrites import Bisection
from dln.cli import carried_out
from dln.compiler.ir.graph import Node
from dln.compiler.lower.writer import Writer
from dln.compiler.passes.rewriting import Rule, Terms
from dln.compiler.pipeline import recipes
from dln.compiler.plan import ProgramKey
from dln.compiler.stages import part

PASSES = "simplify stabilise fold prune guard fission"
MODULES = {name: import_module(f"dln.compiler.passes.{name}") for name in PASSES.split()}
TABLED = (MODULES["simplify"], MODULES["stabilise"])
SPEC = Path(__file__).with_name("many.dln")
Wrong: TypeAlias = Callable[[Terms, Node, Node], Node]


@cache
def bisection(program: str) -> Bisection:
    """A program of the spec with its results before any rewrite, for all plants."""
    made = dln.load(SPEC)
    key, plan = ProgramKey.parse(program), made.compile(dtype="float64").plan
    recipe = recipes(made.model, "float64")[key]
    given = Given(made.model, plan, 0).to(recipe, key)
    return Bisection(given, part(made.model, recipe.outputs))


def tables(name: str, wrong: Wrong) -> Mapping[Any, Mapping[str, tuple[Rule, ...]]]:
    """The tables of rules with one of them made wrong."""

    def planted(rule: Rule) -> Rule:
        def apply(m: Terms, node: Node) -> Node | None:
            good = rule.apply(m, node)
            return None if good is None or good is node else wrong(m, node, good)

        return rule.changed(apply=apply) if rule.name == name else rule

    return {
        module: {op: tuple(map(planted, rules)) for op, rules in module.TABLE.items()}
        for module in TABLED
    }


def turned(m: Terms, node: Node, good: Node) -> Node:
    """W' @ x for W @ x, where nobody sees it by the shape."""
    x, _ = good.operands
    if len(x.type.shape) != 2 or x.type.shape[0] != x.type.shape[1]:
        return good
    return m("contract", *good.operands, **{**good.attrs, "left": good["left"][::-1]})


def other_axis(m: Terms, node: Node, good: Node) -> Node:
    return m("softmax", *good.operands, axes=(0,))


def one_further(m: Terms, node: Node, good: Node) -> Node:
    start, stop = good["start"] + 1, good["stop"] + 1
    return m("slice", *good.operands, axis=good["axis"], start=start, stop=stop)


# The rule, and what it does instead.
PLANTS: dict[str, Wrong] = {
    # a sign
    "zero minus": lambda m, node, good: good.operands[0],
    "even of negative": lambda m, node, good: m.neg(good),
    "logistic": lambda m, node, good: m("sigmoid", m.neg(good.operands[0])),
    # another operation
    "common factor": lambda m, node, good: m.mul(
        good.operands[0], m("sub" if node.op == "add" else "add", *good.operands[1].operands)
    ),
    "subtract negative": lambda m, node, good: m.sub(*good.operands) if good.op == "add" else good,
    "log of picked": lambda m, node, good: m("pick", *node.operands[0].operands),
    "exp near zero": lambda m, node, good: m("exp", *good.operands),
    "log one plus exp": lambda m, node, good: m("maximum", *good.operands, m.const(0.0)),
    # a term or a factor that is gone
    "add negative": lambda m, node, good: m.shaped(good.operands[0], node),
    "times zero": lambda m, node, good: m.shaped(node.operands[0], node),
    "sum of multiple": lambda m, node, good: good.operands[-1],
    "sum of broadcast": lambda m, node, good: good.operands[1],  # not summed over the examples
    # another number
    "add self": lambda m, node, good: m.scale(node.operands[0], 3.0),
    "divide by number": lambda m, node, good: m.mul(m.const(0.3), good.operands[1]),
    "small power": lambda m, node, good: m.mul(good, good),
    # the wrong way round
    "negative difference": lambda m, node, good: m.sub(*good.operands[::-1]),
    "sum of products": turned,
    # the wrong place
    "normalised exp": other_axis,
    "slice of joined": one_further,
    "sum of sum": lambda m, node, good: m.mul(good, m.const(1.0 + 1e-6)),
}


def test_there_are_twenty_wrong_rules() -> None:
    assert len(PLANTS) >= 20


@pytest.mark.parametrize("program", ["step:fit", "step:again"])
def test_without_a_fault_nothing_is_found(program: str) -> None:
    found = bisection(program)
    graph, log = found.optimised()
    assert log and found.wrong(graph, log) == [] and found.first() is None
    lowered = Lowered(program, graph, found.given)
    assert lowered.wrong() == [] and lowered.first() is None


@pytest.mark.parametrize("name", PLANTS)
def test_a_wrong_rule_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = {r.name for m in TABLED for rs in m.TABLE.values() for r in rs}
    assert name in rules
    for module, table in tables(name, PLANTS[name]).items():
        monkeypatch.setattr(module, "TABLE", table)
    found = bisection("step:fit").first()
    assert found is not None and found.firing is not None
    assert found.firing.rule == name
    assert found.firing.spans and found.results and 0 < found.number <= found.of


# ---- passes that have no table of rules --------------------------------------------------------


def inverted(made: Any) -> Any:
    """Guarded where it is not needed."""
    return lambda self, m, need, like: m("not", made(self, m, need, like))


OTHERS: dict[str, tuple[str, str, Callable[[Any], Any]]] = {
    "constants": ("fold", "evaluated", lambda made: lambda node: made(node) + 1),
    "unread state": ("prune", "is_state", lambda made: lambda node: False),
    "guard": ("guard", "GuardWriter._test", inverted),
    "fission": ("fission", "reduce", lambda made: lambda f, terms: made(f, terms[:-1])),
}


@pytest.mark.parametrize("rule", OTHERS)
def test_a_wrong_pass_is_named(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, what, wrong = OTHERS[rule]
    *way, last = what.split(".")
    holder = reduce(getattr, way, MODULES[name])
    monkeypatch.setattr(holder, last, wrong(getattr(holder, last)))
    program = "step:again" if name == "fission" else "step:fit"
    found = bisection(program).first()
    assert found is not None and found.firing is not None
    assert (found.stage, found.firing.rule) == (name, rule)


# ---- lowering ----------------------------------------------------------------------------------


def test_a_wrong_line_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the text adds and the graph says subtract: at the first line that should subtract."""
    passes, usual = bisection("step:fit"), Writer.code
    graph, _ = passes.optimised()
    lines = Lowered("step:fit", graph, passes.given).program.lines
    monkeypatch.setattr(Writer, "code", lambda self, call, text: usual(self, call, text).replace(
        "subtract(", "add("))  # fmt: skip
    lowered = Lowered("step:fit", graph, passes.given)
    fault = lowered.first()
    assert lowered.wrong() and fault is not None and fault.line is not None
    first = next(line for line in lines if "subtract(" in line.code)
    assert (fault.line.op, fault.line.formula) == (first.op, first.formula)


def test_a_wrong_step_of_a_loop_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    passes, usual = bisection("step:again"), Writer.code
    graph, _ = passes.optimised()
    monkeypatch.setattr(Writer, "code", lambda self, call, text: usual(self, call, text).replace(
        "tanh(", "square("))  # fmt: skip
    lowered = Lowered("step:again", graph, passes.given)
    fault = lowered.first()
    assert lowered.wrong() and fault is not None and fault.line is not None
    assert fault.line.code.startswith("for t in range(5)")


# ---- the command -------------------------------------------------------------------------------


def test_the_command_names_the_rule_and_its_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module, table in tables("exp near zero", PLANTS["exp near zero"]).items():
        monkeypatch.setattr(module, "TABLE", table)
    assert carried_out(["bisect", str(SPEC), "--program", "step:fit"]) == 1
    said = capsys.readouterr().out
    assert (
        "stabilise: exp near zero (equal up to rounding), rewrite " in said
        and "in step:fit" in said
    )
    assert "in step:fit" in said and "many.dln:20:" in said
    assert said.endswith("rewrites: 1 with wrong results\n")
    assert carried_out(["bisect", str(SPEC), "--program", "step:fit", "--json"]) == 1
    fault = json.loads(capsys.readouterr().out)["programs"]["step:fit"]["fault"]
    assert fault["rule"] == "exp near zero" and fault["changes"][0]["before"] != 0


# ---- what counts as different ------------------------------------------------------------------


def test_what_rounding_changes_is_no_difference() -> None:
    """1 - (1 - e) has lost the digits of e that the sum with 1 has no room for."""
    e = np.array([3e-14])
    before, after = {"y": 1 - (1 - e)}, {"y": e}
    exact = {"y": (1 - (1 - e.astype(np.longdouble))).astype(float)}
    assert abs(before["y"] / e - 1) > 1e-4
    assert differences(before, after, 1e-9, lambda: exact) == []
    (found,) = differences(before, {"y": 2 * e + 1e-9}, 1e-9, lambda: exact)
    assert (found.output, found.at) == ("y", (0,))


def test_what_was_no_number_is_not_compared_and_what_becomes_none_is() -> None:
    fine, none = np.array([1.0, 2.0]), np.array([1.0, np.nan])
    assert differences({"y": none}, {"y": fine}, 1e-9, lambda: {"y": none}) == []
    (found,) = differences({"y": fine}, {"y": none}, 1e-9, lambda: {"y": fine})
    assert found.at == (1,) and found.before == 2.0
