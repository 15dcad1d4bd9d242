"""What the `mllint` of pulseml finds, a finding a line: it is a command of an interactive program and has no codes."""

import ast
import json
import sys
from pathlib import Path

from pulse.pulse_cli import _mllint_scan

# Words of a message, and a code for it: the checks of training loops; what else there is, is `other`.
CODES = {
    "no .zero_grad()": "missing-zero_grad",
    "no .step()": "missing-step",
    "without calling .item()": "loss-accumulated",
    "torch.no_grad():` block": "backward-in-no_grad",
    "eval() and torch.no_grad()": "evaluation",
    "torch.no_grad()": "evaluation",
    ".eval()": "evaluation",
    "softmax": "softmax",
    "sigmoid": "sigmoid",
    "reseeding": "reseeded",
}


def code_of(message: str) -> str:
    """Return the code of the first words that the message has."""
    flat = " ".join(message.split())
    return next((code for words, code in CODES.items() if words.lower() in flat.lower()), "other")


for path in sys.argv[1:]:
    try:
        text = Path(path).read_text(encoding="utf-8")
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        continue
    for _, row, message in _mllint_scan([(path, Path(path), text, tree)]):
        print(json.dumps({"path": path, "row": row or 0, "code": code_of(message)}))
