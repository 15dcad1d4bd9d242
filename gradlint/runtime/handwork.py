"""Where the user's source changes a parameter or a buffer in place: by its name, or as one of all parameters of its module.

Works after torch has raised. Knows sources and frames; must not know torch or rules.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from types import FrameType, FunctionType

from gradlint.diagnostics import Location
from gradlint.runtime.sites import Origin, origin_of, user_frames
from gradlint.runtime.sources import Source, source_of
from gradlint.runtime.values import value_of

_FRAMES = 8
_ALL = (".parameters()", ".named_parameters()", ".state_dict()", ".buffers()")


def changed_by_hand(parameter: str, frame: FrameType | None) -> Location | None:
    """Return where the user's functions that run, or those that they call, change a parameter in place."""
    for caller in user_frames(frame, _FRAMES):
        source = source_of(caller.f_code)
        for inside, name in _with_called(source, parameter, caller) if source is not None else ():
            place = inside.changed(name) or _changed_with_all(inside, name)
            if place is not None:
                return place
    return None


def changed_by_methods(kind: type, name: str) -> Location | None:
    """Return where a method of a class of the user's changes in place what it calls `name`."""
    methods = (each for each in vars(kind).values() if isinstance(each, FunctionType))
    sources = (source_of(each.__code__) for each in methods if origin_of(each.__code__) is Origin.USER)
    return next((place for each in sources if each is not None and (place := each.changed(name)) is not None), None)


def _with_called(source: Source, parameter: str, frame: FrameType) -> Iterator[tuple[Source, str]]:
    """Yield a source, then those of the user's functions that it calls with the module, and what the parameter is called there."""
    yield source, parameter
    for call in source.own():
        function = value_of(call.func, frame) if isinstance(call, ast.Call) else None
        if (
            isinstance(call, ast.Call)
            and isinstance(function, FunctionType)
            and origin_of(function.__code__) is Origin.USER
        ):
            called = source_of(function.__code__)
            yield from ((called, name) for name in _names_inside(call, function, parameter) if called is not None)


def _names_inside(call: ast.Call, function: FunctionType, parameter: str) -> Iterator[str]:
    """Yield what a parameter is called in a function that gets the module it belongs to, or is a method of what has it."""
    names = list(inspect.signature(function).parameters)
    given = dict(zip(names, call.args, strict=False))
    if isinstance(call.func, ast.Attribute) and names[:1] == ["self"]:
        given = {"self": call.func.value, **dict(zip(names[1:], call.args, strict=False))}
    for name, each in given.items():
        if parameter.startswith(f"{ast.unparse(each)}."):
            yield name + parameter.removeprefix(ast.unparse(each))


def _changed_with_all(source: Source, parameter: str) -> Location | None:
    """Return where a loop over all parameters of the module changes each of them."""
    module = parameter
    while "." in module:
        module = module.rpartition(".")[0]
        for loop in source.own():
            if isinstance(loop, ast.For) and any(module + each in ast.unparse(loop.iter) for each in _ALL):
                names = (each.id for each in ast.walk(loop.target) if isinstance(each, ast.Name))
                within = Source(source.filename, loop, tuple(loop.body))
                return next((place for name in names if (place := within.changed(name)) is not None), None)
    return None
