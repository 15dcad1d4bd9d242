"""Training in several threads: what one of them uses no other one may look at, and who hands work over is not accused."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn, optim
from torch.nn import functional as F

import gradlint
from gradlint.runtime import Report

X, Y = torch.randn(8, 4), torch.randn(8, 1)


def parts(*, clear: bool = True) -> list[Callable[[], object]]:
    """Return what an iteration consists of."""
    model = nn.Linear(4, 1)
    opt = optim.SGD(model.parameters(), lr=0.05)
    clearing = [opt.zero_grad] if clear else []
    return [*clearing, lambda: F.mse_loss(model(X), Y).backward(), opt.step]


def codes(report: Report) -> set[str]:
    return {found.code for found in report.diagnostics}


def test_several_at_once() -> None:
    def train(iteration: list[Callable[[], object]]) -> None:
        for _ in range(10):
            for part in iteration:
                part()

    for clear in (True, False):
        for _ in range(20):
            with gradlint.watch() as report:
                threads = [threading.Thread(target=train, args=(parts(clear=clear),)) for _ in range(3)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            assert codes(report) == (set() if clear else {"GL101"})


def test_parts_of_an_iteration_in_different_threads() -> None:
    with gradlint.watch() as report, ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        iteration = parts()
        for turn in range(10):
            for number, part in enumerate(iteration):
                (one if (turn + number) % 2 else other).submit(part).result()
    assert codes(report) == set()


def test_nobody_looks_at_what_another_thread_uses() -> None:
    reads = []

    class Told(nn.Parameter):
        @property
        def grad(self) -> torch.Tensor | None:
            reads.append(threading.get_ident())
            return super().grad

        @grad.setter
        def grad(self, value: torch.Tensor | None) -> None:
            torch.Tensor.grad.__set__(self, value)

    weight = Told(torch.ones(4))
    opt = optim.SGD([weight], lr=0.05)

    def step() -> None:
        opt.zero_grad()
        weight.square().sum().backward()
        opt.step()

    with gradlint.watch(), ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(step).result()
        reads.clear()
        for part in parts() * 3:
            part()
    assert threading.get_ident() not in reads
