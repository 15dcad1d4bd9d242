"""Telling: whether what a name has collected is only printed, summed up or formatted, by the words of the code.

It knows syntax; it must not know values, events or rules.
"""

from __future__ import annotations

import ast

from gradlint.static.syntax.idioms import goes_on
from gradlint.static.syntax.nodes import walk

_SUMMING = frozenset(["sum", "mean", "nanmean", "median", "std", "array", "asarray", "stack", "tensor", "max", "min"])
_SUMMING |= {"Tensor", "FloatTensor"}
_TELLING = frozenset(
    [
        "print",
        "format",
        "float",
        "len",
        "str",
        "round",
        "item",
        "write",
        "info",
        "debug",
        "log",
        "add_scalar",
        "all_reduce",
        "set_description",
        "set_postfix",
    ]
)
_CONVERTING = frozenset(["float", "int", "str", "round", "format", "item", "detach", "tolist"])


def told_in_turn(node: ast.AST) -> list[ast.comprehension]:
    """Return the loops of a comprehension that only formats, or makes plain numbers of, what it goes through."""
    match node:
        case ast.ListComp(elt, generators) | ast.SetComp(elt, generators) | ast.GeneratorExp(elt, generators):
            pass
        case ast.DictComp(_, elt, generators):
            pass
        case _:
            return []
    names = {part.id for each in generators for part in walk(each.target) if isinstance(part, ast.Name)}
    return generators if _is_plain(elt, names) else []


def _is_plain(node: ast.AST, names: set[str]) -> bool:
    """Whether an expression uses tensors of some names as text and numbers only."""
    match node:
        case ast.JoinedStr():
            return True
        case ast.Call(ast.Name(attr) | ast.Attribute(attr=attr)) if attr in _CONVERTING:
            return True
        case ast.Name(name):
            return name not in names
        case _:
            return all(_is_plain(child, names) for child in ast.iter_child_nodes(node))


def begins_anew(loop: ast.AST, name: str) -> bool:
    """Whether a meter or a list forgets within the loop what it has collected."""
    return any(
        isinstance(node, ast.Attribute) and node.attr in ("reset", "clear") and mentions(node.value, name)
        for node in walk(loop)
    )


def sums_up(func: ast.expr) -> bool:
    """Whether a function makes one number, or an array, of many."""
    return isinstance(func, (ast.Name, ast.Attribute)) and ast.unparse(func).rpartition(".")[2] in _SUMMING


def tells(func: ast.expr, name: str) -> bool:
    """Whether a function that is given a value only prints, stores or measures it."""
    match func:
        case ast.Attribute(ast.Name(owner), "append" | "item") if owner == name:
            return True
        case ast.Attribute(attr=attr):
            return attr in _TELLING
        case ast.Name(attr):
            return attr in _TELLING
        case _:
            return False


def is_told(value: ast.expr, name: str) -> bool:
    """Whether an assigned expression uses the kept value as a number: divided, converted, formatted."""
    match value:
        case ast.BinOp(left, ast.Div(), _):
            return mentions(left, name)
        case ast.IfExp(_, body, orelse):
            used = [each for each in (body, orelse) if mentions(each, name)]
            return bool(used) and all(is_told(each, name) for each in used)
        case ast.Call(func):
            return tells(func, name) or (
                isinstance(func, ast.Attribute) and func.attr in ("item", "detach", "cpu", "numpy")
            )
        case ast.JoinedStr():
            return True
        case _:
            return bool(told_in_turn(value))


def mentions(node: ast.AST, name: str) -> bool:
    """Whether a name, perhaps one of an attribute, stands in a node."""
    _, dot, attribute = name.rpartition(".")
    return any(
        isinstance(part, ast.Attribute) and part.attr == attribute
        if dot
        else isinstance(part, ast.Name) and part.id == name
        for part in walk(node)
    )


def gives(node: ast.expr, name: str) -> bool:
    """Whether an argument hands on the kept value, and not only its text or its number."""
    match node:
        case ast.JoinedStr() | ast.BinOp(ast.Constant(str()), ast.Mod(), _):
            return False
        case ast.Call(func, args):
            return not tells(func, name) and any(gives(arg, name) for arg in args)
        case _:
            return mentions(node, name) and not told_in_turn(node)


def assigned(loop: ast.AST) -> set[str]:
    """Return the names that a loop gives another value."""
    return {
        target.id
        for node in walk(loop)
        if isinstance(node, ast.Assign) and not grows(node)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def grows(node: ast.Assign) -> bool:
    """Whether an assignment adds to what its name has."""
    match node:
        case ast.Assign([ast.Name(name)], value):
            return goes_on(value, name)
        case _:
            return False
