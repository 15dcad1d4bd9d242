"""The callback for Hugging Face's Trainer, in trainings of a tiny model."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")
from transformers import Trainer, TrainingArguments

from gradlint.integrations.transformers import GradlintCallback


class Right(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(2, 1)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": F.mse_loss(self.head(x), labels)}


class NeverCleared(Right):
    def zero_grad(self, set_to_none: bool = True) -> None: ...


class Raising(NeverCleared):
    turns = 0

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        self.turns += 1
        if self.turns == 6:
            raise ArithmeticError
        return super().forward(x, labels)


DATA = [{"x": torch.randn(2), "labels": torch.randn(1)} for _ in range(24)]


def trainer(model: torch.nn.Module, folder: Path, callback: GradlintCallback, **options: Any) -> Trainer:
    quiet = {"report_to": "none", "disable_tqdm": True, "save_strategy": "no", "use_cpu": True}
    args = TrainingArguments(str(folder), per_device_train_batch_size=4, num_train_epochs=2, **quiet, **options)
    return Trainer(model=model, args=args, train_dataset=DATA, eval_dataset=DATA, callbacks=[callback])


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """What is logged under the library's root, which does not propagate."""
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    return caplog


@pytest.mark.parametrize(
    "options",
    [{}, {"gradient_accumulation_steps": 2}, {"eval_strategy": "epoch"}],
    ids=["plain", "windows", "evaluating"],
)
@pytest.mark.parametrize(("model", "codes"), [(Right, []), (NeverCleared, ["GL101"])], ids=["right", "stale"])
def test_a_training_is_watched(
    model: type[Right], codes: list[str], options: dict[str, Any], tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    callback = GradlintCallback()
    trainer(model(), tmp_path, callback, **options).train()
    assert callback.report is not None
    assert callback.report.failure is None
    assert [each.code for each in callback.report.diagnostics] == codes
    logged = [each for each in log.records if each.name == "transformers.gradlint"]
    assert ["GL" in each.getMessage() for each in logged] == [True] * len(codes)
    assert sum(callback.report.scalars().values()) == len(codes)


def test_an_optimizer_of_another_model(tmp_path: Path) -> None:
    callback = GradlintCallback()
    ours = trainer(Right(), tmp_path, callback)
    ours.optimizer = torch.optim.SGD(Right().parameters(), lr=0.1)
    ours.train()
    assert callback.report is not None
    assert [each.code for each in callback.report.diagnostics] == ["GL806"]


def test_the_optimizer_has_the_name_of_where_it_is(tmp_path: Path) -> None:
    callback = GradlintCallback()
    ours = trainer(NeverCleared(), tmp_path, callback)
    ours.train()
    assert callback.report is not None
    assert [each.message.split()[0] for each in callback.report.diagnostics] == ["`ours.optimizer`"]


def test_what_an_error_has_cut_off_is_told_at_the_next_training(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    before = torch.optim.Optimizer.zero_grad
    callback = GradlintCallback()
    with pytest.raises(ArithmeticError):
        trainer(Raising(), tmp_path, callback).train()
    trainer(Right(), tmp_path, callback).train()
    assert ["GL101" in each.getMessage() for each in log.records if each.name == "transformers.gradlint"] == [True]
    assert callback.report is not None
    assert callback.report.diagnostics == []
    assert torch.optim.Optimizer.zero_grad is before


def test_a_copy_watches_nothing(tmp_path: Path) -> None:
    callback = GradlintCallback()
    trainer(Right(), tmp_path, callback).train()
    assert pickle.loads(pickle.dumps(callback)).report is None
