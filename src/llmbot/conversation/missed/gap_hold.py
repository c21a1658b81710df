"""Holds live messages while what was missed before them is looked for, and lets them go in order.

Nothing is held for ever: a search that takes too long gives way to answers. One whose channels are
not told in time begins with those in which somebody waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence

from llmbot.conversation.jobs import Job
from llmbot.conversation.messages import Source
from llmbot.conversation.missed.gap import Gap
from llmbot.conversation.ports import KnownChannel
from llmbot.conversation.queue import JobQueue
from llmbot.kernel.clock import Clock
from llmbot.kernel.ids import snowflake_at

SESSION_S = 5.0
"""After the first event of a new session its announcement must come; servers may delay it 2 s."""

HOLD_S = 30.0
"""How long live messages wait at most for earlier ones that are still looked for."""

SKEW_S = 60.0
"""How far Discord's clock may be from ours."""


class GapHold:
    """Between the inbox and the queue; see the module's docstring."""

    def __init__(self, queue: JobQueue, clock: Clock) -> None:
        """Let go into `queue`."""
        self._queue = queue
        self._clock = clock
        self._gap = Gap()
        self._watch: asyncio.Task[None] | None = None
        self.late: Callable[[Sequence[KnownChannel]], None] | None = None
        """Told of the channels in which somebody waits, when no session has told any in time."""

    # ── what is held ────────────────────────────────────────────────────────────────────────────

    def begin(self) -> None:
        """Something may have been missed: hold what comes live from now on."""
        self._gap.begin()
        self._stop_watching()
        self._watch = asyncio.create_task(self._watch_time(), name="gap-watch")

    def resume(self, since_s: float) -> None:
        """An earlier life died in its search: what came live since then waits for it again."""
        self.begin()
        for job in self._queue.withdraw_fresh(snowflake_at(since_s - SKEW_S)):
            self._gap.keep(job)

    def take(self, job: Job) -> bool:
        """Hold a job if it must wait; False where it may go on."""
        came_live = job.inbound.source in (Source.LIVE, Source.REPLAYED)
        if not came_live or not self._gap.holds(job.inbound.channel_id):
            return False
        self._gap.keep(job)
        return True

    def held(self, message_id: int) -> Job | None:
        """A job that is held here."""
        return self._gap.held(message_id)

    def jobs(self) -> list[Job]:
        """All that are held here."""
        return self._gap.jobs()

    def drop(self, message_id: int) -> None:
        """A held job has ended."""
        self._gap.drop(message_id)

    # ── what the search says ────────────────────────────────────────────────────────────────────

    def only_in(self, channel_ids: Collection[int]) -> None:
        """The search looks into these channels; the others have missed nothing."""
        self._release(self._gap.narrow(channel_ids))

    def reached(self, channel_id: int, message_id: int) -> None:
        """All that was missed before this message is claimed: what is held goes before it."""
        self._release(self._gap.reached(channel_id, message_id))

    def searched(self, channel_id: int) -> None:
        """All that was missed in a channel is claimed."""
        self._release(self._gap.searched(channel_id))

    def over(self) -> None:
        """The search has ended."""
        self._stop_watching()
        self._release(self._gap.end())

    def extend(self) -> None:
        """Discord could not be asked: nobody could be answered either, and the hold begins anew."""
        if self._watch is not None and not self._watch.done():
            self._watch.cancel()
            self._watch = asyncio.create_task(self._watch_hold(HOLD_S), name="gap-watch")

    async def close(self) -> None:
        """End the watch; what is held is durable and waits for the next life."""
        watch = self._watch
        self._stop_watching()
        if watch is not None:
            await asyncio.wait((watch,))

    # ── inside ──────────────────────────────────────────────────────────────────────────────────

    async def _watch_time(self) -> None:
        await self._clock.sleep(SESSION_S)
        if self.late is not None:
            self.late(self._gap.channels())
        await self._watch_hold(HOLD_S - SESSION_S)

    async def _watch_hold(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._release(self._gap.end())

    def _release(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            self._queue.put(job)

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
