"""Words that a finding has by what is known, where its code alone does not tell them apart."""

from __future__ import annotations

import pytest

from gradlint.diagnostics import Severity
from gradlint.static import check_source

_EVALUATED = """
import torch
from {home} import Net

net = Net({rate})
optimizer = torch.optim.Adam(net.parameters())
net.train()
for x in torch.randn(9, 2, 4):
    optimizer.zero_grad()
    net(x).sum().backward()
    optimizer.step()
    net.eval()
    print(net(x))
"""

_TWICE = """
import torch

model = torch.nn.Linear(4, 4)
optimizer = torch.optim.Adam(model.parameters())
for x in torch.randn(9, 2, 4):
    {cleared}
    model(x).sum().backward()
    optimizer.step()
    model(x).mean().backward()
    optimizer.step()
"""


@pytest.mark.parametrize(
    ("rate", "severity", "words"),
    [
        ("", Severity.WARNING, "its layers are not in sight"),
        ("dropout=0.1", Severity.ERROR, "dropout is off and batch statistics are frozen"),
    ],
)
def test_what_is_off_is_said_by_what_is_in_sight(rate: str, severity: Severity, words: str) -> None:
    [found] = [each for each in check_source(_EVALUATED.format(home="elsewhere", rate=rate)) if each.code == "GL304"]
    assert found.severity is severity
    assert words in found.message


@pytest.mark.parametrize(
    ("cleared", "words"),
    [("optimizer.zero_grad()", "the second repeats the first"), ("pass", "every update repeats all earlier ones")],
)
def test_what_is_repeated_is_said_by_what_is_cleared(cleared: str, words: str) -> None:
    [found] = check_source(_TWICE.format(cleared=cleared))
    assert found.code == "GL101"
    assert words in found.message


_LOADED = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))

    def forward(self, x):
        return self.layers(x)


{made}
with torch.no_grad():
    print(net(torch.zeros(1, 4)))
"""


@pytest.mark.parametrize(
    ("made", "severity", "words"),
    [
        ("net = torch.load('net.pt')", Severity.INFO, "the mode in which it was saved, perhaps training mode"),
        ("net = Net()\nnet.load_state_dict(torch.load('net.pt'))", Severity.ERROR, "in training mode"),
    ],
)
def test_a_mode_that_was_saved_is_a_guess(made: str, severity: Severity, words: str) -> None:
    [found] = [each for each in check_source(_LOADED.format(made=made)) if each.code == "GL303"]
    assert found.severity is severity
    assert words in found.message
