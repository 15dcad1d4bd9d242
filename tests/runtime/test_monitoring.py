"""Where nodes were made once their lines are no longer recorded: Python 3.12 and later tell which line ran."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import gradlint

LATE = 40


class Keeping(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 1)
        self.kept = torch.zeros(2, 8)

    def forward(self, x, turn):
        hidden = torch.tanh(self.first(x))  # made
        if turn == LATE + 1:
            hidden = hidden + self.kept  # used
        self.kept = hidden if turn == LATE else hidden.detach()
        return self.last(hidden)


def train(model: Keeping, turns: int) -> None:
    opt = torch.optim.SGD(model.parameters(), lr=0.01)
    for turn in range(turns):
        opt.zero_grad()
        loss = model(torch.randn(2, 4), turn).pow(2).mean()
        loss.backward()  # failed
        opt.step()


def row_of(mark: str) -> int:
    lines = Path(__file__).read_text("utf-8").splitlines()
    return next(row for row, line in enumerate(lines, 1) if line.endswith(f"# {mark}"))


def test_late_node_has_its_line_where_python_tells_it() -> None:
    with contextlib.suppress(RuntimeError), gradlint.watch(output=None) as report:
        train(Keeping(), LATE + 10)
    [found] = report.diagnostics
    assert (found.code, found.location.row, found.iteration) == ("GL506", row_of("failed"), LATE + 2)
    assert found.message.startswith("something ")  # nobody holds it any more; `loss` is no carrier
    lines = {"made", "used", "failed"} if sys.version_info >= (3, 12) else {"failed"}
    assert {each.location.row for each in found.related} == {row_of(mark) for mark in lines}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python tells no lines")
def test_nothing_is_left_behind_and_the_next_watch_listens_again() -> None:
    for _ in range(2):
        test_late_node_has_its_line_where_python_tells_it()
        assert sys.monitoring.get_tool(3) is None


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python tells no lines")
def test_whoever_listens_already_keeps_his_number() -> None:
    sys.monitoring.use_tool_id(3, "somebody")
    try:
        test_late_node_has_its_line_where_python_tells_it()
        assert sys.monitoring.get_tool(3) == "somebody"
    finally:
        sys.monitoring.free_tool_id(3)
