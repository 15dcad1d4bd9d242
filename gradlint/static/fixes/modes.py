"""Modes that are switched where they have to be: train and eval, and dropout that follows them."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from gradlint.diagnostics import Diagnostic, Location
from gradlint.static.fixes.changes import Change, Insert
from gradlint.static.fixes.remedy import Builder, Remedy, plain, related, unchanged, wrapped
from gradlint.static.syntax.outline import Loop, Outline


def _evaluate(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL303: switch to evaluation before the loop, and back behind it where training goes on."""
    loop = _loop_at(item, outline)
    name = _module(outline, related(item, "forward"), loop)
    if loop is None or name is None:
        return None
    changes: list[Change] = [Insert(f"{name}.eval()", outline.place(loop))]
    step = outline.at(related(item, "stepped"), ast.Call)
    if step is not None and outline.loop(loop, step) is not None:
        changes.append(Insert(f"{name}.train()", outline.place(loop), behind=True))
    return Remedy(f"Call `{name}.eval()` before the loop", tuple(changes))


def _loop_at(item: Diagnostic, outline: Outline) -> Loop | None:
    """Return the loop whose batches, or whose head, the finding stands at."""
    for node in ast.walk(outline.tree):
        if isinstance(node, Loop) and node.lineno == item.location.row:
            return node
    return None


def _module(outline: Outline, forward: Location | None, loop: Loop | None) -> str | None:
    """Return how the model of a forward pass is spelled there, if the loop is in sight of that name."""
    call = outline.at(forward, ast.Call)
    if call is None or loop is None or not plain(call.func) or outline.scope(call) is not outline.scope(loop):
        return None
    return outline.spelled(call.func) if unchanged(call.func, [loop]) else None


def _train(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL304: switch to training at the start of each epoch."""
    loop = _loop_at(item, outline)
    name = _module(outline, related(item, "forward"), loop)
    if loop is None or name is None:
        return None
    return Remedy(f"Begin with `{name}.train()`", (Insert(f"{name}.train()", outline.place(loop.body[0])),))


def _follow_mode(item: Diagnostic, outline: Outline) -> Remedy | None:
    """GL308: let dropout follow the mode of the module."""
    call = outline.at(item.location, ast.Call)
    method = outline.scope(call) if call else None
    if call is None or not isinstance(method, ast.FunctionDef) or not method.args.args or len(call.args) > 2:
        return None
    if not call.args or any(key.arg in ("training", None) for key in call.keywords):
        return None
    text = f"training={method.args.args[0].arg}.training"
    last = max((*call.args, *(key.value for key in call.keywords)), key=outline.place)
    return Remedy(f"Pass `{text}`", wrapped(outline, last, "", f", {text}"))


BUILDERS: Mapping[str, Builder] = {"GL303": _evaluate, "GL304": _train, "GL308": _follow_mode}
