"""The pytest plugin, in pytest sessions of its own."""

from __future__ import annotations

import configparser
import os
import sys
from pathlib import Path

import pytest
import torch._dynamo  # noqa: F401 (a session within this process would load it anew, which torch does not survive)

import gradlint.runtime  # noqa: F401 (likewise)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
PLUGIN = ("-p", "gradlint.integrations.pytest_plugin", "-p", "no:cacheprovider")
RIGHT = """
import pytest, torch
from torch.nn import functional as F

X, Y = torch.randn(8, 2), torch.randn(8, 1)

@pytest.fixture
def model():
    return torch.nn.Linear(2, 1)

@pytest.fixture
def optimizer(model):
    return torch.optim.SGD(model.parameters(), lr=0.01)

def test_it_trains(model, optimizer):
    for _ in range(4):
        optimizer.zero_grad()
        F.mse_loss(model(X), Y).backward()
        optimizer.step()
"""
CLEAR, STEP = "        optimizer.zero_grad()\n", "        optimizer.step()\n"
WRONG = RIGHT.replace(CLEAR, "")
TWICE = RIGHT.replace(STEP, STEP * 2)


@pytest.fixture
def session(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A place for sessions that know the plugin, installed or not."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    return pytester


@pytest.mark.parametrize(
    ("source", "outcome"),
    [
        (RIGHT, {"passed": 1}),
        (TWICE, {"passed": 1}),
        (WRONG, {"failed": 1}),
        (WRONG.replace("def test", "@pytest.mark.no_gradlint('on purpose')\ndef test"), {"passed": 1}),
        (WRONG.replace("def test", "@pytest.mark.xfail\ndef test"), {"xfailed": 1}),
        (RIGHT.replace(CLEAR, "").replace(STEP, ""), {"passed": 1}),
        (f"{WRONG}    pytest.skip('here')\n", {"skipped": 1}),
    ],
    ids=["right", "warning", "error", "declined", "expected", "gradients-only", "skipped"],
)
def test_an_error_fails_its_test(source: str, outcome: dict[str, int], session: pytest.Pytester) -> None:
    session.makepyfile(source)
    session.runpytest(*PLUGIN, "--gradlint", "--strict-markers").assert_outcomes(**outcome)
    watched = session.runpytest(*PLUGIN, "--strict-markers").parseoutcomes()
    assert "failed" not in watched


def test_the_failure_is_the_finding(session: pytest.Pytester) -> None:
    session.makepyfile(WRONG)
    lines = session.runpytest(*PLUGIN, "--gradlint").stdout
    lines.fnmatch_lines(
        ["*_ test_it_trains _*", "error[[]GL101]: `optimizer` steps on*", "*--> *.py:*", "*optimizer.step()"]
    )
    lines.no_fnmatch_line("*Traceback*")
    lines.no_fnmatch_line("*pytest_watching*")


def test_a_failure_of_the_test_stays_the_first(session: pytest.Pytester) -> None:
    session.makepyfile(f"{WRONG}    assert optimizer is None\n")
    done = session.runpytest(*PLUGIN, "--gradlint")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["E *assert SGD*", "*Captured gradlint call*", "error[[]GL101]*"])


def test_warnings_are_listed_once_at_the_end(session: pytest.Pytester) -> None:
    again = "\n@pytest.mark.parametrize('turn', [1, 2])\ndef test_it_trains(turn, "
    session.makepyfile(TWICE.replace("\ndef test_it_trains(", again))
    done = session.runpytest(*PLUGIN, "--gradlint")
    done.assert_outcomes(passed=2)
    assert [line.count("GL109") for line in done.outlines if "GL109" in line] == [1]
    done.stdout.fnmatch_lines(["*= gradlint =*", "*.py:*:* GL109 *"])


def test_warnings_come_from_the_workers_of_xdist(session: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("xdist")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    session.makepyfile(TWICE)
    done = session.runpytest_subprocess(*PLUGIN, "-p", "xdist", "-n", "1", "--gradlint")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["*= gradlint =*", "*.py:*:* GL109 *"])


@pytest.mark.parametrize(("source", "found"), [(RIGHT, []), (WRONG, ["GL101"])], ids=["right", "wrong"])
@pytest.mark.parametrize("options", [[], ["--gradlint"]], ids=["alone", "with-option"])
def test_the_fixture_lets_the_test_judge(
    source: str, found: list[str], options: list[str], session: pytest.Pytester
) -> None:
    judged = source.replace("(model, optimizer)", "(model, optimizer, gradlint_watch)")
    session.makepyfile(f"{judged}    assert [each.code for each in gradlint_watch.diagnostics] == {found}\n")
    session.runpytest(*PLUGIN, *options).assert_outcomes(passed=1)


def test_installed_it_costs_no_torch(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a fresh process that finds the plugin by the entry point of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    points = configparser.ConfigParser()
    points["pytest11"] = project["entry-points"]["pytest11"]
    home = pytester.mkdir("home")
    info = home / "torch_gradlint-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torch-gradlint\nVersion: 0\n")
    with (info / "entry_points.txt").open("w") as stream:
        points.write(stream)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(home), str(ROOT)]))
    pytester.makepyfile(
        "import sys\ndef test_it(pytestconfig):\n    pytestconfig.getoption('gradlint')\n    assert not {'torch', 'click', 'libcst'} & set(sys.modules)"
    )
    plain = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")
    pytester.runpytest_subprocess(*plain).assert_outcomes(passed=1)
    pytester.runpytest_subprocess(*plain, "--gradlint").assert_outcomes(failed=1)
