"""The handler for Ignite, on engines that train."""

from __future__ import annotations

import logging

import pytest
import torch
from torch.nn import functional as F

pytest.importorskip("ignite")
from ignite.engine import Engine, Events

from gradlint.integrations.ignite import GradlintHandler

DATA = [(torch.randn(4, 2), torch.randn(4, 1)) for _ in range(6)]


def engine(*, clear: bool = True) -> Engine:
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def update(engine: Engine, batch: tuple[torch.Tensor, torch.Tensor]) -> float:
        model.train()
        if clear:
            optimizer.zero_grad()
        loss = F.mse_loss(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss.item()

    return Engine(update)


@pytest.mark.parametrize("ending", ["complete", "terminate"])
@pytest.mark.parametrize(("clear", "codes"), [(True, []), (False, ["GL101"])], ids=["right", "wrong"])
def test_a_run_is_watched(clear: bool, codes: list[str], ending: str, caplog: pytest.LogCaptureFixture) -> None:
    before = torch.optim.Optimizer.zero_grad
    trainer, handler = engine(clear=clear), GradlintHandler()
    assert handler.report is None
    handler.attach(trainer)
    if ending == "terminate":
        trainer.add_event_handler(Events.ITERATION_COMPLETED(once=4), trainer.terminate)
    with caplog.at_level(logging.WARNING):
        trainer.run(DATA, max_epochs=2)
    assert handler.report is not None
    assert handler.report.failure is None
    assert [each.code for each in handler.report.diagnostics] == codes
    assert [code in each.getMessage() for each, code in zip(caplog.records, codes, strict=True)] == [True] * len(codes)
    assert all("`optimizer`" in each.message for each in handler.report.diagnostics)
    assert torch.optim.Optimizer.zero_grad is before


def test_each_run_is_told_for_itself() -> None:
    trainer, handler = engine(clear=False), GradlintHandler()
    handler.attach(trainer)
    reports = []
    for _ in range(2):
        trainer.run(DATA, max_epochs=1)
        reports.append(handler.report)
    assert [len(report.diagnostics) for report in reports if report is not None] == [1, 1]
    assert reports[0] is not reports[1]


def test_errors_are_raised_as_without_it(caplog: pytest.LogCaptureFixture) -> None:
    before = torch.optim.Optimizer.zero_grad
    failing, next_one, handler = engine(clear=False), engine(), GradlintHandler()
    handler.attach(failing)
    failing.logger = logging.getLogger("failing")
    failing.add_event_handler(Events.ITERATION_COMPLETED(once=4), lambda: {}["missing"])
    with pytest.raises(KeyError):
        failing.run(DATA)
    handler.attach(next_one)
    caplog.clear()
    next_one.run(DATA)
    told = [(each.name, "GL101" in each.getMessage()) for each in caplog.records if each.levelno == logging.WARNING]
    assert told == [("failing", True)]
    assert handler.report is not None
    assert handler.report.diagnostics == []
    assert torch.optim.Optimizer.zero_grad is before
