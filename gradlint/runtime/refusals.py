"""What torch refuses outside of a backward pass, explained from the traceback of the error that leaves the run.

Whoever catches such an error has dealt with it. Knows tracebacks, torch's messages and the ledger; must not know how
torch is hooked.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any

from torch import Tensor
from torch.nn import Module

from gradlint.diagnostics import Location
from gradlint.runtime.graph import named
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.sites import Origin, locate, name_of, origin_of
from gradlint.runtime.sources import Source, source_of
from gradlint.wordings.updates import REBOUND, TRACKED

_NAMED = 8


@dataclass(frozen=True, slots=True)
class _Refusal:
    """An error: the user's frame and the place of his call, and the frames of torch's below it, the outermost first."""

    message: str
    frame: FrameType
    place: Location
    below: tuple[FrameType, ...]

    @property
    def source(self) -> Source | None:
        """The source of the user's function."""
        return source_of(self.frame.f_code)

    @property
    def call(self) -> ast.Call | None:
        """The call that was refused."""
        source = self.source
        return source.call_at(self.place) if source is not None else None

    def local(self, function: str, name: str) -> Any:
        """Return a local variable of torch's function of that name, None if there is none."""
        return next((each.f_locals.get(name) for each in self.below if each.f_code.co_name == function), None)


def explain_refusal(error: BaseException, ledger: Ledger) -> None:
    """Report what an error that leaves the run means, if it is one of those known here."""
    message = str(error)
    explain = next((each for said, each in _EXPLAIN.items() if said in message), None)
    refusal = _refusal(message, error.__traceback__) if explain is not None else None
    if explain is not None and refusal is not None:
        explain(refusal, ledger)


def _refusal(message: str, trace: TracebackType | None) -> _Refusal | None:
    entries = list(_entries(trace))
    last = max((i for i, each in enumerate(entries) if _is_users(each)), default=None)
    if last is None:
        return None
    frame = entries[last].tb_frame
    below = tuple(each.tb_frame for each in entries[last + 1 :])
    return _Refusal(message, frame, locate(frame.f_code, entries[last].tb_lasti), below)


