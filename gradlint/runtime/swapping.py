"""Tensors that trade their contents (`torch.utils.swap_tensors`, as `module.to` does for tensors of other classes).

Torch refuses those that somebody refers to weakly, as gradlint does with all that it watches: such references stay right, for a
parameter keeps its identity. Knows torch; must not know what is watched.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch

from gradlint.runtime.seams import replace


class _Weakrefs:
    """The module `weakref`, but that it keeps plain references to itself: one object stands for all of a tensor's, ours among them."""

    def getweakrefs(self, value: Any) -> list[Any]:
        return [each for each in weakref.getweakrefs(value) if each.__callback__ is not None]

    def __getattr__(self, name: str) -> Any:
        return getattr(weakref, name)


def install() -> ExitStack:
    """Let tensors be swapped that are watched; closing the returned stack undoes everything."""
    stack = ExitStack()
    replace(stack, torch.utils, "swap_tensors", _swapping)
    return stack


def _swapping(original: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    def run(t1: Any, t2: Any) -> None:
        names = getattr(original, "__globals__", {})
        known = names.get("weakref")
        names["weakref"] = _Weakrefs()
        try:
            original(t1, t2)
        finally:
            names["weakref"] = known

    return run
