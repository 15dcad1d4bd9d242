"""What modules refuse: under DDP parameters without gradients, or with two; one value to normalize.

Knows torch's messages by who handles them; must not know which error it was.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Any

from torch.nn import Module

from gradlint.runtime.graph import bindings, heads, nodes
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.refusal import Refusal
from gradlint.runtime.sites import name_of, user_frames
from gradlint.wordings.windows import NOT_REENTRANT, ONE_FORWARD, REENTERED, USED_AGAIN

_NAMED = 8
_FRAMES = 4
_NODES = 100_000


def unfinished(refusal: Refusal, ledger: Ledger) -> None:
    """A parallel module has parameters that took no part in the last loss."""
    parallel = next(
        (each.f_locals["self"] for each in refusal.below if _holds_reducer(each.f_locals.get("self"))), None
    )
    said = re.search(r"did not receive grad for rank \d+:((?: \d+)+)", refusal.message)
    if parallel is None or said is None:
        return
    trained = _trained(parallel)
    missing = [trained[int(each)] for each in said[1].split() if int(each) < len(trained)]
    name = name_of(parallel, refusal.frame)
    what = ", ".join(f"`{each}`" for each in missing[:_NAMED]) + (", ..." if len(missing) > _NAMED else "")
    ledger.report("GL121", refusal.place, subject=name, what=what)


def ready_twice(refusal: Refusal, ledger: Ledger) -> None:
    """A parameter of a parallel module gets a gradient for the second time in one iteration."""
    bound = (each for frame in user_frames(refusal.frame, _FRAMES) for each in bindings(frame))
    name, parallel = next(((name, value) for name, value in bound if _holds_reducer(value)), (None, None))
    said = re.search(r"Parameter at index (\d+)", refusal.message)
    if parallel is None or name is None:
        return
    trained, index = _trained(parallel), int(said[1]) if said else -1
    what = f"`{trained[index]}`" if 0 <= index < len(trained) else "a parameter"
    graph = islice(nodes(heads(refusal.local("_engine_run_backward", "t_outputs") or ())), _NODES)
    again = any(each.name() == "CheckpointFunctionBackward" for each in graph)
    reason, remedy = (REENTERED, NOT_REENTRANT) if again else (USED_AGAIN, ONE_FORWARD)
    ledger.report("GL716", refusal.place, subject=name, what=what, reason=reason, remedy=remedy)


def _trained(parallel: Any) -> list[str]:
    """Return the names of the parameters that a parallel module waits for, in the order of its own numbers."""
    ignored = getattr(parallel, "parameters_to_ignore", ())
    return [n for n, p in parallel.module.named_parameters() if p.requires_grad and n not in ignored]


def _holds_reducer(value: object) -> bool:
    return isinstance(value, Module) and hasattr(value, "reducer")


def single_value(refusal: Refusal, ledger: Ledger) -> None:
    """A layer that normalizes over the batch is given one value for each channel."""
    layer = next((each.f_locals["self"] for each in refusal.below if _normalizes(each.f_locals.get("self"))), None)
    if layer is None:
        return
    bound = ((name, value) for each in user_frames(refusal.frame, _FRAMES) for name, value in bindings(each))
    models = [(name, value) for name, value in bound if isinstance(value, Module) and name != "self"]
    paths = (path for name, model in models for path, each in model.named_modules(prefix=name) if each is layer)
    said = re.search(r"got input size (.*)", refusal.message)
    shape = said[1].removeprefix("torch.Size(").removesuffix(")") if said else "a batch of one"
    ledger.report("GL922", refusal.place, subject=next(paths, None) or type(layer).__name__, shape=shape)


def _normalizes(value: object) -> bool:
    return isinstance(value, Module) and hasattr(value, "track_running_stats")
