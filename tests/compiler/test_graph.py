"""The graph: unique nodes, edges with slots, rewriting that keeps the way back."""

from __future__ import annotations

from typing import Any

import networkx as nx
import pytest

from dln.compiler.ir.graph import MOST, Graph, Node, ancestors, keep, rewrite
from dln.compiler.ir.op import Make
from dln.compiler.ir.sizes import Size, Var
from dln.compiler.ir.tensor_type import Domain, TensorType
from dln.compiler.ir.verify import faults, verify
from dln.grammar.diagnostics import Fault, Source, Span

V3 = TensorType((Size(3),))


@pytest.fixture
def make() -> Make:
    return Make(Graph())


@pytest.fixture
def x(make: Make) -> Node:
    return make("input", name="x", type=V3)


def test_equal_content_is_one_node(make: Make, x: Node) -> None:
    assert make("exp", x) is make("exp", x)
    assert make.sum(x, (0,)) is make.sum(x, [0])
    assert make("exp", x) is not make("log", x)
    assert len(make.graph) == 4


def test_attributes_and_types_tell_nodes_apart(make: Make, x: Node) -> None:
    assert make("slice", x, axis=0, start=0, stop=1) is not make(
        "slice", x, axis=0, start=1, stop=2
    )
    assert make("asserted", x, domain=Domain("prob")) is not make(
        "asserted", x, domain=Domain("positive")
    )


def test_a_square_has_two_edges(make: Make, x: Node) -> None:
    y = make.mul(x, x)
    assert sorted(make.graph.users(x)) == sorted([(y, 0), (y, 1)], key=lambda u: u[1])
    assert make.graph.nx.number_of_edges(x, y) == 2


def test_nodes_cannot_be_changed(make: Make, x: Node) -> None:
    with pytest.raises(AttributeError, match="immutable"):
        x.op = "exp"
    with pytest.raises(AttributeError):
        x.more = 1


def test_spans_join_and_the_first_name_stays(make: Make, x: Node) -> None:
    source = Source("a.dln", "abcdef")
    one, two = Span(source, 0, 1), Span(source, 2, 3)
    y = Make(make.graph, (one,))("exp", x)
    Make(make.graph, (two, one))("exp", x)
    make.graph.mark(y, (), "a")
    make.graph.mark(y, (), "b")
    assert make.graph.spans[y] == (one, two)
    assert make.graph.names[y] == "a"


def test_ancestors_come_operands_first_and_without_recursion(make: Make, x: Node) -> None:
    y = x
    for _ in range(5000):
        y = make("sin", make("exp", y))
    order = ancestors([y])
    assert len(order) == 10001
    place = {n: i for i, n in enumerate(order)}
    assert all(place[o] < place[n] for n in order for o in n.operands)


def test_annotated_is_networkx(make: Make, x: Node) -> None:
    y = make.graph.outputs["y"] = make("exp", x)
    make.graph.mark(y, (), "y")
    graph = make.graph.annotated()
    assert isinstance(graph, nx.MultiDiGraph)
    assert nx.is_directed_acyclic_graph(graph)
    assert graph.nodes[y]["shape"] == ("3",)
    assert (graph.nodes[y]["op"], graph.nodes[y]["name"]) == ("exp", "y")


def test_rewrite_replaces_and_leaves_the_argument(make: Make, x: Node) -> None:
    source = Source("a.dln", "y = -x")
    span = Span(source, 4, 6)
    y = Make(make.graph, (span,))("neg", x)
    unread = make("exp", x)
    make.graph.mark(y, (), "y")
    make.graph.outputs["z"] = z = make("sin", y)

    def rule(new: Any, node: Any, operands: Any) -> Any:
        return Make(new)("cos", *operands) if node.op == "neg" else None

    new, to = rewrite(make.graph, rule)
    assert new.outputs["z"] is to[z]
    assert to[z].operands == (to[y],)
    assert to[y].op == "cos"
    assert new.spans[to[y]] == (span,)
    assert new.names[to[y]] == "y"
    assert unread not in to
    assert make.graph.outputs["z"] is z
    assert len(make.graph) == 4


def test_keep_returns_the_node_itself_where_nothing_changed(make: Make, x: Node) -> None:
    y = make("exp", x)
    other = Graph()
    kept = other.include(x)
    assert kept is x
    assert keep(other, y, (x,)) is y


# ---- verify ------------------------------------------------------------------------------------


def test_a_sound_graph_passes(make: Make, x: Node) -> None:
    make.graph.outputs["y"] = make("exp", x)
    verify(make.graph)


def test_wrong_types_are_found(make: Make, x: Node) -> None:
    make.graph.outputs["y"] = make.graph.add("exp", (x,), TensorType((Size(4),)))
    with pytest.raises(Fault, match=r"should have type \[3\]"):
        verify(make.graph)


def test_unequal_shapes_are_found(make: Make, x: Node) -> None:
    y = make("input", name="y", type=V3)
    z = make("input", name="z", type=TensorType((Size.of(Var("n")),)))
    make.graph.outputs = {"a": make.add(x, y), "b": make.add(x, z)}
    assert any("over different shapes" in f for f in faults(make.graph, "build"))


def test_open_sizes_are_found_after_infer(make: Make) -> None:
    make.graph.outputs["y"] = make("input", name="y", type=TensorType((Size.of(Var("n")),)))
    verify(make.graph, "build")
    with pytest.raises(Fault, match="open size n"):
        verify(make.graph, "infer")


def test_symbolic_nodes_are_found_after_differentiate(make: Make, x: Node) -> None:
    s = make.sum(x, (0,))
    make.graph.outputs["g"] = make("grad", s, x)
    verify(make.graph, "infer")
    with pytest.raises(Fault, match="written out"):
        verify(make.graph)


def test_an_output_outside_is_found(make: Make, x: Node) -> None:
    make.graph.outputs["y"] = Make(Graph())("input", name="q", type=V3)
    assert "output y is not in the graph" in list(faults(make.graph))


def test_refused_operands_and_unknown_operations_are_found(make: Make, x: Node) -> None:
    make.graph.outputs["y"] = make.graph.add("and", (x, x), V3)
    assert any("is refused" in f for f in faults(make.graph))
    make.graph.add("mystery", (x,), V3)
    assert "there is no operation mystery" in list(faults(make.graph))


def test_what_stands_everywhere_keeps_some_of_its_places(make: Make, x: Node) -> None:
    """A constant of many phases is in the graph of each: all its places would be joined in all."""
    source = Source("<text>", " " * 1000)
    spans = [Span(source, i, i + 1) for i in range(3 * MOST)]
    for span in spans:
        make.graph.mark(x, (span,), "x")
    assert make.graph.about(x) == (tuple(spans[:MOST]), "x")
