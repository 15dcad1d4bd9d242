"""What the callbacks share: a watch between two calls, and the numbers for trackers."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

import gradlint
from gradlint.integrations import Session

X, Y = torch.randn(8, 2), torch.randn(8, 1)


def train(*, clear: bool, twice: bool = False) -> None:
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(4):
        if clear:
            optimizer.zero_grad()
        F.mse_loss(model(X), Y).backward()
        optimizer.step()
        if twice:
            optimizer.step()


@pytest.mark.parametrize(
    ("clear", "twice", "errors", "warnings"), [(True, False, 0, 0), (False, False, 1, 0), (True, True, 0, 1)]
)
def test_scalars_count_by_severity(clear: bool, twice: bool, errors: int, warnings: int) -> None:
    with gradlint.watch(output=None) as report:
        train(clear=clear, twice=twice)
    assert report.scalars() == {"gradlint/errors": errors, "gradlint/warnings": warnings, "gradlint/infos": 0}


def test_an_end_without_a_beginning_is_nothing() -> None:
    told: list[str] = []
    session = Session(told.append)
    session.end()
    session.interrupt()
    session.begin()
    session.end()
    session.end()
    assert told == []


def test_what_never_ends_is_told_when_the_program_does() -> None:
    lines = [
        f"import sys; sys.path.insert(0, {__file__.rpartition('/')[0]!r})",
        "from gradlint.integrations import Session; from test_session import train",
        "Session(print).begin(); train(clear=False); print('end')",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("end\nerror[GL101]")
