"""Accelerate: `watch()` is all that it takes."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import gradlint

accelerate = pytest.importorskip("accelerate")


def train(*, accumulate: int, clear: bool) -> None:
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=accumulate)
    inner = torch.nn.Linear(2, 1)
    steps = torch.optim.AdamW(inner.parameters(), lr=0.01)
    batches = DataLoader(TensorDataset(torch.randn(24, 2), torch.randn(24, 1)), batch_size=4)
    model, optimizer, loader, schedule = accelerator.prepare(
        inner, steps, batches, torch.optim.lr_scheduler.StepLR(steps, 3)
    )
    del steps
    for _ in range(3):
        for x, y in loader:
            with accelerator.accumulate(model):
                accelerator.backward(F.mse_loss(model(x), y))
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                if clear:
                    optimizer.zero_grad()


@pytest.mark.parametrize("clear", [True, False], ids=["right", "wrong"])
@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_accumulating_loops(accumulate: int, clear: bool) -> None:
    with gradlint.watch(output=None) as report:
        train(accumulate=accumulate, clear=clear)
    assert report.failure is None
    assert [each.code for each in report.diagnostics] == ([] if clear else ["GL101"])
    assert all("`optimizer`" in each.message for each in report.diagnostics)
