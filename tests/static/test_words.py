"""Words that a finding has by what is known, where its code alone does not tell them apart."""

from __future__ import annotations

from pathlib import Path

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

_TERMS = """
import torch
import torch.nn.functional as F

net = torch.nn.Linear(4, 3)
optimizer = torch.optim.Adam(net.parameters())
bank = torch.full((9, 3), 1 / 3)
for x in torch.randn(9, 2, 4):
    optimizer.zero_grad()
    found = F.softmax(net(x), dim=1)
    terms = F.kl_div(found, bank[:2], reduction="{reduction}")
    (terms.sum(-1) * torch.rand(2)).mean().backward()
    optimizer.step()
"""

_BESIDE = """
import torch
{seen}


class Client:
    def __init__(self, net, head):
        self.net, self.head = net, head
        self.opt = torch.optim.SGD(self.net.parameters(), lr=0.1)
        self.opt_head = torch.optim.SGD(self.head.parameters(), lr=0.1)

    def train(self, batches):
        self.net.train()
        for x in batches:
            self.opt.zero_grad()
            self.opt_head.zero_grad()
            self.head(self.net(x)).mean().backward()
            self.opt.step()
            self.opt_head.step()

    def evaluate(self, batches):
        self.net.eval()
        with torch.no_grad():
            for x in batches:
                print(self.head(self.net(x)).mean())
"""

_SAMPLED = """
import torch
from torch import nn


class Painter(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 4), {layers})

    def forward(self, x):
        return self.layers(x)


painter = Painter()
painter.load_state_dict(torch.load("painter.pt"))
for noise in torch.randn(9, 2, 4):
    print(painter(noise))
"""

_OLD = """
import torch
from torch.autograd import Variable

model = torch.nn.Linear(4, 4)
model.eval()
for x in torch.randn(9, 2, 4):
    x = Variable(x{volatile})
    print(model(x).data.sum())
"""

_TWO_SCHEDULES = """
import torch
from torch.optim import lr_scheduler

model = torch.nn.Linear(4, 4)
optimizer = torch.optim.Adam(model.parameters())
first = lr_scheduler.StepLR(optimizer, 30)
{second}
for x in torch.randn(9, 2, 4):
    optimizer.zero_grad()
    model(x).sum().backward()
    optimizer.step()
    {step}
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

_WINDOWS = """
import torch


def train(model, loader, window):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(3):
        {begin}
        for step, batch in enumerate(loader):
            (model(batch).mean() / window).backward()
            if step % window == 0{last}:
                optimizer.step()
                optimizer.zero_grad()
        {end}
"""

_HANDED = """
import torch
from passes import run_epoch
from torch.utils.data import DataLoader, DistributedSampler


def main(net, data):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    {name} = DataLoader(data, sampler=DistributedSampler(data))
    for epoch in range(3):
        run_epoch(net, {name}, optimizer)
"""

_PASSES = """
def run_epoch(net, source, optimizer):
    for x, y in source:
        optimizer.zero_grad()
        (net(x) - y).square().mean().backward()
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
    ("seen", "severity", "words"),
    [
        ("", Severity.INFO, "its layers are not in sight"),
        ("dropout = torch.nn.Dropout()", Severity.WARNING, "training mode: dropout stays on"),
    ],
)
def test_of_a_part_out_of_sight_is_said_what_those_in_sight_make_likely(
    seen: str, severity: Severity, words: str
) -> None:
    [found] = check_source(_BESIDE.format(seen=seen))
    assert (found.code, found.severity) == ("GL303", severity)
    assert words in found.message


@pytest.mark.parametrize(
    ("cleared", "words"),
    [("optimizer.zero_grad()", "the second repeats the first"), ("pass", "every update repeats all earlier ones")],
)
def test_what_is_repeated_is_said_by_what_is_cleared(cleared: str, words: str) -> None:
    [found] = check_source(_TWICE.format(cleared=cleared))
    assert found.code == "GL101"
    assert words in found.message


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ("nn.Dropout(0.1)", "training mode: dropout stays on"),
        ("nn.BatchNorm1d(4)", "training mode: batch statistics follow what it is evaluated on"),
        ("nn.BatchNorm1d(4), nn.Dropout()", "dropout stays on and batch statistics follow what it is evaluated on"),
    ],
)
def test_what_goes_on_in_training_mode_is_said_by_the_layers_in_sight(layers: str, words: str) -> None:
    [found] = check_source(_SAMPLED.format(layers=layers))
    assert found.code == "GL303"
    assert found.message.endswith(words)


@pytest.mark.parametrize(
    ("second", "step", "words"),
    [
        ("", "", "the learning rate stays what it is"),
        ("second = lr_scheduler.ExponentialLR(optimizer, 0.9)", "second.step()", "only another schedule"),
        ("whole = lr_scheduler.ChainedScheduler([first])", "", "the learning rate stays what it is"),
    ],
)
def test_what_becomes_of_the_rate_is_said_by_who_moves_it(second: str, step: str, words: str) -> None:
    [found] = check_source(_TWO_SCHEDULES.format(second=second, step=step))
    assert found.code == "GL202"
    assert words in found.message


@pytest.mark.parametrize(("volatile", "said"), [("", False), (", volatile=True", True), (", volatile=False", False)])
def test_of_an_argument_that_does_nothing_any_more_is_said_so(volatile: str, said: bool) -> None:
    [found] = check_source(_OLD.format(volatile=volatile))
    assert found.code == "GL302"
    assert ("`volatile=True` does nothing any more" in found.message) is said


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


@pytest.mark.parametrize(
    ("reduction", "severity"),
    [("batchmean", Severity.ERROR), ("none", Severity.INFO)],
)
def test_the_terms_of_a_divergence_may_be_another_loss(reduction: str, severity: Severity) -> None:
    found = check_source(_TERMS.format(reduction=reduction), "train.py")
    assert [(each.code, each.severity) for each in found] == [("GL907", severity)]


@pytest.mark.parametrize(
    ("begin", "last", "end", "words"),
    [
        ("optimizer.zero_grad()", "", "pass", "ends with batches that no update has used"),
        ("pass", "", "pass", "what a pass leaves over goes into the first update of the next one"),
        ("optimizer.zero_grad()", " or step == len(loader) - 1", "pass", "begins with an update from a single batch"),
        ("optimizer.zero_grad()", "", "optimizer.step()", "begins with an update from a single batch"),
    ],
)
def test_what_becomes_of_the_rest_of_a_pass_is_said_by_who_steps_and_clears(
    begin: str, last: str, end: str, words: str
) -> None:
    [found] = check_source(_WINDOWS.format(begin=begin, last=last, end=end))
    assert found.code == "GL703"
    assert found.message.endswith(words)
    assert ("after the loop" in (found.help or "")) is not ("step" in last + end)


@pytest.mark.parametrize("name", ["train_loader", "batches"])
def test_a_loader_has_the_name_that_it_has_where_the_finding_stands(tmp_path: Path, name: str) -> None:
    (tmp_path / "passes.py").write_text(_PASSES, encoding="utf-8")
    home = tmp_path / "train.py"
    home.write_text(_HANDED.format(name=name), encoding="utf-8")
    [found] = check_source(home.read_text(encoding="utf-8"), str(home))
    assert found.code == "GL709"
    assert found.message.startswith(f"`{name}` is drawn from again")
