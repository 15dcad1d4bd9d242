"""What `ml-code-smell-detector analyze` finds, a finding a line: its command writes one report of counts."""

import contextlib
import json
import sys

from ml_code_smell_detector import FrameworkSpecificSmellDetector, HuggingFaceSmellDetector, ML_SmellDetector

for path in sys.argv[1:]:
    for detector in (FrameworkSpecificSmellDetector(), HuggingFaceSmellDetector(), ML_SmellDetector()):
        # Its own command ends at what this cannot read: what is found until then counts.
        with contextlib.suppress(Exception):
            detector.detect_smells(path)
        for smell in detector.get_results():
            row = "".join(filter(str.isdigit, str(smell["location"])))
            code = f"{smell['framework']}: {smell['name']}"
            print(json.dumps({"path": path, "row": int(row or 0), "code": code}))
