"""FSDP2 in a watch of its own: what is looked at in the first passes of a run only must bear parameters without values."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch import nn, optim
from torch.distributed.fsdp import fully_shard

import gradlint


@pytest.fixture
def alone() -> Iterator[None]:
    """A group of one process."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def train(*, clears: bool, layers: int = 3) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    for layer in model[:layers]:
        fully_shard(layer)
    fully_shard(model)
    opt = optim.AdamW(model.parameters(), lr=0.01)
    for step in range(16):
        model.set_requires_gradient_sync(step % 2 == 1)
        model(torch.randn(2, 4)).pow(2).mean().backward()
        if step % 2:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            if clears:
                opt.zero_grad()


@pytest.mark.usefixtures("alone")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("clears", [True, False], ids=["right", "wrong"])
def test_layers_are_sharded_one_by_one(clears: bool) -> None:
    with gradlint.watch(output=None) as report:
        train(clears=clears)
    assert report.failure is None
    assert [found.code for found in report.diagnostics] == ([] if clears else ["GL101"])


@pytest.mark.usefixtures("alone")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("clears", [True, False], ids=["right", "wrong"])
def test_rest_is_sharded_as_a_whole(clears: bool) -> None:
    with gradlint.watch(output=None) as report:
        train(clears=clears, layers=1)  # the values of what is left are there between two passes, and gone later
    assert report.failure is None
    assert [found.code for found in report.diagnostics] == ([] if clears else ["GL101"])
