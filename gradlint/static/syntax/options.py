"""Options of the command line that nobody can switch off: `store_true` whose default is true.

It knows syntax; it must not know values.
"""

from __future__ import annotations

import ast

from gradlint.static.syntax.nodes import called, walk_of


def always_on(tree: ast.AST) -> frozenset[str]:
    """Return the names of the options of a file that are always on, but for those that it sets otherwise."""
    calls = [call for call in walk_of(tree, ast.Call) if isinstance(call.func, ast.Attribute)]
    options = [(call, _is_on(call)) for call in calls if called(call) == "add_argument"]
    on = {name for call, is_on in options if is_on for name in _name(call)}
    if not on:
        return frozenset()
    changed = {name for call, is_on in options if not is_on for name in _name(call)}
    changed |= {each.arg for call in calls if called(call) == "set_defaults" for each in call.keywords if each.arg}
    changed |= {each.attr for each in walk_of(tree, ast.Attribute) if isinstance(each.ctx, ast.Store)}
    return frozenset(on - changed)


def _is_on(option: ast.Call) -> bool:
    return _told(option, "default") is True and _told(option, "action") == "store_true"


def _name(option: ast.Call) -> list[str]:
    """Return the name that an option has: that which it is given, or its first long flag."""
    if (name := _told(option, "dest")) is not None:
        return [str(name)]
    written = (each.value for each in option.args if isinstance(each, ast.Constant) and isinstance(each.value, str))
    return [flag.lstrip("-").replace("-", "_") for flag in written if flag.startswith("--")][:1]


def _told(option: ast.Call, word: str) -> object:
    """Return the constant that an option is told by a keyword."""
    return next(
        (each.value.value for each in option.keywords if each.arg == word and isinstance(each.value, ast.Constant)),
        None,
    )
