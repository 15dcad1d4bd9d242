"""Modules whose mode the user changes, and what has happened to each since it was put into evaluation mode.

Knows modules by what they offer; must not know what is to be said of them.
"""

from __future__ import annotations

import weakref
from collections import Counter
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING

from gradlint.diagnostics import Location
from gradlint.protocols import MODE
from gradlint.runtime.optimizers import WatchedOptimizer
from gradlint.runtime.sites import place_of, user_frames
from gradlint.runtime.tracks import Track
from gradlint.typestate import State

if TYPE_CHECKING:
    from torch.nn import Module

_TRAINED_IN_EVAL = frozenset({"lapsed", "lapsed-forward", "lapsed-backward"})


@dataclass(slots=True)
class Evaluation:
    """What happened since a module was put into evaluation mode at `place`."""

    place: Location
    began: int  # the number of the next graph node, then and at the end
    ended: int = 0
    forwards: int = 0
    looks: int = 0  # forwards with gradients off
    forward: Location | None = None
    part: int | None = None  # the part of the module that was called first, where it was not called as a whole
    parts: int = 0  # calls of parts
    used: bool = False  # some backward pass ran: its graphs are wanted
    training: dict[int, Location] = field(default_factory=dict)  # the backward passes of the training before
    measures: bool = False  # it began with gradients off: it is there to measure, not to freeze
    measured: bool = False  # its first forward was one with gradients off
    returned: bool = False  # a library put the module into it, and no user has since
    steps: int = 0  # those of the owners until it began
    optimizers: frozenset[int] = frozenset()  # those that there were when it began


_DEEP = 8  # methods of a module that call each other
_PARTS = 16  # calls, among which that of the first part comes again


class WatchedModule:
    """A module whose mode the user changes, and its state."""

    def __init__(self, module: Module, owners: list[WatchedOptimizer], was: bool, name: str) -> None:
        self.module = weakref.ref(module)
        self.owners = owners
        self.name = name
        trained = was and any(owner.steps for owner in owners)
        self.track = Track(MODE, State("trained") if trained else State("train" if was else "eval"))
        self.evaluation: Evaluation | None = None
        self.single: Counter[int] = Counter()  # evaluations of one forward, by its place

    @property
    def is_whole(self) -> bool:
        """Whether no part of the module was put back into training mode."""
        module = self.module()
        return module is not None and not any(part.training for part in module.modules())

    @property
    def was_trained(self) -> bool:
        """Whether the module was trained in training mode before."""
        return self.track.state.name in _TRAINED_IN_EVAL

    def called_in_part(self, part: Module, frame: FrameType) -> Location | None:
        """Return where a part is called, past the methods of the module itself, if it is the first part that is, or that one again.

        Parts of a module that is called as a whole are none.
        """
        module, evaluation = self.module(), self.evaluation
        if module is None or evaluation is None or evaluation.parts >= _PARTS:
            return None
        if evaluation.part not in (None, id(part)) or (evaluation.part is None and evaluation.forwards):
            return None
        evaluation.parts += 1
        outer = _outside(module, frame) if any(each is part for each in module.modules()) else None
        place = place_of(outer)
        if outer is None or place is not (evaluation.forward or place):
            return None
        evaluation.part = id(part)
        return place

    @property
    def is_left_behind(self) -> bool:
        """Whether a part was trained in training mode before it was measured, and is still to be trained."""
        module, evaluation = self.module(), self.evaluation
        if evaluation is None or not (evaluation.measures or evaluation.measured):
            return False
        trained = module is not None and any(parameter.requires_grad for parameter in module.parameters())
        return trained and self.was_trained


def _outside(module: Module, frame: FrameType) -> FrameType | None:
    """Return the user's frame that has called a method of a module, or one of its parts; None if all of it is called."""
    methods = {id(getattr(each, "__code__", None)) for kind in type(module).__mro__ for each in vars(kind).values()}
    whole = getattr(type(module).forward, "__code__", None)
    for caller in user_frames(frame, _DEEP):
        if caller.f_code is whole:
            return None
        if id(caller.f_code) not in methods:
            return caller
    return None
