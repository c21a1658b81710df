"""The files of the audit: appended to, rotated, read back and checked. Called on threads.

`audit.log` is the newest; full ones become `audit-NUMBER.log` after the first record in them, and
the oldest go when there are too many. None of them ends in `.json`: a script of the runbook mends
whatever does. `begun-ID.note` is an act under way, `audit.head` names the last record, so that
records that are gone from the end are missed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from llmbot.operations.audit.lines import BEGINNING, Act, AuditRecord, read_line
from llmbot.storage.files import DISK_TROUBLE, replace_durably, sync_directory

__all__ = ["DIRECTORY", "AuditFiles", "Place", "Verification", "tail", "verify"]

DIRECTORY = "audit"
"""Below DATA_DIR."""

NAME = "audit.log"
HEAD = "audit.head"
MEND = "audit/mend"
"""The act of a start that found the audit damaged."""
FILE_BYTES_MAX = 8 * 1024 * 1024
FILES_MAX = 20
_NOTES_MAX = 1000
_TAIL_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Place:
    """Where an earlier life ended."""

    number: int
    hash: str
    begun: tuple[Act, ...]
    """Acts that it had begun and not recorded."""
    torn_bytes: int
    """Of a last line that was cut off in the middle."""
    problems: tuple[str, ...] = ()
    """Damage to the newest file that no life has recorded yet."""
    lost: tuple[int, int] | None = None
    """The first and the last of the records that are gone from the end."""


@dataclass(frozen=True, slots=True)
class _Head:
    """The last record that was acknowledged."""

    number: int
    hash: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What a check of the whole chain found."""

    records: int
    files: int
    first: int
    """Number of the oldest record that is kept."""
    last: int
    last_hash: str
    problems: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether nothing is missing, changed or out of its place."""
        return not self.problems


class AuditFiles:
    """Writes; every method may raise `OSError`."""

    def __init__(
        self, directory: Path, *, file_bytes_max: int = FILE_BYTES_MAX, files_max: int = FILES_MAX
    ) -> None:
        """Keep at most `files_max` full files of `file_bytes_max` bytes."""
        self.directory = directory
        self._path = directory / NAME
        self._file_bytes_max = file_bytes_max
        self._files_max = files_max
        self._size = 0

    def open(self) -> Place:
        """Make the directory, cut off a torn last line, and say where to go on.

        A disk that is full or read-only does not matter yet: `append` makes up for it.
        """
        aside: tuple[str, ...] = ()
        if not self.directory.is_dir():
            aside += _put_aside(self.directory, "directory")
        with _disk_trouble_later():
            self.directory.mkdir(parents=True, exist_ok=True)
        if not self._path.is_file():
            aside += _put_aside(self._path, "file")
        torn = self._cut_torn_line()
        number, digest = 0, BEGINNING
        for path in reversed(_in_order(self.directory)):
            last = _last_record(path)
            if last is not None:
                number, digest = last.number, last.hash
                break
        problems = (*aside, *self._unrecorded_damage())
        head, lost = _read_head(self.directory), None
        if head is not None and head.number > number:
            # The chain goes on behind what is gone: the next record says so.
            lost = (number + 1, head.number)
            problems = (*problems, f"{NAME}: {_gone(*lost)}")
            number, digest = head.number, head.hash
        elif head is not None and head.number == number and head.hash != digest:
            problems = (*problems, f"{NAME}: its last record is not the one that was written")
        known = {record.act.id for record in tail(self.directory, _NOTES_MAX)}
        begun = []
        for path, act in self._notes():
            if act is None or act.id in known:  # recorded, and killed before the note was removed
                with _disk_trouble_later():
                    path.unlink(missing_ok=True)
            else:
                begun.append(act)
        return Place(number, digest, tuple(begun), torn, problems, lost)

    def append(self, lines: bytes) -> None:
        """Add lines durably; after a failure the file ends where it ended before."""
        if self._size and self._size + len(lines) > self._file_bytes_max:
            self._rotate()
        self.directory.mkdir(parents=True, exist_ok=True)
        # Opened anew each time: after a failed fsync a descriptor cannot be trusted again.
        fresh = not self._path.exists()
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(descriptor, self._size)  # what a failed try had left
            os.lseek(descriptor, 0, os.SEEK_END)
            written = 0
            while written < len(lines):
                written += os.write(descriptor, lines[written:])
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if fresh:
            sync_directory(self.directory)
        self._write_head(lines)
        self._size += len(lines)

    def _write_head(self, lines: bytes) -> None:
        last = read_line(lines.splitlines()[-1])
        fresh = self.directory / f"{HEAD}.new"
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, orjson.dumps(asdict(_Head(last.number, last.hash))))
        finally:
            os.close(descriptor)
        replace_durably(fresh, self.directory / HEAD)

    def note(self, act: Act) -> None:
        """Note an act that begins."""
        path = self.directory / f"begun-{act.id}.note"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, orjson.dumps(asdict(act), default=str))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def forget(self, act_ids: Iterable[str]) -> None:
        """Remove the notes of acts that are recorded; what stays is removed at the next open."""
        for act_id in act_ids:
            with contextlib.suppress(OSError):
                (self.directory / f"begun-{act_id}.note").unlink(missing_ok=True)

    def _rotate(self) -> None:
        first = next(_lines(self._path), b"")
        number = read_line(first).number if first else 0
        self._path.replace(self.directory / f"audit-{number:012d}.log")
        sync_directory(self.directory)
        self._size = 0
        for path in _in_order(self.directory)[: -self._files_max]:
            path.unlink(missing_ok=True)

    def _unrecorded_damage(self) -> tuple[str, ...]:
        newest = _in_order(self.directory)[-1:]
        problems = verify(self.directory, newest).problems
        known = 0
        for line in _lines(newest[0]) if problems else ():
            with contextlib.suppress(ValueError):
                record = read_line(line)
                if record.act.action == MEND:
                    known = int(str(record.after.get("problems", known)))
        return problems if len(problems) != known else ()

    def _cut_torn_line(self) -> int:
        """The size of what was cut off; a line without its end was never acknowledged."""
        try:
            self._size = self._path.stat().st_size
        except FileNotFoundError:
            self._size = 0
            return 0
        if not self._size:
            return 0
        with self._path.open("rb") as file:
            start = max(0, self._size - _TAIL_BYTES)
            file.seek(start)
            end = file.read().rfind(b"\n")
        keep = start + end + 1 if end >= 0 else 0
        torn = self._size - keep
        self._size = keep
        if torn:
            with _disk_trouble_later(), self._path.open("r+b") as file:
                file.truncate(keep)
                os.fsync(file.fileno())
        return torn

    def _notes(self) -> Iterator[tuple[Path, Act | None]]:
        for path in sorted(self.directory.glob("begun-*.note"))[:_NOTES_MAX]:
            try:
                yield path, Act(**orjson.loads(path.read_bytes()))
            except (ValueError, TypeError):
                yield path, None


def _put_aside(path: Path, wanted: str) -> tuple[str, ...]:
    """Make way where a name is something else's; what was done, in words."""
    if not os.path.lexists(path):
        return ()
    kept = path.with_name(f"{path.name}.{len(list(path.parent.iterdir()))}.aside")
    path.rename(kept)
    sync_directory(path.parent)
    return (f"{path.name} was no {wanted}; what was there is {kept.name}",)


