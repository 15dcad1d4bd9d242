"""Whether what a module of the project returns certainly carries the graph of its parameters, by its source alone.

It knows layers, returns and what cuts a graph; it must not know events or rules.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from gradlint.static.endings import returns
from gradlint.static.nodes import walk
from gradlint.static.syntax import FunctionNode

_WEIGHTS = re.compile(r"(?:\w+\.)*nn\.(?:Lazy)?(?:Linear|Bilinear|Conv\w+)")
_CUTS = re.compile(
    r"detach|\.data\b|_grad\b|inference_mode|numpy|tolist|\.item\(|arg(?:max|min|sort)|multinomial|topk|sample|"
    r"\.(?:long|int|bool|round|floor|sign)\(|one_hot|bernoulli|heaviside|unique|requires_grad|checkpoint|autograd"
)
"""Words by which a graph may end within a class, or never begin."""
_FILLED = frozenset(["append", "extend", "update", "insert", "setdefault"])
_MAKERS = frozenset(["dict", "list", "tuple", "set", "OrderedDict", "defaultdict", "zip", "map"])
_PLAIN = (ast.Call, ast.BinOp, ast.Name)


def carries(forward: FunctionNode, lineage: Sequence[ast.ClassDef]) -> bool:
    """Whether a `forward` returns one tensor on all paths, of classes that have weights and cut no graph."""
    results = [each.value for each in returns(forward)]
    if not results or not all(_computes(each) and _is_one(forward, each) for each in results):
        return False
    made = (node.func for cls in lineage for node in walk(cls) if isinstance(node, ast.Call))
    weighs = any(_WEIGHTS.fullmatch(ast.unparse(func)) for func in made if isinstance(func, ast.Attribute))
    return weighs and not any(_CUTS.search(ast.unparse(cls)) for cls in lineage)


def _is_one(forward: FunctionNode, result: ast.expr | None) -> bool:
    """Whether a result is no collection: a name is computed everywhere, and nothing is put into it."""
    if not isinstance(result, ast.Name):
        return True
    given = [node.value for node in walk(forward) if isinstance(node, ast.Assign) and _names(node, result.id)]
    others = [node for node in walk(forward) if _changes(node, result.id)]
    return bool(given) and not others and all(map(_computes, given))


def _computes(value: ast.expr | None) -> bool:
    """Whether an expression computes one value, and asks for no truth, which has no gradient."""
    if value is None or not isinstance(value, _PLAIN) or any(isinstance(node, ast.Compare) for node in walk(value)):
        return False
    return not (isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in _MAKERS)


def _names(node: ast.Assign, name: str) -> bool:
    return any(isinstance(target, ast.Name) and target.id == name for target in node.targets)


def _changes(node: ast.AST, name: str) -> bool:
    """Whether a node puts something into what a name stands for, or gives the name a part of something."""
    match node:
        case ast.Call(ast.Attribute(ast.Name(id), method)):
            return id == name and method in _FILLED
        case ast.Subscript(ast.Name(id), _, ast.Store()):
            return id == name
        case ast.Tuple(elements, ast.Store()) | ast.List(elements, ast.Store()):
            return any(isinstance(each, ast.Name) and each.id == name for each in elements)
        case _:
            return False
