"""How tests wait: for a state rather than for an event, which may have passed already."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from llmbot.kernel.clock import SystemClock

PATIENCE_S: Final = 120.0
"""A test that waits for longer hangs. It bounds no duration: a busy machine may be very slow."""

_LOOK_S = 0.005
_CLOCK = SystemClock()


async def until(holds: Callable[[], object]) -> None:
    """Wait until something holds that goes on holding, whoever brings it about.

    Raises:
        TimeoutError: it does not hold within `PATIENCE_S` seconds.
    """
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await _CLOCK.sleep(_LOOK_S)
