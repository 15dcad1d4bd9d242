"""What running a module never reaches: methods that neither its `forward` nor anybody in sight mentions, and attributes likewise.

It knows syntax; it must not know values.
"""

from __future__ import annotations

import ast
from collections.abc import Container, Iterable, Iterator, Sequence

from gradlint.static.syntax.nodes import children, walk, walk_of
from gradlint.static.syntax.questions import FunctionNode

_ALL = frozenset(["children", "named_children", "modules", "named_modules", "_modules", "__dict__", "getattr", "vars"])
"""By which somebody gets at attributes without their names."""
_CONTAINERS = frozenset(["Sequential", "ModuleList", "ModuleDict"])


def asides(lineage: Sequence[ast.ClassDef], trees: Iterable[ast.AST]) -> frozenset[ast.AST]:
    """Return the methods of a class, given with its bases, that neither its `forward` nor the rest of the `trees` mentions."""
    aside = {node for cls in lineage for node in cls.body if isinstance(node, FunctionNode) and _must_be_called(node)}
    mentioned = {name for tree in (*trees, *lineage) for name in _mentions(tree, aside)}
    while reached := {method for method in aside if method.name in mentioned}:
        aside -= reached
        mentioned |= {name for method in reached for name in _mentions(method)}
    return frozenset(aside)


def unread(lineage: Sequence[ast.ClassDef], trees: Iterable[ast.AST]) -> frozenset[ast.AST]:
    """Return the assignments to attributes of a class, given with its bases, that neither it nor the rest of the `trees` reads."""
    given = {node: name for cls in lineage for node in walk_of(cls, ast.Assign) for name in _made(node)}
    without = {part for cls in lineage for part in _partial(cls)} if given else set()
    for tree, own in (*((cls, True) for cls in lineage), *((tree, False) for tree in trees)):
        if not given:
            break
        read = set(_reads(tree, own, without))
        given = {} if read & _ALL else {node: name for node, name in given.items() if name not in read}
    return frozenset(given)


def _made(statement: ast.Assign) -> Iterator[str]:
    match statement:
        case ast.Assign([ast.Attribute(ast.Name("self"), name)], ast.Call()):
            yield name
        case _:
            return


def _partial(cls: ast.ClassDef) -> Iterator[ast.AST]:
    """Yield where a class asks for layers without their names, but for those in one container only, or not to run them."""
    containers = {name for node in walk_of(cls, ast.Assign) if _is_container(node.value) for name in _made(node)}
    for method in (each for each in cls.body if isinstance(each, FunctionNode)):
        for node in walk(method):
            match node:
                case ast.Attribute(ast.Attribute(ast.Name("self"), name), word) if word in _ALL and name in containers:
                    yield node
                case ast.For(ast.Name(each), ast.Call(ast.Attribute(ast.Name("self"), word) as asked)) if (
                    word in _ALL and method.name != "forward" and not _calls(node, each)
                ):
                    yield asked


def _is_container(value: ast.expr) -> bool:
    """Whether an attribute gets layers that are written out."""
    match value:
        case ast.Call(ast.Name(name) | ast.Attribute(attr=name)):
            return name in _CONTAINERS
        case _:
            return False


def _calls(node: ast.AST, name: str) -> bool:
    return any(isinstance(each.func, ast.Name) and each.func.id == name for each in walk_of(node, ast.Call))


def _reads(node: ast.AST, own: bool, without: Container[ast.AST]) -> Iterator[str]:
    """Yield the attributes that are read in a node, its words and who gets at all attributes; of `self` only its `own`."""
    for part in walk(node):
        if part in without:
            continue
        match part:
            case ast.Attribute(ast.Name("self"), ctx=ast.Load()) if not own:
                continue
            case ast.Attribute(attr=word, ctx=ast.Load()) | ast.Constant(str(word)):
                yield word
            case ast.Name(word) if word in _ALL:
                yield word
            case _:
                continue


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
