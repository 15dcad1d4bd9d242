"""What is left of the parameters of an optimizer that is gone when the run ends, as all that a function made.

A few small ones are held by their storage: whoever puts numbers back in place does so here as well, and no node, gradient or
parameter lives longer. Knows tensors; must not know rules, nor how torch is hooked.
"""

from __future__ import annotations

import weakref
from itertools import islice
from math import isfinite, isnan, nan
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.parameter import is_lazy

from gradlint.runtime.answers import Answer, has_values, on_one_device
from gradlint.runtime.gradients import values_of

if TYPE_CHECKING:
    from torch import Tensor

    from gradlint.runtime.optimizers import WatchedOptimizer

_SMALL = 2**14  # bytes of storage
_AT_MOST = 4
_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class Remains:
    """A few small parameters of one optimizer, and whether they held numbers before its first step."""

    def __init__(self, watched: WatchedOptimizer) -> None:
        small = ((each, values) for each in watched.parameters() if (values := _small(each)) is not None)
        kept = next(iter(on_one_device(islice(small, _AT_MOST), lambda pair: pair[1])), [])
        self._parameters = [weakref.ref(parameter) for parameter, _ in kept]
        self._values = [values for _, values in kept]
        self._before = largest(self._values) if kept else None
        self._rate = _rate(watched)
        self._rises = False

    def renew(self, watched: WatchedOptimizer) -> None:
        """Look where the parameters are stored now; and whether the rate rises, as in a search for one, which goes too far on purpose."""
        values = (_small(reference()) for reference in self._parameters)
        self._values = [new if new is not None else old for new, old in zip(values, self._values, strict=True)]
        self._rises = self._rises or not _rate(watched) <= self._rate

    def lost(self) -> str:
        """Say what parameters that held numbers are now, empty if they still hold some; waits for the device."""
        if self._before is None or self._rises:
            return ""
        now = largest(self._values).read()
        ill = [
            value for value, was in zip(now, self._before.read(), strict=True) if isfinite(was) and not isfinite(value)
        ]
        if not ill:
            return ""
        return "parameters NaN" if any(map(isnan, ill)) else "parameters infinite"


def largest(tensors: list[Tensor]) -> Answer:
    """Ask their device for the largest value of each tensor, which is a number if all are; without a copy of them."""
    return Answer(torch._foreach_norm(tensors, torch.inf))


def stored(parameter: Any) -> Tensor | None:
    """Return the values of a parameter, if they can be had."""
    values = None if is_lazy(parameter) else values_of(parameter)
    return values if values is not None and values.dtype in _TYPES and has_values(values) else None


def _small(parameter: Any) -> Tensor | None:
    values = stored(parameter)
    return values.data if values is not None and values.untyped_storage().nbytes() <= _SMALL else None


def _rate(watched: WatchedOptimizer) -> float:
    """Return the highest rate, NaN if it cannot be had without waiting."""
    groups = watched.optimizer.param_groups if watched.optimizer is not None else []
    rates = [rate if isinstance(rate := group.get("lr"), (int, float)) else nan for group in groups]
    return nan if any(isnan(rate) for rate in rates) else max(rates, default=nan)
