"""What `mldoctor check` finds, a finding a line: its command takes one file and prints a table."""

import json
import sys

from mldoctor.linter import lint_script

for path in sys.argv[1:]:
    for issue in lint_script(path)[0]:
        severity = "info" if issue["severity"] == "INFO" else "warning"
        print(json.dumps({"path": path, "row": issue["line"] or 0, "code": issue["type"], "severity": severity}))
