"""How much slower a watched loop is: thread CPU time of a bare and a watched block, in turn, and the ratio of each pair.

    python benchmarks/overhead.py [--rounds N] [--peers] [--device cuda]

With `--peers` the same loops also run in torch's anomaly mode and under torch-audit, where it is installed. Every round times the same steps bare, watched, and bare again; the table shows the median ratio of watched to bare, the
middle half of the ratios, and bare to bare, which is the noise of the machine. One torch thread. On a device the time is that of the
clock, and a block ends when the device has done all of it; so small loops are bound by their launches, as real ones are.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn, optim
from torch.nn import functional as F

import gradlint

try:
    import torch_audit
except ImportError:
    torch_audit = None

WARM = 40


@dataclass(frozen=True)
class Case:
    """A training loop: `make` builds one step, `steps` make a block of some tenths of a second."""

    name: str
    make: Callable[[], Loop]
    steps: int


@dataclass(frozen=True)
class Loop:
    """One training step of a model; called again and again it is a training loop."""

    model: nn.Module
    opt: optim.Optimizer
    x: torch.Tensor
    y: torch.Tensor

    def __call__(self) -> None:
        self.opt.zero_grad()
        loss = F.mse_loss(self.model(self.x), self.y)
        loss.backward()
        self.opt.step()

    def to(self, device: str) -> Loop:
        """Return the same loop on a device; the optimizer keeps its parameters, which move in place."""
        return Loop(self.model.to(device), self.opt, self.x.to(device), self.y.to(device))


def mlp(kind: Callable[..., optim.Optimizer]) -> Loop:
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1))
    return Loop(model, kind(model.parameters(), lr=1e-3), torch.randn(16, 16), torch.randn(16, 1))


def cnn() -> Loop:
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(32 * 12 * 12, 10),
    )  # fmt: skip
    return Loop(model, optim.AdamW(model.parameters()), torch.randn(8, 3, 16, 16), torch.randn(8, 10))


def transformer() -> Loop:
    layer = nn.TransformerEncoderLayer(128, 4, 512, batch_first=True)
    model = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
    return Loop(model, optim.AdamW(model.parameters()), torch.randn(8, 32, 128), torch.randn(8, 32, 128))


def large_transformer() -> Loop:
    layer = nn.TransformerEncoderLayer(768, 12, 3072, batch_first=True)
    model = nn.TransformerEncoder(layer, 12, enable_nested_tensor=False)
    fused = functools.partial(optim.AdamW, fused=True)
    return Loop(model, fused(model.parameters()), torch.randn(16, 256, 768), torch.randn(16, 256, 768))


CASES = (
    Case("MLP, SGD", lambda: mlp(optim.SGD), 1000),
    Case("MLP, AdamW", lambda: mlp(optim.AdamW), 500),
    Case("CNN, AdamW", cnn, 30),
    Case("transformer (0.8M), AdamW", transformer, 6),
)
ON_A_DEVICE = (
    Case("MLP, SGD", lambda: mlp(optim.SGD), 400),
    Case("MLP, AdamW", lambda: mlp(optim.AdamW), 400),
    Case("MLP, fused AdamW", lambda: mlp(functools.partial(optim.AdamW, fused=True)), 400),
    Case("CNN, AdamW", cnn, 150),
    Case("transformer (0.8M), AdamW", transformer, 60),
    Case("transformer (85M), fused", large_transformer, 10),
)


def seconds(step: Loop, steps: int) -> float:
    if step.x.device.type == "cpu":
        start = time.thread_time()
        for _ in range(steps):
            step()
        return time.thread_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def watched_seconds(step: Loop, steps: int) -> float:
    """Time the steady state: the first steps, in which every parameter is looked at, are over."""
    with gradlint.watch(output=None) as report:
        seconds(step, WARM)
        spent = seconds(step, steps)
    assert report.failure is None
    assert not report.diagnostics
    return spent


def anomaly_seconds(step: Loop, steps: int) -> float:
    with torch.autograd.set_detect_anomaly(True):
        return seconds(step, steps)


def torch_audit_seconds(every: int) -> Callable[[Loop, int], float]:
    """Return the time under torch-audit for a loop that is left as it is; it looks at one of `every` steps (1000 by default)."""

    def timed(step: Loop, steps: int) -> float:
        auditor = torch_audit.autopatch(step.model, optimizer=step.opt, reporters=[], every_n_steps=every)
        seconds(step, WARM)
        spent = seconds(step, steps)
        auditor.unpatch()
        return spent

    return timed


def measure_peers(case: Case, rounds: int, device: str) -> str:
    step = case.make().to(device)
    seconds(step, WARM)
    told = []
    audits = [torch_audit_seconds(every) if torch_audit else None for every in (1000, 1)]
    for peer in (watched_seconds, anomaly_seconds, *audits):
        ratios = []
        for _ in range(rounds if peer else 0):
            bare, with_peer, again = seconds(step, case.steps), peer(step, case.steps), seconds(step, case.steps)
            ratios.append(2 * with_peer / (bare + again))
        told.append(f"{statistics.median(ratios):12.3f}" if ratios else f"{'-':>12}")
    return f"{case.name:27}{''.join(told)}"


def first_steps(case: Case, device: str) -> float:
    """Return the ratio of the first steps under watch to as many bare ones."""
    step = case.make().to(device)
    bare = seconds(step, WARM)
    with gradlint.watch(output=None):
        return seconds(step, WARM) / bare


def measure(case: Case, rounds: int, device: str) -> str:
    step = case.make().to(device)
    seconds(step, WARM)
    ratios, noise, bares = [], [], []
    for _ in range(rounds):
        bare, watched, again = seconds(step, case.steps), watched_seconds(step, case.steps), seconds(step, case.steps)
        ratios.append(2 * watched / (bare + again))
        noise.append(again / bare)
        bares.append(bare / case.steps)
    low, middle, high = statistics.quantiles(ratios, n=4)
    each = statistics.median(bares) * 1e6
    first = statistics.median(first_steps(case, device) for _ in range(3))
    return (
        f"{case.name:27}{each:10.0f}{middle:10.3f}   {low:.3f}-{high:.3f}{(middle - 1) * each:10.1f}"
        f"{statistics.median(noise):12.3f}{first:10.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda")
    options = parser.parse_args()
    rounds = options.rounds
    torch.set_num_threads(1)
    cases = CASES if options.device == "cpu" else ON_A_DEVICE
    print(f"torch {torch.__version__}, {options.device}, {rounds} rounds")
    print(f"{'loop':27}{'us/step':>10}{'watched':>10}   middle half{'+us/step':>10}{'bare/bare':>12}{'first 40':>10}")
    for case in cases:
        print(measure(case, rounds, options.device), flush=True)
    if options.peers:
        print(f"{'ratio to bare':27}{'gradlint':>12}{'anomaly':>12}{'torch-audit':>12}{'each step':>12}")
        for case in cases:
            print(measure_peers(case, rounds, options.device), flush=True)


if __name__ == "__main__":
    main()
