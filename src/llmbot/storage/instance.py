"""One bot on one data directory, and where that bot can be reached.

`instance.lock` carries a lock of the operating system, which ends with its process however that
dies, so no stale lock can keep a bot from starting. `instance.facts` tells the command line where
the holder listens. Both belong to one life: the facts count only while the lock is held, and only
if both name the same owner.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
from dataclasses import asdict, dataclass, fields, replace
from enum import Enum, auto
from pathlib import Path

import orjson

from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import DataDirectoryError, SecondInstanceError
from llmbot.kernel.ids import Owner
from llmbot.storage.files import DISK_TROUBLE, create_private, replace_durably

LOCK_NAME = "instance.lock"
FACTS_NAME = "instance.facts"
LOCK_TRIES_MAX = 1000
"""A look by the command line holds the lock for microseconds; a holder holds it for hours."""

_LOOK_S = 0.001
"""A pause between two tries: whoever looks may be without a processor for a while."""

FACTS_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """Where a running bot is found; empty fields are not known (yet)."""

    owner: str
    pid: int
    boot_id: str = ""
    started_s: float = 0.0
    """Seconds since the Unix epoch."""
    working_directory: str = ""
    version: str = ""
    http_address: str = ""
    simulator_address: str = ""


_FIELDS = frozenset(field.name for field in fields(InstanceFacts))
"""Another version may tell more; what we do not know we do not read."""


class _Try(Enum):
    """What came of one try at the lock."""

    OURS = auto()
    HELD = auto()
    AGAIN = auto()


class InstanceLock:
    """The lock of one data directory, held until `release` or the end of the process."""

    def __init__(self, data_dir: Path, descriptor: int, facts: InstanceFacts) -> None:
        """Made by `acquire`."""
        self._data_dir = data_dir
        self._descriptor = descriptor
        self._held = True
        self.facts = facts

    def publish(
        self,
        *,
        version: str | None = None,
        http_address: str | None = None,
        simulator_address: str | None = None,
    ) -> bool:
        """Tell the command line more; what is None stays as it was. Blocks for one disk write.

        False where the disk is full or fails: a later call tells all of it.

        Raises:
            DataDirectoryError: the data directory cannot be written.
        """
        given = {
            "version": version,
            "http_address": http_address,
            "simulator_address": simulator_address,
        }
        known = {name: value for name, value in given.items() if value is not None}
        self.facts = replace(self.facts, **known)  # type: ignore[arg-type] # names and types are those of the three fields
        lock, target = self._data_dir / LOCK_NAME, self._data_dir / FACTS_NAME
        partial = self._data_dir / f"{FACTS_NAME}.partial"
        try:
            with lock.open("r+b") as file:
                told = (str(self.facts.pid), self.facts.owner, self.facts.http_address)
                file.write(f"{' '.join(told).rstrip()}\n".encode())
                file.truncate()  # last: a full disk still takes what replaces something
            partial.unlink(missing_ok=True)
            create_private(partial)
            partial.write_bytes(orjson.dumps(asdict(self.facts)))
            replace_durably(partial, target)
        except OSError as error:
            if error.errno in DISK_TROUBLE:
                return False
            raise _unwritable(self._data_dir, error, target) from error
        return True

    def release(self) -> None:
        """Give the directory free; does nothing the second time."""
        if not self._held:
            return
        self._held = False
        with contextlib.suppress(OSError):
            (self._data_dir / FACTS_NAME).unlink(missing_ok=True)
        # The lock file stays: removing it would let two processes lock two files of one name.
        os.close(self._descriptor)


def acquire(data_dir: Path, owner: Owner, clock: Clock) -> InstanceLock:
    """Make this process the only bot on the data directory, which is made if it is missing.

    Raises:
        SecondInstanceError: another bot holds it; names its process.
        DataDirectoryError: it cannot be made or written.
    """
    path = data_dir / LOCK_NAME
    try:
        descriptor = _lock(path)
        if descriptor is None:
            raise _second(data_dir)
    except OSError as error:
        raise _unwritable(data_dir, error, path) from error
    facts = InstanceFacts(
        owner=str(owner),
        pid=owner.pid,
        boot_id=owner.boot_id,
        started_s=clock.wall(),
        working_directory=str(Path.cwd()),
    )
    lock = InstanceLock(data_dir, descriptor, facts)
    try:
        lock.publish()
    except DataDirectoryError:
        lock.release()
        raise
    return lock


def read_instance(data_dir: Path) -> InstanceFacts | None:
    """The bot that runs on this data directory now, or None; takes nothing from it.

    Raises:
        DataDirectoryError: the directory cannot be read.
    """
    try:
        descriptor = os.open(data_dir / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unwritable(data_dir, error, data_dir / LOCK_NAME) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _holder(data_dir, descriptor)
        return None
    finally:
        os.close(descriptor)


def _lock(path: Path) -> int | None:
    """The descriptor of the locked file, or None if another process is its holder.

    A look by `read_instance` holds the lock too, shared and for a moment; a holder is told from a
    look by trying to share it.
    """
    flags = os.O_RDWR | os.O_CREAT
    try:
        create_private(path)
    except OSError as error:
        if error.errno != errno.EROFS or not path.exists():
            raise
        flags = os.O_RDONLY
    pause = threading.Event()
    for _ in range(LOCK_TRIES_MAX):
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
        try:
            state = _try_lock(descriptor, path)
        except BaseException:
            os.close(descriptor)
            raise
        if state is _Try.OURS:
            return descriptor
        os.close(descriptor)
        if state is _Try.HELD:
            return None
        pause.wait(_LOOK_S)
    return None


def _try_lock(descriptor: int, path: Path) -> _Try:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _Try.HELD
        return _Try.AGAIN
    # Someone may have removed the file between open and lock: then ours has no name.
    same = path.exists() and os.fstat(descriptor).st_ino == path.stat().st_ino
    return _Try.OURS if same else _Try.AGAIN


def _holder(data_dir: Path, descriptor: int) -> InstanceFacts:
    """What is known of the holder: all its facts, or what the lock says of it.

    That is its process while it starts, and on a full disk its address at least.
    """
    words = os.pread(descriptor, 400, 0).decode("utf-8", "replace").split()
    pid, owner, address = (*words, "", "", "")[:3]
    number = int(pid) if pid.isdigit() else 0
    known = InstanceFacts(owner=owner, pid=number, http_address=address)
    try:
        with (data_dir / FACTS_NAME).open("rb") as file:
            told = orjson.loads(file.read(FACTS_BYTES_MAX))
        facts = InstanceFacts(**{k: v for k, v in told.items() if k in _FIELDS})
    except (OSError, orjson.JSONDecodeError, AttributeError, TypeError):
        # Not written yet, or by another version: the lock itself names the process.
        return known
    if facts.owner != known.owner:
        return known
    return replace(facts, http_address=facts.http_address or address)


def _second(data_dir: Path) -> SecondInstanceError:
    holder = read_instance(data_dir)
    process = f" (process {holder.pid})" if holder is not None and holder.pid else ""
    return SecondInstanceError(f"Another llmbot{process} runs on the data in {data_dir}.")


def _unwritable(data_dir: Path, error: OSError, path: Path) -> DataDirectoryError:
    if path.is_dir():
        return DataDirectoryError(f"{path} is a directory, not a file of llmbot's; move it away.")
    reason = os.strerror(error.errno or errno.EIO)
    return DataDirectoryError(f"The data directory {data_dir} cannot be written: {reason}.")
