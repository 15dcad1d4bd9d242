"""The Python files, notebooks and texts of a repository at a commit, written once from a mirror, and who imports whom there.

A mirror may lack blobs that are large and not wanted here, which `git archive` does not survive: the files that are
wanted are asked for one by one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

SUFFIXES = (".py", ".ipynb", ".md", ".rst")
MOST_CALLERS = 40
"""A module that more files import than this is a library: its callers beyond that number are left out."""

_IMPORT = re.compile(r"^[ \t]*(?:from|import)[ \t].*", re.MULTILINE)
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Trees:
    """Trees below `folder`, of the repositories of `mirror`: OWNER+NAME/repo, bare or with a work tree."""

    mirror: Path
    folder: Path

    def at(self, repo: str, commit: str) -> Path | None:
        """Return the tree of a repository at a commit; None where the mirror has it not."""
        tree = self.folder / f"{repo.replace('/', '+')}@{commit[:10]}"
        if tree.exists():
            return tree
        unfinished = tree.with_name(tree.name + ".part")
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            for path, content in self._files(repo, commit):
                file = unfinished / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            unfinished.rename(tree)
        except (OSError, subprocess.CalledProcessError):
            return None
        return tree

    def _files(self, repo: str, commit: str) -> Iterator[tuple[str, bytes]]:
        git = self.mirror / repo.replace("/", "+") / "repo"
        git = git / ".git" if (git / ".git").exists() else git
        listed = os.fsdecode(_git(git, "ls-tree", "-r", "-z", commit))
        entries = [entry.split("\t", 1) for entry in listed.split("\0") if entry.endswith(SUFFIXES)]
        blobs = [(about.split()[2], path) for about, path in entries if about.split()[1] == "blob"]
        yield from zip((path for _, path in blobs), _blobs(git, [name for name, _ in blobs]), strict=True)


def callers(tree: Path, paths: Iterable[str]) -> set[str]:
    """Return the files of `tree` that import one of the files at `paths`: `MOST_CALLERS` at most for each.

    What counts is that an import has the module's name among its words.
    """
    found: set[str] = set()
    importers = _importers(tree)
    for path in paths:
        file = PurePosixPath(path)
        if file.suffix == ".py":
            name = file.parent.name if file.stem == "__init__" else file.stem
            found.update([other for other in importers.get(name, ()) if other != path][:MOST_CALLERS])
    return found


def _importers(tree: Path) -> dict[str, list[str]]:
    """Return the files by the words of their imports."""
    importers: dict[str, list[str]] = defaultdict(list)
    for file in sorted(tree.rglob("*.py")):
        text = file.read_text(encoding="utf-8", errors="replace")
        for word in {word for line in _IMPORT.findall(text) for word in _WORD.findall(line)}:
            importers[word].append(file.relative_to(tree).as_posix())
    return importers


def _blobs(git: Path, names: list[str]) -> Iterator[bytes]:
    """Yield the contents of blobs; one that is missing is empty."""
    answer = _git(git, "cat-file", "--batch", said="\n".join(names).encode())
    at = 0
    for _ in names:
        end = answer.index(b"\n", at)
        words = answer[at:end].split()
        size = 0 if words[-1] == b"missing" else int(words[2])
        yield answer[end + 1 : end + 1 + size]
        at = end + 1 + (0 if words[-1] == b"missing" else size + 1)


def _git(folder: Path, *words: str, said: bytes = b"") -> bytes:
    # A mirror may promise what it lacks: nothing is to be fetched here.
    quiet = {**os.environ, "GIT_NO_LAZY_FETCH": "1"}
    return subprocess.run(
        ["git", "-C", str(folder), *words], input=said, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, env=quiet
    ).stdout  # fmt: skip
