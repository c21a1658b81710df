"""The machine the bot runs on, as far as it matters to it."""

from __future__ import annotations

import os

import psutil


class Host:
    """Readings of this process and its machine; each costs microseconds."""

    def __init__(self) -> None:
        """Look at this process."""
        self._process = psutil.Process(os.getpid())

    def resident_bytes(self) -> int:
        """Memory that the process holds in RAM."""
        return int(self._process.memory_info().rss)
