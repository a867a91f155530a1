"""The shipped tables are those of the grammar, and the grammar has no conflicts."""

import json
from pathlib import Path
from typing import Any

import pytest
from lark import Lark
from lark.parsers.lalr_analysis import LALR_Analyzer

from dln.grammar import tables


def test_the_shipped_tables_are_fresh() -> None:
    shipped = json.loads(tables.SHIPPED.read_text())
    fresh = tables.analyse(tables.GRAMMAR.read_text())
    for data in (shipped, fresh):
        data["grammar"] = data["grammar"].split()[0]  # another Lark makes the same tables
    assert shipped == fresh, "run python -m dln.grammar.tables"


def test_no_conflicts() -> None:
    made = Lark(tables.GRAMMAR.read_text(), parser="lalr", keep_all_tokens=True)
    analyse: Any = LALR_Analyzer(made.parser.parser_conf, strict=True)  # Lark gives it no types
    analyse.compute_lalr()


def test_a_changed_grammar_is_analysed_afresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = tmp_path / "dln.lark"
    changed.write_text(tables.GRAMMAR.read_text() + "\n// changed\n")
    monkeypatch.setattr(tables, "GRAMMAR", changed)
    fresh = tables.load()
    assert fresh["grammar"] == tables.fingerprint(changed.read_text())
    assert len(fresh["rows"]) == len(json.loads(tables.SHIPPED.read_text())["rows"])


def test_damaged_tables_are_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / "dln.tables.json"
    damaged.write_text("{")
    monkeypatch.setattr(tables, "SHIPPED", damaged)
    assert tables.load()["grammar"] == tables.fingerprint(tables.GRAMMAR.read_text())
    tables.main()
    assert json.loads(damaged.read_text()) == tables.load()
