"""What a watched run leaves behind, against a bare one: every loss, the checkpoint byte for byte, random state, and memory.

    python benchmarks/sameness.py [--iterations N]

Each loop trains once bare and once watched, in a process of its own; the memory of the process (MiB) is taken after a tenth of the
iterations and at the end. The loops have dropout, a scheduler, and a loader that shuffles, so that random numbers are drawn in each.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import torch
from torch import nn, optim
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import gradlint

KINDS: dict[str, Callable[..., optim.Optimizer]] = {
    "SGD with momentum": functools.partial(optim.SGD, lr=0.01, momentum=0.9),
    "AdamW": optim.AdamW,
    "Adam, foreach": functools.partial(optim.Adam, foreach=True),
    "RMSprop, accumulated": optim.RMSprop,
}


def resident() -> float:
    """Return the memory of this process in MiB."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


def batches(
    loader: DataLoader[tuple[torch.Tensor, ...]], most: int
) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
    number = 0
    while number < most:
        for x, y in loader:
            if number < most:
                yield number, x, y
            number += 1


def train(name: str, iterations: int) -> dict[str, object]:
    """Train; return what came of it."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    window = 2 if "accumulated" in name else 1
    model = nn.Sequential(nn.Linear(16, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 1))
    optimizer = KINDS[name](model.parameters())
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, iterations // window)
    loader = DataLoader(TensorDataset(torch.randn(256, 16), torch.randn(256, 1)), batch_size=16, shuffle=True)
    losses, early = hashlib.sha256(), 0.0
    for number, x, y in batches(loader, iterations):
        if number % window == 0:
            optimizer.zero_grad()
        loss = F.mse_loss(model(x), y) / window
        loss.backward()
        losses.update(loss.detach().numpy().tobytes())
        if (number + 1) % window == 0:
            optimizer.step()
            schedule.step()
        if number == iterations // 10:
            early = resident()
    checkpoint = io.BytesIO()
    torch.save([each.state_dict() for each in (model, optimizer, schedule)], checkpoint)
    return {
        "losses": losses.hexdigest(),
        "checkpoint": hashlib.sha256(checkpoint.getvalue()).hexdigest(),
        "random state": hashlib.sha256(torch.get_rng_state().numpy().tobytes()).hexdigest(),
        "early": early,
        "memory": resident(),
    }


def run(name: str, watched: bool, iterations: int) -> None:
    with gradlint.watch(output=None) if watched else nullcontext() as report:
        told = train(name, iterations)
    if report is not None:
        assert report.failure is None
        assert not report.diagnostics, report.diagnostics
    print(json.dumps(told))


def asked(name: str, watched: bool, iterations: int) -> dict[str, object]:
    command = [
        sys.executable,
        __file__,
        "--iterations",
        str(iterations),
        "--loop",
        name,
        *(["--watched"] if watched else []),
    ]
    told: dict[str, object] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=10_000)
    parser.add_argument("--loop", choices=KINDS)
    parser.add_argument("--watched", action="store_true")
    options = parser.parse_args()
    if options.loop is not None:
        run(options.loop, options.watched, options.iterations)
        return
    print(f"torch {torch.__version__}, {options.iterations} iterations")
    for name in KINDS:
        bare, watched = (asked(name, each, options.iterations) for each in (False, True))
        same = [
            f"{what} {'same' if bare[what] == watched[what] else 'DIFFERS'}"
            for what in ("losses", "checkpoint", "random state")
        ]
        grown = [float(str(each["memory"])) - float(str(each["early"])) for each in (bare, watched)]
        print(
            f"{name:22}{', '.join(same)}; "
            f"memory {bare['memory']:.1f} bare, {watched['memory']:.1f} watched; grown by {grown[0]:.1f} and {grown[1]:.1f} MiB",
            flush=True,
        )


if __name__ == "__main__":
    main()
