"""What failed its validation, put aside with time and reason, where nothing reads it by mistake.

    data/quarantine/servers/123.20261123T182201123Z.damaged.json.quarantined

No file here ends in `.json`, so that no script that mends JSON touches it. The oldest are dropped
beyond a count and a size.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from llmbot.storage.atomic import make_folders, remove, second_name
from llmbot.storage.documents.format import file_time
from llmbot.storage.documents.kinds import QUARANTINE
from llmbot.storage.filesystem import FileSystem

FILES_MAX = 200
BYTES_MAX = 64 * 1024 * 1024
_ENDING = ".quarantined"
_NAME = re.compile(r"(?P<name>.+)\.(?P<time>\d{8}T\d{9}Z)\.(?P<reason>[a-z-]+)\.json\.quarantined")


@dataclass(frozen=True, slots=True)
class Aside:
    """One file that was put aside."""

    path: Path
    name: str
    """Of the document, or the copy of one, that it was; without `.json`."""
    time: str
    reason: str


class Quarantine:
    """The folder of what was put aside."""

    def __init__(self, root: Path, files: FileSystem) -> None:
        """Keep it below `root`."""
        self._root = root
        self._files = files

    def put(self, source: Path, data: bytes, reason: str, now_s: float) -> Path:
        """Keep what a file holds now; the file itself stays, to be replaced in one step.

        Durable when it returns.

        Raises:
            OSError: the disk refused; nothing was put aside.
        """
        folder = self._root / QUARANTINE / source.relative_to(self._root).parent
        make_folders(self._files, self._root, folder)
        name = source.name.removesuffix(".bak").removesuffix(".json")
        target = self._free_name(folder, name, reason, now_s)
        second_name(self._files, source, target, data)
        self._files.sync_folder(folder)
        self._bound()
        return target

    def _free_name(self, folder: Path, name: str, reason: str, now_s: float) -> Path:
        taken = {entry.name for entry in self._files.list(folder)}
        for later_ms in range(FILES_MAX + 1):
            when = file_time(now_s + later_ms / 1000)
            target = f"{name}.{when}.{reason}.json{_ENDING}"
            if target not in taken:
                return folder / target
        return folder / target

    def all(self) -> list[Aside]:
        """Everything that was put aside, oldest first; empty where it cannot be listed."""
        found = []
        for path in self._walk(self._root / QUARANTINE):
            match = _NAME.fullmatch(path.name)
            if match is not None:
                folder = path.parent.relative_to(self._root / QUARANTINE)
                name = (PurePosixPath(folder) / match["name"]).as_posix()
                found.append(Aside(path, name, match["time"], match["reason"]))
        return sorted(found, key=lambda aside: aside.time)

    def of(self, name: str) -> list[Aside]:
        """What was put aside of a document, by its name without `.json`, newest first."""
        return [aside for aside in reversed(self.all()) if aside.name == name]

    def files(self) -> list[Path]:
        """All files below the folder, whatever their names."""
        return list(self._walk(self._root / QUARANTINE))

    def _bound(self) -> None:
        kept = self.all()
        total = 0
        for number, aside in enumerate(reversed(kept)):
            try:
                total += self._files.facts(aside.path).bytes
            except OSError:
                continue
            if number >= FILES_MAX or (number and total > BYTES_MAX):
                remove(self._files, aside.path)

    def _walk(self, folder: Path) -> list[Path]:
        try:
            entries = self._files.list(folder)
        except OSError:
            return []
        found = []
        for entry in entries:
            path = folder / entry.name
            found += self._walk(path) if entry.is_folder else [path]
        return found
