"""What `hotpath analyze` finds in some files, a finding a line: its command takes one path."""

import contextlib
import io
import json
import sys

from hotpath.cli import main

for path in sys.argv[1:]:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        main(["analyze", "--format", "json", path])
    for file in json.loads(said.getvalue())["files"]:
        for issue in file["findings"]:
            place = {"path": path, "row": issue["line"] if issue["line"] > 1 else 0}
            print(json.dumps({**place, "code": issue["rule_id"], "severity": issue["severity"]}))
