"""What all tests share: the option `--slow`, without which tests marked slow are skipped."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow as well")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    skip = pytest.mark.skip(reason="takes long: runs with --slow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)
