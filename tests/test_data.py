"""Classes of data, expressions and tables that are made when they are needed: as the standard library makes them."""

from __future__ import annotations

import copy
import dataclasses
import enum
import pickle
import re
import typing
from dataclasses import field, replace
from pathlib import Path

import pytest

from gradlint.data import Enum, NamedTuple, dataclass
from gradlint.models import tables
from gradlint.regex import regex


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place."""

    row: int
    column: int = 1
    notes: list[str] = field(default_factory=list, compare=False, repr=False)


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Usual:
    row: int
    column: int = 1
    notes: list[str] = field(default_factory=list, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Only:
    value: object


@dataclass(frozen=True)
class Nothing:
    """Has no fields."""


@dataclass(slots=True)
class Changing:
    value: int


@dataclass(frozen=True, slots=True, eq=False)
class Itself:
    value: int


@dataclass(frozen=True, slots=True)
class Own:
    value: int

    def __hash__(self) -> int:
        return 7

    def __repr__(self) -> str:
        return "own"


def test_what_is_equal_has_the_same_hash() -> None:
    assert Place(1) == Place(1, notes=["other"]) != Place(1, 2)
    assert hash(Place(1)) == hash(Place(1, notes=["other"])) == hash(Usual(1))
    assert Only(1) == Only(1) != Only(2)
    assert hash(Only(1)) == hash((1,))
    nan = float("nan")
    assert Only(nan) == Only(nan)  # As in a tuple, what is the same is equal.
    assert Nothing() == Nothing() != Place(1)
    assert hash(Nothing()) == hash(())
    assert Changing(1) == Changing(1)
    assert Itself(1) != Itself(1)


def test_other_classes_are_never_equal() -> None:
    assert Only(1) != Own(1)
    with pytest.raises(TypeError):
        Place(1) < Usual(2)  # noqa: B015


def test_what_changes_has_no_hash() -> None:
    with pytest.raises(TypeError):
        hash(Changing(1))


def test_it_is_ordered_by_what_is_in_it() -> None:
    places = [Place(2), Place(1, 3), Place(1, 2)]
    assert sorted(places) == places[::-1]
    assert Place(1) <= Place(1) >= Place(1)
    assert Place(2) > Place(1, 9)


def test_it_is_shown_as_usual() -> None:
    assert repr(Place(1)) == repr(Usual(1)).replace("Usual", "Place")
    assert repr(Only("a")) == "Only(value='a')"


def test_methods_of_its_own_stay() -> None:
    assert (hash(Own(1)), repr(Own(1))) == (7, "own")
    assert Own(1) == Own(1) != Own(2)


def test_it_is_replaced_copied_and_sent() -> None:
    place = replace(Place(1), column=5)
    assert place == Place(1, 5) == copy.copy(place) == pickle.loads(pickle.dumps(place))
    assert not hasattr(place, "__dict__")
    match place:
        case Place(row, column):
            assert (row, column) == (1, 5)


class Pair(NamedTuple):
    """Two."""

    left: int
    right: str = "r"

    @property
    def both(self) -> str:
        return f"{self.left}{self.right}"


class UsualPair(typing.NamedTuple):
    left: int
    right: str = "r"


def test_a_tuple_with_names_is_as_usual() -> None:
    pair = Pair(1)
    assert pair == UsualPair(1) == (1, "r")
    assert (pair.left, pair.both, pair._replace(left=2)) == (1, "1r", (2, "r"))
    assert pickle.loads(pickle.dumps(pair)) == pair
    assert Pair.__mro__[1:] == UsualPair.__mro__[1:]
    assert (Pair.__doc__, Pair.__module__, Pair.__qualname__) == ("Two.", __name__, "Pair")
    assert not hasattr(pair, "__dict__")
    match pair:
        case Pair(left=left, right=right):
            assert (left, right) == (1, "r")


def test_an_expression_is_compiled_once_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    usual = re.compile
    monkeypatch.setattr(re, "compile", lambda text, flags=0: (compiled.append(text), usual(text, flags))[1])
    lazy = regex(r"a(b)", re.IGNORECASE)
    assert (compiled, lazy.pattern) == ([], r"a(b)")
    found = lazy.search("xAB")
    assert found is not None
    assert found[1] == "B"
    assert lazy.search("x") is None
    assert compiled == [r"a(b)"]


def test_a_wrong_expression_is_an_error() -> None:
    with pytest.raises(re.error):
        regex("(").search("")


def test_a_table_is_read_anew_once_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "table.toml"
    for written, read in (("a = 1\n[b]\nc = ['x']", {"a": 1, "b": {"c": ["x"]}}), ("a = 22", {"a": 22})):
        file.write_text(written, encoding="utf-8")
        assert tables.read(str(file)) == read == tables.read(str(file))


class Color(Enum):
    """Has members."""

    RED = "red"
    BLUE = "blue"


class UsualColor(enum.Enum):
    RED = "red"
    BLUE = "blue"


def test_members_are_as_usual() -> None:
    assert [(each.name, each.value) for each in Color] == [(each.name, each.value) for each in UsualColor]
    assert Color("red") is Color.RED is not Color.BLUE
    assert Color.RED == Color.RED != Color.BLUE
    assert f"{Color.RED} {Color.RED!r}" == f"{UsualColor.RED} {UsualColor.RED!r}".replace("Usual", "")
    assert pickle.loads(pickle.dumps(Color.RED)) is copy.deepcopy(Color.RED) is Color.RED
    with pytest.raises(ValueError, match="'green' is not a valid Color"):
        Color("green")


@pytest.mark.parametrize("given", [{"row": 1}, {"row": 1, "column": 2}, {"row": 1, "notes": ["n"]}])
def test_fields_are_given_by_name(given: dict[str, typing.Any]) -> None:
    assert repr(Place(**given)) == repr(Usual(**given)).replace("Usual", "Place")


@pytest.mark.parametrize("given", [(), (1, 2, 3, 4)])
def test_too_few_and_too_many_fields_raise(given: tuple[int, ...]) -> None:
    for cls in (Place, Only, Nothing):
        if len(given) != len(dataclasses.fields(cls)):
            with pytest.raises(TypeError, match="__init__"):
                cls(*given)
