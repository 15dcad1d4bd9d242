"""What a user gives to a trainer of a library, which calls it: the step that makes a loss is over when the trainer's backward fails.

Knows frames and the names that trainers give to their steps; must not know rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from types import FrameType, FunctionType

from gradlint.runtime.sites import Origin, frames, origin_of

_STEPS = ("training_step", "compute_loss")


def steps_of_trainers(frame: FrameType, user: FrameType) -> Iterator[FunctionType]:
    """Yield the user's steps that the library knows which stands between `frame` and the nearest frame of the user's."""
    seen: set[int] = set()
    for between in takewhile(lambda each: each is not user, frames(frame)):
        if origin_of(between.f_code) is Origin.LIBRARY:
            for value in list(between.f_locals.values()):
                kind = type(value)
                if id(kind) not in seen:
                    seen.add(id(kind))
                    yield from _steps_in(kind)


def _steps_in(kind: type) -> Iterator[FunctionType]:
    for name in _STEPS:
        step = next((vars(each)[name] for each in kind.__mro__ if name in vars(each)), None)
        if isinstance(step, FunctionType) and origin_of(step.__code__) is Origin.USER:
            yield step
