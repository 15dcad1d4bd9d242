"""The pytest plugin: `pytest --gradlint` watches every test, the fixture `gradlint_watch` one of them.

Loaded at every start of pytest, wanted or not: here is only what declares the option; the rest waits for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from gradlint.runtime import Report


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare `--gradlint`."""
    help_text = "fail tests whose training code gradlint finds errors in; list its warnings at the end"
    parser.getgroup("gradlint").addoption("--gradlint", action="store_true", help=help_text)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker; begin to watch, if that is wanted."""
    config.addinivalue_line("markers", "no_gradlint(reason): `--gradlint` does not watch this test.")
    if config.getoption("gradlint"):
        if find_spec("torch") is None:
            raise pytest.UsageError("--gradlint needs PyTorch")
        try:
            from gradlint.integrations.pytest_watching import Watching
        except ImportError as error:
            raise pytest.UsageError(str(error)) from error

        config.pluginmanager.register(Watching(), "gradlint-watching")


@pytest.fixture
def gradlint_watch() -> Iterator[Report]:
    """Watch this test and let it judge: `.diagnostics` has the findings so far, all of them after `.finish()`."""
    import gradlint

    with gradlint.watch(output=None) as report:
        yield report
