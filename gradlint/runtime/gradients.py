"""Watching the gradient of one parameter: what happened to it since the last look.

Most of what users do to gradients passes no function that could be hooked (`p.grad = None`, `p.grad.zero_()`,
`master.grad.copy_(g)`), but each leaves a trace: another tensor, another version of it, or none.
Knows tensors by what they offer, without importing torch; keeps none of them alive. A gradient is looked at only in the thread that
uses it: torch lets a backward pass exchange it without a lock, and whoever reads it meanwhile reads memory that is gone.
"""

from __future__ import annotations

import math
import weakref
from collections import deque
from dataclasses import dataclass
from threading import get_ident
from typing import TYPE_CHECKING

from gradlint.diagnostics import Location
from gradlint.events import EventKind
from gradlint.protocols import OPTIMIZER
from gradlint.runtime.answers import Answer, can_be_asked, capturing, is_waited_for
from gradlint.runtime.tracks import Track
from gradlint.typestate import State

if TYPE_CHECKING:
    from torch import Tensor

_SAMPLE = 16
_FEW = 1024
_ZERO, _SETGRAD = EventKind.ZERO, EventKind.SETGRAD
_LOOKS_BY_VALUE = 8
_ONLY_TOLD = 1e6


@dataclass(slots=True)
class _Doubt:
    """A used gradient that may have been emptied without a trace; a device has been asked whether it was."""

    any_left: Answer
    place: Location
    fed: Location | None = None  # the backward pass that added to it then


class Gradient:
    """The gradient of one parameter of one optimizer, and its state in the optimizer's protocol."""

    __slots__ = ("_doubts", "_last", "_looks", "_parameter", "_sample", "_thread", "_version", "track")

    def __init__(self, parameter: Tensor) -> None:
        self._thread = get_ident()
        self._parameter = weakref.ref(parameter)
        self._last: weakref.ref[Tensor] | None = None
        self._version = 0
        self._looks: float = _LOOKS_BY_VALUE
        self._doubts: deque[_Doubt] = deque(maxlen=_LOOKS_BY_VALUE)
        self._sample: Tensor | None = None
        # A gradient that is there already may be fresh or used: nobody saw.
        self.track = Track(OPTIMIZER, OPTIMIZER.initial if parameter.grad is None else State("unknown"))
        self.remember(parameter.grad)

    @property
    def parameter(self) -> Tensor | None:
        """The parameter, if it still exists."""
        return self._parameter()

    @property
    def reference(self) -> weakref.ref[Tensor]:
        """The parameter, for whom a call of ours would be too slow."""
        return self._parameter

    @property
    def is_sharded(self) -> bool:
        """Whether the gradient is a DTensor, which counts its versions in its local part."""
        parameter = self._parameter()
        return hasattr(None if parameter is None else parameter.grad, "_local_tensor")

    @property
    def version(self) -> int:
        """The version of the gradient that is there now, 0 if there is none."""
        parameter = self._parameter()
        grad = None if parameter is None else parameter.grad
        return 0 if grad is None else version_of(grad)

    def remember(self, grad: Tensor | None) -> None:
        """Take what is there now as seen."""
        if grad is None:
            self._last, self._version = None, 0
        else:
            self._last, self._version = weakref.ref(grad), version_of(grad)

    def saw(self, last: weakref.ref[Tensor], version: int) -> None:
        """Take a gradient as the one that was seen last, in the version that it had then."""
        self._last, self._version = last, version

    def restart(self, place: Location) -> None:
        """Begin again after a step at `place`, whatever happened unseen: what is there was used by that step."""
        parameter = self._parameter()
        grad = None if parameter is None else parameter.grad
        self.track.put(State("clean") if grad is None else State("spent", (("spent", place),)))
        self._doubts.clear()
        self.remember(grad)

    def resume(self, state: State, *, exact: bool) -> None:
        """Go on in a state after unwatched repetitions; unless `exact`, nobody saw what the last step left here."""
        parameter = self._parameter()
        grad = None if parameter is None else parameter.grad
        if not exact:
            self.remember(grad)
            if state.name in ("spent", "dirty"):
                state = State("clean" if grad is None else "unknown")
        self.track.put(state)
        self._doubts.clear()

    @property
    def is_here(self) -> bool:
        """Whether this thread is the one that uses the gradient, as far as is known."""
        return self._thread == get_ident()

    def come_here(self, place: Location) -> None:
        """Before this thread clears or uses the gradient: from now on it may look at it; what another one did is not known."""
        if not self.is_here:
            self._thread = get_ident()
            self.track.advance(EventKind.ESCAPE, place)

    def look(self, cause: EventKind | None, place: Location) -> bool:
        """Advance by what happened since the last look; return whether `cause` changed the gradient.

        `cause` is the event that has just run (BACKWARD, ZERO), or None for what users do in between.
        """
        parameter = self._parameter()
        if parameter is None or not self.is_here:
            return False
        grad, last = parameter.grad, self._last
        if grad is None:
            if last is None:
                return False
            kind: EventKind | None = _ZERO
        elif last is None or grad is not last():
            kind = cause or _SETGRAD
        elif version_of(grad) != self._version:
            kind = cause or self._edited(grad, place)
        else:
            return False
        self.remember(grad)
        if kind is not None:
            if self._doubts:
                self._settle_by(kind, place)
            self.track.advance(kind, place)
        return kind is cause

    def look_for_hidden_zero(self, place: Location, suspects: tuple[str, ...] = ("spent", "dirty")) -> None:
        """Before more is added to used gradients: see whether `p.grad.data.zero_()` emptied them, which leaves no trace.

        It needs the values, so it stops after the first few times in vain. `suspects` are the states that call for it.
        """
        if self._looks > 0 and self.track.state.name in suspects and self.is_here:
            self._looks -= 1
            grad = None if self._last is None else self._last()
            if grad is not None and self._was_emptied(grad, place, wait="fresh" in suspects):
                self._looks = math.inf  # this program does it
                self.track.advance(EventKind.ZERO, place)

    def _was_emptied(self, grad: Tensor, place: Location, *, wait: bool) -> bool:
        """Tell whether a gradient is all zeros; on a device only a doubt is kept of it, unless it is worth to `wait`.

        A program on a device that has been seen to empty them so is believed to do it always; and one that captures a
        CUDA graph, which must not be asked.
        """
        values = values_of(grad)
        if not can_be_asked(values):
            return True
        if wait or not is_waited_for(values):
            return is_zero(grad)
        if self._looks < math.inf:
            self._doubts.append(_Doubt(Answer(values.any()), place))
        return self._looks == math.inf

    def settle(self) -> None:
        """Before a step is judged: see whether the gradients that it takes for used had been emptied; may wait for a device."""
        while self._doubts:
            doubt = self._doubts.pop()
            if self.track.state.name == "dirty" and (capturing() or not doubt.any_left.read()):
                self._looks = math.inf
                self.track.advance(EventKind.ZERO, doubt.place)
                if doubt.fed is not None:
                    self.track.advance(EventKind.BACKWARD, doubt.fed)

    def _settle_by(self, kind: EventKind, place: Location) -> None:
        """Let an event settle the doubts, or bear them in mind: it adds to what may have been empty."""
        if kind is not EventKind.BACKWARD:
            self._doubts.clear()
        for doubt in self._doubts:
            doubt.fed = doubt.fed or place

    def take_sample(self) -> None:
        """Keep a few values, to tell a second step on the same gradients from `p.grad.data.copy_(new)`."""
        grad = None if self._last is None else self._last()
        few = None if grad is None else few_of(grad)
        self._sample = few.clone() if few is not None and can_be_asked(few) else None

    def looks_the_same(self) -> bool:
        """Tell whether the gradient holds the values of the last sample; False if there is none."""
        grad = None if self._last is None else self._last()
        if grad is None or self._sample is None:
            return False
        few = few_of(grad)
        return can_be_asked(few) and few.shape == self._sample.shape and bool((few == self._sample).all())

    def _edited(self, grad: Tensor, place: Location) -> EventKind | None:
        """Judge a change in place by the user: a value written by hand, a clearing, or a mere clipping."""
        match self.track.state.name:
            case "fresh" | "unknown-fresh":
                return None
            case "dirty":
                return EventKind.ZERO if self._was_emptied(grad, place, wait=False) else None
            case _:
                return EventKind.SETGRAD


