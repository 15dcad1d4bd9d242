"""What stands in for torch's functions in every iteration: as long as a call is the one that is expected, nobody is told.

All comparing is done here, in as few calls as can be: a call costs as much as a comparison, and to pack and unpack
arguments costs more. Nothing here is guarded or locked, so it must not be able to fail.
Knows the shape of torch's calls; must not know what is made of an event.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from sys import _getframe
from types import FrameType
from typing import TYPE_CHECKING, Any
from weakref import ref

from gradlint.runtime.graph import clock
from gradlint.runtime.listening import Arguments, Expected, Listener, Rhythm
from gradlint.runtime.tracing import is_compiling, is_traced

if TYPE_CHECKING:
    from torch.optim import Optimizer

_NO_INPUTS = ()  # torch's own default, as is that of `allow_unreachable`


def backward(
    original: Callable[..., Any],
    rhythm: Rhythm,
    passing: Sequence[Callable[[], None]],
    closely: Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any], FrameType], Any],
    failed: Callable[[Any, BaseException, FrameType], None],
) -> Callable[..., Any]:
    """Stand in for torch's entry to a backward pass; `closely` runs what is not expected, `failed` hears what the rest raises."""

    def run(
        roots: Any,
        gradients: Any = ...,
        retain_graph: Any = ...,
        create_graph: Any = ...,
        inputs: Any = _NO_INPUTS,
        /,
        *more: Any,
        allow_unreachable: Any = False,
        accumulate_grad: Any = ...,
        **options: Any,
    ) -> Any:
        # So `torch.autograd.backward` does not call: what else comes is packed, and handed on as it is.
        if accumulate_grad is not True or more or options or is_traced():
            given = (inputs, *more) if more or inputs is not _NO_INPUTS else ()
            more = (roots, *_given(gradients, retain_graph, create_graph), *given)
            options |= _named(allow_unreachable=allow_unreachable or ..., accumulate_grad=accumulate_grad)
            if is_traced():
                return original(*more, **options)
        if passing:
            for tell in passing:
                tell()
        event = next(rhythm.coming)
        try:  # at once: every frame on the way would be made for the question
            caller = _getframe(event.distance)
            expected = caller.f_lasti == event.instruction and caller.f_code is event.code
        except ValueError:  # not so deep a stack
            expected = False
        if not expected:
            rhythm.unexpected()
            if not more:
                more = (roots, gradients, retain_graph, create_graph, inputs)
                options = {"allow_unreachable": allow_unreachable, "accumulate_grad": True}
            return closely(original, roots, more[1:], options, _getframe(1))
        number = clock()
        try:
            if more:
                result = original(*more, **options)
            else:
                result = original(
                    roots,
                    gradients,
                    retain_graph,
                    create_graph,
                    inputs,
                    allow_unreachable=allow_unreachable,
                    accumulate_grad=True,
                )
        except BaseException as error:
            event.before, event.began = event.began, number
            failed(roots, error, _getframe(1))
            raise
        event.began = number
        return result

    return run


def _given(*arguments: Any) -> tuple[Any, ...]:
    """Return the arguments that there are."""
    return tuple(each for each in arguments if each is not ...)


def _named(**arguments: Any) -> dict[str, Any]:
    """Return the named arguments that there are."""
    return {name: each for name, each in arguments.items() if each is not ...}


def zero_grad(original: Callable[..., None], rhythm: Rhythm, listener: Listener) -> Callable[..., None]:
    """Stand in for clearing gradients."""
    clearing = listener.clearing

    def run(self: Any, set_to_none: Any = ...) -> None:  # so called where torch's message names it
        if clearing and not is_compiling():
            for tell in clearing:
                tell(self)
        if set_to_none is ...:
            original(self)
        else:
            original(self, set_to_none=set_to_none)
        if is_traced() or next(rhythm.coming).cleared == id(self):
            return
        rhythm.unexpected()
        if not is_compiling():
            listener.zeroed(self)

    return run


def before_step(rhythm: Rhythm, listener: Listener) -> Callable[[Optimizer, Any, Any], Arguments | None]:
    """Return the hook in front of a step."""

    def run(optimizer: Optimizer, args: Any, kwargs: Any) -> Arguments | None:
        event = next(rhythm.coming)
        if event.optimizer() is optimizer and ((not kwargs and len(args) == 1) or _without_closure(args, kwargs)):
            try:
                grad = event.parameter().grad
                if grad._version == event.constant or _is_next(grad, event):
                    event.last = ref(grad)
                    return None
            except (
                AttributeError,
                TypeError,
                RuntimeError,
            ):  # no such parameter, no gradient, or one that counts nothing
                pass
        rhythm.unexpected()
        return listener.before_step(optimizer, (args, kwargs))

    return run


def _is_next(grad: Any, event: Expected) -> bool:
    """Tell whether a gradient whose version is not always the same has the next one."""
    if (grad._local_tensor if event.sharded else grad)._version != event.version:
        return False
    event.version += event.growth
    return True


def _without_closure(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return (len(args) == 1 or args[1:] == (None,)) and (not kwargs or kwargs == {"closure": None})


def after_step(
    rhythm: Rhythm, listener: Listener, stepping: Sequence[Callable[[Optimizer], None]]
) -> Callable[[Optimizer, Any, Any], None]:
    """Return the hook behind a step."""

    def run(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if not rhythm.running:
            listener.after_step(optimizer)
        if stepping:
            for tell in (*stepping,):
                tell(optimizer)

    return run
