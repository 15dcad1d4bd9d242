"""Schedulers that are built and never stepped, though their optimizers are (GL202).

That nobody stepped one may be the short run's doing: the sources of all who were around are asked whether they would.
Knows frames and sources; must not know torch.
"""

from __future__ import annotations

import ast
import linecache
import re
from collections.abc import Callable, Iterator
from types import CodeType, FrameType

from gradlint.diagnostics import Location
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.optimizers import WatchedOptimizer
from gradlint.runtime.schedule import Schedule
from gradlint.runtime.sites import text_at, user_frames
from gradlint.runtime.sources import parsed, source_of
from gradlint.wordings.schedulers import NEVER_STEPPED, STEP_IT

_CALLERS = 32
_STEPS = 2


class Unstepped:
    """Who was around when schedulers were built and optimizers stepped, and which steps are known to be an optimizer's."""

    def __init__(self, ledger: Ledger, interrupted: Callable[[], bool]) -> None:
        self._ledger = ledger
        self._interrupted = interrupted
        self._around: dict[int, CodeType] = {}
        self._rows: dict[tuple[str, int], bool] = {}  # whether the user himself says `step` there
        self._by_library: set[WatchedOptimizer] = set()

    def built(self, frame: FrameType | None) -> None:
        """A scheduler was built; note who was around."""
        self._around |= {id(each.f_code): each.f_code for each in user_frames(frame, _CALLERS)}

    def stepped(self, watched: WatchedOptimizer, place: Location, frame: FrameType | None) -> None:
        """An optimizer steps at `place`; note who is around, and whether it is the user who says so."""
        key = (place.filename, place.row)
        if key not in self._rows:
            self._rows[key] = ".step(" in text_at(place)
            self.built(frame)
        if not self._rows[key]:
            self._by_library.add(watched)

    def judge(self, schedule: Schedule) -> None:
        """Report a schedule that was never stepped, unless there is a `step` that could have been its."""
        idle = schedule.taken < _STEPS or schedule.watched in self._by_library
        if schedule.built is None or schedule.held or schedule.constant or idle or self._interrupted():
            return
        trees = list(self._trees())
        if all(tree is not None and not self._could_step(filename, tree) for filename, tree in trees):
            name = _assigned(schedule.built) or schedule.name
            self._ledger.report("GL202", schedule.built, subject=name, what=NEVER_STEPPED, remedy=STEP_IT)

    def _trees(self) -> Iterator[tuple[str, ast.AST | None]]:
        """Yield the trees of the files of all who were around, or of their functions where a file is no program."""
        codes: dict[str, list[CodeType]] = {}
        for code in self._around.values():
            codes.setdefault(code.co_filename, []).append(code)
        for filename, found in codes.items():
            tree = parsed(linecache.getlines(filename))
            if tree is not None:
                yield filename, tree
            else:
                sources = map(source_of, found)
                yield from ((filename, None if source is None else source.tree) for source in sources)

    def _could_step(self, filename: str, tree: ast.AST) -> bool:
        """Tell whether a tree speaks of a `step` that no optimizer is known by; that of a scheduler returns nothing."""
        used = {
            id(node.value.func)
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        }
        return any(
            isinstance(node, ast.Attribute)
            and node.attr == "step"
            and id(node) not in used
            and (filename, node.lineno) not in self._rows
            for node in ast.walk(tree)
        )


def _assigned(place: Location) -> str:
    """Return the name to which the row of a place assigns, "" if there is none."""
    named = re.match(r"\s*([\w.]+)\s*=[^=]", linecache.getline(place.filename, place.row))
    return named[1] if named else ""
