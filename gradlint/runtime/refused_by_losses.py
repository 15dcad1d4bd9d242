"""What losses refuse: a class in the place of an instance, swapped arguments, no probabilities, and targets of another kind.

Knows torch's messages by who handles them; must not know which error it was. Values are read, for the run is over.
"""

from __future__ import annotations

import ast

import torch
from torch import Tensor
from torch.nn.modules.loss import _Loss

from gradlint.diagnostics import Location
from gradlint.runtime.answers import can_be_asked
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.refusal import Refusal
from gradlint.runtime.values import value_of
from gradlint.wordings.losses import (
    AS_FLOATS,
    AS_INDICES,
    CONVERT,
    COUNT_FROM_ZERO,
    IGNORE,
    MORE_SCORES,
    ONE_CLASS_EACH,
    SCALE_TARGETS,
    SQUASH,
    UNTIL_IT_WAS,
    WANTS_CLASSES,
)


def loss_class(refusal: Refusal, ledger: Ledger) -> None:
    """A class of losses is called with what its instance should be given."""
    call = refusal.call
    cls = value_of(call.func, refusal.frame) if call is not None else None
    if call is not None and isinstance(cls, type) and issubclass(cls, _Loss):
        ledger.report("GL811", refusal.place, subject=ast.unparse(call.func))


def swapped(refusal: Refusal, ledger: Ledger) -> None:
    """The prediction and the classes have changed places."""
    first, second = _given(refusal)
    call = refusal.call
    if first is None or second is None or call is None or len(call.args) < 2:
        return
    if not first.is_floating_point() and second.is_floating_point():
        target, prediction = (ast.unparse(each) for each in call.args[:2])
        what = f"`{ast.unparse(call.func)}` wants the prediction first, but gets `{target}`, {WANTS_CLASSES}"
        ledger.report("GL907", refusal.place, what=what, remedy=f"swap them: `({prediction}, {target})`")


def no_probability(refusal: Refusal, ledger: Ledger) -> None:
    """A cross-entropy of probabilities is given what does not lie between 0 and 1."""
    prediction, target = _given(refusal)
    of_target = "of target" in refusal.message
    tensor = target if of_target else prediction
    if tensor is None or not can_be_asked(tensor) or not tensor.numel():
        return
    said, index = tensor.detach(), int(of_target)
    name = _spelled(refusal, index) or ("the target" if of_target else "the prediction")
    strange = int(said.isnan().sum())
    if strange:
        what, remedy = f"{strange} of the {said.numel()} values of {name} are NaN", UNTIL_IT_WAS
    else:
        what = f"{name} goes from {said.min():.3g} to {said.max():.3g}"
        remedy = (SCALE_TARGETS if of_target else SQUASH).format(name.strip("`"))
    ledger.report("GL923", refusal.place, _made(refusal, index), what=what, remedy=remedy)


def unfit_target(refusal: Refusal, ledger: Ledger) -> None:
    """A loss over classes is given targets that are none of its classes, or no classes at all."""
    prediction, target = _given(refusal)
    if prediction is None or target is None:
        return
    name, scores = _spelled(refusal, 1) or "the target", _spelled(refusal, 0) or "the prediction"
    plain = name.strip("`")
    if "Found dtype" in refusal.message:
        what = f"{name} is of {_kind(target)}, and this loss compares floating point numbers"
        remedy = CONVERT.format(plain, prediction.dtype)
    elif target.is_floating_point() and target.shape != prediction.shape:
        what, remedy = f"{name} is of {_kind(target)}, and a class is a whole number", AS_INDICES.format(plain)
    elif target.dim() > 1 and target.dim() == prediction.dim() and target.shape[1] == 1:
        what = f"{name} has the shape {tuple(target.shape)}, where each sample has one class"
        remedy = ONE_CLASS_EACH.format(plain)
    elif target.shape == prediction.shape and prediction.is_floating_point():
        what = f"{name} is of {_kind(target)}, and has the shape of {scores}: it is taken for values"
        remedy = AS_FLOATS.format(plain)
    elif refusal.message.startswith("Target ") and can_be_asked(target) and target.numel() and prediction.dim():
        what, remedy = _range(target, prediction, name, scores)
    else:
        return
    ledger.report("GL924", refusal.place, _made(refusal, 1), what=what, remedy=remedy)


def _range(target: Tensor, prediction: Tensor, name: str, scores: str) -> tuple[str, str]:
    """Say which classes there are, for how many there are scores, and what to do."""
    low, high = int(target.min()), int(target.max())
    many = prediction.shape[1 if prediction.dim() > 1 else 0]
    what = f"{name} holds classes from {low} to {high}, and {scores} has {many} scores, for the classes 0 to {many - 1}"
    if low < 0:
        return what, IGNORE.format(low)
    return what, COUNT_FROM_ZERO.format(name.strip("`")) if low > 0 and high == many else MORE_SCORES.format(high + 1)


def _given(refusal: Refusal) -> tuple[Tensor | None, Tensor | None]:
    """Return the prediction and the target that torch's function was called with."""
    for frame in reversed(refusal.below):
        found = [frame.f_locals.get(name) for name in ("input", "target")]
        if all(isinstance(each, Tensor) for each in found):
            return found[0], found[1]
    return None, None


def _argument(refusal: Refusal, index: int) -> ast.expr | None:
    call = refusal.call
    named = (
        next((each.value for each in call.keywords if each.arg == ("input", "target")[index]), None) if call else None
    )
    return named or (call.args[index] if call is not None and index < len(call.args) else None)


def _spelled(refusal: Refusal, index: int) -> str | None:
    node = _argument(refusal, index)
    return f"`{ast.unparse(node)}`" if node is not None and not isinstance(node, ast.Starred) else None


def _made(refusal: Refusal, index: int) -> list[tuple[str, Location]]:
    node, source = _argument(refusal, index), refusal.source
    made = source.made(node) if source is not None and isinstance(node, ast.Name) else None
    return [("made", source.place(made))] if source is not None and made is not None else []


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix(f"{torch.__name__}.")
