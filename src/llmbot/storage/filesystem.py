"""What the document store asks of a disk, as a port: each method is one step that may fail.

Tests stand a disk behind it that refuses any step with any error, or that loses after a power cut
whatever the rules of file systems allow it to lose.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file as the disk knows it; two equal ones are taken for the same, unchanged file."""

    inode: int
    bytes: int
    modified_ns: int
    """Nanoseconds since the Unix epoch."""


class Entry(NamedTuple):
    """One name in a folder; what is neither a plain file nor a folder is not listed."""

    name: str
    is_folder: bool


@dataclass(frozen=True, slots=True)
class Space:
    """Room on the disk, in bytes, for us (not for its administrator)."""

    free: int
    total: int


class FileSystem(Protocol):
    """A disk. Every method may raise `OSError`; a name that is not there, `FileNotFoundError`."""

    def read(self, path: Path, bytes_max: int) -> bytes:
        """The content of a plain file, at most `bytes_max` bytes and one."""
        ...

    def create(self, path: Path) -> int:
        """Make a new private file and open it; `FileExistsError` where the name is taken."""
        ...

    def write(self, descriptor: int, data: bytes) -> None:
        """Write all of the data."""
        ...

    def sync(self, descriptor: int) -> None:
        """Return when the file's content is on the disk.

        After an error the descriptor must not be asked again: the kernel may have dropped what it
        could not write, and would report success.
        """
        ...

    def close(self, descriptor: int) -> None:
        """Give the descriptor back."""
        ...

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name; `FileExistsError` where the name is taken."""
        ...

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another name in one step, in place of whatever bears it."""
        ...

    def unlink(self, path: Path) -> None:
        """Take a name away."""
        ...

    def make_folder(self, path: Path) -> None:
        """Make one private folder; `FileExistsError` where the name is taken."""
        ...

    def sync_folder(self, path: Path) -> None:
        """Return when the names in a folder are on the disk; a file's own `sync` does not."""
        ...

    def list(self, path: Path) -> list[Entry]:
        """The plain files and folders in a folder, by name."""
        ...

    def facts(self, path: Path) -> FileFacts:
        """What the disk knows of a file."""
        ...

    def space(self, path: Path) -> Space:
        """The room on the disk that holds `path`."""
        ...


class RealFileSystem:
    """The machine's disk; never follows a symbolic link to a file, and opens nothing but files."""

    def read(self, path: Path, bytes_max: int) -> bytes:
        """See `FileSystem.read`."""
        # Without O_NONBLOCK, opening a pipe that somebody put there would hang.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(path, flags)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(path))
            pieces: list[bytes] = []
            left = bytes_max + 1
            while left > 0 and (piece := os.read(descriptor, left)):
                pieces.append(piece)
                left -= len(piece)
            return b"".join(pieces)
        finally:
            os.close(descriptor)

    def create(self, path: Path) -> int:
        """See `FileSystem.create`."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(path, flags, PRIVATE_FILE)

    def write(self, descriptor: int, data: bytes) -> None:
        """See `FileSystem.write`."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    def sync(self, descriptor: int) -> None:
        """See `FileSystem.sync`."""
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """See `FileSystem.close`."""
        os.close(descriptor)

    def link(self, source: Path, target: Path) -> None:
        """See `FileSystem.link`."""
        os.link(source, target, follow_symlinks=False)

    def rename(self, source: Path, target: Path) -> None:
        """See `FileSystem.rename`."""
        source.replace(target)

    def unlink(self, path: Path) -> None:
        """See `FileSystem.unlink`."""
        path.unlink()

    def make_folder(self, path: Path) -> None:
        """See `FileSystem.make_folder`."""
        path.mkdir(mode=PRIVATE_FOLDER)

    def sync_folder(self, path: Path) -> None:
        """See `FileSystem.sync_folder`."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def list(self, path: Path) -> list[Entry]:
        """See `FileSystem.list`."""
        with os.scandir(path) as entries:
            found = [
                Entry(entry.name, is_folder)
                for entry in entries
                if (is_folder := entry.is_dir(follow_symlinks=False))
                or entry.is_file(follow_symlinks=False)
            ]
        return sorted(found)

    def facts(self, path: Path) -> FileFacts:
        """See `FileSystem.facts`."""
        known = path.lstat()
        return FileFacts(known.st_ino, known.st_size, known.st_mtime_ns)

    def space(self, path: Path) -> Space:
        """See `FileSystem.space`."""
        known = os.statvfs(path)
        return Space(known.f_bavail * known.f_frsize, known.f_blocks * known.f_frsize)
