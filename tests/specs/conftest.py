"""What one spec needs is compiled by one process: its tests stand side by side."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of shipped specs by the spec, so that workers that share them out compile it once."""

    def spec_of(item: pytest.Item) -> str:
        callspec = getattr(item, "callspec", None)
        return str(callspec.params.get("name", "")) if callspec is not None else ""

    mine = [i for i, item in enumerate(items) if item.path.name == "test_shipped.py"]
    for i, item in zip(mine, sorted((items[i] for i in mine), key=spec_of), strict=True):
        items[i] = item
