"""Temporary files: made in a directory of our own, removed when no job needs them any more.

A directory is our own when we made it, or found it empty, and left our mark in it. In one that
others use too (somebody set TEMP_DIR to a shared one) only what carries our names is removed.
Called on threads; symbolic links are removed and never followed.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CONTEXT", "Cleaned", "TempUse", "clean", "prepare", "use_of"]

MARK = ".llmbot-temp"
CONTEXT = "context"
"""Below it each large context has a directory of its job's name."""

OUR_PREFIX = "llmbot-"
LEFT_SHOWN_MAX = 20


@dataclass(frozen=True, slots=True)
class TempUse:
    """What stands in the directory."""

    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What was removed, and what could not be."""

    files: int
    bytes: int
    left: tuple[str, ...]


def prepare(directory: Path) -> bool:
    """Make the directory and its rooms; whether it is our own.

    Raises:
        OSError: it cannot be made or written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    mark = directory / MARK
    entries = {entry.name for entry in os.scandir(directory)}
    if mark.name not in entries and not entries - {CONTEXT}:
        mark.write_text("llmbot's temporary files: whatever is here may go.\n", encoding="ascii")
    context = directory / CONTEXT
    context.mkdir(exist_ok=True)
    # Named after who asks: another may ask at the same time, or clean up what stands here.
    probe = context / f"{OUR_PREFIX}probe-{os.getpid()}-{threading.get_ident()}"
    probe.write_bytes(b"can be written\n")
    probe.unlink(missing_ok=True)
    return mark.exists()


def use_of(directory: Path) -> TempUse:
    """What stands in the directory now, our mark aside."""
    files = size = 0
    for path in _files(directory):
        if path.name != MARK:
            files += 1
            size += _size(path)
    return TempUse(files, size)


def clean(directory: Path, live_jobs: Collection[str]) -> Cleaned:
    """Remove everything that belongs to no live job.

    Raises:
        OSError: the directory cannot be read.
    """
    own = prepare(directory)
    files = size = 0
    left: list[str] = []
    for path in list(_removable(directory, live_jobs, own=own)):
        try:
            found, found_bytes = _weigh(path)
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        except FileNotFoundError:
            continue  # whoever made it has just taken it away
        except OSError as error:
            left.append(f"{path.name}: {error.strerror}")
            continue
        files, size = files + found, size + found_bytes
    return Cleaned(files, size, tuple(left[:LEFT_SHOWN_MAX]))


def _removable(directory: Path, live_jobs: Collection[str], *, own: bool) -> Iterator[Path]:
    for entry in os.scandir(directory):
        if entry.name in (MARK, CONTEXT):
            continue
        if own or entry.name.startswith(OUR_PREFIX):
            yield Path(entry.path)
    for entry in os.scandir(directory / CONTEXT):
        if entry.name not in live_jobs:
            yield Path(entry.path)


def _weigh(path: Path) -> tuple[int, int]:
    if path.is_symlink() or not path.is_dir():
        return 1, _size(path)
    files = list(_files(path))
    return len(files), sum(_size(file) for file in files)


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:  # gone since it was seen
        return 0


def _files(directory: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(directory, followlinks=False):
        for name in names:
            yield Path(folder) / name
