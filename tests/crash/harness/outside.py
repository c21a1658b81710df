"""Time and chance of the judge: it shares no clock with the bot."""

from __future__ import annotations

from asyncio import sleep  # noqa: TID251 - the judge waits for another process, there is no Clock
from random import Random  # noqa: TID251 - seeded by whoever runs it
from time import monotonic  # noqa: TID251 - see above

__all__ = ["Random", "monotonic", "sleep", "until"]


async def until(deadline: float, step_s: float = 0.02) -> bool:
    """Wait one step; False once the monotonic `deadline` is over."""
    await sleep(step_s)
    return monotonic() < deadline
