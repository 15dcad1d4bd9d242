"""Steps of an optimizer's class that is in sight: which of its methods use the gradients up, and when these clear them.

It goes by what the methods say, and must not know events.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TypeAlias

from gradlint.data import NamedTuple
from gradlint.regex import regex
from gradlint.static.syntax.nodes import called, walk_of

_DIFFERENTIATES = regex(r"\bbackward\b|\bautograd\b|grad = None\b|\.grad\.zero_\(")
_UPDATES = regex(r"\.step\(|\.(?:add|sub|mul|div|copy|addcdiv|addcmul|lerp)_\(|\.data\s*[-+]?=")


class Option(NamedTuple):
    """A parameter that says whether a method clears: where it stands, and what it is unless it is given."""

    name: str
    position: int
    default: bool


Clears: TypeAlias = Option | bool
"""When a method that uses gradients up clears them, too: as an option says, always or never."""


def uses(cls: ast.ClassDef) -> dict[str, Clears] | None:
    """Return the methods by which an optimizer that clears, too, uses gradients up; None where it does anything else to these."""
    text = ast.unparse(cls)
    if "zero_grad" not in text or _DIFFERENTIATES.search(text):
        return None
    found: dict[str, Clears] = {}
    for method in cls.body:
        if not isinstance(method, ast.FunctionDef) or method.name in ("zero_grad", "__init__"):
            continue
        clears = _clears(method)
        if clears is None:
            return None
        if _UPDATES.search(ast.unparse(method)) and evaluates_once(method):
            found[method.name] = clears
        elif clears is not False:
            return None
    return found


def evaluates_once(method: ast.FunctionDef) -> bool:
    """Whether a method evaluates a closure as torch's own steps do, if at all: once, where it is given one."""
    return ast.unparse(method).count("closure()") <= sum(map(_evaluates_if_given, method.body))


def _evaluates_if_given(statement: ast.stmt) -> bool:
    """Whether a statement is the head of a step as torch's optimizers have it: `if closure is not None: loss = closure()`."""
    match statement:
        case ast.If(test, [ast.Assign(value=call) | ast.With(body=[ast.Assign(value=call)])], []):
            return ast.unparse(test) in ("closure is not None", "closure") and ast.unparse(call) == "closure()"
        case _:
            return False


def _clears(method: ast.FunctionDef) -> Clears | None:
    """Return when a method clears what it steps; None where that hangs on something else."""
    clearing = [call for call in walk_of(method, ast.Call) if called(call) == "zero_grad"]
    for statement in method.body:
        match statement:
            case ast.Expr(ast.Call() as call) if call in clearing:
                return True
            case ast.If(ast.Name(name), [ast.Expr(ast.Call() as call)], []) if clearing == [call]:
                return next((each for each in _options(method) if each.name == name), None)
            case _:
                continue
    return None if clearing else False


def _options(method: ast.FunctionDef) -> Iterator[Option]:
    """Yield the parameters of a method that are on or off unless they are given."""
    args = method.args.args
    defaults = [None] * (len(args) - len(method.args.defaults)) + list(method.args.defaults)
    for position, (arg, default) in enumerate(zip(args, defaults, strict=True), -1):
        if isinstance(default, ast.Constant) and isinstance(default.value, bool):
            yield Option(arg.arg, position, default.value)
