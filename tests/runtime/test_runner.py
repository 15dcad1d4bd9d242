"""`gradlint run`: the program's own output, exit code and end, and then the report."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
LOOP = """\
import sys
import torch
from torch import nn, optim

def main():
    model = nn.Linear(4, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.01)
    for _ in range(3):
        model(torch.randn(2, 4)).mean().backward()
        optimizer.step()
"""
ROW = 10
MAIN = "if __name__ == '__main__':\n    main()\n"


@dataclass(frozen=True, slots=True)
class Ended:
    code: int
    out: str
    err: str


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "gradlint", "run", *args]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def run(folder: Path, *args: str) -> Ended:
    done = subprocess.run(
        command(*args), cwd=folder, env=environment(), capture_output=True, text=True, timeout=120, check=False
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def write(folder: Path, source: str, name: str = "train.py") -> None:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(source, encoding="utf-8")


@pytest.mark.parametrize(
    ("ending", "code", "out", "err"),
    [
        ("print('done')", 0, "done\n", ""),
        ("import os, tempfile; os.chdir(home := tempfile.mkdtemp()); os.rmdir(home)", 0, "", ""),
        ("sys.exit(3)", 3, "", ""),
        ("sys.exit('so long')", 1, "", "so long\n"),
        ("raise ValueError('x')", 1, "", "ValueError: x\n"),
        ("torch.ones(1, requires_grad=True).sum().backward(torch.ones(7))", 1, "", "RuntimeError: Mismatch in shape"),
    ],
    ids=["end", "no-working-directory", "exit-code", "exit-message", "exception", "exception-through-a-seam"],
)
def test_the_program_ends_as_it_would(tmp_path: Path, ending: str, code: int, out: str, err: str) -> None:
    write(tmp_path, LOOP + f"main()\n{ending}\n")
    ended = run(tmp_path, "train.py")
    before, _, report = ended.err.partition("error[GL101]")
    assert (ended.code, ended.out) == (code, out)
    assert err in before
    assert "gradlint" not in before
    assert f"train.py:{ROW}:" in report


def test_right_program_is_met_with_silence(tmp_path: Path) -> None:
    write(tmp_path, LOOP.replace("        model(", "        optimizer.zero_grad()\n        model(") + "main()\n")
    assert run(tmp_path, "train.py") == Ended(0, "", "")


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let children hear of SIGINT: a shell lets what it runs in the background ignore it, and they would inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "KeyboardInterrupt"), (signal.SIGTERM, "")])
def test_signals_end_it_with_a_report(tmp_path: Path, number: signal.Signals, name: str) -> None:
    write(tmp_path, LOOP + "main()\nprint('ready', flush=True)\nimport threading\nthreading.Event().wait(60)\n")
    with subprocess.Popen(
        command("train.py"), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == -number
    assert name in err.partition("error[GL101]")[0]
    assert err.count("error[GL101]") == 1


def test_program_sees_what_python_shows_it(tmp_path: Path) -> None:
    source = (
        "import sys, os, pickle, atexit, gc\n"
        "class Thing: pass\n"
        "atexit.register(lambda: print(pickle.loads(pickle.dumps(Thing())).__class__.__name__))\n"
        "print(__name__, __file__, sys.argv, __package__, __spec__, sys.path[0], sys.modules['__main__'].Thing is Thing)\n"
        "print(gc.isenabled())\n"
    )
    write(tmp_path, source)
    bare = subprocess.run(
        [sys.executable, "train.py", "--lr", "1"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert run(tmp_path, "train.py", "--lr", "1") == Ended(0, bare.stdout, "")


def test_module_is_run_as_python_does(tmp_path: Path) -> None:
    write(tmp_path, "", "pkg/__init__.py")
    write(tmp_path, LOOP, "pkg/loop.py")
    source = "import sys\nfrom .loop import main\nmain()\nprint(__name__, __package__, __spec__.name, sys.argv, sys.path[0])\n"
    write(tmp_path, source, "pkg/train.py")
    bare = subprocess.run(
        [sys.executable, "-m", "pkg.train", "-x"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    ended = run(tmp_path, "-m", "pkg.train", "-x")
    assert (ended.code, ended.out) == (0, bare.stdout)
    assert f"loop.py:{ROW}:" in ended.err


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (("nowhere.py",), "gradlint: nowhere.py cannot be run: No such file or directory"),
        (("-m", "nowhere"), "gradlint: there is no module nowhere"),
        (("-m", "broken.train"), "gradlint: the module broken.train cannot be imported: ZeroDivisionError: "),
    ],
    ids=["no-file", "no-module", "dies-on-import"],
)
def test_what_cannot_be_run_is_one_line_and_exit_code_2(tmp_path: Path, args: tuple[str, ...], line: str) -> None:
    write(tmp_path, "1 / 0\n", "broken/__init__.py")
    ended = run(tmp_path, *args)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(line)
    assert ended.err.count("\n") == 1


def test_syntax_error_is_shown_as_python_shows_it(tmp_path: Path) -> None:
    write(tmp_path, "print('one'\n")
    bare = subprocess.run([sys.executable, "train.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    ended = run(tmp_path, "train.py")
    assert ended.code == bare.returncode == 1
    assert ended.err.splitlines()[-1] == bare.stderr.splitlines()[-1]


@pytest.mark.parametrize(("arguments", "code"), [(["--fail-on", "warning"], 1), ([], 0)], ids=["asked", "unasked"])
def test_fail_on_makes_findings_an_exit_code(tmp_path: Path, arguments: list[str], code: int) -> None:
    write(tmp_path, LOOP + "main()\n")
    assert run(tmp_path, *arguments, "train.py").code == code


def test_fail_on_keeps_the_exit_code_of_a_program_that_failed(tmp_path: Path) -> None:
    write(tmp_path, LOOP + "main()\nsys.exit(3)\n")
    assert run(tmp_path, "--fail-on", "error", "train.py").code == 3


def test_json_goes_to_a_file(tmp_path: Path) -> None:
    write(tmp_path, LOOP + "main()\n")
    ended = run(tmp_path, "--output-format", "json", "--output-file", "report.json", "train.py")
    assert ended == Ended(0, "", "")
    [found] = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert (found["code"], found["side"], found["location"]["row"]) == ("GL101", "runtime", ROW)


def test_pictures_are_drawn_beside_the_report(tmp_path: Path) -> None:
    write(tmp_path, LOOP + "import os\nmain()\nos.chdir('/')\nprint('done')\n")
    ended = run(tmp_path, "--html", "run.html", "--trace", "run.json", "--timeline", "train.py")
    assert (ended.code, ended.out) == (0, "done\n")
    text, _, report = ended.err.partition("error[GL101]")
    assert "x3  0 to 2, all  f b s   <-- GL101 at step, train.py:10" in text
    assert "1 error" in report
    assert "</html>" in (tmp_path / "run.html").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["traceEvents"]


def test_pictures_of_a_terminated_run(tmp_path: Path) -> None:
    write(tmp_path, LOOP + "import os, signal\nmain()\nos.kill(os.getpid(), signal.SIGTERM)\n")
    assert run(tmp_path, "--html", "run.html", "train.py").code == -signal.SIGTERM
    assert "</html>" in (tmp_path / "run.html").read_text(encoding="utf-8")


def test_a_picture_without_a_place_is_refused_before_the_run(tmp_path: Path) -> None:
    write(tmp_path, "print('ran')\n")
    ended = run(tmp_path, "--html", "nowhere/run.html", "train.py")
    assert (ended.code, ended.out) == (2, "")
    assert "no folder that can be written to" in ended.err


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_do_not_report(tmp_path: Path, context: str) -> None:
    source = LOOP + (
        "class Data(torch.utils.data.Dataset):\n"
        "    def __len__(self): return 4\n"
        "    def __getitem__(self, i): return torch.ones(1)\n"
        "if __name__ == '__main__':\n"
        "    main()\n"
        f"    loader = torch.utils.data.DataLoader(Data(), num_workers=2, multiprocessing_context={context!r})\n"
        "    print(sum(batch.sum().item() for batch in loader))\n"
    )
    write(tmp_path, source)
    ended = run(tmp_path, "train.py")
    assert (ended.code, ended.out) == (0, "4.0\n")
    assert ended.err.count("error[GL101]") == 1


def test_forked_child_that_ends_well_does_not_report(tmp_path: Path) -> None:
    write(tmp_path, LOOP + "import os\nmain()\npid = os.fork()\nif pid: os.waitpid(pid, 0)\n")
    assert run(tmp_path, "train.py").err.count("error[GL101]") == 1
