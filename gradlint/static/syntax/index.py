"""Index: a file by its syntax alone: its nodes by kind, what stands in which row, what its code mentions.

It knows `ast` and text; it must not know values, events or rules.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from typing import TypeVar

from gradlint.static.syntax.nodes import walk_of
from gradlint.static.syntax.questions import FunctionNode

_Node = TypeVar("_Node", bound=ast.AST)


class Index:
    """Answers what checks ask about the syntax of a file, each question once for all of them."""

    def __init__(self, tree: ast.Module, text: str) -> None:
        self.tree = tree
        self._text = text
        self._said: dict[str, bool] = {}

    @cached_property
    def mentions(self) -> frozenset[str]:
        """The names and attributes that stand in the code, and the keys of dicts; comments and docstrings are none."""
        found = {node.id for node in self.nodes(ast.Name)}
        found |= self.attributes
        found |= {part for node in self.nodes(ast.alias) for part in node.name.split(".")}
        found |= {part for node in self.nodes(ast.ImportFrom) for part in (node.module or "").split(".")}
        return frozenset(found | set(self._keys()))

    def _keys(self) -> Iterator[str]:
        for display in self.nodes(ast.Dict):
            pairs = zip(display.keys, display.values, strict=True)
            plain = (key for key, value in pairs if not isinstance(value, ast.Constant))
            yield from (key.value for key in plain if isinstance(key, ast.Constant) and isinstance(key.value, str))
        for node in self.nodes(ast.Subscript):
            if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
                yield node.slice.value

    @cached_property
    def attributes(self) -> frozenset[str]:
        """The attributes that stand in the code."""
        return frozenset(node.attr for node in self.nodes(ast.Attribute))

    @cached_property
    def methods(self) -> frozenset[str]:
        """The attributes that the code calls."""
        return frozenset(call.func.attr for call in self.nodes(ast.Call) if type(call.func) is ast.Attribute)

    @cached_property
    def called(self) -> frozenset[str]:
        """The names that the code calls."""
        return frozenset(call.func.id for call in self.nodes(ast.Call) if type(call.func) is ast.Name)

    @cached_property
    def methods_given(self) -> frozenset[str]:
        """The attributes that the code hands on as an argument, or has as a statement, without calling them there."""
        return frozenset(node.attr for node in self._given if type(node) is ast.Attribute)

    @cached_property
    def given(self) -> frozenset[str]:
        """The names that the code hands on as an argument, or has as a statement."""
        return frozenset(node.id for node in self._given if type(node) is ast.Name)

    @cached_property
    def _given(self) -> list[ast.expr]:
        given = [arg for call in self.nodes(ast.Call) for arg in call.args]
        given += [node.value for node in self.nodes(ast.keyword)]
        given += [node.value for node in self.nodes(ast.Expr)]
        return given

    def says(self, *words: str) -> bool:
        """Whether one of `words` stands in the file: to look costs less than to ask its nodes."""
        for word in words:
            known = self._said.get(word)
            if known is None:
                known = self._said[word] = word in self._text
            if known:
                return True
        return False

    def nodes(self, *kinds: type[_Node]) -> list[_Node]:
        """Return the nodes of these kinds of syntax, breadth first, kind by kind; whoever gets the list must not change it."""
        found = [walk_of(self.tree, kind) for kind in kinds]
        return found[0] if len(found) == 1 else [node for those in found for node in those]

    @cached_property
    def functions(self) -> tuple[FunctionNode, ...]:
        """The functions of the file, at any depth."""
        return (*self.nodes(ast.FunctionDef), *self.nodes(ast.AsyncFunctionDef))

    def calls_in(self, row: int) -> list[ast.Call]:
        """Return the calls of the file that begin in a row, the outer ones first."""
        return self._calls.get(row, [])

    @cached_property
    def _calls(self) -> dict[int, list[ast.Call]]:
        found: dict[int, list[ast.Call]] = defaultdict(list)
        for node in self.nodes(ast.Call):
            found[node.lineno].append(node)
        return found

    def function_in(self, row: int) -> FunctionNode | None:
        """Return the innermost function that stands in a row."""
        return self._functions_by_row.get(row)

    def scope_of(self, node: ast.stmt) -> ast.Module | FunctionNode:
        """Return the innermost function in whose rows a statement begins, else the module."""
        return self._functions_by_row.get(node.lineno, self.tree)

    @cached_property
    def _functions_by_row(self) -> dict[int, FunctionNode]:
        found: dict[int, FunctionNode] = {}
        for function in sorted(self.functions, key=lambda each: each.lineno):
            found.update(dict.fromkeys(range(function.lineno, (function.end_lineno or function.lineno) + 1), function))
        return found
