"""The formats that CI servers read, whole: what one finding, one in a notebook and none are in each."""

from __future__ import annotations

import io
import json
from xml.etree import ElementTree as ET

import pytest

from gradlint.diagnostics import Confidence, Diagnostic, Edit, Fix, Location, Related, Severity, Side
from gradlint.reporters import FORMATS, WITH_FIXES, render

STEP = Location("a b/train.py", 6, 5, 6, 21)
BACKWARD = Related(Location("a b/train.py", 5, 5, 5, 20), "added to by this backward")
INSERT = Edit(Location("a b/train.py", 4, 1, 4, 1), "    optimizer.zero_grad()\n")


def finding(location: Location = STEP, *related: Related, fix: Fix | None = None) -> Diagnostic:
    words = ("GL101", "missing-zero-grad", Severity.ERROR, Confidence.CERTAIN, Side.STATIC, "steps on 100%, old")
    return Diagnostic(*words, location, related, "clear them", fix)


WHOLE = finding(STEP, BACKWARD, fix=Fix("Insert it", (INSERT,)))
IN_CELL = finding(Location("n.ipynb", 2, 1, 2, 9, cell=3))


def shown(output_format: str, *found: Diagnostic) -> str:
    stream = io.StringIO()
    render(found, stream, output_format, files=3)
    return stream.getvalue()


def test_github() -> None:
    assert shown("github", WHOLE, IN_CELL) == (
        "::error file=a b/train.py,line=6,endLine=6,col=5,endColumn=21,title=GL101 missing-zero-grad"
        "::steps on 100%25, old%0Aclear them\n"
        "::error file=n.ipynb,title=GL101 missing-zero-grad::cell 3, line 2: steps on 100%25, old%0Aclear them\n"
    )


def test_github_leaves_columns_of_several_lines_and_escapes_properties() -> None:
    [line] = shown("github", finding(Location("a,b:c.py", 6, 5, 8, 2))).splitlines()
    assert line.startswith("::error file=a%2Cb%3Ac.py,line=6,endLine=8,title=")


def test_gitlab() -> None:
    [item, cell] = json.loads(shown("gitlab", WHOLE, IN_CELL))
    assert {**item, "fingerprint": ""} == {
        "description": "steps on 100%, old\nclear them",
        "check_name": "GL101",
        "fingerprint": "",
        "severity": "critical",
        "location": {"path": "a b/train.py", "lines": {"begin": 6}},
    }
    assert cell["location"] == {"path": "n.ipynb", "lines": {"begin": 1}}


def test_gitlab_knows_a_finding_again_when_it_has_moved_and_two_of_them_apart() -> None:
    moved = finding(Location("a b/train.py", 60, 5, 60, 21))
    one, two = (item["fingerprint"] for item in json.loads(shown("gitlab", WHOLE, moved)))
    [alone] = (item["fingerprint"] for item in json.loads(shown("gitlab", moved)))
    assert one == alone != two


def test_junit() -> None:
    root = ET.fromstring(shown("junit", WHOLE, IN_CELL))
    assert root.attrib == {"name": "gradlint", "tests": "2", "failures": "2"}
    assert [suite.attrib["name"] for suite in root] == ["a b/train.py", "n.ipynb"]
    failure = root[0][0][0]
    assert failure.attrib == {"type": "error", "message": "steps on 100%, old"}
    assert failure.text == "a b/train.py:6:5: steps on 100%, old\nclear them"


def test_junit_passes_where_nothing_is_found() -> None:
    root = ET.fromstring(shown("junit"))
    assert (root.attrib["failures"], root[0][0].attrib["name"]) == ("0", "Found nothing in 3 files.")


def test_sarif() -> None:
    [run] = json.loads(shown("sarif", WHOLE, IN_CELL))["runs"]
    [rule] = run["tool"]["driver"]["rules"]
    assert (rule["id"], rule["name"], rule["defaultConfiguration"]) == (
        "GL101",
        "missing-zero-grad",
        {"level": "error"},
    )
    assert run["results"][0] == {
        "ruleId": "GL101",
        "ruleIndex": 0,
        "level": "error",
        "message": {"text": "steps on 100%, old\nclear them"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": "a%20b/train.py"},
                    "region": {"startLine": 6, "startColumn": 5, "endLine": 6, "endColumn": 21},
                }
            }
        ],
        "relatedLocations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": "a%20b/train.py"},
                    "region": {"startLine": 5, "startColumn": 5, "endLine": 5, "endColumn": 20},
                },
                "message": {"text": "added to by this backward"},
            }
        ],
        "fixes": [
            {
                "description": {"text": "Insert it"},
                "artifactChanges": [
                    {
                        "artifactLocation": {"uri": "a%20b/train.py"},
                        "replacements": [
                            {
                                "deletedRegion": {"startLine": 4, "startColumn": 1, "endLine": 4, "endColumn": 1},
                                "insertedContent": {"text": "    optimizer.zero_grad()\n"},
                            }
                        ],
                    }
                ],
            }
        ],
        "properties": {"confidence": "certain", "side": "static"},
    }
    assert run["results"][1]["message"]["text"].startswith("cell 3, line 2: ")
    assert run["results"][1]["locations"] == [{"physicalLocation": {"artifactLocation": {"uri": "n.ipynb"}}}]


@pytest.mark.parametrize("output_format", FORMATS)
def test_fixes_are_built_for_formats_that_tell_of_them(output_format: str) -> None:
    told = shown(output_format, WHOLE) != shown(output_format, finding(STEP, BACKWARD))
    assert told == (output_format in WITH_FIXES)
