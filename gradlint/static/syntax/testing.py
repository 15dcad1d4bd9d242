"""Which files are tests: these break the order of a training loop on purpose.

It knows paths, definitions and imports; it must not know rules.
"""

from __future__ import annotations

import ast
import os

from gradlint.static.syntax.nodes import walk

_TEST_TOOLS = frozenset(["pytest", "unittest", "hypothesis"])


def is_test(tree: ast.Module, filename: str) -> bool:
    """Whether a file is a test by its place and by what it defines or imports (`test.py` alone is often an evaluation)."""
    *folders, name = filename.replace("/", os.sep).split(os.sep)
    stem = os.path.splitext(name)[0]
    placed = stem.startswith("test_") or stem.endswith("_test") or not {"tests", "test"}.isdisjoint(folders)
    return placed and any(map(_belongs_to_a_test, walk(tree)))


def _belongs_to_a_test(node: ast.AST) -> bool:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            return name.startswith("test_")
        case ast.Import(names):
            return any(alias.name.split(".")[0] in _TEST_TOOLS for alias in names)
        case ast.ImportFrom(module=str(module), level=0):
            return module.split(".")[0] in _TEST_TOOLS
        case _:
            return False
