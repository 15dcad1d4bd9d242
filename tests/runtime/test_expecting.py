"""What stands in for torch's functions passes on what it is given, whether a call is expected or not."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import pytest
import torch
from torch import nn, optim
from torch.nn import functional as F
from torch.optim.optimizer import Optimizer
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

import gradlint

DATA = torch.Generator().manual_seed(0)
X, Y = torch.randn(16, 4, generator=DATA), torch.randn(16, 1, generator=DATA)

Step = Callable[[nn.Sequential, Optimizer, torch.Tensor], object]


def _all_arguments(model: nn.Sequential, opt: Optimizer, loss: torch.Tensor) -> None:
    opt.zero_grad(set_to_none=False)
    loss.backward(torch.ones(()), True, False, inputs=list(model.parameters()))
    opt.step()


def _positional(model: nn.Sequential, opt: Optimizer, loss: torch.Tensor) -> None:
    model.zero_grad(False)
    torch.autograd.backward([loss], [2 * torch.ones(())], inputs=model[2].weight)
    opt.step(None)


def _read_gradients(model: nn.Sequential, opt: Optimizer, loss: torch.Tensor) -> None:
    opt.zero_grad()
    (slope,) = torch.autograd.grad(loss, [model[0].weight], create_graph=True, allow_unused=True)
    (loss + slope.pow(2).sum()).backward()
    opt.step(closure=None)


def _batched(model: nn.Sequential, opt: Optimizer, loss: torch.Tensor) -> None:
    opt.zero_grad()
    rows = torch.autograd.grad(
        loss.expand(2), [model[0].weight], torch.eye(2), is_grads_batched=True, retain_graph=True
    )
    (loss * rows[0].sum().detach()).backward()
    opt.step()


def _at_the_engine(model: nn.Sequential, opt: Optimizer, loss: torch.Tensor) -> None:
    opt.zero_grad()
    rest = {"keep_graph": True, "create_graph": False, "accumulate_grad": True}
    torch.autograd._engine_run_backward((loss,), grad_tensors=(torch.ones(()),), **rest)
    torch.autograd._engine_run_backward((loss,), (torch.ones(()),), True, False, accumulate_grad=True)
    torch.autograd._engine_run_backward((loss,), (torch.ones(()),), False, False, (), True, True)
    opt.step()


def train(step: Step, rounds: int) -> list[torch.Tensor]:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    opt = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    for _ in range(rounds):
        step(model, opt, F.mse_loss(model(X), Y))
    return [*model.parameters(), *(each.grad for each in model.parameters() if each.grad is not None)]


@pytest.mark.parametrize("step", [_all_arguments, _positional, _read_gradients, _batched, _at_the_engine])
def test_arguments_arrive(step: Step) -> None:
    bare = train(step, 40)
    with gradlint.watch(output=None) as report:
        watched = train(step, 40)
        assert report._monitor.rhythm.running
    assert report.failure is None
    assert all(each.isfinite().all() for each in bare)
    assert all(torch.equal(*pair) for pair in zip(watched, bare, strict=True))


def test_an_error_of_torch_is_the_same_in_a_steady_loop() -> None:
    model = nn.Linear(4, 1)
    opt = optim.SGD(model.parameters(), lr=0.01)

    def step(gradient: torch.Tensor | None) -> None:
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward(gradient)
        opt.step()

    with gradlint.watch(output=None) as report:
        for _ in range(40):
            step(None)
        assert report._monitor.rhythm.running
        with pytest.raises(RuntimeError, match="Mismatch in shape") as raised:
            step(torch.ones(3))
        step(None)
    assert raised.value.__cause__ is None
    assert (report.failure, report.diagnostics) == (None, [])


def test_what_waits_for_a_step_does_not_disturb_its_neighbour() -> None:
    data = TensorDataset(X, Y)
    sampler = DistributedSampler(data, num_replicas=2, rank=0)
    model = nn.Linear(4, 1)
    opt = optim.SGD(model.parameters(), lr=0.01)
    with gradlint.watch(output=None) as report:
        for epoch in range(3):
            sampler.set_epoch(epoch)
            for x, y in DataLoader(data, batch_size=4, sampler=sampler):
                handle = model.register_forward_hook(lambda module, args, result: result)
                opt.zero_grad()
                F.mse_loss(model(x), y).backward()
                opt.step()
                handle.remove()
    assert (report.failure, report.diagnostics) == (None, [])


def test_a_loss_dies_when_the_user_lets_go_of_it() -> None:
    model = nn.Linear(4, 1)
    opt = optim.SGD(model.parameters(), lr=0.01)

    def step() -> weakref.ref[torch.Tensor]:
        opt.zero_grad()
        loss = F.mse_loss(model(X), Y)
        loss.backward()
        opt.step()
        return weakref.ref(loss)

    with gradlint.watch(output=None) as report:
        assert all(step()() is None for _ in range(200))
    assert report.diagnostics == []


@pytest.mark.parametrize("whole", [False, True], ids=["teacher", "student"])
def test_a_loop_settles_beside_a_module_in_evaluation_mode(whole: bool) -> None:
    with gradlint.watch(output=None) as report:
        teacher = nn.Sequential(nn.Linear(4, 1), nn.Dropout(0.1))
        student = nn.Sequential(nn.Linear(4, 1), nn.Dropout(0.1))
        teacher.eval().requires_grad_(requires_grad=False)
        if whole:  # as for a fine-tuning with frozen statistics
            student.eval()
        opt = optim.SGD(student.parameters(), lr=0.01)
        for _ in range(24):
            with torch.no_grad():
                wanted = teacher(X)
            opt.zero_grad()
            F.mse_loss(student(X), wanted).backward()
            opt.step()
        assert report._monitor.rhythm.running
        assert not torch.nn.modules.module._has_any_global_hook()
    assert report.diagnostics == []


def test_what_is_trained_after_its_evaluation_is_told_each_time() -> None:
    with gradlint.watch(output=None) as report:
        model = nn.Sequential(nn.Linear(4, 1), nn.Dropout(0.1))
        opt = optim.SGD(model.parameters(), lr=0.01)
        for turn in range(40):
            if turn == 8:
                model.eval()
                with torch.no_grad():
                    model(X)
            opt.zero_grad()
            F.mse_loss(model(X), Y).backward()
            opt.step()
    [found] = report.diagnostics
    assert (found.code, found.count) == ("GL304", 32)
