"""The checksum of every page of a SQLite file, so that no flipped bit in it is silent.

SQLite proves the frames of its log, not the pages of the database: a bit that flips in a text or a
number there leaves a sound database with another content. So before the log is copied into the
database, the checksums of the pages that it holds are written to `NAME-sums`. What stands in the
log is left out when the file is looked at; every other page must be what its checksum says.

Another SQLite (a person's shell), or an end that could not be noted, may have changed pages without
their checksums. The log's salts and count tell (https://sqlite.org/walformat.html): each log that
follows another counts one more, in the number of checkpoints and in the first salt.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path

from llmbot.storage.crc import one_wrong_byte
from llmbot.storage.files import create_private, replace_durably

__all__ = ["Looked", "PageSums"]

_PAGE = 4096
_LOG_HEAD = 32
_FRAME_HEAD = 24
_FRAME = _FRAME_HEAD + _PAGE
_HEAD = struct.Struct(">16sIIII")
_MAGIC = b"llmbot pages 1\n\0"
_PAGES_AT_ONCE = 256


class _Kept(IntEnum):
    """What the checksums know of the log that is beside the database."""

    FOLLOWED = 0
    """They hold all of the log that they name."""
    CLOSED = 1
    """They hold all of the database, and there was no log."""
    OPENED = 2
    """The same; a connection was opened since, which begins a first log."""


@dataclass(frozen=True, slots=True)
class _Log:
    """A log beside the database, as far as its commits are whole."""

    count: int
    salt: int
    pages: dict[int, int]
    """Where the newest content of each page stands."""
    database_pages: int


@dataclass(frozen=True, slots=True)
class _Sums:
    kept: _Kept
    count: int
    salt: int
    pages: array[int]

    def fit(self, log: _Log | None) -> bool:
        """Whether nobody can have copied a log into the database without them."""
        if log is None:
            return self.kept is _Kept.CLOSED
        if self.kept is _Kept.OPENED and log.count == 0:
            return True
        same = (log.count, log.salt) == (self.count, self.salt)
        return same or (log.count, log.salt) == (self.count + 1, (self.salt + 1) & 0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look at the whole file found."""

    known: bool = False
    """Whether there were checksums to hold it against."""
    mended: int = 0
    """Pages that had a wrong byte and are what they were again."""
    strange: tuple[int, ...] = ()
    """Pages, from 1 on, that are not what was written."""


