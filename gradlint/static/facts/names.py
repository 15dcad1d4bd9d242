"""What the names of a file were given, and as whom an unknown value came in.

It knows assignments and the identities of values without a source; it must not know what modules do.
"""

from __future__ import annotations

import ast
from functools import cached_property

from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.flow.tree import Uid
from gradlint.static.lowering.values import Library, Unknown, unknown_uid
from gradlint.static.sources.library import role_of
from gradlint.static.syntax.layers import bare

_ASSIGNED_AT = regex(r"(?P<name>\w+)@(?P<row>\d+)")


class Names:
    """The names of one file."""

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis

    @cached_property
    def assignments(self) -> dict[tuple[str, int], ast.expr]:
        """What is assigned to each name and attribute, by the row."""
        return {
            (target.id if isinstance(target, ast.Name) else target.attr, node.lineno): node.value
            for node in self._analysis.nodes(ast.Assign)
            for target in node.targets
            if isinstance(target, (ast.Name, ast.Attribute))
        }

    def given(self, module: Uid) -> ast.expr | None:
        """Return what the name of an unknown module was given, without the methods that return itself, and wrappers."""
        made, inner = self._assigned(module)
        before = self._before(module, inner)
        return made if before is None else self.given(before)

    def first(self, module: Uid) -> Uid:
        """Return as whom an unknown module came in, before methods that return it, and wrappers."""
        before: Uid | None = module
        seen: set[Uid] = set()  # Two names may be given each other, turn by turn.
        while before is not None and before not in seen:
            seen.add(before)
            module, before = before, self._before(before, self._assigned(before)[1])
        return module

    def _assigned(self, module: Uid) -> tuple[ast.expr | None, ast.expr | None]:
        """Return what is assigned to the name of an unknown module, and what is in there if it is a wrapper."""
        told = _ASSIGNED_AT.fullmatch(module[-1].rpartition("/")[2]) if module[0] == "?" else None
        made = bare(self.assignments.get((told["name"], int(told["row"]))) if told else None)
        return made, made.args[0] if isinstance(made, ast.Call) and made.args and self._wraps(made) else made

    def _before(self, module: Uid, inner: ast.expr | None) -> Uid | None:
        """Return as whom a module was known before it was assigned."""
        match self._analysis.lowering.values.get(inner) if isinstance(inner, ast.Name) else None:
            case Unknown(id=before) if before and unknown_uid(before) != module:
                return unknown_uid(before)
            case _:
                return None

    def _wraps(self, node: ast.Call) -> bool:
        callee = self._analysis.value(node.func)
        return isinstance(callee, Library) and role_of(callee.name) == "wrapper"
