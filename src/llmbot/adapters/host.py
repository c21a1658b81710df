"""The machine the bot runs on, as far as it matters to it."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["DiskReading", "Host", "MemoryReading", "disk_at"]


@dataclass(frozen=True, slots=True)
class MemoryReading:
    """The process's memory in bytes."""

    resident: int
    unique: int
    """What no other process shares."""
    virtual: int


@dataclass(frozen=True, slots=True)
class DiskReading:
    """The disk below a directory, in bytes; `error` where nothing can be stored there."""

    free: int
    total: int
    error: str = ""


class Host:
    """Readings of this process and its machine."""

    def __init__(self) -> None:
        """Look at this process."""
        self._process = psutil.Process(os.getpid())
        self._trim = _malloc_trim()

    def resident_bytes(self) -> int:
        """Memory that the process holds in RAM; costs microseconds."""
        return int(self._process.memory_info().rss)

    def memory(self) -> MemoryReading:
        """All sizes; costs milliseconds, since the system adds up every page."""
        try:
            full = self._process.memory_full_info()
        except psutil.Error:
            plain = self._process.memory_info()
            return MemoryReading(int(plain.rss), int(plain.rss), int(plain.vms))
        return MemoryReading(int(full.rss), int(full.uss), int(full.vms))

    def open_files(self) -> int:
        """Open file descriptors, sockets among them; 0 where the system does not tell."""
        try:
            return int(self._process.num_fds())
        except (AttributeError, psutil.Error):
            return 0

    def processor_s(self) -> float:
        """Seconds of processor time that the process has used."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def give_back(self) -> bool:
        """Return freed arenas to the system; False where this platform offers no way."""
        if self._trim is None:
            return False
        self._trim(0)
        return True


def disk_at(directory: Path) -> DiskReading:
    """The disk below a directory; may block where the disk hangs, so call it on a thread."""
    try:
        usage = shutil.disk_usage(directory)
        read_only = hasattr(os, "statvfs") and os.statvfs(directory).f_flag & os.ST_RDONLY
    except OSError as error:
        words = f"{directory} cannot be read ({error.strerror})"
        return DiskReading(0, 1, words)
    return DiskReading(usage.free, usage.total, "mounted read-only" if read_only else "")


def _malloc_trim() -> Callable[[int], int] | None:
    """Memory is returned by a call of glibc's; other C libraries have none."""
    try:
        trim = ctypes.CDLL("libc.so.6").malloc_trim
    except (OSError, AttributeError):
        return None
    trim.argtypes, trim.restype = [ctypes.c_size_t], ctypes.c_int
    found: Callable[[int], int] = trim
    return found
