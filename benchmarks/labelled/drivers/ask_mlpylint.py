"""What `mlpylint --advice` finds, a finding a line: its command takes one path and needs ten seconds to start."""

import contextlib
import json
import os
import sys

from src.analysis.argument import REGISTERED_CHECKERS, REGISTERED_CHECKERS_ADVICE
from src.analysis.result import Result
from src.analysis.runner import Runner

with contextlib.redirect_stdout(open(os.devnull, "w")):
    for path in sys.argv[1:]:
        Runner(path, REGISTERED_CHECKERS + REGISTERED_CHECKERS_ADVICE).analyze_file(path)
for smell in Result.code_smells:
    print(json.dumps({"path": smell.file_path, "row": smell.line or 0, "code": smell.code_smell_id}))
