"""Lossless rewriting: carries out one change of statements with libcst and says it as edits of text.

The only importer of libcst, which is loaded when a fix is built and never to find something. It knows statements and
blocks; it must not know rules.
"""

from __future__ import annotations

import difflib
import io
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any, TypeAlias

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider

from gradlint.diagnostics import Edit, Location
from gradlint.static.fixes.changes import Change, Enter, Insert, Move, Wrap

_Container: TypeAlias = cst.Module | cst.IndentedBlock | cst.SimpleStatementLine | cst.SimpleStatementSuite
_Statement: TypeAlias = cst.BaseCompoundStatement | cst.BaseSmallStatement
_Result: TypeAlias = cst.CSTNodeT | cst.RemovalSentinel | cst.FlattenSentinel[cst.CSTNodeT]


class _Inexact(Exception):
    """The change cannot be made without losing or guessing something."""


def rewrite(lines: Sequence[str], rows: range, filename: str, change: Change) -> tuple[Edit, ...] | None:
    """Return the edits that make `change`, or None where libcst cannot read the code or the change has no exact form.

    `lines` are those of the file, with their ends; `rows`, from 1, are those of whole top-level statements: no more
    than that is read.
    """
    before = lines[rows.start - 1 : rows.stop - 1]
    try:
        after = _Rewriter(cst.parse_module("".join(before)), rows.start - 1).made(change)
    except (cst.ParserSyntaxError, cst.CSTValidationError, RecursionError, KeyError, _Inexact):
        return None
    return tuple(_edits(before, list(io.StringIO(after, newline="\n")), rows.start, filename))


def reads(source: str) -> bool:
    """Tell whether libcst can read `source`."""
    try:
        cst.parse_module(source)
    except (cst.ParserSyntaxError, RecursionError):
        return False
    return True


def _edits(before: Sequence[str], after: Sequence[str], row: int, filename: str) -> Iterator[Edit]:
    for tag, start, end, new, new_end in difflib.SequenceMatcher(None, before, after).get_opcodes():
        if tag != "equal":
            yield Edit(Location(filename, row + start, 1, row + end, 1), "".join(after[new:new_end]))