def version_of(grad: Tensor) -> int:
    """Return how often a tensor was changed in place; a DTensor counts in itself or, under FSDP, in its local part."""
    try:
        local: Tensor | None = getattr(grad, "_local_tensor", None)
        return grad._version if local is None else grad._version + local._version
    except RuntimeError:  # what was made in inference mode does not count
        return 0


def is_zero(grad: Tensor) -> bool:
    """Tell whether `grad` is all zeros; it waits for the device."""
    return not bool(few_of(grad).any()) and not bool(values_of(grad).any())


def is_bound(max_norm: object) -> bool:
    """Tell whether gradients are clipped by a norm; who gives one that none reaches wants to know the norm."""
    return isinstance(max_norm, int | float) and 0 < max_norm < _ONLY_TOLD


def values_of(grad: Tensor) -> Tensor:
    """Return the values of a tensor that are stored here, outside of any graph: no collective, no sparse layout."""
    plain: Tensor = grad.detach()
    local: Tensor = getattr(plain, "_local_tensor", plain)
    if local.is_sparse_csr:
        return local.values()
    return local._values() if local.is_sparse else local


def few_of(grad: Tensor) -> Tensor:
    """Return the first few values of a tensor, or all if they are not many: each cut costs as much as a copy of those."""
    few = values_of(grad)
    if few.numel() <= _FEW:
        return few
    while few.dim() > 1 and few.shape[0]:
        few = few[0]
    return few[:_SAMPLE] if few.dim() else few