@contextlib.contextmanager
def _disk_trouble_later() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_TROUBLE:
            raise


def verify(directory: Path, only: Sequence[Path] | None = None) -> Verification:
    """Check every record of the whole chain, oldest first, or of these files only."""
    # Before the records, of which a bot that runs may add one meanwhile.
    head = _read_head(directory) if only is None else None
    problems: list[str] = []
    records = first = 0
    last: AuditRecord | None = None
    paths = _in_order(directory) if only is None else only
    for path in paths:
        for place, line in enumerate(_lines(path), start=1):
            where = f"{path.name}, line {place}"
            if not line.endswith(b"\n") and path == paths[-1]:
                problems.append(f"{where}: torn, as by a kill; the next start cuts it off")
                continue
            try:
                record = read_line(line)
            except ValueError as error:
                problems.append(f"{where}: {error}")
                continue
            problems += [f"{where}: {wrong}" for wrong in _wrong_with(record, last, head)]
            first = first or record.number
            records += 1
            last = record
    number, digest = (last.number, last.hash) if last else (0, "")
    if head is not None and head.number > number:
        problems.append(f"{NAME}: {_gone(number + 1, head.number)}")
    return Verification(records, len(paths), first, number, digest, tuple(problems))


def _wrong_with(
    record: AuditRecord, before: AuditRecord | None, head: _Head | None
) -> Iterator[str]:
    """What is wrong with a record's place in the chain."""
    lost = _lost_before(record)
    if lost is not None:
        yield f"before it {_gone(*lost)}"
    elif before is None:
        if record.number == 1 and record.previous != BEGINNING:
            yield "the first record is chained to something before it"
    elif record.number != before.number + 1:
        yield f"record {record.number} follows {before.number}"
    elif record.previous != before.hash:
        yield "not chained to the record before it"
    if head is not None and head.number == record.number and head.hash != record.hash:
        yield "not the record that was written"


def _gone(first: int, last: int) -> str:
    return f"{last - first + 1} record(s) are gone, from number {first} to {last}"


def _lost_before(record: AuditRecord) -> tuple[int, int] | None:
    """Which records a start had found gone when it wrote this one."""
    first, last = record.after.get("lostFrom"), record.after.get("lostTo")
    if record.act.action != MEND or not isinstance(first, int) or not isinstance(last, int):
        return None
    return first, last


def _read_head(directory: Path) -> _Head | None:
    """The last record that was acknowledged; None where that is not known."""
    try:
        fields = orjson.loads((directory / HEAD).read_bytes())
        return _Head(int(fields["number"]), str(fields["hash"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def tail(directory: Path, count: int) -> list[AuditRecord]:
    """The last records, oldest first; lines that cannot be read are left out."""
    found: list[AuditRecord] = []
    for path in reversed(_in_order(directory)):
        readable = []
        for line in _lines(path):
            with contextlib.suppress(ValueError):
                readable.append(read_line(line))
        found = [*readable[-(count - len(found)) :], *found]
        if len(found) >= count:
            break
    return found[-count:] if count > 0 else []


def _in_order(directory: Path) -> list[Path]:
    """The files, oldest first; the newest has no number in its name."""
    newest = directory / NAME
    return [*sorted(directory.glob("audit-*.log")), *([newest] if newest.exists() else [])]


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file


def _last_record(path: Path) -> AuditRecord | None:
    last = None
    for line in _lines(path):
        with contextlib.suppress(ValueError):
            last = read_line(line)
    return last
