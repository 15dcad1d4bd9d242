"""Weights that are copied to the name of a loop, and not into the module: GL823.

It knows loops over the weights of modules by how they are written; it must not know values.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import by_words, check
from gradlint.static.syntax.idioms import weights_of
from gradlint.static.syntax.nodes import names, walk, words
from gradlint.static.syntax.questions import GRADIENT
from gradlint.wordings.construction import LOST_COPY

_COPIES = frozenset(["clone", "cpu", "cuda", "detach", "double", "float", "half", "to"])
_SETTINGS = frozenset(["requires_grad_", "detach_"])


@by_words
@check
def given_to_a_name(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL823: `for t, p in zip(target.parameters(), model.parameters()): t = 0.9 * t + 0.1 * p`, which moves no weight."""
    if not analysis.says(".parameters(", ".buffers("):
        return
    for loop in analysis.nodes(ast.For):
        weights = dict(_weights(loop.target, loop.iter))
        for node in walk(loop) if weights else ():
            match node:
                case ast.Assign([ast.Name(name)], value) if name in weights and _is_copy(value, set(weights)):
                    if not _is_read(analysis, loop, name, node):
                        what = LOST_COPY.format(subject=name, module=ast.unparse(weights[name]))
                        way = f"change the weights in place, `with torch.no_grad(): {name}.copy_(...)`"
                        yield compose("GL823", Side.STATIC, analysis.source.place(node), what=what, way=way)
                case _:
                    continue


def _weights(target: ast.expr, source: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """Yield the names that a loop gives to the weights of a module, and the module."""
    match target, source:
        case ast.Name(name), ast.Call(ast.Attribute(attr="parameters" | "buffers")):
            module = weights_of(source)
            if module is not None:
                yield name, module
        case ast.Tuple([ast.Name(), ast.Name() as one]), ast.Call(ast.Attribute(module, "named_parameters"), []):
            yield one.id, module
        case ast.Tuple([_, inner]), ast.Call(ast.Name("enumerate"), [first, *_]):
            yield from _weights(inner, first)
        case ast.Tuple(targets), ast.Call(ast.Name("zip"), sources) if len(targets) == len(sources):
            for each, given in zip(targets, sources, strict=True):
                yield from _weights(each, given)
        case _:
            return


def _is_copy(value: ast.expr, given: set[str]) -> bool:
    """Whether an expression only computes, of the weights that a loop gives: nothing in it can change them in place.

    An update by gradients that is lost in the same way is GL114.
    """
    if any(isinstance(node, ast.Attribute) and node.attr in GRADIENT for node in walk(value)):
        return False
    calls = [node for node in walk(value) if isinstance(node, ast.Call)]
    return (
        bool(calls or isinstance(value, ast.BinOp)) and bool(words(value) & given) and all(map(_only_computes, calls))
    )


def _only_computes(call: ast.Call) -> bool:
    match call.func:
        case ast.Attribute(owner, name):
            # What a call has just made is no weight of anybody.
            return name in _COPIES or (name in _SETTINGS and isinstance(owner, ast.Call))
        case _:
            return False


def _is_read(analysis: Analysis, loop: ast.For, name: str, copy: ast.Assign) -> bool:
    """Whether anybody looks at the copy: later in its turn of the loop, or behind the loop."""
    scope = analysis.function_in(loop.lineno) or analysis.tree
    after = (copy.end_lineno or copy.lineno, copy.end_col_offset or 0)
    inner = [each for each in walk(loop) if isinstance(each, (ast.For, ast.While)) and each is not loop]
    again = {part for each in inner if any(node is copy for node in walk(each)) for part in names(each)}
    own = set(names(copy))
    return any(
        isinstance(each.ctx, ast.Load)
        and each.id == name
        and each not in own
        and (each in again or (each.lineno, each.col_offset) > after)
        for each in names(scope)
    )
