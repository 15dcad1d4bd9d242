"""Options of the command line that nobody can switch off: `store_true` whose default is true.

It knows syntax; it must not know values.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.static.syntax.nodes import walk_of


def always_on(tree: ast.AST) -> frozenset[str]:
    """Return the names of the options of a file that are always on, but for those that it sets otherwise."""
    on, changed = set[str](), set[str]()
    for call in walk_of(tree, ast.Call):
        method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        if method == "add_argument":
            told = {each.arg: each.value.value for each in call.keywords if isinstance(each.value, ast.Constant)}
            names = on if told.get("action") == "store_true" and told.get("default") is True else changed
            names.update([str(told["dest"])] if "dest" in told else _long(call.args))
        elif method == "set_defaults":
            changed.update(each.arg for each in call.keywords if each.arg is not None)
    if on:
        changed.update(each.attr for each in walk_of(tree, ast.Attribute) if isinstance(each.ctx, ast.Store))
    return frozenset(on - changed)


def _long(flags: list[ast.expr]) -> Iterator[str]:
    """Yield the name that an option has by its first long flag."""
    written = (each.value for each in flags if isinstance(each, ast.Constant) and isinstance(each.value, str))
    yield from [flag.lstrip("-").replace("-", "_") for flag in written if flag.startswith("--")][:1]
