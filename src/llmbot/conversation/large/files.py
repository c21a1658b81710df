"""Large contexts on disk: a folder each, with the plan, the texts of the parts, and the notes.

The plan is written last, so that a folder with a plan is whole. Each note is durable before it
counts as made. All of it may be lost: then the work begins anew. Called on threads.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
from pydantic import TypeAdapter

from llmbot.conversation.large.plan import Plan, Source, digest_of, part_key
from llmbot.storage.atomic import make_folders, write_aside, write_whole
from llmbot.storage.filesystem import FileSystem

__all__ = ["ContextFiles", "ContextUse"]

PLAN = "plan.json"
_FILE_BYTES_MAX = 64 * 1024 * 1024
_NOTE = ".note"
_PLANS = TypeAdapter(Plan)


@dataclass(frozen=True, slots=True)
class ContextUse:
    """What stands on the disk."""

    folders: int
    bytes: int
    disk_free: int


class ContextFiles:
    """The folders below `TEMP_DIR/context`; each bears the id of the message that asks."""

    def __init__(self, temp_dir: Path, folder: str, files: FileSystem) -> None:
        """Keep them in `folder` below `temp_dir`; nothing is made before it is needed."""
        self._temp = temp_dir
        self._root = temp_dir / folder
        self._files = files

    def names(self) -> list[int]:
        """The messages of which a folder stands here."""
        try:
            entries = self._files.list(self._root)
        except OSError:
            return []
        return [int(e.name) for e in entries if e.is_folder and e.name.isdecimal()]

    def use(self) -> ContextUse:
        """What all of it takes, and what room the disk has left.

        Raises:
            OSError: the directory cannot be made or read.
        """
        self._prepare()
        size = folders = 0
        for message_id in self.names():
            folders += 1
            size += sum(self._sizes(message_id))
        return ContextUse(folders, size, self._files.space(self._root).free)

    def begin(self, plan: Plan, pieces: Sequence[Source]) -> None:
        """Keep a plan and its parts, durably; notes of the same parts that stand here stay.

        Raises:
            OSError: the disk refused.
        """
        self._prepare()
        folder = self._folder(plan.message_id)
        make_folders(self._files, self._temp, folder)
        for number, piece in enumerate(pieces):
            target = folder / _part_name(number)
            data = piece.text.encode("utf-8", "replace")
            self._files.rename(write_aside(self._files, target, data), target)
        write_whole(self._files, folder / PLAN, orjson.dumps(plan, option=orjson.OPT_INDENT_2))

    def plan(self, message_id: int) -> Plan | None:
        """The plan of a message; None where there is none that can be used."""
        try:
            data = self._files.read(self._folder(message_id) / PLAN, _FILE_BYTES_MAX)
            plan = _PLANS.validate_json(data)
        except (OSError, ValueError):
            return None
        return plan if plan.message_id == message_id else None

    def part(self, plan: Plan, number: int) -> str | None:
        """The text of a part; None where it is gone or damaged."""
        path = self._folder(plan.message_id) / _part_name(number)
        try:
            text = self._files.read(path, _FILE_BYTES_MAX).decode("utf-8")
        except (OSError, ValueError):
            return None
        return text if digest_of(text) == plan.parts[number].digest else None

    def keep_note(self, message_id: int, key: str, text: str) -> None:
        """Keep a note durably.

        Raises:
            OSError: the disk refused, or the folder is gone.
        """
        body = {"text": text, "digest": digest_of(text)}
        write_whole(self._files, self._folder(message_id) / f"{key}{_NOTE}", orjson.dumps(body))

    def notes(self, message_id: int) -> dict[str, str]:
        """All whole notes of a message by their keys."""
        folder = self._folder(message_id)
        found: dict[str, str] = {}
        try:
            entries = self._files.list(folder)
        except OSError:
            return found
        for entry in entries:
            if entry.is_folder or not entry.name.endswith(_NOTE):
                continue
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                body = orjson.loads(self._files.read(folder / entry.name, _FILE_BYTES_MAX))
                if digest_of(body["text"]) == body["digest"]:
                    found[entry.name.removesuffix(_NOTE)] = body["text"]
        return found

    def remove(self, message_id: int) -> None:
        """Remove a folder; one that is gone already is no error.

        Raises:
            OSError: something of it stayed.
        """
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._folder(message_id))

    # ── inside ──────────────────────────────────────────────────────────────────────────────────

    def _prepare(self) -> None:
        self._temp.mkdir(parents=True, exist_ok=True)
        make_folders(self._files, self._temp, self._root)

    def _folder(self, message_id: int) -> Path:
        return self._root / str(int(message_id))

    def _sizes(self, message_id: int) -> list[int]:
        folder = self._folder(message_id)
        try:
            return [self._files.facts(folder / e.name).bytes for e in self._files.list(folder)]
        except OSError:
            return []  # it is being removed


def _part_name(number: int) -> str:
    return f"{part_key(number)}.txt"
