"""The callback for Lightning, in trainings of a tiny module."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

pytest.importorskip("lightning")
from lightning.pytorch import LightningModule, Trainer

from gradlint.integrations.lightning import GradlintCallback

DATA = DataLoader(TensorDataset(torch.randn(24, 2), torch.randn(24, 1)), batch_size=4)


class Right(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(2, 1)

    def training_step(self, batch: Any, number: int) -> torch.Tensor:
        return F.mse_loss(self.head(batch[0]), batch[1])

    def validation_step(self, batch: Any, number: int) -> None:
        assert not F.mse_loss(self.head(batch[0]), batch[1]).requires_grad

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=0.01)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]


class NeverCleared(Right):
    def optimizer_zero_grad(self, *args: Any) -> None: ...


class ByHand(Right):
    clears = True

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, number: int) -> None:
        tuned: Any = self.optimizers()
        self.manual_backward(super().training_step(batch, number))
        tuned.step()
        if self.clears:
            tuned.zero_grad()


class ByHandNeverCleared(ByHand):
    clears = False


class Raising(ByHandNeverCleared):
    def training_step(self, batch: Any, number: int) -> None:
        super().training_step(batch, number)
        if number == 4:
            raise ArithmeticError


def fit(module: LightningModule, folder: Path, **options: Any) -> GradlintCallback:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    callback = GradlintCallback()
    trainer = Trainer(max_epochs=2, callbacks=[callback], default_root_dir=folder, **quiet, **options)
    with contextlib.suppress(ArithmeticError):
        trainer.fit(module, DATA, DATA)
    return callback


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """What is logged under the library's root, which does not propagate."""
    monkeypatch.setattr(logging.getLogger("lightning.pytorch"), "propagate", True)
    return caplog


@pytest.mark.parametrize(
    ("module", "options", "codes"),
    [
        (Right, {}, []),
        (Right, {"accumulate_grad_batches": 2}, []),
        (Right, {"gradient_clip_val": 0.5}, []),
        (ByHand, {}, []),
        (NeverCleared, {}, ["GL101"]),
        (ByHandNeverCleared, {}, ["GL101"]),
        (Raising, {}, ["GL101"]),
    ],
)
def test_a_fit_is_watched(
    module: type[Right], options: dict[str, Any], codes: list[str], tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    before = torch.optim.Optimizer.zero_grad
    report = fit(module(), tmp_path, **options).report
    assert report is not None
    assert report.failure is None
    assert [each.code for each in report.diagnostics] == codes
    logged = [each.getMessage() for each in log.records if each.name == "lightning.pytorch.gradlint"]
    assert [code in said for code, said in zip(codes, logged, strict=True)] == [True] * len(codes)
    assert torch.optim.Optimizer.zero_grad is before


def test_the_optimizer_has_the_name_of_its_wrapper(tmp_path: Path) -> None:
    report = fit(ByHandNeverCleared(), tmp_path).report
    assert report is not None
    assert [each.message.split()[0] for each in report.diagnostics] == ["`tuned`"]


def test_the_older_name_will_do(tmp_path: Path) -> None:
    pytest.importorskip("pytorch_lightning")
    source = Path(__file__).read_text(encoding="utf-8")
    for newer in ("lightning.pytorch", "lightning"):
        source = source.replace(f"from {newer} import", "from pytorch_lightning import")
        source = source.replace(f'importorskip("{newer}")', 'importorskip("pytorch_lightning")')
    script = tmp_path / "train.py"
    called = "print([each.code for each in fit(NeverCleared(), Path()).report.diagnostics], Callback.__module__)"
    script.write_text(f"{source}\nfrom gradlint.integrations.lightning import Callback\n{called}\n", encoding="utf-8")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.splitlines()[-1] == "['GL101'] pytorch_lightning.callbacks.callback"
