"""After a gap: look for what was missed, until it is found, whatever ends meanwhile.

That a search must be made is durable before the new session's place is, and its channels as soon as
they are known; both are forgotten after the search. A process that dies in between is followed by
one that searches again, even if that resumes the session and is told no channels.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence

import orjson

from llmbot.conversation.ledger.job_store import JobStore
from llmbot.conversation.missed.backfill import Backfill, Search
from llmbot.conversation.ports import KnownChannel
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import StoreUnavailableError

_GAP = "gap"
_CHANNELS_KEPT_MAX = 5000
_PAUSE_FIRST_S = 0.5
_PAUSE_MAX_S = 30.0
_DOUBLINGS_MAX = 3  # 4 s: while its circuit breaker is open Discord is not really asked


class CatchUp:
    """Owns the search for missed messages; `run` is its task."""

    def __init__(self, backfill: Backfill, store: JobStore, clock: Clock) -> None:
        """Search with `backfill`, whose inbox lets go of what it holds when a search is over."""
        self._backfill = backfill
        self._inbox = backfill.inbox
        self._store = store
        self._clock = clock
        self._asked = asyncio.Event()
        self._since_s = 0.0
        self._channels: tuple[KnownChannel, ...] = ()
        self._fresh = False
        self._search: Search | None = None
        self._reached: dict[int, int] = {}
        self._inbox.session_ready = self.session_ready
        self._inbox.gap_began = self.gap_began
        self._inbox.gap.late = self.announcement_late

    @property
    def lacks_channels(self) -> bool:
        """Whether a search is due whose channels are unknown; only a new session tells them."""
        return bool(self._since_s) and not self._fresh

    async def load(self) -> None:
        """Read whether an earlier life died while it was searching."""
        self._since_s, self._channels = _read(await self._store.meta(_GAP))
        self._fresh = bool(self._channels)
        if self._since_s:
            self._inbox.gap.resume(self._since_s)

    def gap_began(self, since_s: float) -> Awaitable[None]:
        """Something may be missing since then; what is answered ends when that is durable."""
        self._since_s = min(self._since_s or since_s, since_s)
        self._fresh = False
        self._outdate()
        return self._note()

    def session_ready(
        self, resumed: bool, heard_s: float, channels: Sequence[KnownChannel]
    ) -> None:
        """A session began: new, so that something may be missing since `heard_s`, or resumed.

        A resumed session misses nothing, but an earlier life may have died while it was searching.
        """
        if not resumed:
            self._since_s = min(self._since_s or heard_s, heard_s)
            self._channels = tuple(channels) or self._channels
            self._fresh = bool(channels)
            self._outdate()
        if not self._since_s:
            self._inbox.gap.over()
            return
        if self._search is None or self._search.partial:
            self._search = self._backfill.plan(
                self._channels, self._since_s, fresh=self._fresh, reached=self._reached
            )
            self._keep()
            self._asked.set()

    def _outdate(self) -> None:
        if self._search is not None:
            self._search.outdated = True
            self._search = None

    def announcement_late(self, channels: Sequence[KnownChannel]) -> None:
        """No session has told its channels yet: look where somebody waits, and directly.

        The search proper, in all channels, follows when they are told.
        """
        if self._since_s and self._search is None:
            self._search = self._backfill.plan(
                channels, self._since_s, fresh=False, reached={}, partial=True
            )
            self._asked.set()

    async def run(self) -> None:
        """Search whenever a gap was noticed; begun anew, it goes on where it was cut off."""
        while True:
            if self._search is None:
                await self._asked.wait()
            self._asked.clear()
            fruitless = 0
            while (search := self._search) is not None:
                pages = search.pages
                if await self._round(search):
                    if search is self._search:
                        self._end(search)
                    continue
                fruitless = 0 if search.pages > pages else fruitless + 1
                if fruitless:
                    self._inbox.gap.extend()
                await self._pause(_PAUSE_FIRST_S * 2 ** min(fruitless, _DOUBLINGS_MAX))

    async def _round(self, search: Search) -> bool:
        """One round; whether no other is needed."""
        try:
            done = await self._backfill.run(search)
        except StoreUnavailableError:
            return False
        return done.complete or self._backfill.exhausted(search)

    async def _pause(self, seconds: float) -> None:
        """Wait, unless a new search is asked for."""
        try:
            async with asyncio.timeout(seconds):
                await self._asked.wait()
        except TimeoutError:
            return
        self._asked.clear()

    def _end(self, search: Search) -> None:
        self._search = None
        if search.partial:
            return
        self._since_s = 0.0
        self._reached.clear()
        self._inbox.gap.over()
        self._keep()

    async def _note(self) -> None:
        pause_s = _PAUSE_FIRST_S
        while True:
            try:
                await self._store.set_meta(_GAP, self._record())
            except StoreUnavailableError:
                await self._clock.sleep(pause_s)
                pause_s = min(pause_s * 2, _PAUSE_MAX_S)
            else:
                return

    def _keep(self) -> None:
        written = self._store.set_meta(_GAP, self._record())
        written.add_done_callback(lambda done: done.cancelled() or done.exception())

    def _record(self) -> str:
        if not self._since_s:
            return ""
        return _record(self._since_s, self._channels if self._fresh else ())


def _record(since_s: float, channels: Sequence[KnownChannel]) -> str:
    newest = sorted(channels, key=lambda c: c.last_message_id or 0, reverse=True)
    rows = [
        [c.id, c.guild_id, c.last_message_id, c.in_our_thread, c.own_role]
        for c in newest[:_CHANNELS_KEPT_MAX]
        if c.may_read
    ]
    return orjson.dumps({"since_s": since_s, "channels": rows}).decode()


def _read(record: str | None) -> tuple[float, tuple[KnownChannel, ...]]:
    """What `_record` wrote; a record that cannot be read is none."""
    if not record:
        return 0.0, ()
    try:
        found = orjson.loads(record)
        channels = tuple(
            KnownChannel(int(row[0]), row[1], row[2], in_our_thread=bool(row[3]), own_role=row[4])
            for row in found["channels"]
        )
        return float(found["since_s"]), channels
    except (ValueError, KeyError, TypeError, IndexError):
        return 0.0, ()
