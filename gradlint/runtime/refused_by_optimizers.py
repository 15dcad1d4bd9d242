"""What optimizers and schedulers refuse: what they are given is empty, no leaf, uncalled, of others, or not enough.

Knows torch's messages by who handles them; must not know which error it was.
"""

from __future__ import annotations

import ast
from types import FrameType

from torch import Tensor
from torch.nn import Module

from gradlint.runtime.graph import named
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.refusal import Refusal
from gradlint.runtime.sites import name_of
from gradlint.runtime.sources import Source
from gradlint.runtime.values import value_of
from gradlint.wordings.construction import (
    ALL_DENSE,
    ALL_SPARSE,
    GIVE_A_GROUP,
    GIVE_A_LIST,
    GIVE_EACH,
    GIVE_GROUPS,
    GIVE_PARAMETERS,
    WITHOUT_DECAY,
)

_TAKE_PARAMETERS = ("__init__", "add_param_group", "clip_grad_norm_", "clip_grad_value_")


def empty_list(refusal: Refusal, ledger: Ledger) -> None:
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
            module = value_of(node, frame)
            if isinstance(module, Module):
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


def no_leaf(refusal: Refusal, ledger: Ledger) -> None:
    """An optimizer is given a tensor that was computed."""
    given, source = refusal.local("add_param_group", "param"), refusal.source
    name = named(given, refusal.frame)
    assigned = source.assigned(name, refusal.place.row) if source is not None and name is not None else None
    place = source.place(assigned) if source is not None and assigned is not None else refusal.place
    ledger.report("GL519", place, [("optimizer", refusal.place)], subject=name or "a parameter")


def in_two_groups(refusal: Refusal, ledger: Ledger) -> None:
    """A group of an optimizer has parameters of an earlier one."""
    optimizer, source = refusal.local("add_param_group", "self"), refusal.source
    given = _parameters_of(refusal.call) if refusal.call is not None else None
    if source is None or optimizer is None or given is None:
        return
    if not isinstance(given, ast.List):
        subject, other = _stem(_of_group(given)), name_of(optimizer, refusal.frame)
        ledger.report("GL812", refusal.place, subject=subject, other=other)
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


def uncalled(refusal: Refusal, ledger: Ledger) -> None:
    """A method that returns parameters is passed on without being called."""
    source = refusal.source
    if source is None or not refusal.below:
        return
    for given in refusal.given:
        method = value_of(given, refusal.frame)
        owner = value_of(given.value, refusal.frame) if isinstance(given, ast.Attribute) else None
        if isinstance(owner, Module) and callable(method) and not isinstance(method, Module | type):
            ledger.report("GL803", source.place(given), subject=ast.unparse(given))
            return


def no_parameters(refusal: Refusal, ledger: Ledger) -> None:
    """An optimizer, or what clips, is given a module, a tensor, names or generators, where it takes parameters."""
    given, source = _parameters_of(refusal.call) if refusal.call is not None else None, refusal.source
    if given is None or source is None or not any(each.f_code.co_name in _TAKE_PARAMETERS for each in refusal.below):
        return
    parts = given.elts if isinstance(given, ast.List | ast.Tuple) else ()
    inside = next((each for each in parts if isinstance(value_of(each, refusal.frame), Module)), None)
    name, value = ast.unparse(given), value_of(given, refusal.frame)
    if "must be a dict" in refusal.message:
        what, remedy = f"`{name}` is no group of parameters", GIVE_A_GROUP.format(name)
    elif isinstance(value, Module):
        what, remedy = f"`{name}` is a module, not what is trained of it", GIVE_PARAMETERS.format(name)
    elif isinstance(value, Tensor):
        what, remedy = f"`{name}` is a tensor, not a list of them", GIVE_A_LIST.format(name)
    elif name.endswith(".state_dict()"):
        what = f"`{name}` gives names"
        remedy = GIVE_PARAMETERS.format(name.removesuffix(".state_dict()"))
    elif inside is not None or "torch.nn.modules" in refusal.message:
        what = f"`{ast.unparse(inside or given)}` {'is a module' if inside else 'holds modules'}, not what is trained of it"
        remedy = GIVE_EACH
    elif any(isinstance(each, ast.Call) for each in parts):
        what, remedy = f"`{name}` is a list of lists", GIVE_GROUPS.format()
    else:
        return
    ledger.report("GL825", source.place(given), what=what, remedy=remedy)


