"""Compares what the ledger says with what stands in the channels, and mends the difference.

At the start and every few minutes, within a bounded window and a bounded number of calls: open
messages that nobody has in hand go back into the queue, surplus messages of ours are deleted, and a
text that a late call has overwritten is put right. A message that Discord confirmed and that is
gone was deleted by somebody: it is counted and never sent again, or the bot would fight moderators.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

from llmbot.conversation.jobs import Job, JobState
from llmbot.conversation.ledger.entries import Ledger
from llmbot.conversation.ledger.job_store import JobStore
from llmbot.conversation.ledger.readings import Readings
from llmbot.conversation.ledger.rounds import KINDS, ReconcileSettings, Round
from llmbot.conversation.missed.rereading import QuestionDamaged, reread
from llmbot.conversation.ports import DiscordRest
from llmbot.conversation.queue import JobQueue
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import LlmbotError
from llmbot.kernel.events import EventBus, Level

__all__ = ["ReconcileFacts", "ReconcileSettings", "Reconciled", "Reconciler"]


@dataclass(frozen=True, slots=True)
class Reconciled:
    """A round ended: what was looked at, what was amiss, what was mended."""

    level: ClassVar[Level] = Level.INFO
    checked: int
    lost: int
    doubled: int
    cut: int
    mended: int
    removed: int
    """Parts that somebody deleted."""
    complete: bool

    def describe(self) -> str:
        """See `Event.describe`."""
        end = "complete" if self.complete else "to be continued"
        return (
            f"Reconciled {self.checked} message(s): {self.lost} lost, {self.doubled} doubled, "
            f"{self.cut} cut, {self.mended} mended, {self.removed} part(s) removed by others; {end}"
        )


@dataclass(slots=True)
class ReconcileFacts:
    """`rounds`, `checked` and `mended` are sums of this life, the others the last round's.

    `lost`, `doubled` and `cut` are what is amiss and not mended.
    """

    rounds: int = 0
    checked: int = 0
    lost: int = 0
    doubled: int = 0
    cut: int = 0
    mended: int = 0
    removed: int = 0
    last_s: float | None = None
    """When the last round ended, in seconds since the Unix epoch."""


class Reconciler:
    """Owns the rounds; `run` is its task."""

    def __init__(
        self,
        rest: DiscordRest,
        store: JobStore,
        ledger: Ledger,
        queue: JobQueue,
        in_hand: Callable[[int], bool],
        bus: EventBus,
        clock: Clock,
        settings: ReconcileSettings | None = None,
    ) -> None:
        """Put orphans back into `queue`: open messages of which `in_hand` knows nothing."""
        self._rest = rest
        self._store = store
        self._ledger = ledger
        self._queue = queue
        self._in_hand = in_hand
        self._bus = bus
        self._clock = clock
        self._settings = settings or ReconcileSettings()
        self._readings = Readings(rest, self._settings)
        self._texts: OrderedDict[int, str] = OrderedDict()
        self._suspects: set[int] = set()
        self._facts = ReconcileFacts()
        self._doubt = asyncio.Event()

    def facts(self) -> ReconcileFacts:
        """The figures."""
        return self._facts

    def delivered(self, job: Job, text: str) -> None:
        """Remember the text of a reply that was delivered just now."""
        self._texts[job.message_id] = text
        if len(self._texts) > self._settings.texts_max:
            self._texts.popitem(last=False)
        if job.unproven:
            self._doubt.set()

    async def run(self) -> None:
        """Round after round; ends only by cancellation."""
        await self._clock.sleep(self._settings.first_after_s)
        while True:
            try:
                await self.look()
            except LlmbotError:
                # The database or Discord says itself what is wrong; the next round tries again.
                self._suspects.clear()
            await self._pause()

    async def _pause(self) -> None:
        """Until the next round is due; it is soon where a reply may be overwritten by a late call.

        Raises nothing; ends only by cancellation.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.every_s):
                await self._doubt.wait()
                await self._clock.sleep(self._settings.settled_s)

    async def look(self) -> Reconciled:
        """One round.

        Raises:
            StoreUnavailableError: the ledger could not be read.
        """
        settings, now = self._settings, self._clock.wall()
        current = Round()
        await self._take_up_orphans(current)
        settled_s, most = now - settings.settled_s, settings.messages_max
        recent = await self._ledger.recent(now - settings.window_s, settled_s, most)
        self._doubt.clear()
        unproven = await self._ledger.unproven(settled_s, most)
        entries = {entry.message_id: entry for entry in unproven}
        for entry in recent:
            text = self._texts.get(entry.message_id, "")
            entries.setdefault(entry.message_id, replace(entry, text=text))
        read = await self._readings.go_on(tuple(entries.values()), current)
        proven = [
            entry.message_id
            for entry in unproven
            if entry.message_id in read or entry.ended_s < now - settings.window_s
        ]
        if proven:
            await self._store.proven(proven)
        if len(proven) < len(unproven):
            self._doubt.set()
        return self._tell(len(read), current)

    # ── open, and in nobody's hand ──────────────────────────────────────────────────────────────

    async def _take_up_orphans(self, current: Round) -> None:
        """What is open in the ledger and known to nobody, twice in a row, waits again."""
        before_s = self._clock.wall() - self._settings.settled_s
        unended = await self._ledger.unended(before_s, self._settings.messages_max)
        suspects = self._suspects
        self._suspects = {m for m in unended if not self._in_hand(m)}
        for message_id in sorted(self._suspects & suspects):
            job = await self._store.job(message_id)
            if job is None and current.calls < self._settings.calls_max:
                current.calls += 1
                job = await self._asked_anew(message_id)
            if job is None or self._in_hand(message_id):
                continue
            current.found["lost"] += 1
            self._queue.adopt(job)
            current.mended["lost"] += 1

    async def _asked_anew(self, message_id: int) -> Job | None:
        """A question whose stored words are damaged, as it stands where it was asked.

        One that is not there any more (or was a command) becomes a dead letter.
        """
        place = await self._ledger.place(message_id)
        if place is None:
            return None
        try:
            page = await self._rest.history(place.channel_id, after=message_id - 1, limit=1)
        except LlmbotError:
            return None  # the next round asks again
        job = reread(message_id, place, page, self._clock.wall())
        found = bool(job.inbound.content or job.inbound.attachments)
        self._bus.publish(QuestionDamaged(message_id, found=found))
        self._store.amend(job)
        if not found:
            self._queue.move(job, JobState.DEAD, "its stored words are damaged")
            return None
        return job

    # ── inside ──────────────────────────────────────────────────────────────────────────────────

    def _tell(self, checked: int, current: Round) -> Reconciled:
        facts, mended = self._facts, sum(current.mended.values())
        facts.rounds += 1
        facts.checked += checked
        facts.mended += mended
        facts.removed = current.removed
        facts.last_s = self._clock.wall()
        left = {kind: current.found[kind] - current.mended[kind] for kind in KINDS}
        facts.lost, facts.doubled, facts.cut = left["lost"], left["doubled"], left["cut"]
        told = Reconciled(
            checked,
            lost=left["lost"],
            doubled=left["doubled"],
            cut=left["cut"],
            mended=mended,
            removed=current.removed,
            complete=current.complete,
        )
        self._bus.publish(told)
        return told
