"""Answers that were given without some parts: for a while what failed can be read again.

Their folders stay; an operator who thinks that the trouble is over lets the missing parts be read,
and the answer is written anew into the same messages. Nothing of this outlives the process.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial

from llmbot.conversation.delivery import Delivery
from llmbot.conversation.jobs import Job
from llmbot.conversation.large.plan import Plan
from llmbot.conversation.large.reading import Run
from llmbot.conversation.large.retention import ContextKeeper
from llmbot.conversation.large.writing import ContextWriter
from llmbot.conversation.ledger.job_store import JobStore
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import LlmbotError
from llmbot.kernel.events import EventBus, Noted

__all__ = ["Mending", "Retried"]

SPARED_S = 3600.0
"""After an hour nobody waits for a better answer; edits of older messages are limited as well."""

SPARED_MAX = 20
READING_S = 120.0


@dataclass(frozen=True, slots=True)
class Retried:
    """How many parts were tried again, and how many of them were read."""

    parts: int
    read: int


@dataclass(frozen=True, slots=True)
class _Incomplete:
    job: Job
    plan: Plan
    missing: int
    until: float


def _nothing() -> None:
    """Nobody is shown how far it is."""


class Mending:
    """Knows the incomplete answers and completes them."""

    def __init__(
        self,
        keeper: ContextKeeper,
        writer: ContextWriter,
        delivery: Delivery,
        store: JobStore,
        bus: EventBus,
        clock: Clock,
    ) -> None:
        """Read and write with `writer`; edit through `delivery`."""
        self._keeper = keeper
        self._writer = writer
        self._delivery = delivery
        self._store = store
        self._bus = bus
        self._clock = clock
        self._incomplete: OrderedDict[int, _Incomplete] = OrderedDict()
        self._watch: asyncio.Task[None] | None = None

    @property
    def missing(self) -> int:
        """How many parts are missing in all incomplete answers."""
        return sum(each.missing for each in self._incomplete.values())

    def spare(self, job: Job, plan: Plan, missing: int) -> None:
        """An answer is given without so many parts; its folder stays for a while."""
        until = self._clock.monotonic() + SPARED_S
        self._incomplete[job.message_id] = _Incomplete(job, plan, missing, until)
        self._keeper.spared.add(job.message_id)
        while len(self._incomplete) > SPARED_MAX:
            self._drop(next(iter(self._incomplete)))
        if self._watch is None:
            self._watch = asyncio.create_task(self._expire(), name="context-spared")

    def forget(self, author_id: int) -> None:
        """Drop what an author asked."""
        for message_id, each in list(self._incomplete.items()):
            if each.plan.author_id == author_id:
                self._drop(message_id)

    async def retry(self) -> Retried:
        """Read what is missing, and write every answer anew that gained something."""
        tried = read = 0
        for message_id, each in list(self._incomplete.items()):
            if self._incomplete.pop(message_id, None) is None:
                continue  # somebody else is at it, or it was forgotten meanwhile
            tried += each.missing
            try:
                missing = await self._complete(each)
            except LlmbotError as error:
                detail = f"message {message_id} stays incomplete: {error.code}"
                self._bus.publish(Noted("long text", detail))
                missing = each.missing
            read += each.missing - missing
            self._incomplete[message_id] = _Incomplete(each.job, each.plan, missing, each.until)
            if not missing:
                self._drop(message_id)
        return Retried(tried, read)

    async def close(self) -> None:
        """Watch no longer."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait((self._watch,))
            self._watch = None

    async def _complete(self, each: _Incomplete) -> int:
        job, plan = each.job, each.plan
        pieces = await self._keeper.pieces(plan)
        run = Run(
            job.message_id,
            self._clock.monotonic() + READING_S,
            keep=partial(self._keeper.keep, plan, pieces),
            changed=_nothing,
            notes=await self._keeper.notes(job.message_id),
        )
        missing = len(await self._writer.read(job, plan, pieces, run))
        if missing < each.missing:
            async with self._delivery.open(job, silent=True) as reply:
                await reply.finish(await self._writer.write(job, reply, plan, run))
            words = f"{each.missing - missing} more part(s) read"
            self._store.tell(job.message_id, "long text", words).add_done_callback(_look_at)
        return missing

    async def _expire(self) -> None:
        while self._incomplete:
            first, each = next(iter(self._incomplete.items()))
            await self._clock.sleep(each.until - self._clock.monotonic())
            if first in self._incomplete and each.until <= self._clock.monotonic():
                self._drop(first)
        self._watch = None

    def _drop(self, message_id: int) -> None:
        if self._incomplete.pop(message_id, None) is not None:
            self._keeper.end(message_id)


def _look_at(written: asyncio.Future[None]) -> None:
    if not written.cancelled():
        written.exception()
