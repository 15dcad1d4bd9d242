"""What children of a run train is in its report; what they are, and how they end, stays their own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = Path(__file__).with_name("kinds_of_children.py")


def test_children_of_every_kind(tmp_path: Path) -> None:
    options = ("--no-lint", "--output-format", "json", "--output-file", "report.json")
    done = subprocess.run(
        [sys.executable, "-m", "gradlint", "run", *options, str(PROGRAM)],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "TMPDIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "4\n"), done.stderr
    assert "gradlint" not in done.stderr
    found = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    rows = enumerate(PROGRAM.read_text(encoding="utf-8").splitlines(), 1)
    expected = {(row, code[1]) for row, line in rows if (code := re.search(r"# (GL\d{3})$", line))}
    assert {(each["location"]["row"], each["code"]) for each in found} == expected
    [repeated] = [each for each in found if each["code"] == "GL101"]
    assert repeated["count"] == 2  # of the process that did it most often; who leaves by os._exit does not tell
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("gradlint")] == []


def test_the_start_of_other_programs_is_their_own(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("OWN = True\n", encoding="utf-8")
    asking = "import sitecustomize, sys; print(sitecustomize.OWN and not any('boarding' in path for path in sys.path))"
    starting = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {asking!r}], check=True)\n"
    (tmp_path / "train.py").write_text(starting, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    command = (sys.executable, "-m", "gradlint", "run", "train.py")
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
