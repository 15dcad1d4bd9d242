"""A state that is loaded back into the module whose tensors it shares: GL815.

Whether the state was the best, `snapshots` asks; here it is enough that the module went on training between both.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.data import NamedTuple
from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.checks import by_words, check
from gradlint.static.syntax.nodes import asks_for, own, walk

_Loop = (ast.For, ast.AsyncFor, ast.While)
_TRAINS = ("step", "backward")
_OF_MODULES = frozenset(["train", "eval", "parameters", "named_parameters", "modules"])
_FITS = regex(r"(?:^|_)(?:train|fit)(?:$|_)")
_MOVES = frozenset(["to", "cuda", "cpu", "half", "float", "double", "bfloat16", "copy", "deepcopy", "load_state_dict"])
"""Methods after which a module may have other tensors, or others in them."""


class _Restored(NamedTuple):
    """A name that keeps the state of a module, and the call that loads it back."""

    kept: ast.Assign
    module: str
    name: str
    load: ast.Call


@check
@by_words
def restored_alias(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL815: `kept = model.state_dict()`, training, `model.load_state_dict(kept)`: the state is loaded onto itself."""
    kept = filter(_keeps_a_state, analysis.nodes(ast.Assign) if analysis.says("load_state_dict") else ())
    for scope in dict.fromkeys(map(analysis.scope_of, kept)):
        nodes = list(own(scope))
        for found in _restored(nodes):
            if _is_module(nodes, found) and _trains_between(scope, found) and not _is_told_apart(nodes, found):
                place = analysis.source.place(found.kept)
                yield compose("GL815", Side.STATIC, place, subject=found.name, module=found.module)


def _keeps_a_state(node: ast.Assign) -> bool:
    return isinstance(node.value, ast.Call) and _is_method(node.value, "state_dict")


def _restored(nodes: list[ast.AST]) -> Iterator[_Restored]:
    loads = [node for node in nodes if isinstance(node, ast.Call) and _is_method(node, "load_state_dict")]
    for node in nodes:
        match node:
            case ast.Assign(
                value=ast.Call(ast.Attribute(attr="state_dict", value=module), [], []), targets=[ast.Name(id=name)]
            ):
                spelled = ast.unparse(module)
                for load in loads:
                    match load:
                        case ast.Call(ast.Attribute(owner), [ast.Name(given), *_]) if given == name:
                            if ast.unparse(owner) == spelled and load.lineno > node.lineno:
                                yield _Restored(node, spelled, name, load)
                        case _:
                            continue
            case _:
                continue


def _is_module(nodes: list[ast.AST], found: _Restored) -> bool:
    """Whether the owner of the state is asked for what only a module has."""
    return any(
        isinstance(node, ast.Attribute) and node.attr in _OF_MODULES and ast.unparse(node.value) == found.module
        for node in nodes
    )


def _is_method(call: ast.Call, name: str) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr == name


def _trains_between(scope: ast.AST, found: _Restored) -> bool:
    """Whether a loop trains after the state was kept and before it is loaded: one around the former, or between both."""
    kept, load = found.kept.lineno, found.load.lineno
    for loop in (node for node in own(scope) if isinstance(node, _Loop)):
        end = loop.end_lineno or 0
        if kept <= end < load and (all(asks_for(loop, name) for name in _TRAINS) or _fits(loop, found.module)):
            return True
    return False


def _fits(loop: ast.AST, module: str) -> bool:
    """Whether a loop hands the module to a function that trains it, by what that is called."""
    return any(
        isinstance(node, ast.Call)
        and _FITS.search(ast.unparse(node.func).rpartition(".")[2]) is not None
        and any(ast.unparse(arg) == module for arg in node.args)
        for node in walk(loop)
    )


def _is_told_apart(nodes: list[ast.AST], found: _Restored) -> bool:
    """Whether the module may have other tensors by then, or anybody may have changed what was kept."""
    root = found.module.partition(".")[0]
    for node in nodes:
        match node:
            case ast.Name(name, ast.Store()) if name == root != "self":
                if found.kept.lineno < node.lineno < found.load.lineno or _turns(nodes, node, found):
                    return True
            case ast.Attribute(ctx=ast.Store()) if ast.unparse(node) == found.module:
                return True
            case ast.Call(ast.Attribute(owner, name)) if name in _MOVES and node is not found.load:
                if root in ast.unparse(owner).split(".") and found.kept.lineno < node.lineno <= found.load.lineno:
                    return True
            case _:
                continue
    return any(_is_used_otherwise(node, found.name, nodes) for node in nodes)


def _turns(nodes: list[ast.AST], node: ast.AST, found: _Restored) -> bool:
    """Whether a loop makes the module anew in each turn in which it is kept, too."""
    around = [each for each in nodes if isinstance(each, _Loop) and any(part is found.kept for part in walk(each))]
    return any(part is node for loop in around for part in walk(loop))


def _is_used_otherwise(node: ast.AST, name: str, nodes: list[ast.AST]) -> bool:
    """Whether a statement hands what was kept to anybody who may write to it, or writes to a part of it."""
    if not isinstance(node, ast.Name) or node.id != name or isinstance(node.ctx, ast.Store):
        return False
    return not any(
        isinstance(each, ast.Call)
        and (_is_method(each, "load_state_dict") or ast.unparse(each.func) == "torch.save")
        and any(part is node for arg in (*each.args, *(key.value for key in each.keywords)) for part in walk(arg))
        for each in nodes
    )
