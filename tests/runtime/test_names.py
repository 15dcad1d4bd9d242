"""What the report calls an optimizer: as the user does, also where only a library's wrapper holds it."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from gradlint.runtime.sites import name_of


class Optimizer:
    def step(self) -> None: ...

    def zero_grad(self) -> None: ...


class Wrapper(Optimizer):
    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer


class Scheduler:
    def step(self) -> None: ...

    def get_last_lr(self) -> None: ...


class Slotted:
    __slots__ = ("optimizer",)


def held(value: object) -> Any:
    return SimpleNamespace(optimizer=value)


def slotted(value: Optimizer) -> Slotted:
    holder = Slotted()
    holder.optimizer = value
    return holder


@pytest.mark.parametrize(
    ("program", "name"),
    [
        ("opt = value()", "opt"),
        ("_opt = value()", "Optimizer"),
        ("opt = Wrapper(value())", "opt"),
        ("trainer = held(value())", "trainer.optimizer"),
        ("trainer = held(Wrapper(value()))", "trainer.optimizer"),
        ("trainer = held(value()); opt = Wrapper(value())", "opt"),
        ("trainer = held(Wrapper(value())); opt = value()", "opt"),
        ("self = held(Wrapper(value()))", "self.optimizer"),
        ("trainer = held(held(value()))", "Optimizer"),
        ("trainer = held(Optimizer()); opt = Wrapper(Optimizer())", "Optimizer"),
        ("holder = slotted(value()); kind = Wrapper; number = 1", "Optimizer"),
    ],
)
def test_optimizers(program: str, name: str) -> None:
    assert named(program, [Optimizer()]) == name


@pytest.mark.parametrize(
    ("program", "name"),
    [
        ("scheduler = Scheduler(); scheduler.scheduler = value()", "scheduler"),
        ("optimizer = Optimizer(); optimizer.scheduler = value()", "Scheduler"),
    ],
)
def test_schedulers(program: str, name: str) -> None:
    assert named(program, [Scheduler()]) == name


def named(program: str, box: list[object]) -> str:
    """Run `program` as a user's function; return what it calls what is in `box`, which nobody else has a name for."""
    lines = "".join(f"    {line}\n" for line in [*program.split("; "), "return frame()"])
    known = {"Optimizer": Optimizer, "Wrapper": Wrapper, "Scheduler": Scheduler, "held": held, "slotted": slotted}
    scope: dict[str, Any] = {**known, "value": lambda: box[0], "frame": lambda: sys._getframe(1)}
    exec(f"def train():\n{lines}", scope)  # noqa: S102 (the programs are those above)
    return name_of(box[0], scope["train"]())


def test_a_module_knows_its_parts_by_their_names() -> None:
    class Module:
        def __init__(self) -> None:
            self._modules = {"encoder": object()}

        def name(self) -> str:
            return name_of(self._modules["encoder"], sys._getframe())

    assert Module().name() == "self.encoder"
