"""What torch refuses outside of a backward pass: the error that leaves the run, the user's call in it, and torch's frames below.

Knows tracebacks; must not know torch, its messages or rules.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any

from gradlint.diagnostics import Location
from gradlint.runtime.sites import Origin, locate, origin_of
from gradlint.runtime.sources import Source, source_of


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error: the user's frame and the place of his call, and the frames of torch's below it, the outermost first.

    `around` are the frames that called the user's, the nearest first: of a generator nobody else knows.
    """

    message: str
    frame: FrameType
    place: Location
    below: tuple[FrameType, ...]
    around: tuple[FrameType, ...] = ()

    @property
    def source(self) -> Source | None:
        """The source of the user's function."""
        return source_of(self.frame.f_code)

    @property
    def call(self) -> ast.Call | None:
        """The call that was refused."""
        source = self.source
        return source.call_at(self.place) if source is not None else None

    def local(self, function: str, name: str) -> Any:
        """Return a local variable of torch's function of that name, None if there is none."""
        return next((each.f_locals.get(name) for each in self.below if each.f_code.co_name == function), None)

    @property
    def given(self) -> list[ast.expr]:
        """The arguments of the call, by position and by name."""
        call = self.call
        return [] if call is None else [*call.args, *(each.value for each in call.keywords)]


def refusal_of(error: BaseException) -> Refusal | None:
    """Return what an error says and where it comes from, None if no code of the user's is around it."""
    entries = list(_entries(error.__traceback__))
    last = max((i for i, each in enumerate(entries) if _is_users(each)), default=None)
    if last is None:
        return None
    frame = entries[last].tb_frame
    below = tuple(each.tb_frame for each in entries[last + 1 :])
    around = tuple(each.tb_frame for each in reversed(entries[:last]))
    return Refusal(str(error), frame, locate(frame.f_code, entries[last].tb_lasti), below, around)


def _entries(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _is_users(entry: TracebackType) -> bool:
    return origin_of(entry.tb_frame.f_code) is Origin.USER
