"""Weights that are put back in the midst of a turn: what a model held earlier is given to it again.

It knows syntax; it must not know values.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.static.syntax.nodes import called, spelled, walk, walk_of


def puts_back(loop: ast.AST, first: int, second: int) -> bool:
    """Whether a loop gives a model between two of its rows what it took from that model before the first of them."""
    taken = set(_taken(loop, first))
    given = _given(loop, first, second) if taken else iter(())
    return any(not taken.isdisjoint((name, owner) for name in each for owner in each) for each in given)


def _taken(loop: ast.AST, before: int) -> Iterator[tuple[str, str]]:
    """Yield the names that are bound to what a method of somebody returned, each with that somebody."""
    for node in walk_of(loop, ast.Assign):
        if node.lineno < before and isinstance(node.targets[0], ast.Name):
            for call in walk_of(node.value, ast.Call):
                if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, (ast.Name, ast.Attribute)):
                    yield node.targets[0].id, spelled(call.func.value)


def _given(loop: ast.AST, first: int, second: int) -> Iterator[set[str]]:
    """Yield who has a part in each statement that may give weights to a model."""
    for node in walk_of(loop, ast.Expr):
        match node.value:
            case ast.Call(ast.Attribute(owner), [ast.Name(name), *_]) as call if first < node.lineno < second:
                yield {spelled(owner), name} if called(call) != "vector_to_parameters" else _everybody(call)
            case _:
                continue
    for pairs in walk_of(loop, ast.For):
        if first < pairs.lineno < second and isinstance(pairs.iter, ast.Call) and called(pairs.iter) == "zip":
            yield _everybody(pairs.iter)


def _everybody(node: ast.AST) -> set[str]:
    return {spelled(each) for each in walk(node) if isinstance(each, (ast.Name, ast.Attribute))}
