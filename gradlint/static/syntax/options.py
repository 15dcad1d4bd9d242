"""Options of the command line that nobody can switch off: `store_true` whose default is true.

It knows syntax; it must not know values.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.static.syntax.nodes import walk


def always_on(tree: ast.AST) -> frozenset[str]:
    """Return the names of the options of a file that are always on, but for those that it sets otherwise."""
    on, changed = set[str](), set[str]()
    for node in walk(tree):
        match node:
            case ast.Call(ast.Attribute(attr="add_argument"), flags, keywords):
                told = {each.arg: each.value.value for each in keywords if isinstance(each.value, ast.Constant)}
                names = on if told.get("action") == "store_true" and told.get("default") is True else changed
                names.update([str(told["dest"])] if "dest" in told else _long(flags))
            case ast.Call(ast.Attribute(attr="set_defaults"), keywords=keywords):
                changed.update(each.arg for each in keywords if each.arg is not None)
            case ast.Attribute(attr=name, ctx=ast.Store()):
                changed.add(name)
            case _:
                continue
    return frozenset(on - changed)


def _long(flags: list[ast.expr]) -> Iterator[str]:
    """Yield the name that an option has by its first long flag."""
    written = (each.value for each in flags if isinstance(each, ast.Constant) and isinstance(each.value, str))
    yield from [flag.lstrip("-").replace("-", "_") for flag in written if flag.startswith("--")][:1]
