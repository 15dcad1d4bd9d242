"""Gradient scalers: unscale before the gradients are read, step and update through the scaler, backward out of autocast."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from gradlint.diagnostics import Diagnostic
from gradlint.static.fixes.changes import Insert, Move
from gradlint.static.fixes.remedy import (
    Builder,
    Remedy,
    added,
    alone,
    calls,
    own_statement,
    plain,
    receiver,
    related,
    replaced,
)
from gradlint.static.syntax.outline import Outline


def _unscale(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL601: unscale before clipping."""
    clip = outline.at(item.location, ast.Call)
    scaler = _scaler(item, outline)
    if clip is None or scaler is None:
        return None
    name = ast.unparse(scaler)
    steps = [call for call in calls([outline.scope(clip)], "step") if ast.unparse(call.func) == f"{name}.step"]
    optimizers = {ast.unparse(call.args[0]) for call in steps if call.args and plain(call.args[0])}
    if len(optimizers) != 1:
        return None
    text = f"{name}.unscale_({optimizers.pop()})"
    return Remedy(f"Insert `{text}`", (Insert(text, outline.place(outline.statement(clip))),))


def _scaler(item: Diagnostic, outline: Outline) -> ast.expr | None:
    """Return the scaler of the backward pass that the finding names."""
    match outline.at(related(item, "scaled"), ast.Call):
        case ast.Call(ast.Attribute(ast.Call(ast.Attribute(scaler, "scale")), "backward")) if plain(scaler):
            return scaler
        case _:
            return None


def _scaled(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL604: step through the scaler, and let it update; or scale the loss of the backward pass that is not."""
    return _backward_scaled(item, outline) or _step_scaled(item, outline)


def _backward_scaled(item: Diagnostic, outline: Outline) -> Remedy | None:
    backward = outline.at(related(item, "plain"), ast.Call)
    scaler = receiver(outline.at(item.location, ast.Call))
    match backward:
        case ast.Call(ast.Attribute(loss, "backward")) if scaler is not None and plain(loss):
            text = f"{outline.spelled(scaler)}.scale({outline.spelled(loss)})"
        case _:
            return None
    if outline.scope(backward) is not outline.scope(scaler):
        return None
    return Remedy(f"Scale the loss: `{text}`", (replaced(outline, loss, text),))


def _step_scaled(item: Diagnostic, outline: Outline) -> Remedy | None:
    call, scaler = outline.at(item.location, ast.Call), _scaler(item, outline)
    statement, stepped = alone(outline, call), receiver(call)
    if call is None or statement is None or stepped is None or scaler is None or call.args or call.keywords:
        return None
    name = outline.spelled(scaler)
    if ast.unparse(stepped) == ast.unparse(scaler) or outline.scope(scaler) is not outline.scope(call):
        return None
    text = f"{name}.step({outline.spelled(stepped)})"
    updated = any(ast.unparse(found.func) == f"{name}.update" for found in calls([outline.scope(call)], "update"))
    step = replaced(outline, call, text)
    if updated:
        return Remedy(f"Step by `{text}`", (step,))
    update = added(outline, statement, f"{name}.update()")
    return Remedy(f"Step by `{text}`", (step, update)) if update else None


def _update(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL605: update behind the last step of the scaler."""
    statement = own_statement(item, outline)
    scaler = receiver(statement.value) if statement else None
    if statement is None or scaler is None:
        return None
    name = ast.unparse(scaler)
    block = outline.block(statement)
    last = [node for node in block if any(ast.unparse(call.func) == f"{name}.step" for call in calls([node], "step"))]
    text = f"{outline.spelled(scaler)}.update()"
    return Remedy(f"Insert `{text}` behind it", (Insert(text, outline.place(last[-1]), behind=True),), safe=True)


def _out_of_autocast(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL608: let autocast end before the backward pass."""
    statement = own_statement(item, outline)
    block = next((node for node in outline.above(statement) if isinstance(node, ast.stmt)), None) if statement else None
    if statement is None or not isinstance(block, ast.With) or block.body[-1] is not statement:
        return None
    change = Move(outline.place(statement), outline.place(block), behind=True)
    return Remedy("Move it behind the `with` block", (change,))


BUILDERS: Mapping[str, Builder] = {
    "GL601": _unscale,
    "GL604": _scaled,
    "GL605": _update,
    "GL608": _out_of_autocast,
}
