"""Damage to SQLite's head or log that SQLite would not tell of: found, and put right where proven.

SQLite takes the log up to the first frame whose checksum is wrong and forgets the rest, so that one
flipped bit would silently undo every commit behind it. Here the end of the log is known twice: by
the shared memory that a killed process leaves, and by the frames behind that still carry the log's
salts and end a commit. The checksums are sums over words: a single wrong word of a frame can be
computed, and the checksum proves it; where a high bit leaves several words open, the one is taken
that gives back what the page held before. What cannot be put right is told and left to SQLite.

Source of the formats: https://sqlite.org/walformat.html, https://sqlite.org/fileformat2.html.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import struct
from dataclasses import dataclass
from pathlib import Path

from llmbot.storage.database.contract import DatabaseMended
from llmbot.storage.database.sqlite_connection import DAMAGE, open_read_only, primary_code
from llmbot.storage.files import create_private

Sums = tuple[int, int]

_WORD = 1 << 32
_LOG_HEAD = 32
_LOG_VERSION = 3_007_000
_FRAME_HEAD = 24
_SUMMED_HEAD = 8
_SHARED_HEAD = struct.Struct("=IIIBBHIIII8sII")
_PAGE = 4096
_HEAD = b"SQLite format 3\0" + b"\x10\x00\2\2\0\x40\x20\x20"
"""How every database of ours begins: name, page size, log mode, and constants."""


def mend(path: Path) -> DatabaseMended | None:
    """Look at the database at `path`, which nobody has open; None where nothing was found.

    Raises:
        OSError: the disk refused.
        sqlite3.Error: the database could not be read.
    """
    log, shared = Path(f"{path}-wal"), Path(f"{path}-shm")
    raw, memory = bytearray(_read(log)), _read(shared)
    words, frames = [], _Log(raw, path)
    if not _size(path) and (log.exists() or shared.exists()):
        words.append("the file was missing")
        _give_first_page(frames)
    elif _size(path) and _refused(path) and _give_first_page(frames):
        words.append("its head was wrong")
    if not frames.readable:
        return DatabaseMended("; ".join(words), 0) if words else None
    try:
        wrong, lost = _mend_log(frames, memory)
    except sqlite3.Error as error:
        # The check that follows finds it, and the database is built anew.
        if primary_code(error) not in DAMAGE:
            raise
        wrong, lost = False, 0
    if wrong:
        words.append("its log was wrong")
    return DatabaseMended("; ".join(words), lost) if words or lost else None


def _mend_log(frames: _Log, memory: bytes) -> tuple[bool, int]:
    """Whether anything was put right in the log, and how many pages at its end are lost."""
    path, raw = frames.path, frames.raw
    wrong = frames.mend_head()
    expected = max(_end_in_shared_memory(memory, raw), frames.end())
    if not wrong:
        frames.taken = _frames_taken(path)
    if expected > frames.taken:
        wrong = frames.mend() or wrong
    if wrong:
        _overwrite(Path(f"{path}-wal"), raw)
        # It was made from the log as it was.
        Path(f"{path}-shm").unlink(missing_ok=True)
        frames.taken = _frames_taken(path)
    return wrong, max(0, expected - frames.taken)


def _refused(path: Path) -> bool:
    """Whether SQLite would refuse the file for its head, or not look for a log beside it.

    What else is wrong with a first page that is in no log its checksum tells
    (`sqlite_page_sums.py`).
    """
    with path.open("rb") as file:
        return file.read(len(_HEAD)) != _HEAD


def _give_first_page(frames: _Log) -> bool:
    """Put the newest first page that the log has into the database; whether there is one.

    SQLite needs it there before it looks at the log; beside an empty database it deletes the log.
    """
    page = frames.first_page() if frames.readable else b""
    if page:
        create_private(frames.path)
        _overwrite(frames.path, page)
    return bool(page)


def _frames_taken(path: Path) -> int:
    """Up to which frame SQLite itself takes the log."""
    if not _size(path):
        return 0
    with contextlib.closing(open_read_only(path)) as connection:
        connection.execute("PRAGMA schema_version").fetchall()
        head = _read(Path(f"{path}-shm"))[: _SHARED_HEAD.size]
    return int(_SHARED_HEAD.unpack(head)[6]) if len(head) == _SHARED_HEAD.size else 0


def _end_in_shared_memory(head: bytes, raw: bytearray) -> int:
    """The frame with which the last commit of the killed process ended; 0 where it is not known."""
    size = _SHARED_HEAD.size
    if len(head) < 2 * size or head[:size] != head[size : 2 * size]:
        return 0
    _, _, _, begun, _, _, last, _, _, _, salts, *sums = _SHARED_HEAD.unpack(head[:size])
    if not begun or _sums(head[: size - 8], (0, 0), "=") != tuple(sums):
        return 0
    # Shared memory is never synced: after a power cut it may be that of an earlier log.
    same = len(raw) < _LOG_HEAD or bytes(raw[16:24]) == salts
    return int(last) if same else 0


@dataclass(slots=True)
class _Log:
    """A log in memory, mended in place."""

    raw: bytearray
    path: Path
    """The database."""
    taken: int = 0
    """Frames at its beginning that are known to be right."""

    @property
    def readable(self) -> bool:
        """Whether its pages are as large as ours; another size is left to SQLite."""
        size = int.from_bytes(self.raw[8:12], "big")
        return size.bit_count() != 1 or size == _PAGE

    def end(self) -> int:
        """How many frames there are up to the last one that ends a commit of this log."""
        ends = [
            number + 1
            for number in range(self.taken, self._count())
            if self._field(number, 4) and self._salts(number) == self.raw[16:24]
        ]
        return ends[-1] if ends else self.taken

    def first_page(self) -> bytes:
        """The newest state of the database's first page; empty where it is not in the log."""
        for number in reversed(range(self.end())):
            if self._field(number, 0) == 1 and self._salts(number) == self.raw[16:24]:
                return bytes(self.raw[self._at(number) + _FRAME_HEAD : self._at(number + 1)])
        return b""

    def mend(self) -> bool:
        """Correct what can be proven, frame by frame; whether anything was."""
        if self._count() <= self.taken:
            return False
        before = bytes(self.raw)
        seed = self._stored(self._at(self.taken - 1) + 16) if self.taken else self._stored(24)
        for number in range(self.taken, self._count()):
            if not self._mend_frame(number, seed):
                break
            seed = self._stored(self._at(number) + 16)
        return bytes(self.raw) != before

    def mend_head(self) -> bool:
        """Correct the head where that can be proven; whether it was."""
        if not self._count():
            return False
        head, stored = self.raw[:24], self._stored(24)
        if self._sums_of(head, (0, 0)) == stored:
            return False
        magic = b"\x37\x7f\x06" + (b"\x83" if self._order == ">" else b"\x82")
        constants = magic + struct.pack(">II", _LOG_VERSION, _PAGE)
        salts = self._salts(0)
        # What is known of it comes first: constants, and the salts that each frame repeats.
        for known in (constants + head[12:24], constants + head[12:16] + salts):
            if self._sums_of(known, (0, 0)) == stored:
                self.raw[:24] = known
                return True
        if self._is_right(0, sums := self._sums_of(head, (0, 0))):
            self._store(24, sums)
            return True
        corrected = self._corrected(bytes(head), (0, 0), stored, b"")
        self.raw[:24] = corrected or head
        return bool(corrected)

    def _mend_frame(self, number: int, seed: Sums) -> bool:
        """Whether the frame is right now."""
        at = self._at(number)
        sums, stored = self._sums_at(number, seed), self._stored(at + 16)
        if sums != stored:
            if self._salts(number) != self.raw[16:24]:
                return False  # of an earlier log
            # Either a word of the frame is wrong or its checksum is: the next frame knows.
            if self._is_right(number + 1, sums):
                self._store(at + 16, sums)
            else:
                before = self._page_before(number)
                corrected = self._corrected(self._summed(number), seed, stored, before)
                if not corrected:
                    return False
                self.raw[at : at + _SUMMED_HEAD] = corrected[:_SUMMED_HEAD]
                self.raw[at + _FRAME_HEAD : self._at(number + 1)] = corrected[_SUMMED_HEAD:]
        # The salts are not summed.
        self.raw[at + 8 : at + 16] = self.raw[16:24]
        return True

    def _page_before(self, number: int) -> bytes:
        """What the page of a frame held before it, with room for the frame's head; or nothing."""
        page = self._field(number, 0)
        for earlier in reversed(range(number)):
            if self._field(earlier, 0) == page:
                return self._summed(earlier)
        with self.path.open("rb") as file:
            file.seek((page - 1) * _PAGE if page else 0)
            content = file.read(_PAGE)
        return bytes(_SUMMED_HEAD) + content if len(content) == _PAGE else b""

    def _corrected(self, summed: bytes, seed: Sums, wanted: Sums, before: bytes) -> bytes:
        """The bytes with the one word changed that gives the wanted sums; empty if there is none.

        A word that is wrong by `e` changes the sums by `e` times a weight that depends on its
        place alone: (1, 1) for the first of the last pair, (0, 1) for the second, and each pair
        that follows turns a weight (a, b) into (a + b, a + 2b).
        """
        have = self._sums_of(summed, seed)
        off = [(want - got) % _WORD for want, got in zip(wanted, have, strict=True)]
        found = []
        first, second = (1, 1), (0, 1)
        for pair in reversed(range(len(summed) // 8)):
            for weights, word in ((first, 2 * pair), (second, 2 * pair + 1)):
                odd = 0 if weights[0] % 2 else 1
                error = off[odd] * pow(weights[odd], -1, _WORD) % _WORD
                if all(error * w % _WORD == o for w, o in zip(weights, off, strict=True)):
                    found.append((word, error))
            first, second = _after_a_pair(first), _after_a_pair(second)
        order = f"{self._order}I"
        candidates = []
        for word, error in found:
            changed = bytearray(summed)
            (value,) = struct.unpack_from(order, changed, at := 4 * word)
            struct.pack_into(order, changed, at, (value + error) % _WORD)
            if len(found) == 1 or changed[at : at + 4] == before[at : at + 4]:
                candidates.append(bytes(changed))
        return candidates[0] if len(candidates) == 1 else b""

    def _is_right(self, number: int, seed: Sums) -> bool:
        if number >= self._count():
            return False
        return self._sums_at(number, seed) == self._stored(self._at(number) + 16)

    def _sums_at(self, number: int, seed: Sums) -> Sums:
        return self._sums_of(self._summed(number), seed)

    def _sums_of(self, data: bytes | bytearray, seed: Sums) -> Sums:
        return _sums(data, seed, self._order)

    def _summed(self, number: int) -> bytes:
        at = self._at(number)
        head = self.raw[at : at + _SUMMED_HEAD]
        return bytes(head + self.raw[at + _FRAME_HEAD : self._at(number + 1)])

    @property
    def _order(self) -> str:
        """The last bit of the magic number tells the byte order of the sums."""
        return ">" if self.raw[3] & 1 else "<"

    def _at(self, number: int) -> int:
        return _LOG_HEAD + number * (_FRAME_HEAD + _PAGE)

    def _count(self) -> int:
        return max(0, (len(self.raw) - _LOG_HEAD) // (_FRAME_HEAD + _PAGE))

    def _field(self, number: int, place: int) -> int:
        return int(struct.unpack_from(">I", self.raw, self._at(number) + place)[0])

    def _salts(self, number: int) -> bytearray:
        return self.raw[self._at(number) + 8 : self._at(number) + 16]

    def _stored(self, at: int) -> Sums:
        first, second = struct.unpack_from(">II", self.raw, at)
        return int(first), int(second)

    def _store(self, at: int, sums: Sums) -> None:
        struct.pack_into(">II", self.raw, at, *sums)


def _after_a_pair(weights: Sums) -> Sums:
    one, two = weights
    return (one + two) % _WORD, (one + 2 * two) % _WORD


def _sums(data: bytes | bytearray, seed: Sums, order: str) -> Sums:
    """The checksum of the log's format over words of 32 bits."""
    one, two = seed
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for first, second in zip(words[::2], words[1::2], strict=True):
        one = (one + first + two) % _WORD
        two = (two + second + one) % _WORD
    return one, two


def _overwrite(path: Path, raw: bytes | bytearray) -> None:
    with path.open("r+b") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
