"""What a user gives to a trainer of a library, which calls it: the step that makes a loss is over when the trainer's backward fails.

Knows frames and the names that trainers give to their steps; must not know rules.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import takewhile
from types import FrameType, FunctionType

from gradlint.runtime.sites import Origin, frames, origin_of
from gradlint.runtime.sources import Source, source_of

_STEPS = ("training_step", "compute_loss")


def losses_of_steps(frame: FrameType, user: FrameType) -> Iterator[tuple[Source, ast.expr]]:
    """Yield what the user's steps return as their loss, which a trainer between `frame` and the frame `user` has called."""
    for step in _steps(frame, user):
        source = source_of(step.__code__)
        for returned in source.returned() if source is not None else ():
            loss = _loss_of(returned)
            assigned = (
                source.assigned(loss.id, loss.lineno) if source is not None and isinstance(loss, ast.Name) else None
            )
            value = assigned.value if assigned is not None else loss
            if source is not None and value is not None:
                yield source, value


def _steps(frame: FrameType, user: FrameType) -> Iterator[FunctionType]:
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


def _loss_of(returned: ast.expr) -> ast.expr:
    """Return the loss among what a training step returns, all of it if it is not told apart."""
    match returned:
        case ast.Dict(keys=keys, values=values):
            named = (each for key, each in zip(keys, values, strict=True) if _is_text(key, "loss"))
            return next(named, returned)
        case ast.Call(func=ast.Name(id="dict"), keywords=keywords):
            return next((each.value for each in keywords if each.arg == "loss"), returned)
    return returned


def _is_text(node: ast.expr | None, text: str) -> bool:
    return isinstance(node, ast.Constant) and node.value == text
