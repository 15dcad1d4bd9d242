"""Methods that running a module never reaches: neither its `forward` nor anybody in sight mentions them.

It knows syntax; it must not know values.
"""

from __future__ import annotations

import ast
from collections.abc import Container, Iterable, Iterator, Sequence

from gradlint.static.syntax.nodes import children
from gradlint.static.syntax.questions import FunctionNode


def asides(lineage: Sequence[ast.ClassDef], trees: Iterable[ast.AST]) -> frozenset[ast.AST]:
    """Return the methods of a class, given with its bases, that neither its `forward` nor the rest of the `trees` mentions."""
    aside = {node for cls in lineage for node in cls.body if isinstance(node, FunctionNode) and _must_be_called(node)}
    mentioned = {name for tree in (*trees, *lineage) for name in _mentions(tree, aside)}
    while reached := {method for method in aside if method.name in mentioned}:
        aside -= reached
        mentioned |= {name for method in reached for name in _mentions(method)}
    return frozenset(aside)


def _must_be_called(method: FunctionNode) -> bool:
    """Whether nobody runs a method but by its name."""
    return method.name != "forward" and not method.name.startswith("__")


def _mentions(node: ast.AST, without: Container[ast.AST] = ()) -> Iterator[str]:
    """Yield the attributes, names and words in a node, but for those in some others."""
    todo = [node]
    while todo:
        match part := todo.pop():
            case ast.Attribute(attr=word) | ast.Name(word) | ast.Constant(str(word)):
                yield word
        todo += [child for child in children(part) if child not in without]
