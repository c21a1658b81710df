"""The machine the bot runs on, as far as it matters to it."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["DiskReading", "Host", "MemoryReading", "disk_at", "return_freed_memory"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Source: malloc.h of the GNU C library; their meaning: mallopt(3)."""
_ARENAS = 2
_LARGE_BYTES = 128 * 1024
"""glibc's own first value, which it raises by itself up to 32 MiB as large blocks come and go."""


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

    def age_s(self, wall_s: float) -> float:
        """Seconds since the process began, at this wall time (seconds since the Unix epoch)."""
        return max(0.0, wall_s - float(self._process.create_time()))

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


def return_freed_memory() -> bool:
    """Let freed memory go back to the system for the life of this process; before any thread.

    Each thread would keep an arena of its own at the size of its largest work: a bot that talked
    and mended itself for two hours held 85 MiB so. False where the platform has no such choice.
    """
    libc = _glibc()
    if libc is None:
        return False
    wanted = (
        (_M_ARENA_MAX, _ARENAS),
        (_M_MMAP_THRESHOLD, _LARGE_BYTES),
        (_M_TRIM_THRESHOLD, _LARGE_BYTES),
    )
    return all(libc.mallopt(name, value) == 1 for name, value in wanted)


def _glibc() -> ctypes.CDLL | None:
    """The GNU C library, where this process runs on it; others have neither of these calls."""
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return None
    return libc if hasattr(libc, "malloc_trim") and hasattr(libc, "mallopt") else None


def _malloc_trim() -> Callable[[int], int] | None:
    libc = _glibc()
    if libc is None:
        return None
    trim = libc.malloc_trim
    trim.argtypes, trim.restype = [ctypes.c_size_t], ctypes.c_int
    found: Callable[[int], int] = trim
    return found
