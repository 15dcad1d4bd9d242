"""Which files are tests: these break the order of a training loop on purpose.

It knows paths, definitions and imports; it must not know rules.
"""

from __future__ import annotations

import ast
from pathlib import PurePath

from gradlint.static.syntax.nodes import walk

_TEST_TOOLS = frozenset(["pytest", "unittest", "hypothesis"])


def is_test(tree: ast.Module, filename: str) -> bool:
    """Whether a file is a test by its place and by what it defines or imports (`test.py` alone is often an evaluation)."""
    path = PurePath(filename)
    placed = (
        path.stem.startswith("test_") or path.stem.endswith("_test") or bool({"tests", "test"} & set(path.parts[:-1]))
    )
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
