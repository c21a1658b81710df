"""Older versions of documents: `NAME.json.bak` beside each, and generations by time.

    data/servers/123.json
    data/servers/123.json.bak                              the last version before this one
    data/backups/servers/123.20261123T182201123Z.json      older ones, by when they were saved

A generation belongs to the one document whose exact name it bears. They are kept by count and age;
the newest is kept whatever its age.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from llmbot.storage.atomic import remove
from llmbot.storage.documents.format import file_time, time_of_file
from llmbot.storage.documents.kinds import BACKUPS, BAK, SUFFIX, Ref
from llmbot.storage.filesystem import FileSystem

_GENERATION = re.compile(r"(?P<key>.+)\.(?P<time>\d{8}T\d{9}Z)\.json")


@dataclass(frozen=True, slots=True)
class GenerationFile:
    """One file of the backups, named after a document."""

    path: Path
    saved_at_s: float


class Backups:
    """The generations below one root."""

    def __init__(self, root: Path, files: FileSystem) -> None:
        """Keep them in a folder of their own below `root`."""
        self._root = root
        self._files = files

    def folder(self, ref: Ref[Any]) -> Path:
        """Where the generations of a document are kept."""
        return self._root / BACKUPS / ref.folder

    def bak(self, ref: Ref[Any]) -> Path:
        """The version before the present one."""
        return self._root / ref.folder / f"{ref.file_name}{BAK}"

    def path(self, ref: Ref[Any], saved_at_s: float) -> Path:
        """Where a version that was saved then is kept."""
        return self.folder(ref) / f"{ref.key}.{file_time(saved_at_s)}{SUFFIX}"

    def of(self, ref: Ref[Any]) -> list[GenerationFile]:
        """The generations of exactly this document, newest first.

        Raises:
            OSError: the disk refused.
        """
        found = []
        try:
            entries = self._files.list(self.folder(ref))
        except FileNotFoundError:
            return []
        for entry in entries:
            match = _GENERATION.fullmatch(entry.name)
            if entry.is_folder or match is None or match["key"] != ref.key:
                continue
            found.append(GenerationFile(self.folder(ref) / entry.name, time_of_file(match["time"])))
        return sorted(found, key=lambda file: file.saved_at_s, reverse=True)

    def keys(self, folder: str) -> set[str]:
        """The keys of all documents of a folder that have generations.

        Raises:
            OSError: the disk refused.
        """
        try:
            entries = self._files.list(self._root / BACKUPS / PurePosixPath(folder))
        except FileNotFoundError:
            return set()
        matches = (_GENERATION.fullmatch(e.name) for e in entries if not e.is_folder)
        return {match["key"] for match in matches if match is not None}

    def is_due(self, ref: Ref[Any], saved_at_s: float) -> bool:
        """Whether a version that was saved then should be kept: none near it is.

        Raises:
            OSError: the disk refused.
        """
        newest = next(iter(self.of(ref)), None)
        return newest is None or saved_at_s - newest.saved_at_s >= ref.kind.generation_every_s

    def prune(self, ref: Ref[Any], now_s: float) -> int:
        """Remove what is too old or too many; how many files that were.

        Raises:
            OSError: the disk refused to list them.
        """
        count = 0
        for number, file in enumerate(self.of(ref)):
            too_old = now_s - file.saved_at_s > ref.kind.generation_age_max_s
            if number >= ref.kind.generations_max or (number and too_old):
                count += remove(self._files, file.path)
        return count

    def remove_all(self, ref: Ref[Any]) -> Iterator[Path]:
        """Every copy of a document there may be: generations, then `.bak`."""
        for file in self.of(ref):
            yield file.path
        yield self.bak(ref)
