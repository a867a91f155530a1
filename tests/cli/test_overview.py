"""dln alone: the specs by the slides of the lecture, and what is read from their comments."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dln.reading.facts import LAST, Facts, facts_of, read_facts
from dln.reading.overview import listed
from dln.spec import LIBRARIES, gallery, shipped

SPECS = {name: path for name, path in shipped().items() if name not in LIBRARIES}


@pytest.mark.parametrize("name", SPECS)
def test_every_shipped_spec_names_its_slides_or_stands_outside(name: str) -> None:
    facts = facts_of(SPECS[name])
    assert facts.title
    assert facts.slides or "# Beyond the lecture" in SPECS[name].read_text()
    assert facts.source or not facts.slides


def test_the_specs_are_listed_by_slide(dln: Callable[..., Any]) -> None:
    lines = dln().out.partition("Shipped specs")[2].splitlines()
    names = [words[0] for line in lines[1:] if (words := line.split()) and words[0] in SPECS]
    assert names == sorted(SPECS, key=lambda n: facts_of(SPECS[n]).order)
    beyond = [n for n in names if not facts_of(SPECS[n]).slides]
    assert names[0] == "perceptron" and sorted([*gallery(), "tour"]) == beyond
    assert dln().out.index("Beyond the lecture:") < dln().out.index(f"  {beyond[0]} ")
    assert "  mlp " in dln().out and " 16, 17 " in dln().out


def test_a_long_title_goes_on_below() -> None:
    title = "a title of many words " * 5
    text = listed([Facts("second", title.strip(), "9"), Facts("first", "short", "7, 8")])
    lines = text.splitlines()
    assert lines[0].split() == ["first", "7,", "8", "short"]
    assert max(map(len, lines)) <= 80 and len(lines) == 3
    assert " ".join(" ".join(lines[1:]).split()) == f"second 9 {title.strip()}"


@pytest.mark.parametrize(
    ("said", "slides", "order"),
    [
        ("A net. Slide 9.", "9", (9,)),
        ("A net. Slides 11 - 14, 20 and 22. Source: X.", "11-14, 20, 22", (11, 14, 20, 22)),
        ("A net (slides 25-27; Karpathy 2015).", "25-27", (25, 27)),
        ("A net. The slide of 9.", "", LAST),
    ],
)
def test_slides_are_numbers_and_ranges(said: str, slides: str, order: tuple[Any, ...]) -> None:
    facts = read_facts("net", said)
    assert (facts.title, facts.slides, facts.order) == ("A net", slides, (order, "net"))


def test_nothing_is_known_of_a_spec_without_a_comment(tmp_path: Path) -> None:
    (tmp_path / "bare.dln").write_text("const a = 1\n")
    assert facts_of(tmp_path / "bare.dln") == Facts("bare")
