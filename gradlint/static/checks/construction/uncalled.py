"""Methods that are named but not called: GL110, and the words for others that are passed so."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from gradlint.diagnostics import Diagnostic, Edit, Fix, Location, Side
from gradlint.messages import compose
from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.checks import by_words, check, in_tests
from gradlint.static.flow.subjects import MANY_EVALUATIONS
from gradlint.static.lowering.values import Instance, Kind, Object, Tensor, Unknown, Value

_ACTIONS = frozenset(["zero_grad", "step", "backward", "eval", "train", "detach_", "requires_grad_"])
_UNTOLD = regex(r"\.state_dict\b(?!\s*\()")


@check
@by_words
@in_tests
def uncalled_method(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL110: `optimizer.zero_grad` without parentheses."""
    for node in analysis.nodes(ast.Expr):
        match node.value:
            case ast.Attribute(value=owner, attr=name) as value if name in _ACTIONS or name == "update":
                known = analysis.value(owner)
                if _acts(analysis, known, name):
                    mended = _takes_nothing(analysis, known, name)
                    yield uncalled("GL110", analysis, value, mended=mended, effect="the statement does nothing")
            case _:
                continue
    if _UNTOLD.search(analysis.source.text):
        for state in _stored(analysis):
            if _has_state(analysis, state):
                yield uncalled("GL110", analysis, state, effect="what is kept is the method, not the state")


def _stored(analysis: Analysis) -> Iterator[ast.Attribute]:
    """Yield where `x.state_dict` is saved, loaded or copied, by itself or in a dict."""
    for node in analysis.nodes(ast.Call, ast.Assign):
        match node:
            case ast.Call(ast.Attribute(attr="save" | "load_state_dict" | "deepcopy"), [first, *_]):
                given: ast.expr = first
            case ast.Assign([ast.Subscript(_, ast.Constant(str()))], value):
                given = value
            case _:
                continue
        for each in given.values if isinstance(given, ast.Dict) else (given,):
            if isinstance(each, ast.Attribute) and each.attr == "state_dict":
                yield each


def _has_state(analysis: Analysis, state: ast.Attribute) -> bool:
    """Whether the owner of a `state_dict` has a method of that name; nobody knows it of an object of which nothing is in sight."""
    match analysis.value(state.value):
        case Object():
            return True
        case Instance(cls=cls):
            method = analysis.lowering.method_of(cls, "state_dict")
            return method is not None or analysis.lowering.is_module(cls)
        case Unknown():
            calls = (node.func for node in analysis.nodes(ast.Call))
            return any(
                isinstance(each, ast.Attribute)
                and each.attr in ("state_dict", "load_state_dict", "parameters")
                and ast.unparse(each.value) == ast.unparse(state.value)
                for each in calls
            )
        case _:
            return False


def _acts(analysis: Analysis, owner: Value, name: str) -> bool:
    match owner:
        case Object(kind=Kind.SCALER):
            return name in ("update", "step")
        case Object() | Tensor():
            return name in _ACTIONS
        case Instance(cls=cls):
            lowering = analysis.lowering
            method = lowering.method_of(cls, name)
            plain = method is not None and not getattr(method.node, "decorator_list", ())
            return name in _ACTIONS and (plain or (method is None and lowering.is_module(cls)))
        case Unknown():
            return name in ("zero_grad", "backward")
        case _:
            return False


def _takes_nothing(analysis: Analysis, owner: Value, name: str) -> bool:
    """Whether a call without arguments is right."""
    match owner:
        case Object(kind=Kind.SCALER):
            return name == "update"
        case Object(origin=origin):
            return name != "step" or not (origin in MANY_EVALUATIONS or origin.endswith(".ReduceLROnPlateau"))
        case Instance(cls=cls):
            method = analysis.lowering.method_of(cls, name)
            return method is None or required(method.node) <= 1
        case _:
            return True


def required(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> int:
    """Return how many arguments a function must be given, `self` included."""
    args = function.args
    named = sum(default is None for default in args.kw_defaults)
    return len(args.posonlyargs) + len(args.args) - len(args.defaults) + named


def uncalled(code: str, analysis: Analysis, node: ast.expr, *, mended: bool = True, effect: str = "") -> Diagnostic:
    """Return the finding that an expression names a method and does not call it."""
    place = analysis.source.place(node)
    found = compose(code, Side.STATIC, place, subject=ast.unparse(node), effect=effect)
    return replace(found, fix=calling(place)) if mended else found


def calling(place: Location) -> Fix:
    """Return the fix that calls what stands at a place."""
    end = Location(place.filename, place.end_row, place.end_column, place.end_row, place.end_column)
    return Fix("Call it", (Edit(end, "()"),), safe=True)
