"""Frames: one activation of a function, what its names stand for, and in which mode of gradients.

Plain state: it knows values and places; it must not know how either is found.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import field

from gradlint.data import Enum, NamedTuple, dataclass
from gradlint.diagnostics import Location
from gradlint.static.flow.tree import Predicate, Uid
from gradlint.static.lowering.values import Class, Value
from gradlint.static.sources.project import Module

Key = tuple[Uid, str]
Store = dict[Key, Value]

PRESENT = "*"
"""Under this name the store holds each instance itself: on other paths it was not made."""

RETURNED = "return"
"""Who is built where a function returns: a place, not a name to call it by."""


class Grad(Enum):
    """Whether gradients are recorded here."""

    ON = "grad"
    OFF = "no-grad"
    MAYBE = "maybe-grad"


@dataclass(slots=True, eq=False)
class Frame:
    """One activation of a function (or the module): its names live in the store under its path."""

    path: Uid
    parent: Frame | None
    module: Module
    shared: dict[str, Frame] = field(default_factory=dict)
    node: ast.AST | None = None
    callers: tuple[tuple[ast.AST | None, ast.AST], ...] = ()
    cls: Class | None = None
    receiver: Value | None = None
    returned: list[Value] = field(default_factory=list)
    yielded: list[Value] = field(default_factory=list)
    pauses: bool = False
    left: list[tuple[Grad, Location | None]] = field(default_factory=list)
    exits: list[Store] = field(default_factory=list)
    captured: bool = False
    bound: set[str] = field(default_factory=set)

    @property
    def top(self) -> Frame:
        """The frame of its module."""
        return self if self.parent is None else self.parent.top


class Decision(NamedTuple):
    """Which condition decides what a name stands for, whom it stands for if that is so, and how old was then what it depends on."""

    test: Predicate
    left: tuple[Value, ...]
    counts: Mapping[str, int]


class Routine(NamedTuple):
    """What calls that are alike leave behind: numbers in attributes and names of modules, and a result that is nobody.

    Others `hands_on` what it is given to somebody unknown.
    """

    attributes: frozenset[str]
    names: frozenset[Key]
    result: Value
    hands_on: bool


@dataclass(slots=True)
class Pending:
    """What was known where control left the iteration that is being lowered."""

    continues: list[Store] = field(default_factory=list)
    breaks: list[Store] = field(default_factory=list)
