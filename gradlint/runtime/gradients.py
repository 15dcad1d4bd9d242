"""Watching the gradient of one parameter: what happened to it since the last look.

Most of what users do to gradients passes no function that could be hooked (`p.grad = None`, `p.grad.zero_()`,
`master.grad.copy_(g)`), but each leaves a trace: another tensor, another version of it, or none.
Knows tensors by what they offer, without importing torch; keeps none of them alive.
"""

from __future__ import annotations

import math
import weakref
from typing import TYPE_CHECKING

from gradlint.diagnostics import Location
from gradlint.events import EventKind
from gradlint.protocols import OPTIMIZER
from gradlint.runtime.tracks import Track
from gradlint.typestate import State

if TYPE_CHECKING:
    from torch import Tensor

_SAMPLE = 16
_LOOKS_BY_VALUE = 8
_ONLY_TOLD = 1e6


class Gradient:
    """The gradient of one parameter of one optimizer, and its state in the optimizer's protocol."""

    __slots__ = ("_last", "_looks", "_parameter", "_sample", "_version", "track")

    def __init__(self, parameter: Tensor) -> None:
        self._parameter = weakref.ref(parameter)
        self._last: weakref.ref[Tensor] | None = None
        self._version = 0
        self._looks: float = _LOOKS_BY_VALUE
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
    def is_there(self) -> bool:
        """Whether there is a gradient now."""
        parameter = self._parameter()
        return parameter is not None and parameter.grad is not None

    @property
    def version(self) -> int:
        """The version of the gradient that is there now, 0 if there is none."""
        parameter = self._parameter()
        grad = None if parameter is None else parameter.grad
        return 0 if grad is None else version_of(grad)

    def remember(self, grad: Tensor | None) -> None:
        """Take what is there now as seen."""
        self._last = None if grad is None else weakref.ref(grad)
        self._version = 0 if grad is None else version_of(grad)

    def saw(self, last: weakref.ref[Tensor], version: int) -> None:
        """Take a gradient as the one that was seen last, in the version that it had then."""
        self._last, self._version = last, version

    def restart(self, place: Location) -> None:
        """Begin again after a step at `place`, whatever happened unseen: what is there was used by that step."""
        parameter = self._parameter()
        grad = None if parameter is None else parameter.grad
        self.track = Track(OPTIMIZER, State("clean") if grad is None else State("spent", (("spent", place),)))
        self.remember(grad)

    def resume(self, state: State, *, exact: bool) -> None:
        """Go on in a state after unwatched repetitions; unless `exact`, nobody saw what the last step left here."""
        parameter = self._parameter()
        grad = None if parameter is None else parameter.grad
        if not exact:
            self.remember(grad)
            if state.name in ("spent", "dirty"):
                state = State("clean" if grad is None else "unknown")
        self.track = Track(OPTIMIZER, state)

    def look(self, cause: EventKind | None, place: Location) -> bool:
        """Advance by what happened since the last look; return whether `cause` changed the gradient.

        `cause` is the event that has just run (BACKWARD, ZERO), or None for what users do in between.
        """
        parameter = self._parameter()
        if parameter is None:
            return False
        grad = parameter.grad
        last = None if self._last is None else self._last()
        if grad is None:
            if self._last is None:
                return False
            kind: EventKind | None = EventKind.ZERO
        elif grad is not last:
            kind = cause or EventKind.SETGRAD
        elif version_of(grad) != self._version:
            kind = cause or self._edited(grad)
        else:
            return False
        self.remember(grad)
        if kind is not None:
            self.track.advance(kind, place)
        return kind is cause

    def look_for_hidden_zero(self, place: Location, suspects: tuple[str, ...] = ("spent", "dirty")) -> None:
        """Before more is added to used gradients: see whether `p.grad.data.zero_()` emptied them, which leaves no trace.

        It needs the values, so it stops after the first few times in vain. `suspects` are the states that call for it.
        """
        if self._looks > 0 and self.track.state.name in suspects:
            self._looks -= 1
            grad = None if self._last is None else self._last()
            if grad is not None and is_zero(grad):
                self._looks = math.inf  # this program does it
                self.track.advance(EventKind.ZERO, place)

    def take_sample(self) -> None:
        """Keep a few values, to tell a second step on the same gradients from `p.grad.data.copy_(new)`."""
        grad = None if self._last is None else self._last()
        self._sample = None if grad is None else few_of(grad).clone()

    def looks_the_same(self) -> bool:
        """Tell whether the gradient holds the values of the last sample; False if there is none."""
        grad = None if self._last is None else self._last()
        if grad is None or self._sample is None:
            return False
        few = few_of(grad)
        return few.shape == self._sample.shape and bool((few == self._sample).all())

    def _edited(self, grad: Tensor) -> EventKind | None:
        """Judge a change in place by the user: a value written by hand, a clearing, or a mere clipping."""
        match self.track.state.name:
            case "fresh" | "unknown-fresh":
                return None
            case "dirty":
                return EventKind.ZERO if is_zero(grad) else None
            case _:
                return EventKind.SETGRAD


def version_of(grad: Tensor) -> int:
    """Return how often `grad` was changed in place; a DTensor counts in itself or, under FSDP, in its local part."""
    local: Tensor | None = getattr(grad, "_local_tensor", None)
    return grad._version if local is None else grad._version + local._version


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
    return local._values() if local.is_sparse else local


def few_of(grad: Tensor) -> Tensor:
    """Return the first few values of a tensor."""
    few = values_of(grad)
    while few.dim() > 1 and few.shape[0]:
        few = few[0]
    return few[:_SAMPLE] if few.dim() else few
