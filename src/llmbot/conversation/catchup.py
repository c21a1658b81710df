"""After a gap: look for what was missed, until it is found, whatever ends meanwhile.

The beginning of a gap is stored before the search and forgotten after it, so that a process that
dies in between searches again even if its next session resumes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from llmbot.conversation.backfill import Backfill
from llmbot.conversation.job_store import JobStore
from llmbot.conversation.ports import KnownChannel
from llmbot.kernel.clock import Clock

_GAP = "gap_since_s"
_TRIES_MAX = 5
_PAUSE_S = 2.0


class CatchUp:
    """Owns the search for missed messages; `run` is its task."""

    def __init__(self, backfill: Backfill, store: JobStore, clock: Clock) -> None:
        """Search with `backfill`."""
        self._backfill = backfill
        self._store = store
        self._clock = clock
        self._asked = asyncio.Event()
        self._channels: Sequence[KnownChannel] = ()
        self._since_s = 0.0

    async def load(self) -> None:
        """Read whether an earlier life died while it was searching."""
        self._since_s = float(await self._store.meta(_GAP) or 0)

    def session_ready(
        self, resumed: bool, heard_s: float, channels: Sequence[KnownChannel]
    ) -> None:
        """A session began: new, so that something may be missing since `heard_s`, or resumed.

        The very first session of a bot has missed nothing.
        """
        if not resumed and heard_s:
            self._since_s = min(self._since_s or heard_s, heard_s)
            self._keep(self._since_s)
        if channels:
            self._channels = tuple(channels)
        if self._since_s:
            self._asked.set()

    async def run(self) -> None:
        """Search whenever a gap was noticed."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            since_s = self._since_s
            for number in range(_TRIES_MAX):
                done = await self._backfill.run(self._channels, since_s)
                if done.complete or self._asked.is_set():
                    break
                await self._clock.sleep(_PAUSE_S * 2**number)
            if not self._asked.is_set():
                self._since_s = 0.0
                self._keep(0.0)

    def _keep(self, since_s: float) -> None:
        written = self._store.set_meta(_GAP, f"{since_s:.3f}" if since_s else "0")
        written.add_done_callback(lambda done: done.cancelled() or done.exception())
