"""How much slower a loop is under TrainCheck: mean thread CPU time of a step, instrumented and bare, for the loops of overhead.py.

    python benchmarks/traincheck.py BIN [--steps N]

BIN is the `bin` folder of an environment with torch and traincheck (it needs no gradlint). TrainCheck learns invariants from a reference run in which
every call is traced, and then watches only what these need: `selective` in all steps, `sampled` in one of ten, as it advises.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tempfile
from pathlib import Path

PROGRAM = """
import sys
sys.path.insert(0, {benchmarks!r})
sys.modules["gradlint"] = type(sys)("gradlint")
import time
import torch
from overhead import CASES
from torch.nn import functional as F

torch.set_num_threads(1)
loop = CASES[{number}].make()
model = loop.model
opt = loop.opt

def step():
    opt.zero_grad()
    loss = F.mse_loss(model(loop.x), loop.y)
    loss.backward()
    opt.step()

for _ in range(20):
    step()
start = time.thread_time()
for _ in range({steps}):
    step()
print("TOOK", (time.thread_time() - start) / {steps})
"""
NAMES = ("MLP, SGD", "MLP, AdamW", "CNN, AdamW", "transformer (0.8M), AdamW")
MODES = {"selective": (), "sampled": ("--sampling-interval", "10", "--warm-up-steps", "10")}


def call(tools: Path, folder: Path, *command: str) -> str:
    """Run a program of the environment in `folder` and return what it printed; one that fails raises CalledProcessError."""
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        (str(tools / command[0]), *command[1:]), cwd=folder, env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
        check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return done.stdout


def seconds(printed: str) -> float:
    """Return the seconds of a step that a program told."""
    told = re.search(r"TOOK ([\d.e-]+)", printed)
    assert told is not None, printed[-2000:]
    return float(told[1])


def write(file: Path, number: int, steps: int) -> None:
    file.write_text(PROGRAM.format(benchmarks=str(Path(__file__).parent), number=number, steps=steps), encoding="utf-8")


def collect(tools: Path, folder: Path, output: str, *options: str) -> float:
    arguments = ("-p", "train.py", "--models-to-track", "model", "--output-dir", output, *options)
    return seconds(call(tools, folder, "traincheck-collect", *arguments))


def ratios(tools: Path, folder: Path, number: int, steps: int) -> list[float]:
    """Return, per mode, how many times as long a step of one loop takes: traced for the reference, selective, sampled."""
    script = folder / "train.py"
    write(script, number, steps)
    bare = seconds(call(tools, folder, "python", "train.py"))
    write(script, number, 10)
    traced = collect(tools, folder, "reference")
    call(tools, folder, "traincheck-infer", "-f", "reference", "-o", "invariants.json")
    write(script, number, steps)
    watched = [collect(tools, folder, mode, "-i", "invariants.json", *MODES[mode]) for mode in MODES]
    return [seen / bare for seen in (traced, *watched)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tools", type=Path)
    parser.add_argument("--steps", type=int, default=200)
    args = parser.parse_args()
    print(f"{'':27}{'reference':>12}{''.join(f'{mode:>12}' for mode in MODES)}")
    for number, name in enumerate(NAMES):
        with tempfile.TemporaryDirectory() as folder:
            told = ratios(args.tools.absolute(), Path(folder), number, args.steps)
        print(f"{name:27}{''.join(f'{ratio:11.1f}x' for ratio in told)}", flush=True)


if __name__ == "__main__":
    main()
