"""gradlint and its peers: how each is installed and called, how its answer is read, which of its rules are about loops."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from labelled.labels import Finding

ROOT = Path(__file__).resolve().parents[2]
_DRIVERS = Path(__file__).parent / "drivers"


@dataclass(frozen=True, slots=True)
class Tool:
    """A linter. `command` stands before the files; its first word is looked up in the tool's environment.

    `install` are the arguments of one pip after the other. `loop_rules` are patterns of the codes that tell of a
    training loop gone wrong; the others tell of speed, seeds, style and what else may be better. `callers` says that it
    reads other files to judge one, `on_request` that it is only asked by name.
    """

    name: str
    command: tuple[str, ...]
    read: Callable[[str], Iterator[Finding]]
    install: tuple[tuple[str, ...], ...] = ()
    loop_rules: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = (".py",)
    callers: bool = False
    on_request: bool = False
    note: str = ""

    def is_loop_rule(self, code: str) -> bool:
        """Whether a finding of this code is about the training protocol."""
        return any(fnmatchcase(code, pattern) for pattern in self.loop_rules)


def own_version() -> str:
    """Return a word that changes with gradlint's own code and rules."""
    digest = hashlib.sha256()
    for folder in (ROOT / "gradlint", ROOT / "rules"):
        for file in sorted(folder.rglob("*")):
            if file.suffix in {".py", ".toml", ".md"}:
                digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _lines(answer: str) -> Iterator[Finding]:
    for line in answer.splitlines():
        if line.startswith("{"):
            yield Finding(**json.loads(line))


def _gradlint(answer: str) -> Iterator[Finding]:
    for item in _parsed(answer) or []:
        if item["code"] != "GL000":
            yield Finding(
                item["filename"], item["location"]["row"], item["code"], item["severity"], item.get("cell", 0)
            )


def _preflight(answer: str) -> Iterator[Finding]:
    for item in (_parsed(answer) or {}).get("diagnostics", []):
        severity = "info" if item["severity"] == "note" else item["severity"]
        yield Finding(item["path"], item["line"], item["code"], severity)


def _pylint(answer: str) -> Iterator[Finding]:
    for item in _parsed(answer) or []:
        yield Finding(item["path"], item["line"], item["symbol"])


def _flake(answer: str) -> Iterator[Finding]:
    for match in re.finditer(r"^(.+?):(\d+):\d+: (TOR\d+)", answer, re.MULTILINE):
        yield Finding(match[1], int(match[2]), match[3])


def _parsed(answer: str) -> Any:
    try:
        return json.loads(answer)
    except ValueError:
        return None


def _driver(name: str) -> tuple[str, ...]:
    # Not the tool's name alone: a file finds itself before a package of its name.
    return "python", str(_DRIVERS / f"ask_{name}.py")


_DSLINTER = (
    "import-pytorch,hyperparameters-pytorch,deterministic-pytorch,randomness-control-pytorch,missing-mask-pytorch,"
    "randomness-control-dataloader-pytorch,forward-pytorch,gradient-clear-pytorch,dependent-threshold-pytorch,"
    "mode-toggling-pytorch"
)

GRADLINT = Tool(
    "gradlint", (sys.executable, "-m", "gradlint", "check", "--no-cache", "--output-format", "json"), _gradlint,
    loop_rules=("GL*",), suffixes=(".py", ".ipynb", ".md", ".rst"), callers=True, note="the rules that are on by default",
)  # fmt: skip

PEERS = (
    Tool(
        "torch-preflight",
        # TG008 alone takes nine tenths of its time: it looks through the whole function for each random call.
        ("torch-preflight", "check", "-f", "json", "-j", "1", "--ignore", "TG008"), _preflight, (("torch-preflight",),),
        ("TG001", "TG002", "TG003", "TG005", "TG006", "TG011", "TG012", "TG014"),
        note="without memory (TG010) and speed (TG004, TG007, TG013); seeds (TG008) are in neither row",
    ),
    Tool(
        "dslinter", ("pylint", "--load-plugins=dslinter", "--disable=all", f"--enable={_DSLINTER}", "-f", "json"), _pylint,
        (
            ("--no-deps", "dslinter", "pylint==2.12.2", "astroid==2.9.3"),
            ("mypy", "isort<6", "mccabe<0.7", "platformdirs", "toml", "lazy-object-proxy", "wrapt", "setuptools<80"),
        ),
        ("gradient-clear-pytorch", "mode-toggling-pytorch"),
        note="of its ten rules on PyTorch; its own pins do not install",
    ),
    Tool(
        "mldoct", _driver("mldoct"), _lines, (("mldoct",),),
        ("missing_zero_grad", "oom_leak", "missing_eval", "double_softmax"), note="without workers and clipping",
    ),
    Tool(
        "pulseml", _driver("pulseml"), _lines, (("pulseml",),),
        ("missing-*", "loss-accumulated", "backward-in-no_grad", "evaluation", "softmax", "sigmoid", "reseeded"),
        note="its `mllint`",
    ),
    Tool(
        "MLScent", _driver("mlscent"), _lines, (("ml-code-smell-detector",),),
        ("PyTorch: Gradient Clear Checker", "PyTorch: Model Evaluation Checker"), note="ml-code-smell-detector",
    ),
    # It flags the first `zero_grad`, `backward` or `step` of each file that imports torch, and starts for ten seconds.
    Tool(
        "mlpylint", _driver("mlpylint"), _lines, (("mlpylint",),), ("CSA18", "CSA20"), on_request=True, note="with its advice",
    ),
    Tool("hotpath", _driver("hotpath"), _lines, (("hotpath-ai",),), ("KP012",), note="but for KP012, about speed"),
    Tool("torchfix", ("torchfix", "--jobs", "1", "--select", "ALL"), _flake, (("torchfix",),), note="no rule on loops"),
)  # fmt: skip

TOOLS = {tool.name: tool for tool in (GRADLINT, *PEERS)}
NOT_TRIED = {
    "mlpylint": "asked only by name: it flags every file that trains, and takes ten seconds to start",
    "trainlint": "its package is not on the index",
    "SpecDetect4AI": "no package",
    "CodeSmile": "no package",
    "semgrep": "no rule on loops",
    "ruff": "no rule on torch",
}
