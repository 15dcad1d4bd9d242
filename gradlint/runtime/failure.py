"""A backward pass that torch ended with an error: where it was, what it started from, how a report of it is made.

Must not know why it failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

from gradlint.diagnostics import Location, Severity
from gradlint.runtime.graph import heads
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.sites import NOWHERE


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed backward pass; `frame` is the user's, `iteration` the turn of its loop as well as it is known."""

    place: Location
    roots: Sequence[Any]
    frame: FrameType | None
    iteration: int

    @property
    def heads(self) -> list[Any]:
        """The nodes that the pass started from."""
        return heads(self.roots)

    def report(
        self,
        ledger: Ledger,
        code: str,
        marks: Iterable[tuple[str, Location | None]] = (),
        place: Location | None = None,
        severity: Severity | None = None,
        **names: str,
    ) -> None:
        """Enter the finding, at `place` if it is not the backward pass itself; marks that nobody knows are left out."""
        known = [(role, where) for role, where in marks if where is not None and where is not NOWHERE]
        ledger.report(code, place or self.place, known, count=1, iteration=self.iteration, severity=severity, **names)
