"""Calls that go on to their end, within a bound, although whoever waits for them is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_LAST_CALL_S = 5.0
"""How long a call that is under way may still take when its job is cancelled."""


async def to_its_end(call: Coroutine[Any, Any, T]) -> T:
    """Run a call so that cancelling the job does not leave its outcome unknown."""
    task = asyncio.ensure_future(call)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await bounded(task)
        raise


async def bounded(task: asyncio.Task[Any]) -> None:
    """Let a task end in its own time, which is short, and then by cancelling it."""
    await asyncio.wait((task,), timeout=_LAST_CALL_S)
    if not task.done():
        task.cancel()
        await asyncio.wait((task,))
    if not task.cancelled():
        task.exception()