class PageSums:
    """The checksums of one database; used by whoever alone may write to it."""

    def __init__(self, database: Path) -> None:
        """Keep them beside `database`."""
        self._database = database
        self._log = Path(f"{database}-wal")
        self._path = Path(f"{database}-sums")

    def look(self) -> Looked:
        """Hold the file, which nobody has open, against them; put single wrong bytes right.

        Raises:
            OSError: the disk refused.
        """
        sums, log = self._load(), _read_log(self._log)
        if sums is None or not sums.fit(log):
            return Looked()
        left_out = log.pages if log else {}
        mended, strange = 0, []
        seen = 0
        for seen, page in self._pages():
            wanted = sums.pages[seen - 1] if seen <= len(sums.pages) else 0
            if seen in left_out or zlib.crc32(page) == wanted:
                continue
            if self._put_right(seen, page, wanted):
                mended += 1
            else:
                strange.append(seen)
        gone = range(seen + 1, len(sums.pages) + 1)
        end = log.database_pages if log and log.pages else len(sums.pages)
        strange += [page for page in gone if page not in left_out and page <= end]
        return Looked(True, mended, tuple(strange))

    def opening(self) -> None:
        """Note that a connection is about to be opened, which may begin a log."""
        sums = self._load()
        if sums is not None and sums.kept is _Kept.CLOSED:
            self._save(replace(sums, kept=_Kept.OPENED))
        elif sums is not None and not _size(self._log):
            self.forget()  # the log went into the database without them

    def before_checkpoint(self) -> None:
        """Keep the checksums of what the log holds; durable when this returns.

        Raises:
            OSError: the disk refused.
        """
        log = _read_log(self._log)
        if log is None or not log.pages:
            return
        sums = self._load()
        if sums is not None and sums.fit(log):
            pages = sums.pages[:]
        else:
            pages = array("I", (zlib.crc32(page) for _, page in self._pages()))
        pages = pages[: log.database_pages]
        pages.extend([0] * (log.database_pages - len(pages)))
        with self._log.open("rb") as file:
            for page, place in log.pages.items():
                if page <= log.database_pages:
                    pages[page - 1] = zlib.crc32(os.pread(file.fileno(), _PAGE, place))
        self._save(_Sums(_Kept.FOLLOWED, log.count, log.salt, pages))

    def log_emptied(self) -> None:
        """Note that all of the log is in the database.

        Raises:
            OSError: the disk refused.
        """
        sums = self._load()
        if sums is not None and sums.kept is not _Kept.CLOSED:
            self._save(replace(sums, kept=_Kept.CLOSED))

    def forget(self) -> None:
        """Keep none: the next checkpoint computes them anew."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _pages(self) -> Iterator[tuple[int, bytes]]:
        number = 0
        with self._database.open("rb") as file:
            while lot := file.read(_PAGE * _PAGES_AT_ONCE):
                for start in range(0, len(lot), _PAGE):
                    number += 1
                    yield number, lot[start : start + _PAGE]

    def _put_right(self, number: int, page: bytes, wanted: int) -> bool:
        found = one_wrong_byte(len(page), zlib.crc32(page) ^ wanted)
        if found is None or len(page) < _PAGE or not wanted:
            return False
        place, wrong = found
        with self._database.open("r+b") as file:
            file.seek((number - 1) * _PAGE + place)
            file.write(bytes([page[place] ^ wrong]))
            file.flush()
            os.fsync(file.fileno())
        return True

    def _load(self) -> _Sums | None:
        try:
            raw = self._path.read_bytes()
        except OSError:
            return None
        if len(raw) < _HEAD.size or (len(raw) - _HEAD.size) % 4:
            return None
        magic, kept, count, salt, crc = _HEAD.unpack_from(raw)
        pages = array("I", raw[_HEAD.size :])
        sums = _Sums(_Kept(kept), count, salt, pages) if kept in tuple(_Kept) else None
        if magic != _MAGIC or sums is None or _seal(sums) != crc:
            return None
        return sums

    def _save(self, sums: _Sums) -> None:
        fresh = self._path.with_name(f"{self._path.name}.new")
        try:
            create_private(fresh)
            head = _HEAD.pack(_MAGIC, sums.kept, sums.count, sums.salt, _seal(sums))
            fresh.write_bytes(head + sums.pages.tobytes())
            replace_durably(fresh, self._path)
        except OSError:
            # Stale ones would call sound pages damaged.
            self.forget()
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            raise


def _seal(sums: _Sums) -> int:
    head = struct.pack(">III", sums.kept, sums.count, sums.salt)
    return zlib.crc32(sums.pages.tobytes(), zlib.crc32(head))


def _read_log(path: Path) -> _Log | None:
    """What the log holds; None where there is none."""
    try:
        with path.open("rb") as file:
            head = file.read(_LOG_HEAD)
            if int.from_bytes(head[8:12], "big") != _PAGE:
                return None  # empty, or none of ours
            pages: dict[int, int] = {}
            commit: dict[int, int] = {}
            size = 0
            place = _LOG_HEAD
            while len(frame := os.pread(file.fileno(), _FRAME_HEAD, place)) == _FRAME_HEAD:
                if frame[8:16] != head[16:24]:
                    break  # of an earlier log
                number, ends = struct.unpack_from(">II", frame)
                commit[number] = place + _FRAME_HEAD
                if ends:
                    pages |= commit
                    size, commit = ends, {}
                place += _FRAME
    except FileNotFoundError:
        return None
    count, salt = struct.unpack_from(">II", head, 12)
    return _Log(count, salt, pages, size)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
