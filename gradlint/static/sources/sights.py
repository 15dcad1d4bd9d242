"""What the file system said while a file was analysed: the analysis holds as long as it would say the same again.

It knows paths and bytes; it must not know modules. Each question is asked once per analysis.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterable, Mapping
from typing import TypeAlias

from gradlint.data import dataclass

Stamp: TypeAlias = tuple[int, int]
"""When a file was changed (in nanoseconds), and its size in bytes."""
NOWHERE: Stamp = (0, -1)
"""The stamp of what is not there."""

_QUESTIONS: Mapping[str, Callable[[str], bool]] = {
    "file": os.path.isfile,
    "folder": os.path.isdir,
    "there": os.path.exists,
}


@dataclass(frozen=True, slots=True)
class Answers:
    """What was asked of paths (`file`, `folder`, `there`) with the answers, and which files were read in which state."""

    asked: tuple[tuple[str, str, bool], ...] = ()
    read: tuple[tuple[str, Stamp, bytes], ...] = ()


NOTHING = Answers()


class Sights:
    """Asks the file system, and remembers."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str, str], bool] = {}
        self._read: dict[str, tuple[Stamp, bytes]] = {}

    def is_file(self, path: str) -> bool:
        """Whether there is a file."""
        return self.ask("file", path)

    def is_folder(self, path: str) -> bool:
        """Whether there is a folder."""
        return self.ask("folder", path)

    def is_there(self, path: str) -> bool:
        """Whether there is anything."""
        return self.ask("there", path)

    def reads(self, path: str, stamp: Stamp, digest: bytes) -> None:
        """Remember that a file was read in this state."""
        self._read[path] = (stamp, digest)

    @property
    def answers(self) -> Answers:
        """Everything so far."""
        asked = tuple((question, path, answer) for (question, path), answer in self._asked.items())
        return Answers(asked, tuple((path, *state) for path, state in self._read.items()))

    def ask(self, question: str, path: str) -> bool:
        """Return the answer to one of the questions."""
        known = self._asked.get((question, path))
        if known is None:
            known = self._asked[question, path] = _QUESTIONS[question](path)
        return known


class Recheck:
    """Asks again what was asked in an earlier run; each path is looked at once."""

    def __init__(self) -> None:
        self._sights = Sights()
        self._digests: dict[str, bytes] = {}

    def holds(self, answers: Answers) -> bool:
        """Whether everything is as it was, by content."""
        return all(self._sights.ask(question, path) is answer for question, path, answer in answers.asked) and all(
            self._digest(path) == digest for path, _, digest in answers.read
        )

    def _digest(self, path: str) -> bytes:
        if path not in self._digests:
            try:
                with open(path, "rb") as file:
                    self._digests[path] = digest_of(file.read())
            except OSError:
                self._digests[path] = b""
        return self._digests[path]


def unimplied(
    asked: Iterable[tuple[str, str, bool]], stamps: Iterable[tuple[str, Stamp]]
) -> set[tuple[str, str, bool]]:
    """Return the questions that have to be asked again, and their answers: stamps that have not changed answer all others."""
    stamped = {path for path, _ in stamps}
    return {last for each in asked if (last := _last(each, stamped)) is not None}


def _last(asked: tuple[str, str, bool], stamped: Container[str]) -> tuple[str, str, bool] | None:
    """Return the question that decides about another one."""
    _, path, answer = asked
    if answer:
        return None if path in stamped else asked
    folder = os.path.dirname(path)
    if folder in stamped:  # What was not in a folder that nobody has changed is not in it now,
        return None
    if folder == path or os.path.isdir(folder):
        return asked
    return _last(("folder", folder, False), stamped)  # nor what was in one that is not there.


def untouched(asked: Iterable[tuple[str, str, bool]], stamps: Iterable[tuple[str, Stamp]]) -> bool:
    """Whether all answers are the same and nothing was changed since, by the stamps alone."""
    return all(stamp_of(path) == stamp for path, stamp in stamps) and all(
        _QUESTIONS[question](path) is answer for question, path, answer in asked
    )


def stamp_of(path: str) -> Stamp:
    """Return the stamp of a file or folder; NOWHERE if it is not there."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return NOWHERE
    return status.st_mtime_ns, status.st_size


def digest_of(data: bytes) -> bytes:
    """Return what identifies the content of a file."""
    from hashlib import blake2b  # It brings OpenSSL along, and many runs ask for nothing of this.

    return blake2b(data, digest_size=16).digest()
