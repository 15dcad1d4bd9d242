"""What a shelf keeps, and what it lets go of."""

from __future__ import annotations

from gradlint.static.sources.shelf import Shelf


def test_shelf_lets_go_of_what_was_not_asked_for_the_longest() -> None:
    shelf: Shelf[str, object] = Shelf(10, 100)
    made = {key: shelf.get(key, 4, object) for key in "ab"}
    assert shelf.get("a", 4, object) is made["a"]
    shelf.get("c", 4, object)
    assert shelf.get("a", 4, object) is made["a"]
    assert shelf.get("b", 4, object) is not made["b"]


def test_shelf_keeps_the_last_one_whatever_its_size() -> None:
    shelf: Shelf[str, object] = Shelf(10, 100)
    small, large = shelf.get("small", 1, object), shelf.get("large", 99, object)
    assert shelf.get("large", 99, object) is large
    assert shelf.get("small", 1, object) is not small


def test_shelf_has_room_for_so_many_things_only() -> None:
    shelf: Shelf[str, object] = Shelf(100, 2)
    made = {key: shelf.get(key, 1, object) for key in "abc"}
    assert shelf.get("c", 1, object) is made["c"]
    assert shelf.get("b", 1, object) is made["b"]
    assert shelf.get("a", 1, object) is not made["a"]
