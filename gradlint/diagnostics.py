"""What gradlint reports: a finding, where it is, and which other places explain it.

Leaf module: it knows neither how findings are made nor how they are shown.
"""

from __future__ import annotations

import enum
from dataclasses import field

from gradlint.data import dataclass


class Severity(enum.Enum):
    """How bad a finding is: the run is wrong, it is probably hurt, or it is merely untuned."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Confidence(enum.Enum):
    """How sure gradlint is: proven on every path, or likely on some."""

    CERTAIN = "certain"
    LIKELY = "likely"


class Side(enum.Enum):
    """Who saw it: the reader of source, or the watcher of a run."""

    STATIC = "static"
    RUNTIME = "runtime"


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A stretch of source; rows and columns count from 1, the end column is exclusive.

    In a notebook, rows count within the `cell` (from 1, all cells count; 0: no notebook).
    """

    filename: str
    row: int
    column: int = 1
    end_row: int = 0
    end_column: int = 0
    cell: int = 0

    @property
    def where(self) -> str:
        """The name of the file, and of the cell if it is a notebook."""
        return f"{self.filename}:cell {self.cell}" if self.cell else self.filename


@dataclass(frozen=True, slots=True)
class Related:
    """Another place that explains a finding, and what happened there."""

    location: Location
    text: str


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace the text of `location` (empty: insert there) by `content`."""

    location: Location
    content: str


@dataclass(frozen=True, slots=True)
class Fix:
    """Edits that mend a finding; `safe` ones cannot change what correct code does."""

    message: str
    edits: tuple[Edit, ...]
    safe: bool = False


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding.

    `count` is how often the run did it and `iteration` the optimizer step of the first time
    (both run-time only; 0 where it does not apply). `ranks` are the processes of a distributed run that did it, where
    there were several. `verdict` is what a run says of a finding of the static side ("": nobody asked).
    """

    code: str
    name: str
    severity: Severity
    confidence: Confidence
    side: Side
    message: str
    location: Location
    related: tuple[Related, ...] = field(default=())
    help: str = ""
    fix: Fix | None = None
    count: int = 0
    iteration: int = 0
    ranks: tuple[int, ...] = ()
    verdict: str = ""

    @property
    def order(self) -> tuple[str, int, int, int, str]:
        """The key by which reports are sorted: file, cell, row, column, code."""
        place = self.location
        return (place.filename, place.cell, place.row, place.column, self.code)
