"""Training in children of every kind, right and wrong: a line that must be reported ends in a comment with the code."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

import torch
import torch.multiprocessing as mp
from torch import nn, optim
from torch.utils.data import DataLoader, Dataset


class Ones(Dataset[torch.Tensor]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.ones(1)


def right(index: int, shared: nn.Module) -> None:
    opt = optim.SGD(shared.parameters(), lr=0.01)
    for _ in range(4):
        opt.zero_grad()
        shared(torch.randn(2, 4)).mean().backward()
        opt.step()


def trained(steps: int) -> optim.Optimizer:
    model = nn.Linear(4, 1)
    opt = optim.SGD(model.parameters(), lr=0.01)
    for _ in range(steps):
        model(torch.randn(2, 4)).mean().backward()
        opt.step()  # GL101
    return opt


def spawned(index: int, shared: nn.Module) -> None:
    right(index, shared)
    if index:
        trained(3).step()  # GL109


def served() -> None:
    trained(2).step()  # GL109


def forked() -> None:
    engine = vars(torch.autograd)["_engine_run_backward"]  # its own watch must have taken the place of the parent's
    assert hasattr(engine, "__wrapped__")
    assert not hasattr(engine.__wrapped__, "__wrapped__")
    trained(2)
    child = mp.get_context("fork").Process(target=grandchild)
    child.start()
    child.join()


def grandchild() -> None:
    trained(3).step()  # GL109


def leaving() -> None:
    trained(40)
    os._exit(0)


def ended(kind: str, work: object, *args: object) -> None:
    child = mp.get_context(kind).Process(target=work, args=args)
    child.start()
    child.join()


def commanded() -> None:
    trained(2).step()  # GL109


def main() -> None:
    shared = nn.Linear(4, 1).share_memory()
    trained(2)
    mp.spawn(spawned, args=(shared,), nprocs=2)
    for work in (forked, leaving):
        ended("fork", work)
    ended("fork", right, 0, shared)
    ended("forkserver", served)
    subprocess.run([sys.executable, __file__, "commanded"], check=True)
    # Its workers wait for work until Python ends: nobody must wait for them.
    pool = ProcessPoolExecutor(1, mp_context=mp.get_context("fork"))
    pool.submit(right, 0, shared).result()
    print(sum(int(batch.sum()) for batch in DataLoader(Ones(), num_workers=2)))


if __name__ == "__main__":
    commanded() if "commanded" in sys.argv else main()
