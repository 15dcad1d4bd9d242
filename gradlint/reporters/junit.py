"""The format `junit`: test results in XML, which nearly every CI server reads; a file with findings is a suite that failed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TextIO
from xml.etree import ElementTree as ET

from gradlint.diagnostics import Diagnostic
from gradlint.reporters import Context
from gradlint.reporters.summary import placed, summary


def render(found: Sequence[Diagnostic], stream: TextIO, context: Context) -> None:
    """Write `found` as failures, one suite for each file; one test that passed if there are none."""
    root = ET.Element("testsuites", name="gradlint", tests=str(len(found) or 1), failures=str(len(found)))
    files: dict[str, list[Diagnostic]] = defaultdict(list)
    for item in found:
        files[item.location.filename].append(item)
    for name, items in files.items():
        suite = ET.SubElement(root, "testsuite", name=name, tests=str(len(items)), failures=str(len(items)))
        for item in items:
            _failure(suite, item)
    if not found:
        suite = ET.SubElement(root, "testsuite", name="gradlint", tests="1", failures="0")
        ET.SubElement(suite, "testcase", name=summary(found, context.files, context.fixed), classname="gradlint")
    ET.indent(root)
    stream.write(f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, "unicode")}\n')


def _failure(suite: ET.Element, item: Diagnostic) -> None:
    place = item.location
    name = f"{item.code} {item.name} at {place.row}:{place.column}"
    case = ET.SubElement(suite, "testcase", name=name, classname=place.where, line=str(place.row))
    failure = ET.SubElement(case, "failure", type=item.severity.value, message=item.message)
    failure.text = f"{place.where}:{place.row}:{place.column}: {placed(item)}"
