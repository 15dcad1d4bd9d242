"""Where torch is listened to; `samplers`, `piles` and `replicas` have seams of their own, the rest is here.

Torch's own hooks tell when an optimizer steps; nothing tells when a backward pass starts, gradients are cleared,
a scheduler steps or a module changes its mode, so the few functions that do these are replaced while a run is
watched. Knows torch; must not know states, rules or words.

Sources of the seams: torch.autograd.backward() and grad() look `_engine_run_backward` up in their module when they are
called; LRScheduler.step() enters `_enable_get_lr_call` after its own warnings, which count stack frames.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any

import torch
from torch.nn import Module, utils
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.nn.utils import clip_grad
from torch.optim import Optimizer, lr_scheduler
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from gradlint.runtime import expecting
from gradlint.runtime.guard import Guard
from gradlint.runtime.lines import Lines
from gradlint.runtime.listening import Listener, NoRhythm, Rhythm
from gradlint.runtime.living import optimizers
from gradlint.runtime.seams import replace
from gradlint.runtime.tracing import compiled, is_compiling, keep_from_compiling


class Hooks:
    """The seams, from `install` until the stack that it returns is closed; `lines`: note the line of each first node."""

    def __init__(self, listener: Listener, rhythm: Rhythm | None = None, *, lines: bool = True) -> None:
        self._listener = listener
        self._rhythm = rhythm or NoRhythm()
        self._notes_lines = lines
        self._inside = threading.local()
        self._lines = Lines()
        self._forwards = ExitStack()
        self.passing: list[Callable[[], None]] = []
        """Who else is told that a backward pass starts."""
        self.stepping: list[Callable[[Optimizer], None]] = []
        """And who that an optimizer has stepped: hooks of their own they could not take off while torch calls them."""

    def install(self) -> ExitStack:
        """Start to listen; closing the returned stack undoes everything."""
        stack = ExitStack()
        stack.callback(self._forwards.close)
        if self._notes_lines:
            self._lines.install(stack)
        self._patch(stack, torch.autograd, "_engine_run_backward", self._backward)
        self._patch(stack, Optimizer, "__init__", self._made)
        self._patch(stack, Optimizer, "zero_grad", self._zeroed)
        self._patch(stack, Module, "zero_grad", self._zeroed)
        self._patch(stack, Module, "train", self._mode)
        for name, wrap in (
            ("scale", self._scaled),
            ("unscale_", self._unscaling),
            ("step", self._tried),
            ("update", self._updated),
        ):
            self._patch(stack, torch.amp.GradScaler, name, wrap)
        heart = "_clip_grads_with_norm_"  # since torch 2.6
        for owner, name in (
            [(clip_grad, heart)]
            if hasattr(clip_grad, heart)
            else [(each, "clip_grad_norm_") for each in (utils, clip_grad)]
        ):
            self._patch(stack, owner, name, self._clipping)
        for owner in (utils, clip_grad):
            self._patch(stack, owner, "clip_grad_value_", self._clipping_values)
        if hasattr(lr_scheduler, "_enable_get_lr_call"):
            self._patch(stack, lr_scheduler, "_enable_get_lr_call", self._scheduled)
        for name in ("ReduceLROnPlateau", "SequentialLR", "ChainedScheduler"):
            self._patch(stack, getattr(lr_scheduler, name), "step", self._composed)
            self._patch(stack, getattr(lr_scheduler, name), "__init__", self._schedule_made)
        before = expecting.before_step(self._rhythm, self._listener)
        after = expecting.after_step(self._rhythm, self._listener, self.stepping)
        for ours in (before, after, Guard.run):
            keep_from_compiling(ours.__code__)
        stack.callback(register_optimizer_step_pre_hook(before).remove)
        stack.callback(register_optimizer_step_post_hook(after).remove)
        for optimizer in optimizers():
            self._listener.optimizer_made(optimizer, None)
        return stack

    def _patch(self, stack: ExitStack, owner: Any, name: str, wrap: Callable[[Any], Any]) -> None:
        """Replace `owner.name`; on closing put it back, unless somebody else has replaced it since."""
        replace(stack, owner, name, wrap)

    @contextmanager
    def _once(self, what: str) -> Iterator[bool]:
        """Tell whether this is the outermost call of its kind in this thread."""
        inside = self._inside.__dict__
        if inside.get(what):
            yield False
            return
        inside[what] = True
        try:
            yield True
        finally:
            inside[what] = False

    def _backward(self, original: Callable[..., Any]) -> Callable[..., Any]:
        return expecting.backward(original, self._rhythm, self.passing, self._closely, self._failed)

    def _failed(self, roots: Any, error: BaseException, frame: FrameType) -> None:
        self._listener.after_backward(_tensors(roots), error, frame)

    def _closely(self, original: Callable[..., Any], roots: Any, args: Any, kwargs: Any, frame: FrameType) -> Any:
        """Run a backward pass between its two events; one inside another is a part of it."""
        if is_compiling():
            return original(roots, *args, **kwargs)
        inside = self._inside.__dict__
        if inside.get("backward"):
            self._rhythm.forbid()
            return original(roots, *args, **kwargs)
        tensors = _tensors(roots)
        error: BaseException | None = None
        inside["backward"] = True
        if self._lines.on:
            self._lines.pause()
        try:
            retains = len(args) > 2 and bool(args[1]) and not args[2]
            self._listener.before_backward(tensors, kwargs.get("accumulate_grad", True), retains, frame)
            return original(roots, *args, **kwargs)
        except BaseException as raised:
            error = raised
            raise
        finally:
            inside["backward"] = False
            if self._lines.recording:
                self._lines.resume()
            self._listener.after_backward(tensors, error, frame)
            del error, frame

    def _made(self, original: Callable[..., None]) -> Callable[..., None]:
        def run(optimizer: Optimizer, *args: Any, **kwargs: Any) -> None:
            original(optimizer, *args, **kwargs)
            self._listener.optimizer_made(optimizer, sys._getframe(1))

        return run

    def _zeroed(self, original: Callable[..., None]) -> Callable[..., None]:
        return expecting.zero_grad(original, self._rhythm, self._listener)

    def _mode(self, original: Callable[..., Module]) -> Callable[..., Module]:
        def run(module: Module, *args: Any, **kwargs: Any) -> Module:
            inside = self._inside.__dict__
            if inside.get("mode") or is_compiling():
                return original(module, *args, **kwargs)
            was = module.training or any(part.training for part in module.modules())  # a wrapper may tell its own mode
            inside["mode"] = True
            try:
                original(module, *args, **kwargs)
            finally:
                inside["mode"] = False
            self._listener.mode_changed(module, was, sys._getframe(1))
            self._listen_to_forwards()
            return module

        return run

    def _listen_to_forwards(self) -> None:
        """Hear of forwards while they are wanted: a hook on all modules costs every one of them its fast path.

        Not after something was compiled: the hook would be compiled in, and out again.
        """
        self._forwards.close()
        if self._listener.wants_forwards and not compiled():
            self._forwards.callback(register_module_forward_pre_hook(self._forward).remove)

    def _forward(self, module: Module, args: Any) -> None:
        if is_compiling():
            return
        if torch.is_grad_enabled():
            self._listener.forward_starts(module, sys._getframe(1))
        else:
            self._listener.measured(module)
        if not self._listener.wants_forwards:
            self._forwards.close()

    def _scaled(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def run(scaler: Any, *args: Any, **kwargs: Any) -> Any:
            losses = original(scaler, *args, **kwargs)
            if not is_compiling():
                self._listener.scaled(scaler, losses)
            return losses

        return run

    def _unscaling(self, original: Callable[..., None]) -> Callable[..., None]:
        def run(scaler: Any, optimizer: Optimizer) -> None:
            if not self._inside.__dict__.get("tried"):
                self._listener.unscaling(scaler, optimizer, sys._getframe(1))
            original(scaler, optimizer)
            if not self._inside.__dict__.get("tried"):
                self._listener.unscaled(optimizer)

        return run

    def _tried(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def run(scaler: Any, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
            self._listener.step_tried(scaler, optimizer, sys._getframe(1))
            with self._once("tried"):
                return original(scaler, optimizer, *args, **kwargs)

        return run

    def _updated(self, original: Callable[..., None]) -> Callable[..., None]:
        def run(scaler: Any, *args: Any, **kwargs: Any) -> None:
            original(scaler, *args, **kwargs)
            self._listener.scale_updated(scaler)

        return run

    def _clipping(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def run(parameters: Any, max_norm: Any, *args: Any, **kwargs: Any) -> Any:
            parameters = _tensors(parameters)  # to iterate over them twice
            if (
                not is_compiling() and not self._rhythm.running
            ):  # in this order: a compiled step would depend on the second
                self._listener.clipping(parameters, max_norm, sys._getframe(1))
            return original(parameters, max_norm, *args, **kwargs)

        return run

    def _clipping_values(self, original: Callable[..., None]) -> Callable[..., None]:
        def run(parameters: Any, *args: Any, **kwargs: Any) -> None:
            if not is_compiling() and not self._rhythm.running:
                parameters = _tensors(parameters)
                self._listener.clipping(parameters, kwargs.get("clip_value", *args[:1]), sys._getframe(1))
            original(parameters, *args, **kwargs)

        return run

    def _scheduled(self, original: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def run(scheduler: Any) -> Any:
            if not self._inside.__dict__.get("schedule"):
                tell = self._listener.schedule_made if _is_initial(scheduler) else self._listener.scheduled
                tell(scheduler, sys._getframe(1))
            return original(scheduler)

        return run

    def _schedule_made(self, original: Callable[..., None]) -> Callable[..., None]:
        def run(scheduler: Any, *args: Any, **kwargs: Any) -> None:
            original(scheduler, *args, **kwargs)
            self._listener.schedule_made(scheduler, sys._getframe(1))

        return run

    def _composed(self, original: Callable[..., None]) -> Callable[..., None]:
        def run(scheduler: Any, *args: Any, **kwargs: Any) -> None:
            with self._once("schedule") as outermost:
                if outermost:
                    self._listener.scheduled(scheduler, sys._getframe(1))
                original(scheduler, *args, **kwargs)

        return run


def _is_initial(scheduler: Any) -> bool:
    """Tell whether a scheduler steps because it is being built; before torch 2.8 only its count says so."""
    count = getattr(scheduler, "_step_count", 2)
    return bool(getattr(scheduler, "_is_initial", count < 2)) or count < 1


def _tensors(roots: Any) -> tuple[Any, ...]:
    return (roots,) if isinstance(roots, torch.Tensor) else tuple(roots)
