"""How fast the static side is: each aim as a ratio of what gradlint takes to what a reference takes, in turn, in one run.

    python benchmarks/speed.py [--torch TREE] [--examples TREE] [--scripts TREE] [--rounds N] [--only WORD]

The reference of most is `ast.parse` of the same files: it is as fast as reading allows. A tree that is not given is left
out (torch's is that of the environment). Ratios are of medians; each round runs the reference and gradlint in processes of their
own, and CPU time is compared, which other programs on the machine disturb less than the clock; for workers, the clock.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARSE = """
import ast, sys, warnings
warnings.simplefilter("ignore")
for name in sys.stdin.read().split("\\n"):
    try:
        ast.parse(open(name, "rb").read())
    except (SyntaxError, ValueError):
        pass
"""
STAT = """
import os, sys, click
for name in sys.stdin.read().split("\\n"):
    os.stat(name)
"""
LOOP = """
def train_{n}(loader):
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x, y in loader:
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()
"""


@dataclass(frozen=True)
class Cost:
    """What a process and those that it started took: seconds of the processor and by the clock."""

    cpu: float
    clock: float


def run(command: list[str], given: str = "", cache: Path | None = None, cwd: Path | None = None) -> Cost:
    """Run a Python with these arguments; its output is thrown away."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GRADLINT_CACHE_DIR": str(cache or "/nonexistent")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as told:
        told.write(given)
        told.seek(0)
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *command], stdin=told, stdout=subprocess.DEVNULL, stderr=said, env=environment, cwd=cwd
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        if process.returncode not in (0, 1, 2) or "Traceback" in (errors := said.read()):
            raise SystemExit(errors)
        return Cost(used.ru_utime + used.ru_stime, time.perf_counter() - began)


def gradlint(*args: str | Path) -> list[str]:
    return ["-m", "gradlint", "check", "--output-format", "concise", *map(str, args)]


def cold(*args: str | Path) -> list[str]:
    return gradlint("--no-cache", "--jobs", "1", *args)


_SHORT, _OFTEN = 2.0, 4
"""What takes fewer seconds is measured in so many times as many rounds: a machine that others use moves it more."""


@dataclass(frozen=True)
class Aim:
    """One row: what is measured, by what it is divided, and what the quotient is to be at most."""

    name: str
    most: float
    measured: Callable[[], float]
    reference: Callable[[], float]
    unit: str = "s"

    def row(self, rounds: int) -> str:
        self.reference()  # Warm: byte code and files are there.
        often = _OFTEN if self.unit == "s" and self.measured() < _SHORT else 1
        pairs = [(self.reference(), self.measured()) for _ in range(rounds * often)]
        base, own = (statistics.median(column) for column in zip(*pairs, strict=True))
        verdict = "" if own / base <= self.most else "  MISSED"
        return f"{self.name:58} {own:9.3f} {self.unit} {base:9.3f} {self.unit} {own / base:7.2f}x  at most {self.most:g}x{verdict}"


def python_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def against_parsing(name: str, most: float, files: list[Path], *paths: Path) -> Aim:
    given = "\n".join(map(str, files))
    return Aim(name, most, lambda: run(cold(*paths)).cpu, lambda: run(["-c", PARSE], given).cpu)


def trees(options: argparse.Namespace, work: Path) -> Iterator[Aim]:
    """Yield the aims on real code."""
    if options.torch and options.torch.is_dir():
        files = python_files(options.torch)
        yield against_parsing(f"torch, {len(files)} files, cold : ast.parse", 1.0, files, options.torch)
        two = gradlint("--no-cache", "--jobs", "2", options.torch)
        yield Aim("torch, 2 workers : 1", 1 / 1.7, lambda: run(two).clock, lambda: run(cold(options.torch)).clock)
        yield unchanged(options.torch, files, work / "unchanged")
    if options.examples:
        files = python_files(options.examples)
        yield against_parsing(f"examples, {len(files)} files, cold : ast.parse", 10, files, options.examples)
    if options.scripts:
        files = [file for file in options.scripts.rglob("train_*.py") if "research_projects" not in file.parts]
        yield against_parsing(f"{len(files)} long scripts, cold : ast.parse", 10, files, *files)


def unchanged(tree: Path, files: list[Path], cache: Path) -> Aim:
    given = "\n".join(map(str, files))
    again = lambda: run(gradlint(tree), cache=cache).cpu
    return Aim("torch, nothing changed : import click, stat files", 2, again, lambda: run(["-c", STAT], given).cpu)


def script(work: Path) -> Aim:
    file = work / "script.py"
    file.write_text("import torch\n" + "".join(LOOP.format(n=n) for n in range(38)))
    return Aim(
        "one script of 300 lines : import libcst",
        1.5,
        lambda: run(cold(file)).cpu,
        lambda: run(["-c", "import libcst"]).cpu,
    )


def project(folder: Path, files: int) -> Path:
    """Write a project of loops, of which every tenth file is called by the nine after it."""
    folder.mkdir()
    (folder / "pyproject.toml").touch()
    for n in range(files):
        called = n - n % 10
        text = "import torch\n" + LOOP.format(n=n)
        if n != called:
            text += f"\nfrom part_{called} import train_{called}\ntrain_{called}([])\n"
        (folder / f"part_{n}.py").write_text(text)
    return folder


