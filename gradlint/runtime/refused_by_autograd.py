"""What autograd refuses: tensors that are no leaves, no numbers or not there, and gradients by what takes no part.

Knows torch's messages by who handles them; must not know which error it was.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

from torch import Tensor
from torch.nn import Module, Parameter
from torch.optim import Optimizer

from gradlint.diagnostics import Location
from gradlint.runtime.graph import heads, leaf, leaves, named, nodes
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.lost import cut_of
from gradlint.runtime.refusal import Refusal
from gradlint.runtime.sites import name_of
from gradlint.runtime.sources import source_of
from gradlint.runtime.values import value_of
from gradlint.wordings.graphs import AS_NUMBERS, ASK_FIRST, COMPUTE_FROM, LEAVE_OUT, LEFT_ASIDE, THAW_FIRST
from gradlint.wordings.modes import HAS_TO_SAVE, IS_CHANGED, IS_STEPPED
from gradlint.wordings.updates import NO_LEAF, NO_PART, NOT_YET, REBOUND, SCORES, STAYS_NONE, TRACKED

_NODES = 20_000
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
    source = refusal.source
    statements = (each for each in source.own() if isinstance(each, ast.stmt)) if source is not None else ()
    match next((each for each in statements if each.lineno == refusal.place.row and not hasattr(each, "body")), None):
        case ast.AugAssign(target=changed) | ast.Assign(targets=[changed]):
            pass
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=changed))):
            pass
        case _:
            return
    while isinstance(changed, ast.Subscript):
        changed = changed.value
    ledger.report("GL114", refusal.place, subject=ast.unparse(changed), what=TRACKED)


def absent(refusal: Refusal, ledger: Ledger) -> None:
    """The gradient of a tensor is used, and there is none."""
    for node, place in _gradients_in(refusal):
        tensor = value_of(node.value, refusal.frame)
        if not isinstance(tensor, Tensor) or (tensor.is_leaf and tensor.grad is not None):
            continue
        rebound = _rebound(node.value, refusal) if not tensor.is_leaf else None
        spelled = ast.unparse(node.value)
        if rebound is not None:
            ledger.report("GL114", rebound, subject=spelled, what=REBOUND.format(subject=spelled))
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
    """A backward pass is started from a plain number: the loss was turned into one."""
    match refusal.source, refusal.call:
        case source, ast.Call(func=ast.Attribute(value=root, attr="backward")) if source is not None:
            cut = cut_of(source, root, refusal.frame)
            if cut is not None:
                what = f"is a plain number: `{ast.unparse(root)}` {cut.what}"
                marks = [("cut", cut.place)] if cut.place != refusal.place else []
                ledger.report("GL112", refusal.place, marks, what=what, remedy=cut.remedy)


def unused(refusal: Refusal, ledger: Ledger) -> None:
    """Something is differentiated by a tensor that it does not depend on."""
    inputs, outputs = (_tensors(refusal.local("grad", name)) for name in ("t_inputs", "t_outputs"))
    spelled = _spelled(refusal.call)
    loss = f"`{ast.unparse(spelled[0])}`" if spelled else "the loss"
    names = [_name(i, each, spelled[1:], refusal.frame) for i, each in enumerate(inputs)]
    fixed = [name for name, each in zip(names, inputs, strict=True) if not each.requires_grad]
    if fixed:
        frozen = any(isinstance(each, Parameter) for each in inputs if not each.requires_grad)
        what = f"{_listed(fixed)} {'do' if len(fixed) > 1 else 'does'} not require gradients, and {loss} cannot be differentiated by that"
        remedy = LEAVE_OUT if frozen else THAW_FIRST.format(subject=fixed[0].strip("`"))
        ledger.report("GL525", refusal.place, what=what, remedy=remedy)
        return
    reached = {id(each) for each in leaves(outputs, _NODES)} | set(map(id, heads(outputs)))
    strange = [i for i, each in enumerate(inputs) if not _takes_part(each, reached, outputs)]
    if strange:
        _report_strange(refusal, ledger, loss, [names[i] for i in strange], [inputs[i] for i in strange], outputs)


def _report_strange(
    refusal: Refusal, ledger: Ledger, loss: str, names: list[str], strange: Sequence[Tensor], outputs: Sequence[Tensor]
) -> None:
    first, name, source = strange[0], names[0].strip("`"), refusal.source
    assigned = source.assigned(name, refusal.place.row) if source is not None else None
    marks = [("made", source.place(assigned))] if source is not None and assigned is not None else []
    if isinstance(first, Parameter):
        verb = "take" if len(names) > 1 else "takes"
        ledger.report("GL525", refusal.place, what=f"{_listed(names)} {verb} no part in {loss}", remedy=LEFT_ASIDE)
    elif first.grad_fn is not None and _share(first, outputs):
        what = f"{loss} is not computed from {names[0]}, but from what {names[0]} was made of"
        ledger.report(
            "GL525", refusal.place, marks, subject=name, what=what, remedy=COMPUTE_FROM.format(subject=name, loss=loss)
        )
    else:
        what = f"{loss} is not computed from {names[0]}"
        ledger.report("GL525", refusal.place, marks, subject=name, what=what, remedy=ASK_FIRST)


def _takes_part(each: Tensor, reached: set[int], outputs: Sequence[Tensor]) -> bool:
    if each.grad_fn is None:
        return id(each) in reached
    return any(node is each.grad_fn for node in _graph(outputs))


def _graph(outputs: Sequence[Tensor]) -> Iterator[Any]:
    return (node for node, _ in zip(nodes(heads(outputs)), range(_NODES), strict=False))


def _share(one: Tensor, others: Sequence[Tensor]) -> bool:
    """Tell whether a tensor is computed from something that others are computed from as well."""
    mine = {id(leaf(node)) for node in _graph([one])} - {id(None)}
    return any(id(each) in mine for each in leaves(others, _NODES))


def _tensors(value: Any) -> list[Tensor]:
    return [each for each in value or () if isinstance(each, Tensor)]


def _spelled(call: ast.Call | None) -> list[ast.expr]:
    """Return how a call of `grad` writes what is differentiated, and by what."""
    if call is None:
        return []
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    both = [*call.args[:2], *(given[name] for name in ("outputs", "inputs") if name in given)]
    if len(both) < 2:
        return both
    return [both[0], *(both[1].elts if isinstance(both[1], ast.List | ast.Tuple) else [both[1]])]


def _name(index: int, tensor: Tensor, spelled: list[ast.expr], frame: FrameType) -> str:
    written = spelled[min(index, len(spelled) - 1)] if spelled else None
    dotted = isinstance(written, ast.Name | ast.Attribute | ast.Subscript) and index < len(spelled)
    name = None if dotted and not isinstance(tensor, Parameter) else named(tensor, frame)
    if name is None and written is not None:
        name = ast.unparse(written)
    return f"`{name}`" if name is not None else "a tensor"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


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
