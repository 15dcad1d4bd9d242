"""Two ranks under `gradlint run`: one report for both, silent where a program is right, on the very line where it is wrong."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from pages import Seen, blocks_for_ranks, complaints

from gradlint.diagnostics import Side
from gradlint.reporters import recorded

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = Path(__file__).with_name("ranks.py")


BLOCKS = blocks_for_ranks()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def torchrun(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    launch = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port()))
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "TMPDIR": str(folder),
    }
    return subprocess.run(
        [*launch, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=180, check=False
    )


def expected(file: Path) -> set[tuple[int, str]]:
    lines = enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
    return {(row, found[1]) for row, line in lines if (found := re.search(r"# (GL\d{3})$", line))}


def seen(found: list[dict[str, Any]]) -> set[tuple[int, str]]:
    return {(each["location"]["row"], each["code"]) for each in found}


def test_one_report_for_all_ranks(tmp_path: Path) -> None:
    options = ("--no-lint", "--output-format", "json", "--output-file", "report.json", "--output-dir", "kept")
    done = torchrun(tmp_path, "-m", "gradlint", "run", *options, str(PROGRAMS))
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert seen(found) == expected(PROGRAMS)
    assert all(each["ranks"] == [0, 1] for each in found)
    assert {each["count"] for each in found if each["code"] == "GL101"} == {7, 8}
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["rank-0.json", "rank-1.json"]
    merging = (sys.executable, "-m", "gradlint", "report", "kept", "--output-format", "json")
    again = subprocess.run(
        merging, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert (again.returncode, json.loads(again.stdout)) == (1, found)


PAGES = """\
import pathlib, sys
import torch.distributed as dist
dist.init_process_group("gloo")
end, dist.init_process_group, dist.destroy_process_group = dist.destroy_process_group, lambda name: None, lambda: None
for file, row in zip(sys.argv[1::2], sys.argv[2::2]):
    source = pathlib.Path(file).read_text().splitlines()[int(row) - 1:]
    block = "\\n" * (int(row) - 1) + "\\n".join(source[:source.index("```")])
    exec(compile(block, file, "exec"), {"__name__": "__main__"})
end()
"""


def test_pages_tell_the_truth(tmp_path: Path) -> None:
    (tmp_path / "pages.py").write_text(PAGES, encoding="utf-8")
    blocks = [text for block in BLOCKS for text in (str(block.path), str(block.row))]
    options = ("--no-lint", "--output-format", "json", "--output-file", "report.json")
    done = torchrun(tmp_path, "-m", "gradlint", "run", *options, "pages.py", *blocks)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    for block in BLOCKS:
        rows = range(block.row, block.row + block.source.count("\n"))
        own = [each for each in found if each["filename"] == str(block.path) and each["location"]["row"] in rows]
        assert complaints(block, Side.RUNTIME, frozenset(Seen(*each) for each in seen(own))) == []


CRASH = """\
import torch, torch.distributed as dist
from torch import nn, optim

dist.init_process_group("gloo")
model = nn.parallel.DistributedDataParallel(nn.Linear(4, 1))
optimizer = optim.SGD(model.parameters(), lr=0.01)
for step in range(6):
    if step == 3 and dist.get_rank() == 1:
        raise ValueError("the data of this rank are broken")
    model(torch.randn(2, 4)).mean().backward()
    optimizer.step()
"""


def test_all_ranks_report_when_one_crashes(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(CRASH, encoding="utf-8")
    gradlint = str(Path(sys.executable).with_name("gradlint"))
    done = torchrun(tmp_path, "--no-python", gradlint, "run", "--record", "run.jsonl", "train.py")
    assert done.returncode == 1
    assert "ValueError: the data of this rank are broken" in done.stderr
    assert done.stderr.count("error[GL101]") == 1
    assert "confirmed at run time, seen 2 times on ranks [0, 1]" in done.stderr
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("gradlint")] == []
    recordings = recorded.read((tmp_path / "run.jsonl").read_text(encoding="utf-8").splitlines())
    assert [recording.rank for recording in recordings] == [0, 1]