class _Rewriter(cst.CSTTransformer):
    """Notes what happens to which node, told apart by identity, and then does it in one walk."""

    def __init__(self, module: cst.Module, rows_above: int) -> None:
        super().__init__()
        self._module = module
        self._rows_above = rows_above
        self._statements: dict[tuple[int, int], _Statement] = {}
        self._homes: dict[cst.CSTNode, _Container] = {}
        self._before: dict[cst.CSTNode, cst.CSTNode] = {}
        self._behind: dict[cst.CSTNode, cst.CSTNode] = {}
        self._changed: dict[cst.CSTNode, dict[str, Any]] = {}
        self._removed: set[cst.CSTNode] = set()
        self._wrapped: dict[cst.CSTNode, cst.BaseCompoundStatement] = {}
        for node, span in MetadataWrapper(module, unsafe_skip_copy=True).resolve(PositionProvider).items():
            if isinstance(node, _Statement):
                self._statements[span.start.line, span.start.column] = node
            elif isinstance(node, _Container):
                self._homes.update(dict.fromkeys(node.body, node))

    def made(self, change: Change) -> str:
        """Return the code after `change`; raises KeyError where no statement begins, and _Inexact."""
        match change:
            case Insert(code, place, behind):
                anchor = self._anchor(self._at(place), -1 if behind else 0)
                (self._behind if behind else self._before)[anchor] = _fitting(cst.parse_statement(code), anchor)
            case Move(place, to, behind):
                anchor = self._anchor(self._at(to), -1 if behind else 0)
                (self._behind if behind else self._before)[anchor] = _fitting(self._taken(self._at(place)), anchor)
            case Enter(place):
                self._enter(self._at(place))
            case Wrap(code, place):
                anchor = self._anchor(self._at(place), 0)
                if isinstance(anchor, cst.BaseSmallStatement) or anchor is not self._anchor(self._at(place), -1):
                    raise _Inexact
                self._wrapped[anchor] = _block(code)
        return cst.ensure_type(self._module.visit(self), cst.Module).code

    def on_leave(self, original_node: cst.CSTNodeT, updated_node: cst.CSTNodeT) -> _Result[cst.CSTNodeT]:
        """Put the notes on this node into effect."""
        if original_node in self._removed:
            return cst.RemoveFromParent()
        updated = updated_node.with_changes(**self._changed.get(original_node, {}))
        if original_node in self._wrapped:
            return _inside(self._wrapped[original_node], updated)  # type: ignore[return-value]
        row = (self._before.get(original_node), updated, self._behind.get(original_node))
        nodes = [node for node in row if node is not None]
        return cst.FlattenSentinel(nodes) if len(nodes) > 1 else updated  # type: ignore[arg-type]

    def _at(self, place: Location) -> _Statement:
        return self._statements[place.row - self._rows_above, place.column - 1]

    def _anchor(self, statement: _Statement, edge: int) -> cst.CSTNode:
        """Return what a neighbour is put beside: the line, if the statement stands at that edge of one of its own."""
        home = self._homes[statement]
        return home if isinstance(home, cst.SimpleStatementLine) and home.body[edge] is statement else statement

    def _taken(self, statement: _Statement) -> cst.SimpleStatementLine:
        """Remove a simple statement and return it as a line, with the comments that belong to it."""
        home = self._homes[statement]
        if isinstance(home, cst.SimpleStatementLine) and len(home.body) == 1:
            return self._line_taken(home)
        if not isinstance(home, cst.SimpleStatementLine | cst.SimpleStatementSuite) or len(home.body) == 1:
            raise _Inexact
        assert isinstance(statement, cst.BaseSmallStatement)
        if home.body[-1] is statement:
            self._changed[home.body[-2]] = {"semicolon": statement.semicolon}
        self._removed.add(statement)
        return cst.SimpleStatementLine([statement.with_changes(semicolon=cst.MaybeSentinel.DEFAULT)])

    def _line_taken(self, line: cst.SimpleStatementLine) -> cst.SimpleStatementLine:
        if len(self._homes[line].body) == 1:
            raise _Inexact  # An empty block.
        above = line.leading_lines
        own = len(list(takewhile(lambda empty: empty.comment is not None, reversed(above))))
        body = self._homes[line].body
        index = body.index(line)
        if index + 1 < len(body):
            following = body[index + 1]
            assert isinstance(following, cst.SimpleStatementLine | cst.BaseCompoundStatement)
            stays = above[: len(above) - own]
            self._changed[following] = {"leading_lines": (*stays, *following.leading_lines)}
        elif any(empty.comment is not None for empty in above[: len(above) - own]):
            raise _Inexact  # A comment that belongs to nothing else would go with it.
        self._removed.add(line)
        return line.with_changes(leading_lines=above[len(above) - own :])

    def _enter(self, statement: _Statement) -> None:
        line = self._homes[statement]
        block = self._homes.get(line)
        if not isinstance(statement, cst.Expr) or not isinstance(line, cst.SimpleStatementLine) or len(line.body) > 1:
            raise _Inexact
        if not isinstance(block, cst.Module | cst.IndentedBlock) or block.body[-1] is line:
            raise _Inexact
        index = block.body.index(line)
        entered = cst.With(
            [cst.WithItem(statement.value)],
            cst.IndentedBlock(block.body[index + 1 :], header=line.trailing_whitespace),
            leading_lines=line.leading_lines,
        )
        self._changed[block] = {"body": (*block.body[:index], entered)}


def _block(head: str) -> cst.BaseCompoundStatement:
    block = cst.parse_statement(f"{head}\n pass")
    assert isinstance(block, cst.BaseCompoundStatement)
    return block


def _inside(block: cst.BaseCompoundStatement, statement: cst.CSTNode) -> cst.BaseCompoundStatement:
    """Return the block with nothing but `statement` in it, and the comments above that above it."""
    above = getattr(statement, "leading_lines", ())
    body = cst.IndentedBlock([statement.with_changes(leading_lines=())])  # type: ignore[list-item]
    return block.with_changes(leading_lines=above, body=body)


def _fitting(line: cst.SimpleStatementLine | cst.BaseCompoundStatement, anchor: cst.CSTNode) -> cst.CSTNode:
    """Return `line`, or its statement alone where the anchor shares its line with others."""
    if not isinstance(anchor, cst.BaseSmallStatement):
        return line
    if (
        isinstance(line, cst.BaseCompoundStatement)
        or line.leading_lines
        or line.trailing_whitespace.comment is not None
    ):
        raise _Inexact
    return line.body[0]
