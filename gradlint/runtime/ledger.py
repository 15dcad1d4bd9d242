"""The findings of a run: one per rule and place, with how often and when first.

Knows diagnostics and how they are composed; must not know torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

from gradlint.diagnostics import Confidence, Diagnostic, Location, Severity, Side
from gradlint.messages import compose


class Ledger:
    """Collects findings; `announce` hears of each one that is new."""

    def __init__(self, announce: Callable[[Diagnostic], None] = lambda diagnostic: None) -> None:
        self._found: dict[tuple[str, Location], Diagnostic] = {}
        self._announce = announce
        self.entries = 0

    def report(
        self,
        code: str,
        place: Location,
        marks: Iterable[tuple[str, Location]] = (),
        *,
        count: int = 1,
        iteration: int = 0,
        severity: Severity | None = None,
        **names: str,
    ) -> None:
        """Enter `count` more occurrences of rule `code` at `place`; the first one's words and iteration stay.

        `severity` takes the place of the rule's own.
        """
        self.entries += 1
        known = self._found.get((code, place))
        if known is not None:
            self._found[code, place] = dataclasses.replace(known, count=known.count + count)
            return
        made = compose(code, Side.RUNTIME, place, tuple(marks), confidence=Confidence.CERTAIN, **names)
        made = dataclasses.replace(made, count=count, iteration=iteration, severity=severity or made.severity)
        self._found[code, place] = made
        self._announce(made)

    @property
    def diagnostics(self) -> list[Diagnostic]:
        """The findings so far, in the order of their places."""
        return sorted(self._found.values(), key=lambda found: found.order)
