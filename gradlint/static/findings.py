"""From what each file's analysis found to what is reported of a whole project.

A function is judged with its callers in view: what was found by reading it on its own, callers
unknown, is dropped where another file was seen to call it. It knows findings, comments and
settings; it must not know how findings are made.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from gradlint.config import Settings
from gradlint.data import dataclass
from gradlint.diagnostics import Diagnostic, Location, Related
from gradlint.documents import Document
from gradlint.static.sources import discovery, reading
from gradlint.static.sources.reading import UNREADABLE, Unreadable
from gradlint.static.sources.sights import NOTHING, Answers
from gradlint.static.syntax.flags import flag_of
from gradlint.static.understanding import Callee, Finding, Spot
from gradlint.suppression import Suppression, apply, suppressions


@dataclass(frozen=True, slots=True)
class FileFindings:
    """What the check of one file found, in it and in those that it calls into; and the file's comments on findings.

    One that is not `whole` was read by words only: what it calls was not followed.
    """

    filename: str
    found: tuple[Finding, ...]
    followed: frozenset[Spot] = frozenset()
    comments: tuple[Suppression, ...] = ()
    document: Document | None = None
    broken: tuple[Finding, ...] = ()
    answers: Answers = NOTHING
    waiting: frozenset[Callee] = frozenset()
    whole: bool = True
    asked: frozenset[str] = frozenset()

    def placed(self, found: Iterable[Diagnostic]) -> list[Diagnostic]:
        """Return findings in the text that was read as findings in the file; and the pieces that could not be read."""
        document = self.document
        own = list(found) if document is None else [document.placed(item) for item in found]
        return [*own, *(each.diagnostic for each in self.broken)]


def project_findings(files: Sequence[FileFindings], settings: Settings) -> list[Diagnostic]:
    """Return what is reported of all files together, each place and rule once."""
    names = {os.path.abspath(file.filename): file.filename for file in files}
    followed = frozenset(spot for file in files for spot in file.followed)
    asked = frozenset(name for file in files for name in file.asked)
    found: dict[str, dict[tuple[str, Location], Diagnostic]] = defaultdict(dict)
    for file in files:
        for each in file.found:
            if (not each.alone or not each.alone <= followed) and each.unasked not in asked:
                item = _renamed(each.diagnostic, names)
                known = found[item.location.filename].setdefault((item.code, item.location), item)
                if item.fix and not known.fix:
                    found[item.location.filename][item.code, item.location] = item
    checked = {file.filename: file for file in files}
    documents = {file.filename: file.document for file in files if file.document is not None}
    return [
        item
        for name in sorted({*found, *checked})
        for item in _of_file(
            name, [_pointing(each, documents) for each in found[name].values()], checked.get(name), settings
        )
    ]


def _pointing(item: Diagnostic, documents: Mapping[str, Document]) -> Diagnostic:
    """Return a finding that points to the places of other documents, not to those of the texts that they were read as."""
    related = tuple(
        Related(documents[name].place(each.location), each.text)
        if (name := each.location.filename) in documents and name != item.location.filename
        else each
        for each in item.related
    )
    return replace(item, related=related) if related != item.related else item


_IMPLICIT = frozenset(["__call__", "__init__", "forward"])
"""What is called by the name of its class, or of an object."""


def excusable(files: Iterable[FileFindings]) -> frozenset[Callee]:
    """Return the functions of which a caller, and the flags of which a setting, would make a finding void, and none was seen.

    An empty name stands for any.
    """
    files = list(files)
    followed = frozenset(spot for file in files for spot in file.followed)
    waiting = {spot for file in files for each in file.found for spot in each.alone - followed}
    flags = {each.unasked for file in files for each in file.found if flag_of(each.unasked)}
    flags -= {name for file in files for name in file.asked}
    return frozenset(Callee("" if name in _IMPLICIT else name) for _, _, name in waiting) | {*map(Callee, flags)}


def driven(files: Iterable[FileFindings]) -> frozenset[Callee]:
    """Return what trains, and was read without its callers: who sets it in motion says with what."""
    return frozenset(each for file in files for each in file.waiting)


def selected(found: Iterable[Diagnostic], filename: str, settings: Settings) -> list[Diagnostic]:
    """Return those findings in a file that the settings ask for, in order of place."""
    ignored = tuple(
        code
        for pattern, codes in settings.per_file_ignores
        if discovery.matches([pattern], settings.root, filename)
        for code in codes
    )
    wanted = (item for item in found if _wanted(item.code, settings) and not item.code.startswith(ignored))
    return sorted(wanted, key=lambda item: item.order)


def _wanted(code: str, settings: Settings) -> bool:
    # Work left undone is reported whatever was selected, unless it is ignored on purpose.
    if code == UNREADABLE:
        return not code.startswith(settings.ignore)
    return settings.selects(code)


def _of_file(name: str, found: list[Diagnostic], checked: FileFindings | None, settings: Settings) -> list[Diagnostic]:
    if checked is not None:
        return selected(checked.placed(apply(found, checked.comments)), name, settings)
    # Nobody asked for this file, but what a checked one makes of it is wrong: its comments and the exclusions count.
    if discovery.matches((*settings.exclude, *settings.extend_exclude), settings.root, name):
        return []
    comments = _comments(name)
    shown = [item for item in found if not any(comment.hides(item) for comment in comments)]
    return selected(shown, name, settings)


def _comments(filename: str) -> tuple[Suppression, ...]:
    try:
        return suppressions(reading.decode(reading.read(filename), filename), filename)
    except Unreadable:
        return ()


def _renamed(found: Diagnostic, names: Mapping[str, str]) -> Diagnostic:
    """Return the finding with its file named as the user named it."""
    place = found.location
    name = names.get(os.path.abspath(place.filename), place.filename)
    return found if name == place.filename else replace(found, location=replace(place, filename=name))
