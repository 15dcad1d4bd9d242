"""Loops that run inside a library's trainer: what the user did wrong is found on the user's line."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import gradlint

LIBRARY = """
class Trainer:
    def __init__(self, model, optimizer):
        self.model, self.optimizer = model, optimizer

    def fit(self, batches, clears=True):
        for batch in batches:
            loss = self.loss(batch) / 2
            loss.backward()
            self.optimizer.step(None)
            if clears:
                self.optimizer.zero_grad()

    def loss(self, batch):
        return self.model(batch).pow(2).mean()
"""
BATCHES = torch.randn(40, 8, 4)


@pytest.fixture
def trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A library's class; the library is in a folder of packages that is not this interpreter's own."""
    packages = tmp_path / "other" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "fitting.py").write_text(LIBRARY, encoding="utf-8")
    monkeypatch.syspath_prepend(packages)
    monkeypatch.delitem(sys.modules, "fitting", raising=False)
    return importlib.import_module("fitting").Trainer


def found(keeping: Any, *, clears: bool = True) -> set[tuple[int, str]]:
    """Fit by a trainer; return row in this file and code of each finding."""
    model = nn.Linear(4, 1)
    with gradlint.watch(output=None) as report:
        keeping(model, torch.optim.SGD(model.parameters(), lr=0.1)).fit(BATCHES, clears)  # fits
    assert all(each.location.filename == __file__ for each in report.diagnostics)
    return {(each.location.row, each.code) for each in report.diagnostics}


def row_of(function: Callable[..., object], text: str) -> int:
    lines, first = inspect.getsourcelines(function)
    return next(row for row, line in enumerate(lines, first) if text in line)


def test_trainer_that_never_clears(trainer: Any) -> None:
    assert found(trainer, clears=False) == {(row_of(found, "# fits"), "GL101")}


@pytest.mark.parametrize("keeps_graph", [True, False])
def test_losses_that_a_kind_of_trainer_keeps(trainer: Any, keeps_graph: bool) -> None:
    class Keeping(trainer):  # type: ignore[misc]
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.losses: list[Any] = []

        def loss(self, batch: torch.Tensor) -> torch.Tensor:
            loss = super().loss(batch)
            self.losses.append(loss if keeps_graph else loss.item())
            return loss

    leak = {(row_of(Keeping.loss, "append"), "GL501")}
    assert found(Keeping) == (leak if keeps_graph else set())


def test_losses_that_a_class_keeps(trainer: Any) -> None:
    class Keeping(trainer):  # type: ignore[misc]
        losses: list[Any] = []  # noqa: RUF012

        def loss(self, batch: torch.Tensor) -> torch.Tensor:
            loss = super().loss(batch)
            self.losses.append(loss)
            return loss

    assert found(Keeping) == {(row_of(Keeping.loss, "append"), "GL501")}
