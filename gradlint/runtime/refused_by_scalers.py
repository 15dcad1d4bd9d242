"""What gradient scalers refuse: to unscale twice, gradients of half precision, and to step where there are none.

Knows torch's messages by who handles them; must not know which error it was.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from gradlint.runtime.graph import named
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.refusal import Refusal
from gradlint.runtime.sites import name_of
from gradlint.runtime.sources import Source


def unscaled_twice(refusal: Refusal, ledger: Ledger) -> None:
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


def half(refusal: Refusal, ledger: Ledger) -> None:
    """The parameters themselves are of half precision."""
    optimizer, scaler = refusal.local("unscale_", "optimizer"), refusal.local("unscale_", "self")
    few = [each for each in _parameters(optimizer) if str(each.dtype) == "torch.float16"]
    if few:
        name = named(few[0], refusal.frame)
        subject = f"`{name}`" if name is not None else f"a parameter of `{name_of(optimizer, refusal.frame)}`"
        ledger.report("GL617", refusal.place, subject=subject, scaler=name_of(scaler, refusal.frame))


def without_gradients(refusal: Refusal, ledger: Ledger) -> None:
    """A scaler is to step an optimizer none of whose parameters has a gradient."""
    optimizer = refusal.local("step", "optimizer")
    parameters = list(_parameters(optimizer))
    if not parameters or any(each.grad is not None for each in parameters):
        return
    name, source, row = name_of(optimizer, refusal.frame), refusal.source, refusal.place.row
    passed, cleared = (
        [each for each in _calls_of(source, method) if each.lineno < row] if source else []
        for method in ("backward", "zero_grad")
    )
    last = max(passed, key=lambda each: each.lineno, default=None)
    later = [each for each in cleared if last is not None and each.lineno > last.lineno]
    if not any(each.requires_grad for each in parameters):
        what = "they are all frozen (`requires_grad` is False)"
        ledger.report("GL801", refusal.place, subject=name, what=what)
    elif source is not None and last is not None and later:
        marks = [("fresh", source.place(last)), ("cleared", source.place(later[-1]))]
        ledger.report("GL103", refusal.place, marks, subject=name)
    elif last is not None:
        ledger.report("GL806", refusal.place, what=f"`{name}` holds parameters that no backward pass reaches")
    else:
        ledger.report("GL104", refusal.place, subject=name)


def _parameters(optimizer: Any) -> Iterator[Any]:
    groups = getattr(optimizer, "param_groups", ())
    return (parameter for group in groups for parameter in group["params"])
