"""What drops, and at which rate: functions, layers that a method makes, and rates that are 0 for all callers in sight.

It knows the functions and layers of torch; it must not know which method runs in which phase.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import chain

from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.lowering.values import Class, Library, Value
from gradlint.static.syntax.flags import set_by_others, set_on_demand
from gradlint.static.syntax.nodes import called, walk
from gradlint.static.syntax.questions import FunctionNode

_FUNCTION = regex(r"torch\.nn\.functional\.dropout[123]?d?")
_LAYER = regex(r"torch\.nn\.(?:modules\.dropout\.)?\w*Dropout\w*")
_ATTENTION = "torch.nn.functional.scaled_dot_product_attention"
PHASE = regex(r"train|eval|infer|test|phase|mode|sampl|stochastic", re.IGNORECASE)
_ASKS_KIND = frozenset(["isinstance", "issubclass", "super", "type"])
_MADE_ANEW = ("as a layer that is made anew in each forward, in training mode", "a layer made in `__init__`")


def may_drop(analysis: Analysis, node: ast.Call, bound: set[str]) -> bool:
    """Whether a call is one of a function that drops, or perhaps of a layer that is made there or `bound` to a name."""
    if isinstance(node.func, ast.Call) or (isinstance(node.func, ast.Name) and node.func.id in bound):
        return True
    callee = _called(analysis, node.func)
    return isinstance(callee, Library) and (bool(_FUNCTION.fullmatch(callee.name)) or callee.name == _ATTENTION)


def drops(
    analysis: Analysis, node: ast.Call, made: frozenset[str], off: frozenset[str], kept: frozenset[str]
) -> tuple[str, str] | None:
    """Return how a call drops and what would turn it off, if nothing does."""
    match node.func, _called(analysis, node.func):
        case _, Library(name) if _FUNCTION.fullmatch(name):
            given = [keyword.arg for keyword in node.keywords]
            rate = _argument(node, 1, "p")
            told = len(node.args) > 2 or "training" in given or None in given
            untold = not (told or _is_zero(rate) or _written(rate) in off)
            return ("without being told the mode", "training=self.training") if untold else None
        case _, Library(name) if name == _ATTENTION:
            rate = _argument(node, 4, "dropout_p")
            fixed = _written(rate) in kept or (isinstance(rate, ast.Constant) and not _is_zero(rate))
            return ("with a fixed rate", f"dropout_p={_written(rate)} if self.training else 0.0") if fixed else None
        case ((ast.Call() as layer), _) if _is_layer(analysis, layer):
            return None if _written(_argument(layer, 0, "p")) in off else _MADE_ANEW
        case ast.Name(name), _ if name in made:
            return _MADE_ANEW
        case _:
            return None


def layers_made_in(analysis: Analysis, method: FunctionNode) -> frozenset[str]:
    """Return the names that the method gives to dropout layers of its own, and does nothing to but call them."""
    names = {
        target.id
        for node in walk(method)
        if isinstance(node, ast.Assign) and _is_layer(analysis, node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    handled = {
        node.value.id for node in walk(method) if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    return frozenset(names - handled)


def rates_off(analysis: Analysis, cls: ast.ClassDef) -> frozenset[str]:
    """Return the attributes, as they are written, that nothing in the class sets to anything but 0."""
    never, rates = _never_given(analysis, cls), _assigned(cls).items()
    return frozenset(
        name for name, values in rates if all(_is_zero(each) or _written(each) in never for each in values)
    )


def rates_kept(analysis: Analysis, cls: ast.ClassDef) -> Iterator[str]:
    """Yield the rates that the constructor is given for good, as they are written: `self.rate`, `self.drop.p`."""
    never, others = _never_given(analysis, cls), {*set_by_others(analysis.tree), *set_on_demand(cls)}
    for target, values in _assigned(cls).items():
        match values:
            case [ast.Call() as layer] if _is_layer(analysis, layer):
                target, rate = f"{target}.p", _argument(layer, 0, "p")
            case [(ast.Name() | ast.Attribute() | ast.Constant()) as rate]:
                pass
            case _:
                continue
        decided = _is_zero(rate) or _written(rate) in never or PHASE.search(_written(rate))
        if not decided and target.rpartition(".")[2] not in others:
            yield target


def _assigned(cls: ast.ClassDef) -> dict[str, list[ast.expr]]:
    """Return what a class assigns, by target as it is written."""
    assigned: dict[str, list[ast.expr]] = {}
    for node in walk(cls):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                assigned.setdefault(ast.unparse(target), []).append(node.value)
    return assigned


def _never_given(analysis: Analysis, cls: ast.ClassDef) -> frozenset[str]:
    """Return the parameters that are 0 unless they are given, which no call of the class in this file does: nobody is seen to."""
    calls = [node for node in analysis.nodes(ast.Call) if _makes(analysis, node, cls)]
    method = next((each for each in cls.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"), None)
    if method is None or _is_handed_on(analysis, cls):
        return frozenset()
    names = [arg.arg for arg in (*method.args.posonlyargs, *method.args.args)]
    defaults = dict(zip(reversed(names), reversed(method.args.defaults), strict=False))
    defaults |= {
        arg.arg: rate for arg, rate in zip(method.args.kwonlyargs, method.args.kw_defaults, strict=True) if rate
    }
    given = {name for call in calls for name in (*names[1 : len(call.args) + 1], *(each.arg for each in call.keywords))}
    unpacked = None in given or any(isinstance(each, ast.Starred) for call in calls for each in call.args)
    return frozenset(name for name in defaults if _is_zero(defaults[name]) and name not in given and not unpacked)


def _is_handed_on(analysis: Analysis, cls: ast.ClassDef) -> bool:
    """Whether somebody else is told to make instances of a class, who may give any rate."""
    defaults = (each for node in analysis.nodes(ast.arguments) for each in (*node.defaults, *node.kw_defaults))
    calls = (call for call in analysis.nodes(ast.Call) if called(call) not in _ASKS_KIND)
    given = (each for call in calls for each in (*call.args, *(keyword.value for keyword in call.keywords)))
    return any(isinstance(each, ast.Name) and each.id == cls.name for each in chain(defaults, given))


def _makes(analysis: Analysis, node: ast.Call, cls: ast.ClassDef) -> bool:
    callee = _called(analysis, node.func)
    if isinstance(callee, Class):
        return callee.node is cls
    return isinstance(node.func, ast.Name) and node.func.id == cls.name  # of a function that is over


def _called(analysis: Analysis, node: ast.expr) -> Value:
    return analysis.lowering.seen_from(analysis.lowering.module.path, node)


def _is_layer(analysis: Analysis, node: ast.expr) -> bool:
    if not isinstance(node, ast.Call):
        return False
    callee = _called(analysis, node.func)
    return isinstance(callee, Library) and bool(_LAYER.fullmatch(callee.name)) and not _is_zero(_argument(node, 0, "p"))


def _argument(node: ast.Call, position: int, name: str) -> ast.expr | None:
    """Return an argument of a call as it is written."""
    named = next((keyword.value for keyword in node.keywords if keyword.arg == name), None)
    return named or (node.args[position] if len(node.args) > position else None)


def _written(node: ast.expr | None) -> str:
    return ast.unparse(node) if node is not None else ""


def _is_zero(rate: ast.expr | None) -> bool:
    return isinstance(rate, ast.Constant) and not rate.value
