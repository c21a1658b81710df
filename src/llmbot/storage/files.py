"""Files that only their owner may read, and names that survive a power cut."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

DISK_TROUBLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
"""What may pass, or be mended, while the bot runs: it starts, and says so."""


def create_private(path: Path) -> None:
    """Make a file only its owner may read, durably; one that exists keeps its content.

    Raises:
        OSError: it, or its directory, cannot be made.
    """
    missing = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except FileExistsError:
        reason = errno.ENOTDIR
        raise NotADirectoryError(reason, os.strerror(reason), str(path.parent)) from None
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(descriptor).st_mode & 0o077:
            with contextlib.suppress(PermissionError):
                os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
    for folder in (path.parent, *(made.parent for made in missing)):
        sync_directory(folder)


def sync_directory(folder: Path) -> None:
    """Make the names in a directory durable; a new file's fsync alone does not."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_durably(source: Path, target: Path) -> None:
    """Give a complete file its final name: its content first, then the name, both on disk.

    Raises:
        OSError: the disk refused; `target` is the old file or the new one, never a part.
    """
    descriptor = os.open(source, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    source.replace(target)
    sync_directory(target.parent)
