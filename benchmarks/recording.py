"""What a recording costs: thread CPU time of the loops of `overhead.py`, bare, watched and recorded in turn.

    python benchmarks/recording.py [--rounds N]

One torch thread, CPU; medians of the ratios to the bare loop of the same round. The last row is the growth of the process
over a recorded run of a hundred thousand iterations, once both ends of the recording are full.
"""

from __future__ import annotations

import argparse
import io
import statistics
from collections.abc import Callable

import torch
from overhead import CASES, WARM, Case, seconds, watched_seconds

import gradlint


def recorded_seconds(step: Callable[[], None], steps: int) -> float:
    with gradlint.watch(output=None, timeline=io.StringIO()) as report:
        seconds(step, WARM)
        spent = seconds(step, steps)
    assert report.recording is not None
    return spent


def measure(case: Case, rounds: int) -> str:
    step = case.make()
    seconds(step, WARM)
    bares, watched, recorded = [], [], []
    for _ in range(rounds):
        bare = seconds(step, case.steps)
        bares.append(bare / case.steps * 1e6)
        watched.append(watched_seconds(step, case.steps) / bare)
        recorded.append(recorded_seconds(step, case.steps) / bare)
    each, ratio = statistics.median(bares), statistics.median(recorded)
    return f"{case.name:27}{each:10.0f}{statistics.median(watched):10.3f}{ratio:10.3f}{(ratio - 1) * each:10.0f}"


def resident() -> float:
    """Return the memory of this process in MiB."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


def growth() -> float:
    step = CASES[0].make()
    with gradlint.watch(output=None, timeline=io.StringIO()):
        seconds(step, 5_000)
        before = resident()
        seconds(step, 100_000)
        return resident() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {rounds} rounds")
    print(f"{'loop':27}{'us/step':>10}{'watched':>10}{'recorded':>10}{'+us/step':>10}")
    for case in CASES:
        print(measure(case, rounds), flush=True)
    print(f"growth over 100,000 recorded iterations: {growth():.1f} MiB")


if __name__ == "__main__":
    main()
