"""Where the forward passes of a recorded run are listened to: global hooks of torch's, from `install` on.

Such hooks cost every module its fast path, so they are there only while a run is recorded. What torch.compile compiles
sees nothing of them. Knows torch; must not know what is made of a forward.
"""

from __future__ import annotations

import sys
import threading
import warnings
from contextlib import ExitStack
from types import FrameType
from typing import Any, Protocol

import torch
from torch.nn import Module
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from gradlint.runtime.tracing import is_compiling


class ForwardListener(Protocol):
    """Who hears of them."""

    def forward_begins(self, module: Module, frame: FrameType) -> None:
        """The user calls a module that has parameters, with gradients enabled."""

    def forward_ended(self) -> None:
        """The module that was called has returned, or raised."""


class _Thread(threading.local):
    """How deep a thread is in calls of modules, and whether the outermost one is listened to."""

    depth = 0
    heard = False


class Forwards:
    """The outermost calls of modules."""

    def __init__(self, listener: ForwardListener) -> None:
        self._listener = listener
        self._thread = _Thread()

    def install(self, stack: ExitStack) -> None:
        """Start to listen; closing `stack` ends it."""
        _silence(stack)
        stack.callback(register_module_forward_pre_hook(self._begins).remove)
        stack.callback(register_module_forward_hook(self._ended, always_call=True).remove)

    def _begins(self, module: Module, args: Any) -> None:
        if is_compiling():
            return
        thread = self._thread
        thread.depth += 1
        if thread.depth == 1:
            thread.heard = torch.is_grad_enabled() and next(module.parameters(), None) is not None
            if thread.heard:
                self._listener.forward_begins(module, sys._getframe(1))

    def _ended(self, module: Module, args: Any, result: Any) -> None:
        if is_compiling():
            return
        thread = self._thread
        if thread.depth == 1 and thread.heard:
            self._listener.forward_ended()
        thread.depth = max(0, thread.depth - 1)


def _silence(stack: ExitStack) -> None:
    """Let torch not warn the user of hooks that are ours, until `stack` is closed; other filters stay as they are."""
    warnings.filterwarnings("ignore", r"Using `torch\.compile\(module\)` when there are global hooks", UserWarning)
    ours = warnings.filters[0]

    def remove() -> None:
        if ours in warnings.filters:
            warnings.filters.remove(ours)  # type: ignore[attr-defined]

    stack.callback(remove)
