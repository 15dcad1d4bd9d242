"""Rules of others: found where a package announces them, and nowhere else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

RULE = """
from gradlint.diagnostics import Confidence, Diagnostic, Location, Severity, Side

def no_print(analysis):
    place = Location(analysis.source.filename, 1)
    yield Diagnostic("GL101", "theirs", Severity.ERROR, Confidence.CERTAIN, Side.STATIC, "said by theirs", place)
"""


@pytest.mark.parametrize(
    ("group", "code"), [("gradlint.checks", 1), ("pytest11", 0)], ids=["announced", "of another tool"]
)
def test_a_rule_of_others_is_asked_where_its_package_announces_it(tmp_path: Path, group: str, code: int) -> None:
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\nno_print = theirs:no_print\n")
    (tmp_path / "theirs.py").write_text(RULE)
    script = tmp_path / "train.py"
    script.write_text("import torch\noptimizer.step()\n")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    asked = subprocess.run(
        [sys.executable, "-m", "gradlint", "check", "--no-cache", str(script)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == code, asked.stderr
    assert ("said by theirs" in asked.stdout) == bool(code)