def _entries(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _is_users(entry: TracebackType) -> bool:
    return origin_of(entry.tb_frame.f_code) is Origin.USER


def _empty_list(refusal: _Refusal, ledger: Ledger) -> None:
    """An optimizer was given no parameters: an iterator that had been read, or nothing that is trained."""
    source, call = refusal.source, refusal.call
    given = _parameters_of(call) if call is not None else None
    if source is None or given is None:
        ledger.report("GL801", refusal.place, subject="the optimizer", what="it gets an empty list")
        return
    name = ast.unparse(given)
    assigned = source.assigned(name, given.lineno) if isinstance(given, ast.Name) else None
    made = None if assigned is None else assigned.value
    drained = _use_between(source, name, assigned, given) if assigned is not None else None
    if made is not None and drained is not None and hasattr(refusal.frame.f_locals.get(name), "__next__"):
        marks = [("made", source.place(made)), ("drained", source.place(drained))]
        ledger.report("GL609", refusal.place, marks, subject=name)
        return
    subject, what = _untrained(made if made is not None else given, refusal.frame)
    ledger.report("GL801", refusal.place, subject=subject or name, what=what)


def _parameters_of(call: ast.Call) -> ast.expr | None:
    named = (keyword.value for keyword in call.keywords if keyword.arg == "params")
    return next(iter([*call.args[:1], *named]), None)


def _use_between(source: Source, name: str, made: ast.stmt, given: ast.expr) -> ast.expr | None:
    """Return the last use of a name after its assignment and before the call that found it empty."""
    uses = [each for each in source.own() if isinstance(each, ast.Name) and each.id == name]
    between = [use for use in uses if (made.end_lineno or 0) < use.lineno < given.lineno]
    return max(between, key=lambda use: use.lineno, default=None)


def _untrained(given: ast.expr, frame: FrameType) -> tuple[str | None, str]:
    """Return the module from which an empty list of parameters came, and why it is empty."""
    for node in ast.walk(given):
        if isinstance(node, ast.Name | ast.Attribute):
            module = _module(ast.unparse(node), frame)
            if module is not None:
                return ast.unparse(node), f"{_why_none(module)}, so the optimizer gets an empty list"
    return None, "it is empty"


def _why_none(module: Module) -> str:
    """Say why nothing was taken from the parameters of a module."""
    parameters = list(module.named_parameters())
    if not parameters:
        return "it has none (modules in a plain list or dict do not count)"
    if any(parameter.requires_grad for _, parameter in parameters):
        return f"none of them is chosen (the first is called `{parameters[0][0]}`)"
    return "all of them are frozen"


def _module(dotted: str, frame: FrameType) -> Module | None:
    name, *path = dotted.split(".")
    value = frame.f_locals.get(name, frame.f_globals.get(name))
    for part in path:
        value = (
            value._modules.get(part)
            if isinstance(value, Module)
            else vars(value).get(part)
            if hasattr(value, "__dict__")
            else None
        )
    return value if isinstance(value, Module) else None


def _unscaled_twice(refusal: _Refusal, ledger: Ledger) -> None:
    """`unscale_` for the second time since the last `update`."""
    source, call = refusal.source, refusal.call
    calls = list(_calls_of(source, "unscale_")) if source is not None else []
    before = [each for each in calls if call is not None and each.lineno < call.lineno]
    first = max(before, key=lambda each: each.lineno, default=call)
    marks = [("unscaled", source.place(first))] if source is not None and first is not None else []
    scaler = name_of(refusal.local("unscale_", "self"), refusal.frame)
    subject = name_of(refusal.local("unscale_", "optimizer"), refusal.frame)
    ledger.report("GL607", refusal.place, marks, scaler=scaler, subject=subject)


def _calls_of(source: Source, method: str) -> Iterator[ast.Call]:
    for node in source.own():
        match node:
            case ast.Call(func=ast.Attribute(attr=attr)) if attr == method:
                yield node


def _no_scalar(refusal: _Refusal, ledger: Ledger) -> None:
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


def _unfinished(refusal: _Refusal, ledger: Ledger) -> None:
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


def _of_inference(refusal: _Refusal, ledger: Ledger) -> None:
    """A tensor of the inference mode is used where gradients are recorded."""
    given = (node for node in ast.walk(refusal.call) if isinstance(node, ast.Name)) if refusal.call is not None else ()
    values = {node.id: refusal.frame.f_locals.get(node.id, refusal.frame.f_globals.get(node.id)) for node in given}
    found = [name for name, value in values.items() if isinstance(value, Tensor) and value.is_inference()]
    ledger.report("GL309", refusal.place, subject=f"`{found[0]}`" if found else "a tensor")


def _no_leaf(refusal: _Refusal, ledger: Ledger) -> None:
    """An optimizer is given a tensor that was computed."""
    given, source = refusal.local("add_param_group", "param"), refusal.source
    name = named(given, refusal.frame)
    assigned = source.assigned(name, refusal.place.row) if source is not None and name is not None else None
    place = source.place(assigned) if source is not None and assigned is not None else refusal.place
    ledger.report("GL519", place, [("optimizer", refusal.place)], subject=name or "a parameter")


def _in_two_groups(refusal: _Refusal, ledger: Ledger) -> None:
    """A group of an optimizer has parameters of an earlier one."""
    optimizer, source = refusal.local("add_param_group", "self"), refusal.source
    given = _parameters_of(refusal.call) if refusal.call is not None else None
    if source is None or optimizer is None or not isinstance(given, ast.List):
        return
    groups = [_of_group(each) for each in given.elts]
    before = len(optimizer.param_groups)
    if before < len(groups):
        ledger.report("GL812", source.place(groups[before]), subject=_stem(groups[before]), other=_stem(groups[0]))


def _of_group(group: ast.expr) -> ast.expr:
    """Return what a group of parameters says that they are."""
    if isinstance(group, ast.Dict):
        pairs = zip(group.keys, group.values, strict=True)
        return next((value for key, value in pairs if isinstance(key, ast.Constant) and key.value == "params"), group)
    return group


def _stem(group: ast.expr) -> str:
    return ast.unparse(group).removesuffix(".parameters()")


def _overrun(refusal: _Refusal, ledger: Ledger) -> None:
    """A schedule that counts its steps has come to its end."""
    scheduler = refusal.local("get_lr", "self")
    what = f"has come to the end of its {getattr(scheduler, 'total_steps', '')} steps, and is stepped once more: torch raises ValueError"
    ledger.report("GL213", refusal.place, subject=name_of(scheduler, refusal.frame), what=what)


def _tracked(refusal: _Refusal, ledger: Ledger) -> None:
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


def _rebound(refusal: _Refusal, ledger: Ledger) -> None:
    """The gradient of a tensor that an earlier update has made of a leaf is None."""
    source = refusal.source
    for node in source.own() if source is not None else ():
        if isinstance(node, ast.Assign) and node.lineno == refusal.place.row:
            name = ast.unparse(node.targets[0])
            value = refusal.frame.f_locals.get(name)
            if f"{name}.grad" in ast.unparse(node.value) and isinstance(value, Tensor) and not value.is_leaf:
                what = REBOUND.format(subject=name)
                ledger.report("GL114", refusal.place, subject=name, what=what)


_EXPLAIN: dict[str, Callable[[_Refusal, Ledger], None]] = {
    "optimizer got an empty parameter list": _empty_list,
    "number of total steps is": _overrun,
    "can't optimize a non-leaf Tensor": _no_leaf,
    "some parameters appear in more than one parameter group": _in_two_groups,
    "unscale_() has already been called": _unscaled_twice,
    "grad can be implicitly created only for scalar outputs": _no_scalar,
    "Expected to have finished reduction": _unfinished,
    "is being used in an in-place operation": _tracked,
    "NoneType": _rebound,
    "Inference tensors cannot be saved for backward": _of_inference,
    "Setting requires_grad=True on inference tensor": _of_inference,
}