def sparse(refusal: Refusal, ledger: Ledger) -> None:
    """An optimizer is to step on sparse gradients, which it cannot do, or not with a decay."""
    decays = "does not support" not in refusal.message
    how = " with a `weight_decay`" if decays else ""
    _report_layout(refusal, ledger, "sparse", how, WITHOUT_DECAY if decays else ALL_DENSE)


def dense(refusal: Refusal, ledger: Ledger) -> None:
    """An optimizer for sparse gradients is given others."""
    _report_layout(refusal, ledger, "dense", "", ALL_SPARSE)


def _report_layout(refusal: Refusal, ledger: Ledger, kind: str, how: str, remedy: str) -> None:
    optimizer = refusal.local("step", "self")
    groups = [each for each in getattr(optimizer, "param_groups", ()) if not how or each.get("weight_decay")]
    owned = (each for group in groups for each in group["params"] if each.grad is not None)
    first = next((each for each in owned if each.grad.is_sparse is (kind == "sparse")), None)
    if optimizer is None or first is None:
        return
    found, name = named(first, refusal.frame), f"`{name_of(optimizer, refusal.frame)}`"
    what = f"`{found}`" if found is not None else f"a parameter of {name}"
    remedy = remedy.format(type(optimizer).__name__)
    ledger.report("GL824", refusal.place, what=what, kind=kind, name=name, how=how, remedy=remedy)


def other_groups(refusal: Refusal, ledger: Ledger) -> None:
    """The state that is loaded is that of an optimizer with other groups."""
    optimizer, saved = refusal.local("load_state_dict", "self"), refusal.local("load_state_dict", "saved_groups")
    if optimizer is None or saved is None:
        return
    name, has = name_of(optimizer, refusal.frame), [len(each["params"]) for each in optimizer.param_groups]
    loaded = [len(each["params"]) for each in saved]
    if len(has) != len(loaded):
        what = f"`{name}` has {len(has)} group{'s' * (len(has) > 1)} of parameters, and the state that it is given is for {len(loaded)}"
    else:
        index = next(i for i, (one, other) in enumerate(zip(has, loaded, strict=True)) if one != other)
        what = f"group {index} of `{name}` has {has[index]} parameters, and that of the state that it is given {loaded[index]}"
    ledger.report("GL816", refusal.place, subject=name, what=what)


def evaluated(refusal: Refusal, ledger: Ledger) -> None:
    """An optimizer is given what its closure returned."""
    match refusal.call:
        case ast.Call(func=ast.Attribute(value=owner, attr="step"), args=[ast.Call(func=closure)]):
            ledger.report("GL405", refusal.place, subject=ast.unparse(owner), closure=ast.unparse(closure))


def no_metric(refusal: Refusal, ledger: Ledger) -> None:
    """A schedule that waits for a plateau is not told the metric."""
    match refusal.call:
        case ast.Call(func=ast.Attribute(value=owner, attr="step"), args=[]):
            ledger.report("GL205", refusal.place, subject=ast.unparse(owner), when="")


def no_optimizer(refusal: Refusal, ledger: Ledger) -> None:
    """A schedule is built on something else than an optimizer."""
    source = refusal.source
    if source is not None and refusal.given:
        given = refusal.given[0]
        what, way = f"`{ast.unparse(given)}` is no optimizer, and torch raises TypeError", "give it the optimizer"
        subject = source.assigned_in(refusal.place.row) or "the scheduler"
        ledger.report("GL211", source.place(given), subject=subject, what=what, way=way)


def overrun(refusal: Refusal, ledger: Ledger) -> None:
    """A schedule that counts its steps has come to its end."""
    scheduler = refusal.local("get_lr", "self")
    what = f"has come to the end of its {getattr(scheduler, 'total_steps', '')} steps, and is stepped once more: torch raises ValueError"
    ledger.report("GL213", refusal.place, subject=name_of(scheduler, refusal.frame), what=what)