COUNT = """
import sys
from pathlib import Path
from gradlint.static import check_paths, engine
from gradlint.static.sources.cache import Cache, default_folder
analyze, names = engine.analyze, []
engine.analyze = lambda tree, text, name, *rest: names.append(name) or analyze(tree, text, name, *rest)
check_paths(["."], cache=Cache(default_folder()))
Path(sys.argv[1]).write_text(str(len(names)))
"""


def analyzed_again(work: Path) -> str:
    """Tell how many of 1,000 files are analyzed again when one that nine others call has changed."""
    folder, said = project(work / "thousand", 1000), work / "count"
    run(["-c", COUNT, str(said)], cache=work / "kept", cwd=folder)
    with open(folder / "part_0.py", "a") as file:
        file.write("\n")
    run(["-c", COUNT, str(said)], cache=work / "kept", cwd=folder)
    again = int(said.read_text())
    return f"{'one of 1,000 files changed: analyzed again':58} {again:9} files, at most 10{'' if again <= 10 else '  MISSED'}"


WORKERS = """
import resource, runpy, sys
from pathlib import Path
said, *sys.argv[1:] = sys.argv[1:]
try:
    runpy.run_module("gradlint", run_name="__main__", alter_sys=True)
finally:
    Path(said).write_text(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024))
"""


def memory_of_workers(work: Path, folder: Path) -> float:
    """Return the peak memory of two workers, the larger of theirs, in MB; that of the process that gathers results is left out."""
    said = work / "memory"
    run(["-c", WORKERS, str(said), *gradlint("--no-cache", "--jobs", "2", folder)[2:]])
    return float(said.read_text())


def growth(work: Path) -> Iterator[Aim]:
    """Yield how time grows with the number of files, and with the shapes of one file; the reference is scaled up."""
    small, large = project(work / "small", 100), project(work / "large", 10_000)
    start = min(run(cold(work / "script.py")).cpu for _ in range(3))
    yield Aim(
        "10,000 files : 100 files, each",
        1.5,
        lambda: run(cold(large)).cpu / 100,
        lambda: run(cold(small)).cpu - start / 2,
    )
    yield Aim(
        "memory of a worker, 10,000 files : 100 files",
        1.5,
        lambda: memory_of_workers(work, large),
        lambda: memory_of_workers(work, small),
        unit="MB",
    )
    for name, text in SHAPES.items():
        one, ten = work / f"{name[0]}-1.py", work / f"{name[0]}-10.py"
        one.write_text(text(1))
        ten.write_text(text(10))
        yield Aim(
            f"{name[1]}, ten times as many",
            15,
            lambda file=ten: run(cold(file)).cpu,
            lambda file=one: run(cold(file)).cpu,
        )


BEGIN = "import torch\nm = torch.nn.Linear(1, 1)\no = torch.optim.SGD(m.parameters())\n"


def nested(times: int) -> str:
    """Return loops in one another: Python parses 99 levels, and compiles 20."""
    depths = range(times * 99 // 10)
    return BEGIN + "".join(f"{' ' * depth}for i{depth} in x:\n" for depth in depths) + f"{' ' * len(depths)}o.step()\n"


def comprehended(times: int) -> str:
    return f"{BEGIN}[o.step() {' '.join(f'for i{n} in x' for n in range(20 * times))}]\n"


def optimizers(times: int) -> str:
    made = "".join(
        f"m{n} = torch.nn.Linear(1, 1)\no{n} = torch.optim.SGD(m{n}.parameters())\n" for n in range(50 * times)
    )
    return f"import torch\n{made}for x in y:\n" + "".join(
        f"    o{n}.zero_grad()\n    m{n}(x).sum().backward()\n    o{n}.step()\n" for n in range(50 * times)
    )


def helpers(times: int) -> str:
    made = "".join(f"def f{n}(m, o, x):\n    f{n + 1}(m, o, x)\n" for n in range(4 * times))
    last = f"def f{4 * times}(m, o, x):\n    o.zero_grad()\n    m(x).sum().backward()\n    o.step()\n"
    return f"{made}{last}{BEGIN}for x in y:\n    f0(m, o, x)\n"


SHAPES: dict[tuple[str, str], Callable[[int], str]] = {
    ("lines", "20,000 lines"): lambda times: "import torch\n" + "".join(LOOP.format(n=n) for n in range(250 * times)),
    ("nested", "99 nested loops"): nested,
    ("comprehended", "200 loops in a comprehension"): comprehended,
    ("optimizers", "500 optimizers"): optimizers,
    ("helpers", "40 levels of helpers"): helpers,
}


def main() -> None:
    """Print a row for each aim."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    found = find_spec("torch")
    home = Path(found.origin).parent if found is not None and found.origin else None
    parser.add_argument("--torch", type=Path, default=home)
    parser.add_argument("--examples", type=Path, help="a checkout of pytorch/examples")
    parser.add_argument("--scripts", type=Path, help="the folder `examples` of a checkout of huggingface/diffusers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="measure the aims whose name has this word")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        aims = [lambda: iter([script(work)]), lambda: trees(options, work), lambda: growth(work)]
        for aim in (aim for group in aims for aim in group()):
            if options.only in aim.name:
                print(aim.row(options.rounds), flush=True)
        if options.only in "changed":
            print(analyzed_again(work), flush=True)


if __name__ == "__main__":
    main()
