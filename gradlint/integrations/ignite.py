"""A handler for Ignite: `GradlintHandler().attach(trainer)`.

It does not listen to exceptions: an engine that has a handler for them raises them no longer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ignite.engine import Events

from gradlint.integrations import Session

if TYPE_CHECKING:
    from gradlint.runtime import Report


class GradlintHandler:
    """Watches the runs of an engine and logs what was wrong as a warning of the engine."""

    def __init__(self) -> None:
        self._engine: Any = None
        self._session = Session(lambda found: self._engine.logger.warning(found))

    @property
    def report(self) -> Report | None:
        """The report of the last run, or of the present one."""
        return self._session.report

    def attach(self, engine: Any) -> None:
        """Watch `engine` from its next run on."""
        engine.add_event_handler(Events.STARTED, self._begin)
        engine.add_event_handler(Events.COMPLETED, self._session.end)
        engine.add_event_handler(Events.TERMINATE, lambda: self._session.interrupt())

    def _begin(self, engine: Any) -> None:
        self._session.interrupt()  # a run of another engine, with its logger
        self._engine = engine
        self._session.begin()
