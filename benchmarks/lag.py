"""How late the event loop of a bot under measurement is, by a task of its own in its process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from llmbot.kernel.clock import SystemClock

T = TypeVar("T")

_LOOK_S = 0.01
"""A stop of the loop is seen but for what of it falls into a look's pause."""
_WRITE_EVERY = 50
_CLOCK = SystemClock()


async def watched(work: Coroutine[Any, Any, T], path: Path) -> T:
    """Run a bot and write down, twice a second, how late each of the last looks was."""
    watch = asyncio.create_task(_watch(path), name="lag")
    try:
        return await work
    finally:
        watch.cancel()
        await asyncio.wait((watch,))


def read_lags(path: Path) -> list[float]:
    """All that was written down so far, in milliseconds; none where nothing was."""
    return [float(line) for line in path.read_text().split()] if path.exists() else []


async def _watch(path: Path) -> None:
    late: list[str] = []
    with path.open("a") as file:  # a line of 60 bytes into the page cache costs the loop nothing
        while True:
            began = time.perf_counter()
            await _CLOCK.sleep(_LOOK_S)
            late.append(f"{max(0.0, time.perf_counter() - began - _LOOK_S) * 1000:.2f}\n")
            if len(late) >= _WRITE_EVERY:
                file.write("".join(late))
                file.flush()
                late.clear()
