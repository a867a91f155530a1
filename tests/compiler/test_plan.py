"""Plans as data: extents, memory, the way through JSON."""

from __future__ import annotations

import json

from dln.compiler.ir.graph import Graph
from dln.compiler.ir.op import Make
from dln.compiler.ir.sizes import BATCH_SIZE, Size
from dln.compiler.ir.tensor_type import TensorType
from dln.compiler.lower.emit import lower
from dln.compiler.lower.targets import TARGETS
from dln.compiler.plan import (
    ALIGNMENT,
    Program,
    added,
    arena_bytes,
    at,
    memory,
    product,
    program_from_json,
    program_to_json,
    site_number,
    slot_offsets,
)
from dln.compiler.schema import keys
from dln.grammar.diagnostics import Source, Span


def example(dtype: str = "float32") -> Program:
    graph = Graph()
    m = Make(graph, (Span(Source("a.dln", "y = exp(x) + c"), 4, 10),))
    x = m("input", name="x", type=TensorType((BATCH_SIZE, Size(3)), ("batch",)))
    W = m("param", path="W", type=TensorType((Size(3),)))
    pairs = m.const(((1.0, 2.0, 3.0),))
    row = m("broadcast", m("reshape", pairs, shape=(Size(3),), running=()),
            axes=(1,), shape=x.type.shape, running=("batch",))  # fmt: skip
    y = m.add(m.add(m("exp", x), row), m("clock", name="epoch"))
    graph.outputs = {
        keys.value("y"): y,
        keys.value("top"): m("argmax", m("tanh", y), axis=1),
        keys.new_param("W"): m.scale(W, 0.5),
    }
    return lower("t", graph, TARGETS["numpy"], dtype, capacity=10)


def test_products_of_extents() -> None:
    for n in (0, 1, 7):
        assert at(product(((2, 3), (4, 0), (5, 0))), n) == (2 + 3 * n) * 4 * 5
        assert at(product(((0, 1), (2, 3), (1, 1))), n) == n * (2 + 3 * n) * (1 + n)
        assert at(added([(1, 2), (0, 0, 3), (5, 0)]), n) == 6 + 2 * n + 3 * n**2
    assert product(()) == (1, 0)


def test_a_program_survives_json() -> None:
    program = example()
    text = json.dumps(program_to_json(program))
    back = program_from_json(json.loads(text))
    assert back == program
    place = back.lines[0].place
    assert (
        place is not None
        and isinstance(place.start, int)
        and isinstance(back.buffers[0].shape, tuple)
    )


def test_the_arena_is_known_for_any_number_of_examples() -> None:
    program = example()
    for n in (1, 10, 1000):
        offsets = slot_offsets(program, n)
        assert all(o % ALIGNMENT == 0 for o in offsets)
        for slot, (a, b) in zip(
            program.slots, zip(offsets, offsets[1:], strict=False), strict=True
        ):
            assert b - a >= at(slot, n)
        assert arena_bytes(program, n) == offsets[-1]


def test_memory_by_place() -> None:
    found = memory(example("float64"), 10)
    assert found["input"] == 10 * 3 * 8
    assert found["value"] == 10 * 3 * 8 + 10 * 8
    assert found["param"] == 3 * 8
    assert found["state"] == 0


def test_sites_are_numbered_the_same_everywhere() -> None:
    """The first 8 bytes of SHA-256 of "abc", FIPS 180-4: ba7816bf 8f01cfea."""
    assert site_number("abc") == int.from_bytes(bytes.fromhex("ba7816bf8f01cfea"), "little")
