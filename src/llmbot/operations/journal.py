"""The journal: every step of every recovery, durable, in order, and chained by hashes.

One line is one JSON entry with the hash of the line before it, so that a line that was changed or
taken out is found. Incidents, runs, approvals and guard rails are read from it and from nothing
else. Files end in `.log`: they are rotated by size, and the newest `files_max` are kept.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from llmbot.kernel.clock import Clock
from llmbot.kernel.redact import scrub_all

__all__ = ["Entry", "Journal"]

_START = "0" * 64
_LINE_MAX = 64 * 1024

WRITE_DEADLINE_S = 2.0
"""Patience with the disk; a healthy one needs milliseconds."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One fact; `at_s` in seconds since the Unix epoch."""

    number: int
    at_s: float
    kind: str
    data: Mapping[str, Any]
    hash: str

    def text(self, name: str) -> str:
        """A field as text; empty where it is missing."""
        value = self.data.get(name, "")
        return value if isinstance(value, str) else str(value)


Scrub = Callable[[str], str]
Reader = Callable[[Entry], None]


class Journal:
    """Appends entries and hands each to its readers, in order, once it is kept."""

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        scrub: Scrub,
        *,
        file_bytes_max: int = 4 * 1024 * 1024,
        files_max: int = 8,
    ) -> None:
        """Take the folder; nothing is opened yet. `scrub` takes secrets out of every line."""
        self._folder = folder
        self._clock = clock
        self._scrub = scrub
        self._bytes_max = file_bytes_max
        self._files_max = files_max
        self._number = 0
        self._last = _START
        self._file_number = 1
        self._unkept: list[bytes] = []
        self._half: tuple[Path, int] | None = None
        """Where a write failed, and how long the file was before it."""
        self._readers: list[Reader] = []
        self._turn = asyncio.Lock()
        self._writing: asyncio.Task[None] | None = None
        """A second one beside it would write the same lines."""
        self.failures = 0
        self.last_error = ""
        self.torn = 0
        """Lines at the end of a file that a kill had cut."""
        self.broken = ""
        """Where the chain of hashes does not hold; empty where it does."""

    def subscribe(self, reader: Reader) -> None:
        """Tell a reader of every entry: those found by `load`, and each that is added."""
        self._readers.append(reader)

    async def load(self) -> int:
        """Read what earlier lives wrote and tell the readers; how many entries there were."""
        entries = await asyncio.to_thread(self._read_all)
        for entry in entries:
            self._tell(entry)
        return len(entries)

    async def add(self, kind: str, **data: Any) -> Entry:
        """Keep a fact; it is on the disk when this returns, unless the disk refuses.

        A disk that refuses stops no recovery: the entry is kept in memory and written before the
        next one (`failures`, `last_error`); who must not act without a record asks `kept`.
        """
        async with self._turn:
            self._number += 1
            body = {
                "n": self._number,
                "at": round(self._clock.wall(), 3),
                "kind": kind,
                "data": scrub_all(data, self._scrub),
                "prev": self._last,
            }
            entry, line = _seal(body)
            self._last = entry.hash
            self._unkept.append(line)
            await self._settle()
            self._tell(entry)
            return entry

    async def settle(self) -> None:
        """Try again what the disk refused; returns at once where all is kept."""
        if self._unkept and not self._turn.locked():
            async with self._turn:
                await self._settle()

    async def _settle(self) -> None:
        """Write what is unkept; a disk that hangs holds nobody up for longer than the deadline."""
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(), name="journal writer")
        elif self.last_error:
            return  # it hangs, and will write this too
        try:
            async with asyncio.timeout(WRITE_DEADLINE_S):
                # Shielded: who is cancelled must not leave the chain half written.
                await asyncio.shield(self._writing)
        except TimeoutError:
            self.failures += 1
            self.last_error = "the disk does not answer"

    async def _write(self) -> None:
        while self._unkept:
            await asyncio.to_thread(self._flush)
            if self.last_error:
                return

    @property
    def kept(self) -> bool:
        """Whether the disk took what was added last; what is on its way to it is no trouble."""
        return not self.last_error

    # ── on a thread ─────────────────────────────────────────────────────────────────────────────

    def _path(self, number: int) -> Path:
        return self._folder / f"journal-{number:06d}.log"

    def _flush(self) -> None:
        lines = list(self._unkept)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if self._half is not None:
                self._cut(*self._half)
                self._half = None
            path = self._path(self._file_number)
            if path.exists() and path.stat().st_size > self._bytes_max:
                self._file_number += 1
                path = self._path(self._file_number)
                for old in sorted(self._folder.glob("journal-*.log"))[: -self._files_max + 1]:
                    old.unlink()
            fresh = not path.exists()
            self._half = (path, 0 if fresh else path.stat().st_size)
            with path.open("ab") as file:
                file.write(b"".join(lines))
                file.flush()
                os.fsync(file.fileno())
            if fresh:
                _sync_folder(self._folder)
        except OSError as error:
            self.failures += 1
            self.last_error = f"{error.filename or self._folder}: {error.strerror}"
            return
        self._half, self.last_error = None, ""
        del self._unkept[: len(lines)]

    def _read_all(self) -> list[Entry]:
        entries: list[Entry] = []
        files = sorted(self._folder.glob("journal-*.log")) if self._folder.is_dir() else []
        previous = ""
        for path in files:
            self._file_number = int(path.stem.partition("-")[2])
            good = 0
            for line in _lines(path):
                entry = _read(line, previous or None)
                if entry is None:
                    self.torn += 1
                    self._cut(path, good)
                    break
                if isinstance(entry, str):
                    self.broken = self.broken or f"{path.name}: {entry}"
                    good += len(line)
                    continue
                good += len(line)
                previous = entry.hash
                entries.append(entry)
        if entries:
            self._number, self._last = entries[-1].number, entries[-1].hash
        return entries

    def _cut(self, path: Path, size: int) -> None:
        """Take off the line that a kill or the disk had cut; nobody was told that it was kept."""
        if not path.exists():
            return
        with path.open("rb+") as file:
            file.truncate(size)
            os.fsync(file.fileno())

    def _tell(self, entry: Entry) -> None:
        for reader in self._readers:
            reader(entry)


def _seal(body: Mapping[str, Any]) -> tuple[Entry, bytes]:
    raw = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    digest = hashlib.sha256(raw).hexdigest()
    line = raw[:-1] + b',"hash":"' + digest.encode() + b'"}\n'
    return Entry(body["n"], body["at"], body["kind"], body["data"], digest), line


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while line := file.readline(_LINE_MAX):
            yield line


def _read(line: bytes, previous: str | None) -> Entry | str | None:
    """An entry; None for a cut line; words for one that was tampered with."""
    if not line.endswith(b"}\n"):
        return None
    raw, mark, tail = line.rpartition(b',"hash":"')
    if not mark:
        return "a line without a hash"
    digest = tail[:64].decode("ascii", "replace")
    if hashlib.sha256(raw + b"}").hexdigest() != digest:
        return "a line was changed"
    body = orjson.loads(raw + b"}")
    entry = Entry(body["n"], body["at"], body["kind"], body["data"], digest)
    if previous is not None and body["prev"] != previous:
        return f"a line before {body['n']} is missing"
    return entry


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
