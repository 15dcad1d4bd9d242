"""What autograd refuses: tensors that are no leaves, no numbers or not there.

Knows torch's messages by who handles them; must not know which error it was.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from torch import Tensor
from torch.nn import Module
from torch.optim import Optimizer

from gradlint.diagnostics import Location
from gradlint.runtime.graph import named
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.lost import cut_of
from gradlint.runtime.refusal import Refusal
from gradlint.runtime.sites import name_of
from gradlint.runtime.sources import Source, source_of
from gradlint.runtime.values import value_of
from gradlint.wordings.graphs import AS_NUMBERS
from gradlint.wordings.modes import HAS_TO_SAVE, IS_CHANGED, IS_STEPPED
from gradlint.wordings.updates import (
    BY_GRADIENT,
    NO_LEAF,
    NO_PART,
    NOT_YET,
    REBOUND,
    REPLACED,
    RETURN_IT,
    SCORES,
    STAYS_NONE,
    TAKE_OUT,
    TRACKED,
)

_NAMED = 3
_CHOOSING = ("argmax", "argmin", "argsort", "topk", "round", "multinomial")


def no_scalar(refusal: Refusal, ledger: Ledger) -> None:
    """A backward pass from a tensor of many elements."""
    root = refusal.local("_make_grads", "out")
    source, call = refusal.source, refusal.call
    owner = call.func.value if call is not None and isinstance(call.func, ast.Attribute) and not call.args else None
    spelled = owner or (call.args[0] if call is not None and call.args else None)
    name = f"`{ast.unparse(spelled)}`" if spelled is not None else "the loss"
    made = source.made(spelled) if source is not None and spelled is not None else None
    marks = [("made", source.place(made))] if source is not None and made is not None else []
    shape = f"has the shape {tuple(root.shape)}" if isinstance(root, Tensor) else "is no single number"
    ledger.report("GL516", refusal.place, marks, subject=name, shape=shape)


def no_scalar_returned(refusal: Refusal, ledger: Ledger) -> None:
    """A function that is differentiated returns many numbers."""
    call = refusal.call
    made = call.func if call is not None else None
    function = made.args[0] if isinstance(made, ast.Call) and made.args else None
    name = f"what `{ast.unparse(function)}` returns" if function is not None else "what the function returns"
    said = re.search(r"got tensor with (\d+) dim", refusal.message)
    shape = f"has {said[1]} dimension{'s' * (said[1] != '1')}" if said else "is no single number"
    ledger.report("GL516", refusal.place, subject=name, shape=shape)


def of_inference(refusal: Refusal, ledger: Ledger) -> None:
    """A tensor of the inference mode is used where gradients are recorded, or changed outside of that mode."""
    optimizer = refusal.local("step", "self")
    if isinstance(optimizer, Optimizer):
        owned = (each for group in optimizer.param_groups for each in group["params"] if each.is_inference())
        name = named(next(owned, None), refusal.frame)
        what = IS_STEPPED.format(name_of(optimizer, refusal.frame))
    else:
        read = ((each, value_of(each, refusal.frame)) for each in _read_at(refusal))
        found = (ast.unparse(each) for each, value in read if isinstance(value, Tensor) and value.is_inference())
        name = next(found, None)
        what = IS_CHANGED if "Inplace" in refusal.message else HAS_TO_SAVE
    ledger.report("GL309", refusal.place, subject=f"`{name}`" if name else "a tensor", what=what)


def _read_at(refusal: Refusal) -> Iterator[ast.expr]:
    """Yield the names and attributes in the statement that failed."""
    statement = refusal.source.statement_at(refusal.place.row) if refusal.source is not None else None
    for node in ast.walk(statement) if statement is not None else ():
        if isinstance(node, ast.Name | ast.Attribute):
            yield node


def no_floats(refusal: Refusal, ledger: Ledger) -> None:
    """Whole numbers are to require gradients."""
    source = refusal.source
    match source.statement_at(refusal.place.row) if source is not None else None, refusal.call:
        case ast.Assign(targets=[ast.Attribute(value=given, attr="requires_grad")]), _:
            pass
        case _, ast.Call(func=ast.Attribute(value=given, attr="requires_grad_")):
            pass
        case _, ast.Call(args=[given, *_]):
            pass
        case _:
            return
    value = value_of(given, refusal.frame)
    kind = str(value.dtype).removeprefix("torch.") if isinstance(value, Tensor) else "whole numbers"
    made = source.made(given) if source is not None and isinstance(given, ast.Name | ast.Attribute) else None
    marks = [("made", source.place(made))] if source is not None and made is not None else []
    chosen = made is not None and any(each in ast.unparse(made) for each in _CHOOSING)
    remedy = SCORES if chosen else AS_NUMBERS
    ledger.report("GL527", refusal.place, marks, subject=f"`{ast.unparse(given)}`", kind=kind, remedy=remedy)


def tracked(refusal: Refusal, ledger: Ledger) -> None:
    """A leaf that requires gradients is changed in place, and autograd records it."""
    statement = refusal.source.statement_at(refusal.place.row) if refusal.source is not None else None
    match statement:
        case ast.AugAssign(target=changed) | ast.Assign(targets=[changed]):
            pass
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=changed))):
            pass
        case _:
            return
    while isinstance(changed, ast.Subscript):
        changed = changed.value
    update = ast.unparse(statement)
    ledger.report("GL114", refusal.place, subject=ast.unparse(changed), what=TRACKED, update=update)


def replaced(refusal: Refusal, ledger: Ledger) -> None:
    """A parameter of a module is to be replaced by what an update has made of it."""
    match refusal.source.statement_at(refusal.place.row) if refusal.source is not None else None:
        case ast.Assign(targets=[ast.Attribute() as target], value=ast.BinOp() as value):
            name = ast.unparse(target)
            if name in map(ast.unparse, ast.walk(value)):
                update = BY_GRADIENT.format(name)
                ledger.report("GL114", refusal.place, subject=name, what=REPLACED, update=update)


def absent(refusal: Refusal, ledger: Ledger) -> None:
    """The gradient of a tensor is used, and there is none."""
    for node, place in _gradients_in(refusal):
        tensor = value_of(node.value, refusal.frame)
        if not isinstance(tensor, Tensor) or (tensor.is_leaf and tensor.grad is not None):
            continue
        rebound = _rebound(node.value, refusal) if not tensor.is_leaf else None
        spelled = ast.unparse(node.value)
        if rebound is not None:
            update, what = BY_GRADIENT.format(spelled), REBOUND.format(subject=spelled)
            ledger.report("GL114", rebound, subject=spelled, what=what, update=update)
            return
        what, remedy = _why_absent(tensor, refusal)
        what, remedy = what.format(name=_named(tensor, refusal) or spelled), remedy.format(f"{spelled}.grad")
        ledger.report("GL116", place, subject=f"{spelled}.grad", what=what, remedy=remedy)
        return


def _rebound(spelled: ast.expr, refusal: Refusal) -> Location | None:
    """Return where the name of a leaf was given to what an update has made of it."""
    name, source = ast.unparse(spelled), refusal.source
    for assigned in source.assignments(name, refusal.place.row + 1) if source is not None else ():
        match assigned:
            case ast.Assign(value=ast.BinOp() as value) if source is not None and name in map(
                ast.unparse, ast.walk(value)
            ):
                return source.place(assigned)
    return None


def _gradients_in(refusal: Refusal) -> Iterator[tuple[ast.Attribute, Location]]:
    """Yield where the row that failed says `.grad`, or `.grad.` and what None has not; a generator stands in the function around it."""
    wanted = re.search(r"has no attribute '(\w+)'", refusal.message)
    sources = (source_of(caller.f_code) for caller in (refusal.frame, *refusal.around[:1]))
    for source in (each for each in sources if each is not None):
        for node in ast.walk(source.tree):
            match node:
                case ast.Attribute(value=ast.Attribute(attr="grad") as gradient, attr=attr) if wanted is not None:
                    found = gradient if attr == wanted[1] else None
                case ast.Attribute(attr="grad") if wanted is None:
                    found = node
                case _:
                    continue
            if found is not None and _covers(refusal.place, found):
                yield found, source.place(found)


def _covers(place: Location, node: ast.expr) -> bool:
    return place.row <= node.lineno <= max(place.row, place.end_row or 0)


def _named(tensor: Tensor, refusal: Refusal) -> str | None:
    frames = (refusal.frame, *refusal.around[:1])
    return next((name for each in reversed(frames) if (name := named(tensor, each)) is not None), None)


def _why_absent(tensor: Tensor, refusal: Refusal) -> tuple[str, str]:
    if not tensor.is_leaf:
        return NO_LEAF
    if not tensor.requires_grad:
        return STAYS_NONE
    others = (value for each in (refusal.frame, *refusal.around[:1]) for value in each.f_locals.values())
    models = [each for each in others if isinstance(each, Module)]
    beside = any(each is tensor for model in models for each in model.parameters())
    trained = beside and any(each.grad is not None for model in models for each in model.parameters())
    return NO_PART if trained else NOT_YET


def no_number(refusal: Refusal, ledger: Ledger) -> None:
    """A backward pass is started from a plain number, for the loss was turned into one; or from several things, or from nothing."""
    match refusal.source, refusal.call:
        case source, ast.Call(func=ast.Attribute(value=root, attr="backward")) if source is not None:
            value = value_of(root, refusal.frame)
            if value is None or isinstance(value, tuple | list | dict):
                _no_loss(refusal, ledger, source, root, value)
                return
            cut = cut_of(source, root, refusal.frame)
            if cut is not None:
                what = f"is a plain number: `{ast.unparse(root)}` {cut.what}"
                marks = [("cut", cut.place)] if cut.place != refusal.place else []
                ledger.report("GL112", refusal.place, marks, what=what, remedy=cut.remedy)


def _no_loss(refusal: Refusal, ledger: Ledger, source: Source, root: ast.expr, value: object) -> None:
    """What is called the loss is the whole of what a function returns, or the nothing that it returns."""
    name, made = ast.unparse(root), source.made(root)
    if not isinstance(made, ast.Call) or not isinstance(root, ast.Name | ast.Attribute):
        return
    marks = [("returned", source.place(made))]
    if value is None:
        what, remedy = f"is None: `{ast.unparse(made.func)}` returns nothing", RETURN_IT.format(ast.unparse(made.func))
    else:
        pairs = (
            value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, tuple | list) else ())
        )
        found = [f"{name}[{key!r}]" for key, each in pairs if isinstance(each, Tensor) and each.requires_grad]
        what = f"is a {type(value).__name__}: `{name}` is all that `{ast.unparse(made.func)}` returns"
        remedy = TAKE_OUT.format(" or ".join(f"`{each}`" for each in found[:_NAMED]) or "the one that is the loss")
    ledger.report("GL112", refusal.place, marks, what=what, remedy=remedy)


def copied(refusal: Refusal, ledger: Ledger) -> None:
    """Something is copied that holds a tensor with its graph."""
    tensor = refusal.local("__deepcopy__", "self")
    for given in refusal.given if isinstance(tensor, Tensor) else ():
        path = _path_to(tensor, ast.unparse(given), value_of(given, refusal.frame))
        if path is not None:
            ledger.report("GL515", refusal.place, subject=path, copied=ast.unparse(given))
            return


def _path_to(tensor: Tensor, name: str, value: object) -> str | None:
    """Return how a tensor is reached from something: as an attribute of a module in it, or under a key."""
    if isinstance(value, dict):
        return next((f"{name}[{key!r}]" for key, each in value.items() if each is tensor), None)
    held = value.named_modules(prefix=name) if isinstance(value, Module) else [(name, value)]
    for path, each in held:
        found = (
            next((key for key, other in vars(each).items() if other is tensor), None)
            if hasattr(each, "__dict__")
            else None
        )
        if found is not None:
            return f"{path}.{found}"
    return None
