"""What `pytest --gradlint` does: errors fail the test that made them, warnings are listed at the end of the session.

A test that failed on its own keeps its own failure, with the errors below it. Knows pytest; loaded with the option only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

import gradlint
from gradlint.diagnostics import Severity
from gradlint.integrations import text

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from gradlint.diagnostics import Diagnostic

_WARNING = "gradlint"  # the name of the property by which a warning travels, also from a worker of xdist


class Watching:
    """The hooks of a session that is watched."""

    def __init__(self) -> None:
        self._session = ExitStack()
        self._remembers = False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        """Watch a test, unless it declines or watches itself."""
        if item.get_closest_marker("no_gradlint") or "gradlint_watch" in getattr(item, "fixturenames", ()):
            return (yield)
        self._remember()
        failed = True
        try:
            with gradlint.watch(output=None) as report:
                result = yield
            failed = False
        finally:
            _tell(item, report.diagnostics, failed)
        return result

    def _remember(self) -> None:
        """Know the optimizers by heart, from the first test on: each test that looked for them would be slow."""
        if not self._remembers:
            self._session.enter_context(gradlint.remembering())
            self._remembers = True

    @pytest.hookimpl
    def pytest_unconfigure(self) -> None:
        """The session is over."""
        self._session.close()

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        """List the warnings, each once."""
        reports = [each for group in terminalreporter.stats.values() for each in group]
        found = (value for each in reports for name, value in getattr(each, "user_properties", ()) if name == _WARNING)
        if lines := dict.fromkeys(found):
            terminalreporter.section("gradlint")
            for line in sorted(lines):
                terminalreporter.write_line(line)


def _tell(item: pytest.Item, found: list[Diagnostic], failed: bool) -> None:
    errors = [each for each in found if each.severity is Severity.ERROR]
    for each in found:
        if each.severity is Severity.WARNING:
            item.user_properties.append((_WARNING, text([each], "concise").splitlines()[0]))
    if not errors:
        return
    if failed:
        item.add_report_section("call", "gradlint", text(errors))
    else:
        pytest.fail(text(errors), pytrace=False)
