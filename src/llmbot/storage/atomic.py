"""Files that are whole or not there: written aside, synced, renamed, and the name synced too.

Of all disk states that a power cut may leave, a rename without a sync of the content loses
acknowledged data in many, one without a sync of the folder in a few, with both in none. What was
written aside bears a name of its own each time, so that no descriptor is ever synced again after
its sync failed.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import re
from collections.abc import Iterable
from pathlib import Path

from llmbot.storage.filesystem import FileSystem

ASIDE = re.compile(r".+\.new-\d+")
"""Names of what was being written when the process ended; nothing else is called so."""

_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EXDEV, errno.EMLINK, errno.ENOSYS})
"""What disks answer that know no second names (FAT, some network drives), or not here."""

_numbers = itertools.count(1)


def write_aside(files: FileSystem, target: Path, data: bytes) -> Path:
    """Write a file under another name beside its own, durably; the caller renames it.

    Raises:
        OSError: the disk refused; what was begun is removed, as far as the disk lets us.
    """
    while True:
        aside = target.with_name(f"{target.name}.new-{next(_numbers)}")
        try:
            descriptor = files.create(aside)
            break
        except FileExistsError:
            # An earlier life left it behind; it is nobody's now, yet cleaning is done elsewhere.
            continue
    try:
        try:
            files.write(descriptor, data)
            files.sync(descriptor)
        finally:
            files.close(descriptor)
    except BaseException:
        remove(files, aside)
        raise
    return aside


def write_whole(files: FileSystem, target: Path, data: bytes) -> None:
    """Replace a file durably: after a power cut it holds the old bytes or the new ones.

    Raises:
        OSError: the disk refused, and nobody knows which of both it holds.
    """
    put_in_place(files, write_aside(files, target, data), target)
    files.sync_folder(target.parent)


def put_in_place(files: FileSystem, aside: Path, target: Path) -> None:
    """Give what was written aside its name; durable after a sync of the folder.

    Raises:
        OSError: the disk refused; what was written aside is removed.
    """
    try:
        files.rename(aside, target)
    except BaseException:
        remove(files, aside)
        raise


def second_name(files: FileSystem, source: Path, target: Path, data: bytes) -> None:
    """Let `target` hold what `source` holds now (`data`), in place of what it held before.

    A second name costs no room, which matters most on a full disk. It is durable after a sync of
    the folder.

    Raises:
        OSError: the disk refused; `target` is what it was.
    """
    aside = target.with_name(f"{target.name}.new-{next(_numbers)}")
    try:
        files.link(source, aside)
    except FileExistsError:
        aside = write_aside(files, target, data)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        aside = write_aside(files, target, data)
    put_in_place(files, aside, target)
    # Where both are names of one file already, rename does nothing and both stay (POSIX, rename).
    remove(files, aside)


def make_folders(files: FileSystem, root: Path, folder: Path) -> None:
    """Make a folder below `root`, with those between, durably; `root` must be there.

    Folders that exist are synced as well: whoever made one may have died before its name was safe.

    Raises:
        OSError: the disk refused.
    """
    inner = folder.relative_to(root)
    for step in (*reversed(inner.parents), inner):
        if step != Path():
            with contextlib.suppress(FileExistsError):
                files.make_folder(root / step)
            files.sync_folder((root / step).parent)


def remove(files: FileSystem, path: Path) -> bool:
    """Take a name away if the disk lets us; a name that stays is a nuisance, no danger."""
    try:
        files.unlink(path)
    except OSError:
        return False
    return True


def clear_aside(files: FileSystem, folders: Iterable[Path]) -> int:
    """Remove what earlier lives were writing when they ended; how many that were."""
    count = 0
    for folder in folders:
        with contextlib.suppress(OSError):
            for entry in files.list(folder):
                if not entry.is_folder and ASIDE.fullmatch(entry.name):
                    count += remove(files, folder / entry.name)
    return count
