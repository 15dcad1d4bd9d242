"""What modules and losses refuse: parameters without gradients under DDP, one value to normalize, a class for a loss.

Knows torch's messages by who handles them; must not know which error it was.
"""

from __future__ import annotations

import ast
import re

from torch import Tensor
from torch.nn import Module
from torch.nn.modules.loss import _Loss

from gradlint.runtime.graph import bindings
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.refusal import Refusal
from gradlint.runtime.sites import name_of, user_frames
from gradlint.runtime.values import value_of
from gradlint.wordings.losses import WANTS_CLASSES

_NAMED = 8
_FRAMES = 4


def unfinished(refusal: Refusal, ledger: Ledger) -> None:
    """A parallel module has parameters that took no part in the last loss."""
    parallel = next(
        (each.f_locals["self"] for each in refusal.below if _holds_reducer(each.f_locals.get("self"))), None
    )
    said = re.search(r"did not receive grad for rank \d+:((?: \d+)+)", refusal.message)
    if parallel is None or said is None:
        return
    ignored = getattr(parallel, "parameters_to_ignore", ())
    trained = [n for n, p in parallel.module.named_parameters() if p.requires_grad and n not in ignored]
    missing = [trained[int(each)] for each in said[1].split() if int(each) < len(trained)]
    name = name_of(parallel, refusal.frame)
    what = ", ".join(f"`{each}`" for each in missing[:_NAMED]) + (", ..." if len(missing) > _NAMED else "")
    ledger.report("GL121", refusal.place, subject=name, what=what)


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


def loss_class(refusal: Refusal, ledger: Ledger) -> None:
    """A class of losses is called with what its instance should be given."""
    call = refusal.call
    cls = value_of(call.func, refusal.frame) if call is not None else None
    if call is not None and isinstance(cls, type) and issubclass(cls, _Loss):
        ledger.report("GL811", refusal.place, subject=ast.unparse(call.func))


def swapped(refusal: Refusal, ledger: Ledger) -> None:
    """The prediction and the classes have changed places."""
    first, second = (refusal.local("cross_entropy", name) for name in ("input", "target"))
    call = refusal.call
    if not isinstance(first, Tensor) or not isinstance(second, Tensor) or call is None or len(call.args) < 2:
        return
    if not first.is_floating_point() and second.is_floating_point():
        target, prediction = (ast.unparse(each) for each in call.args[:2])
        what = f"`{ast.unparse(call.func)}` wants the prediction first, but gets `{target}`, {WANTS_CLASSES}"
        ledger.report("GL907", refusal.place, what=what, remedy=f"swap them: `({prediction}, {target})`")
