"""The memory in which Python lays the frames of functions.

It knows Python only. Since Python 3.11 frames lie in chunks of 16 KB. A chunk is asked of the kernel when the last one is full, and given
back when it is empty: a recursion that goes up and down across the border between two asks thousands of times a second.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")

_SLOTS = 70_000
"""A little more than half of a chunk of 1 MB, in pointers: the rest of it is for whatever is called."""


def roomy(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Let a function have so large a frame that those of all whom it calls find room in the same chunk.

    Memory that nobody touches costs nothing.
    """
    if isinstance(function, FunctionType):
        function.__code__ = function.__code__.replace(co_stacksize=_SLOTS)
    return function
