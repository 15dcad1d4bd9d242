"""Who trains what, parameter by parameter: a look at a model and its optimizers in one call.

    print(gradlint.audit(model, optimizer, step=lambda: train_step(batch)))

Without `step` it tells what holds now; with it, one step is run and watched: which parameters got a gradient and which
moved. Needs torch; must not know rules.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from os.path import commonprefix
from typing import Any

import torch
from torch.nn import Module
from torch.optim import Optimizer

from gradlint.runtime.gradients import values_of
from gradlint.runtime.sites import name_of

_HEAD = ("parameter", "shape", "trainable", "optimizer", "gradient", "moved", "")


@dataclass(frozen=True, slots=True)
class ParameterAudit:
    """What is known of one parameter; `moved` is None where no step was run."""

    name: str
    shape: tuple[int, ...]
    trainable: bool
    optimizers: tuple[str, ...]
    has_gradient: bool
    moved: bool | None
    in_model: bool = True

    @property
    def remark(self) -> str:
        """What is odd about it, in a few words, "" if nothing is."""
        if not self.in_model:
            return "not in the model"
        if self.trainable and not self.optimizers:
            return "in no optimizer"
        if self.optimizers and not self.trainable:
            return "frozen, but in an optimizer"
        if len(self.optimizers) > 1:
            return "in several optimizers"
        if self.moved is not None and self.trainable and not self.has_gradient:
            return "no gradient"
        return "did not move" if self.moved is False and self.trainable else ""


@dataclass(frozen=True, slots=True)
class Audit:
    """All parameters of a model, then those that its optimizers hold beside them."""

    parameters: tuple[ParameterAudit, ...]

    @property
    def odd(self) -> list[ParameterAudit]:
        """The parameters with a remark."""
        return [parameter for parameter in self.parameters if parameter.remark]

    def __str__(self) -> str:
        """Return a table; neighbours of which the same is true share a row."""
        rows: list[tuple[str, ...]] = [_HEAD]
        for _, group in groupby(self.parameters, key=_facts):
            rows.append(_row(list(group)))
        widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, "", self._summary()])

    def _summary(self) -> str:
        mine = [parameter for parameter in self.parameters if parameter.in_model]
        trainable = sum(parameter.trainable for parameter in mine)
        odd = [f"{count} {remark}" for remark, count in _counted(parameter.remark for parameter in self.odd)]
        return f"{len(mine)} parameters, {trainable} trainable; {', '.join(odd) or 'nothing odd'}."


def audit(model: Module, *optimizers: Optimizer, step: Callable[[], object] | None = None) -> Audit:
    """Return what each parameter of `model` is to `optimizers`; `step`, if given, is called once and watched.

    Buffers, gradients, the optimizers' state and the random numbers are left as `step` leaves them.
    """
    names = [name_of(optimizer, sys._getframe(1)) for optimizer in optimizers]
    held = _held(optimizers, names)
    named = dict(model.named_parameters())
    mine = {id(parameter) for parameter in named.values()}
    others = [(owners, parameter) for owners, parameter in held.values() if id(parameter) not in mine]
    received, moved = _observed([*named.values(), *(parameter for _, parameter in others)], step)

    def of(name: str, parameter: Any, owners: Sequence[str], in_model: bool) -> ParameterAudit:
        has_gradient = id(parameter) in received or (step is None and parameter.grad is not None)
        has_moved = None if step is None else id(parameter) in moved
        shape = tuple(parameter.shape)
        return ParameterAudit(name, shape, parameter.requires_grad, tuple(owners), has_gradient, has_moved, in_model)

    found = [of(name, each, held.get(id(each), ([], each))[0], True) for name, each in named.items()]
    return Audit((*found, *(of("-", parameter, owners, False) for owners, parameter in others)))


def _held(optimizers: Sequence[Optimizer], names: Sequence[str]) -> dict[int, tuple[list[str], Any]]:
    """Return by identity the parameters that the optimizers hold, with the owners of each."""
    held: dict[int, tuple[list[str], Any]] = {}
    for optimizer, name in zip(optimizers, names, strict=True):
        for number, group in enumerate(optimizer.param_groups):
            owner = name if len(optimizer.param_groups) == 1 else f"{name}[{number}]"
            for parameter in group["params"]:
                held.setdefault(id(parameter), ([], parameter))[0].append(owner)
    return held


def _observed(parameters: Iterable[Any], step: Callable[[], object] | None) -> tuple[set[int], set[int]]:
    """Run `step`; return which parameters got a gradient in it, and which have other values after it."""
    received: set[int] = set()
    if step is None:
        return received, set()
    before = [(parameter, values_of(parameter).clone()) for parameter in parameters]
    with ExitStack() as hooks:
        for parameter, _ in before:
            if parameter.requires_grad and parameter.is_leaf:
                handle = parameter.register_post_accumulate_grad_hook(lambda tensor: received.add(id(tensor)))
                hooks.callback(handle.remove)
        step()
    return received, {id(parameter) for parameter, values in before if not torch.equal(values_of(parameter), values)}


def _facts(parameter: ParameterAudit) -> tuple[object, ...]:
    return (
        parameter.in_model,
        parameter.trainable,
        parameter.optimizers,
        parameter.has_gradient,
        parameter.moved,
        parameter.remark,
    )


def _row(group: Sequence[ParameterAudit]) -> tuple[str, ...]:
    first, last = group[0], group[-1]
    name, shape = first.name, "x".join(map(str, first.shape)) or "scalar"
    if len(group) > 1:
        parts = [parameter.name.split(".") for parameter in group]
        shared = commonprefix(parts)  # noqa: RUF071 (of lists of names, not of paths)
        name = (
            first.name if not first.in_model else ".".join([*shared, "*"]) if shared else f"{first.name} .. {last.name}"
        )
        shape = f"{len(group)} parameters"
    moved = "" if first.moved is None else _yes(first.moved)
    return (
        name,
        shape,
        _yes(first.trainable),
        ", ".join(first.optimizers) or "-",
        _yes(first.has_gradient),
        moved,
        first.remark and f"<- {first.remark}",
    )


def _yes(fact: bool) -> str:
    return "yes" if fact else "no"


def _counted(remarks: Iterable[str]) -> Iterator[tuple[str, int]]:
    every = list(remarks)
    return ((remark, every.count(remark)) for remark in dict.fromkeys(every))
