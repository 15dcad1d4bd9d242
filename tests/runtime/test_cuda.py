"""What a watched run on a GPU must not notice, and what is found there; skipped where there is none.

`set_sync_debug_mode("error")` makes torch raise wherever the host would wait for the device: in gradlint, too, where the guard
takes the error for a failure of its own.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
import torch
import torch.distributed as dist
from torch import nn, optim
from torch.distributed.fsdp import fully_shard
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

import gradlint

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
STEPS = 60


@pytest.fixture(autouse=True)
def may_wait_again() -> Iterator[None]:
    yield
    torch.cuda.set_sync_debug_mode("default")


def steps() -> Iterator[int]:
    """Count the steps of a loop; from here on nothing may wait."""
    torch.cuda.set_sync_debug_mode("error")
    yield from range(STEPS)


def make(*widths: int) -> nn.Module:
    torch.manual_seed(1)
    layers = [nn.Linear(one, other) for one, other in pairwise(widths)]
    return nn.Sequential(*layers).cuda()


def batch(width: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(2)
    return torch.randn(32, width, device="cuda"), torch.randn(32, 1, device="cuda")


def plain(kind: Callable[..., optim.Optimizer]) -> list[torch.Tensor]:
    model, (x, y) = make(8, 16, 1), batch()
    opt, losses = kind(model.parameters(), lr=0.01), []
    schedule = optim.lr_scheduler.CosineAnnealingLR(opt, STEPS)
    for _ in steps():
        opt.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        schedule.step()
        losses.append(loss.detach())
    return losses


def fused(parameters: Iterator[nn.Parameter], lr: float) -> optim.Optimizer:
    return optim.AdamW(parameters, lr=lr, fused=True)


def accumulating() -> None:
    model, (x, y) = make(8, 1), batch()
    opt = optim.SGD(model.parameters(), lr=0.01)
    for index in steps():
        (F.mse_loss(model(x), y) / 4).backward()
        if index % 4 == 3:
            opt.step()
            opt.zero_grad()


def adversarial() -> None:
    first, second = make(4, 8), make(8, 1)
    ours, theirs = optim.Adam(first.parameters()), optim.Adam(second.parameters())
    for _ in steps():
        fake = first(torch.randn(16, 4, device="cuda"))
        theirs.zero_grad()
        second(fake.detach()).mean().backward()
        theirs.step()
        ours.zero_grad()
        (-second(fake).mean()).backward()
        ours.step()


def attacking() -> None:
    model, (x, y) = make(8, 1), batch()
    for _ in steps():
        adversary = x.clone().requires_grad_()
        F.mse_loss(model(adversary), y).backward()
        assert adversary.grad is not None
        x = x + 0.01 * adversary.grad.sign()


def emptying(clear: Callable[[torch.Tensor], object]) -> None:
    model, (x, y) = make(8, 1), batch()
    opt = optim.SGD(model.parameters(), lr=0.01)
    for _ in steps():
        F.mse_loss(model(x), y).backward()
        opt.step()
        for parameter in model.parameters():
            assert parameter.grad is not None
            clear(parameter.grad)


LOOPS: dict[str, Callable[[], object]] = {
    "SGD": lambda: plain(optim.SGD),
    "AdamW": lambda: plain(optim.AdamW),
    "fused AdamW": lambda: plain(fused),
    "accumulation": accumulating,
    "two optimizers": adversarial,
    "attack": attacking,
    "zero_ of gradients": lambda: emptying(operator.methodcaller("zero_")),
}


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
def test_a_correct_loop_never_waits_for_the_device(loop: Callable[[], object]) -> None:
    with gradlint.watch(output=None) as report:
        loop()
    assert report.failure is None
    assert report.diagnostics == []


def test_the_debug_mode_sees_a_wait() -> None:
    torch.cuda.set_sync_debug_mode("error")
    with pytest.raises(RuntimeError, match="synchroniz"):
        torch.ones(1, device="cuda").item()


@pytest.mark.parametrize("kind", [optim.SGD, optim.AdamW, fused])
def test_every_bit_and_byte_is_the_same(kind: Callable[..., optim.Optimizer]) -> None:
    plain(kind)  # what torch allocates once
    torch.cuda.set_sync_debug_mode("default")
    torch.cuda.reset_peak_memory_stats()
    bare, peak = plain(kind), torch.cuda.max_memory_allocated()
    torch.cuda.set_sync_debug_mode("default")
    state = torch.cuda.get_rng_state()
    with gradlint.watch(output=None):
        plain(kind)
        torch.cuda.set_sync_debug_mode("default")
        torch.cuda.reset_peak_memory_stats()
        watched = plain(kind)
    torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(torch.stack(bare), torch.stack(watched))
    assert torch.equal(state, torch.cuda.get_rng_state())
    assert torch.cuda.max_memory_allocated() <= peak + 2**16


def test_gradients_emptied_without_a_trace_are_believed_to_be_empty() -> None:
    with gradlint.watch(output=None) as report:
        emptying(lambda gradient: gradient.data.zero_())
    assert report.failure is None
    assert report.diagnostics == []


@pytest.mark.parametrize("clip", [False, True])
def test_gradients_that_nobody_clears_are_found(clip: bool) -> None:
    model, (x, y) = make(8, 1), batch()
    opt = optim.SGD(model.parameters(), lr=0.01)
    with gradlint.watch(output=None) as report:
        for _ in range(STEPS):
            F.mse_loss(model(x), y).backward()
            if clip:
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
    assert report.failure is None
    assert [found.code for found in report.diagnostics] == ["GL101"]


class Idle(optim.SGD):
    """An optimizer that changes nothing."""

    @torch.no_grad()
    def step(self, closure: object = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.add_(parameter.grad, alpha=0.0)


def test_steps_that_change_nothing_are_found_when_the_answer_arrives() -> None:
    model, (x, y) = make(8, 1), batch()
    opt = Idle(model.parameters(), lr=0.01)
    with gradlint.watch(output=None) as report:
        for _ in range(STEPS):
            opt.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            opt.step()
            assert math.isfinite(loss.item())  # the device catches up
    assert report.failure is None
    assert [found.code for found in report.diagnostics] == ["GL120"]


@pytest.mark.parametrize("kind", [optim.AdamW, fused])
@pytest.mark.parametrize("infinite", [False, True])
def test_a_scaler_may_skip_steps(kind: Callable[..., optim.Optimizer], infinite: bool) -> None:
    model, (x, y) = make(8, 16, 1), batch()
    opt, scaler = (
        kind(model.parameters(), lr=0.01),
        torch.amp.GradScaler("cuda", init_scale=2.0**40 if infinite else 2.0**8),
    )
    with gradlint.watch(output=None) as report:
        for _ in range(STEPS):
            opt.zero_grad()
            with torch.autocast("cuda", dtype=torch.float16):
                loss = F.mse_loss(model(x), y)
            scaler.scale(loss).backward()
            scaler.unscale_(opt)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(opt)
            scaler.update()
    assert report.failure is None
    assert report.diagnostics == []


def captured(steps: int) -> torch.Tensor:
    """Train by replays of a CUDA graph that holds a whole step, as the notes on CUDA graphs show it; return the last loss."""
    model, (x, y) = make(8, 16, 1), batch()
    opt = optim.Adam(model.parameters(), lr=0.01, capturable=True)

    def step() -> torch.Tensor:
        opt.zero_grad(set_to_none=True)
        loss = F.mse_loss(model(x), y)
        loss.backward()
        opt.step()
        return loss

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()
    for _ in range(steps):
        graph.replay()
    return loss.detach().clone()


def test_a_cuda_graph_is_captured_as_ever() -> None:
    bare = captured(STEPS)
    with gradlint.watch(output=None) as report:
        watched = captured(STEPS)
    assert report.failure is None
    assert report.diagnostics == []
    assert torch.equal(bare, watched)


def replicated() -> nn.Module:
    return DistributedDataParallel(make(8, 16, 1))


def sharded() -> nn.Module:
    model = make(8, 16, 1)
    fully_shard(model)
    return model


@pytest.mark.parametrize("wrapped", [replicated, sharded])
def test_a_wrapped_model_never_waits(wrapped: Callable[[], nn.Module]) -> None:
    dist.init_process_group("nccl", store=dist.HashStore(), rank=0, world_size=1)
    try:
        with gradlint.watch(output=None) as report:
            model, (x, y) = wrapped(), batch()
            opt = optim.AdamW(model.parameters(), lr=0.01)
            for _ in range(2):  # in the second pass torch itself waits, once
                F.mse_loss(model(x), y).backward()
            for _ in steps():
                opt.zero_grad()
                loss = F.mse_loss(model(x), y)
                loss.backward()
                opt.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
        dist.destroy_process_group()
    assert report.failure is None
    assert report.diagnostics == []


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_a_compiled_model_is_compiled_once(mode: str) -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    model, (x, y) = make(8, 16, 1), batch()
    opt, compiled = optim.AdamW(model.parameters(), lr=0.01), torch.compile(model, mode=mode)
    with gradlint.watch(output=None) as report:
        for _ in range(STEPS):
            opt.zero_grad()
            loss = F.mse_loss(compiled(x), y)
            loss.backward()
            opt.step()
    assert report.failure is None
    assert report.diagnostics == []
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    assert not torch._dynamo.utils.counters["graph_break"]
