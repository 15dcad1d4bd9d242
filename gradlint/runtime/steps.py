"""A step that is running: what its gradients say of it, and what is said when it has ended.

Knows optimizers and the ledger; must not know how torch is hooked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradlint.diagnostics import Location
from gradlint.events import EventKind
from gradlint.runtime.closures import ClosureCall
from gradlint.runtime.gradients import Gradient
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.optimizers import WatchedOptimizer
from gradlint.typestate import Violation
from gradlint.wordings.updates import ALL_STEPS

if TYPE_CHECKING:
    from gradlint.runtime.listening import Arguments


@dataclass(slots=True)
class Step:
    """A `step` that is running; `caller` tells whether it still is, should it never end well."""

    watched: WatchedOptimizer
    place: Location
    caller: int
    closure: ClosureCall | None = None
    judged: bool = True
    gradient: Gradient | None = None
    version: int = 0
    violation: Violation | None = None

    def judge(self, cause: EventKind | None, outer: Step | None) -> None:
        """Take the gradients as the step finds them; the step around this one is judged with it (`cause`: a running pass)."""
        if outer is not None:
            outer.judged = False
        self.gradient = self.watched.gradients[0] if self.watched.gradients else None
        self.version = self.gradient.version if self.gradient is not None else 0
        self.violation = self.watched.before_step(cause, self.place)

    def tell(self, ledger: Ledger, violation: Violation, name: str) -> None:
        """Report what the step has broken; whether an empty one is a mistake is seen at the end."""
        moved = self.watched.moved()
        if violation.code in ("GL103", "GL104"):
            if violation.code == "GL103" or not moved:
                self.watched.empty_step(violation, name)
            return
        iteration = self.watched.steps
        marks = violation.before.marks
        ledger.report(violation.code, violation.place, marks, iteration=iteration, subject=name, steps=ALL_STEPS)


def with_closure(arguments: Arguments, closure: Callable[[], Any]) -> Arguments:
    """Return the arguments with `closure` in the place of the one that they hold."""
    args, kwargs = arguments
    if "closure" in kwargs:
        return args, {**kwargs, "closure": closure}
    return (args[0], closure, *args[2:]), kwargs
