"""The static rules: each a function from an analysis to diagnostics, found by walking this package.

Third parties add theirs through the entry point group `gradlint.checks`.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from gradlint.diagnostics import Diagnostic
from gradlint.static.plugins import third_party

if TYPE_CHECKING:
    from gradlint.static.analysis import Analysis

Check = Callable[["Analysis"], Iterator[Diagnostic]]

_found: list[Check] = []
_local: set[Check] = set()
_wordy: set[Check] = set()
_in_tests: set[Check] = set()


def check(function: Check) -> Check:
    """Register a static rule."""
    _found.append(function)
    return function


def local_check(function: Check) -> Check:
    """Register a static rule that reads a function by itself: no caller can excuse what it finds."""
    _local.add(function)
    return check(function)


def by_words(function: Check) -> Check:
    """Say of a static rule that it finds something where nothing of training happens, too.

    It looks for words or syntax of its own, and asks for values and events only of what it found.
    """
    _wordy.add(function)
    return function


def in_tests(function: Check) -> Check:
    """Say of a static rule that what it finds is wrong in a test, too: tests break the order of a training loop on purpose."""
    _in_tests.add(function)
    return function


def is_local(function: Check) -> bool:
    """Whether what a rule finds holds for every caller."""
    return function in _local


@functools.cache
def all_checks() -> tuple[Check, ...]:
    """Return every registered rule, the built-in ones first."""
    for module in pkgutil.walk_packages(__path__, f"{__name__}."):
        importlib.import_module(module.name)
    return tuple(_found) + tuple(point.load() for point in third_party())


@functools.cache
def checks_for(*, acts: bool, is_test: bool) -> tuple[Check, ...]:
    """Return the rules that may find what counts in a file where training happens, or not, or in a test; of those of others nobody knows."""
    known = all_checks()  # To ask is to find them.
    ours = frozenset(_found)

    def finds(function: Check) -> bool:
        return (acts or function in _wordy) and (not is_test or function in _in_tests)

    return tuple(each for each in known if finds(each) or each not in ours)
