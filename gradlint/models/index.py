"""Looking names up in the models: gradlint's own, and a project's before them.

Of the patterns that match a name, the one with the most literal characters wins, so that their order says nothing.
"""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import translate
from typing import Any

from gradlint.models.form import BASES, NO_MODEL, Meaning, Model, read_meaning, split_key
from gradlint.models.tables import tables

_UNKNOWN, _PURE = Meaning("unknown"), Meaning("pure")


class _Patterns:
    """Values by pattern; the patterns of one package are looked at only for its names."""

    def __init__(self, items: Iterable[tuple[str, Any]]) -> None:
        self._exact: dict[str, Any] = {}
        found: dict[str, list[tuple[str, Any]]] = defaultdict(list)
        for pattern, value in items:
            if "*" in pattern:
                package = pattern.split(".")[0]
                found["*" if "*" in package else package].append((pattern, value))
            else:
                self._exact[pattern] = value
        for of_one in found.values():
            of_one.sort(key=lambda item: -len(item[0].replace("*", "")))
        # How each begins rules most of them out, and to compile one takes a hundred times as long.
        self._loose = {
            package: [(re.split(r"[*?[]", pattern, maxsplit=1)[0], pattern, value) for pattern, value in of_one]
            for package, of_one in found.items()
        }

    def find(self, name: str) -> Any:
        """Return the value of the most literal pattern that matches, or None."""
        if name in self._exact:
            return self._exact[name]
        for package in (name.split(".")[0], "*"):
            for begin, pattern, value in self._loose.get(package, ()):
                if name.startswith(begin) and _compiled(pattern).match(name):
                    return value
        return None


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern))


class Models:
    """What names mean: to the project that wrote `own`, else to everybody."""

    def __init__(self, own: Model = NO_MODEL) -> None:
        self._own = _Patterns(own.names)
        self._methods = {name: _Patterns(kind.methods) for name, kind in own.kinds}
        self._known: dict[str, Meaning] = {}
        self.packages = frozenset(pattern.split(".")[0] for pattern, _ in own.names) - {"*"}
        self.calls = frozenset(_called(own))

    def meaning_of(self, name: str) -> Meaning:
        """Return what the dotted `name` is, or what calling it does."""
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = self._own.find(name) or _built_in_meaning(name)
        return known

    def role_of(self, name: str) -> str:
        """Return the role of the dotted `name`: a built-in kind of object, `pure`, `tensor`, `acts`, ... or `unknown`."""
        return self.meaning_of(name).role

    def method_of(self, maker: str, method: str) -> Meaning | None:
        """Return what a method of the objects that `maker` makes does, where a model says it."""
        kind = self.meaning_of(maker).kind
        own = self._methods.get(kind)
        found = own.find(method) if own is not None else _built_in_method(kind, method)
        return found if isinstance(found, Meaning) else None

    def is_own(self, name: str) -> bool:
        """Whether the project itself says what `name` means."""
        return bool(self.packages) and self._own.find(name) is not None


def _called(own: Model) -> Iterator[str]:
    """Yield the names of the functions and methods that a project says act."""
    yield from (pattern.split(".")[-1] for pattern, meaning in own.names if meaning.role == "acts")
    yield from (pattern for _, kind in own.kinds for pattern, _ in kind.methods)


@functools.cache
def models_with(own: Model) -> Models:
    """Return gradlint's own models, overruled by those of a project."""
    return Models(own)


def built_in() -> Models:
    """Return gradlint's own models."""
    return models_with(NO_MODEL)


@functools.cache
def _built_in_names() -> _Patterns:
    # Read as far as needed: most names of most frameworks are in no file that is checked.
    return _Patterns(
        (split_key(key)[0], (key, value)) for table in tables() for key, value in table.get("names", {}).items()
    )


@functools.cache
def described_packages() -> frozenset[str]:
    """Return the packages that gradlint's own models describe."""
    names = (split_key(key)[0] for table in tables() for key in table.get("names", {}))
    return frozenset(name.split(".")[0] for name in names if "*" not in name.split(".")[0])


@functools.cache
def built_in_kinds() -> Mapping[str, str]:
    """Return the kinds of gradlint's own models, each with the built-in kind that it is like."""
    kinds = {name: kind.get("like", "engine") for table in tables() for name, kind in table.get("kinds", {}).items()}
    return {**{name: name for name in BASES}, **kinds}


@functools.cache
def _built_in_meaning(name: str) -> Meaning:
    found = _built_in_names().find(name)
    if found is not None:
        return read_meaning(found[0], found[1], built_in_kinds(), name)
    return _PURE if name.partition(".")[0] in words("stdlib", "modules") else _UNKNOWN


@functools.cache
def _built_in_method(kind: str, method: str) -> Meaning | None:
    for table in tables():
        methods = table.get("kinds", {}).get(kind, {}).get("methods", {})
        found = _Patterns((split_key(key)[0], (key, value)) for key, value in methods.items()).find(method)
        if found is not None:
            return read_meaning(found[0], found[1], {}, method)
    return None


@functools.cache
def _made() -> _Patterns:
    return _Patterns(item for table in tables() for item in table.get("made", {}).items())


@functools.cache
def made_by(name: str) -> str:
    """Return what calling the dotted `name`, or an object that it constructs, certainly returns ("": nobody knows)."""
    return str(_made().find(name) or "")


@functools.cache
def words(section: str, *keys: str) -> frozenset[str]:
    """Return word lists of the models as one, such as the tensor methods that `cut` the graph."""
    return frozenset(word for table in tables() for key in keys for word in table.get(section, {}).get(key, ()))
