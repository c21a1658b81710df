"""Answers that were given without some parts: for a while what failed can be read again.

Their folders stay; an operator who thinks that the trouble is over lets the missing parts be read,
and the answer is written anew into the same messages. A note in the folder says what a later life
must know of it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import partial

import orjson

from llmbot.conversation.delivery import Delivery
from llmbot.conversation.jobs import Job, JobState, Priority
from llmbot.conversation.large.plan import Plan
from llmbot.conversation.large.reading import Run
from llmbot.conversation.large.retention import ContextKeeper
from llmbot.conversation.large.writing import ContextWriter
from llmbot.conversation.ledger.job_store import JobStore
from llmbot.conversation.ledger.payloads import dump_inbound, load_inbound
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import LlmbotError
from llmbot.kernel.events import EventBus, Noted

__all__ = ["Mending", "Retried"]

SPARED_S = 3600.0
"""After an hour nobody waits for a better answer; edits of older messages are limited as well."""

SPARED_MAX = 20
SPARED = "spared"
"""The key of the note; those of parts and groups are others."""

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
    until_s: float
    """Seconds since the Unix epoch."""


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

    async def spare(self, job: Job, plan: Plan, missing: int) -> None:
        """An answer is given without so many parts; its folder stays for a while."""
        await self._keep(_Incomplete(job, plan, missing, self._clock.wall() + SPARED_S))

    async def adopt(self) -> None:
        """Take up what earlier lives left incomplete; remove the folders that nobody needs."""
        for message_id in await self._keeper.found():
            each = await self._restored(message_id)
            if each is not None:
                self._remember(each)
        await self._keeper.adopt()

    async def _restored(self, message_id: int) -> _Incomplete | None:
        plan = await self._keeper.plan(message_id)
        note = (await self._keeper.notes(message_id)).get(SPARED)
        if plan is None or note is None:
            return None
        try:
            kept = orjson.loads(note)
            inbound = load_inbound(kept["inbound"])
            missing, until_s = int(kept["missing"]), float(kept["untilS"])
            parts = await self._store.parts.of_answer(message_id)
        except (ValueError, KeyError, TypeError, LlmbotError):
            return None
        # One that still waits is read by itself.
        if not parts or not 0 < until_s - self._clock.wall() <= SPARED_S:
            return None
        at = inbound.created_s
        job = Job(inbound, Priority.USER, JobState.DONE, at, at, parts=parts)
        return _Incomplete(job, plan, missing, until_s)

    async def _keep(self, each: _Incomplete) -> None:
        self._remember(each)
        kept = {
            "inbound": dump_inbound(each.job.inbound),
            "missing": each.missing,
            "untilS": each.until_s,
        }
        await self._keeper.keep(each.plan, (None,), SPARED, orjson.dumps(kept).decode())

    def _remember(self, each: _Incomplete) -> None:
        self._incomplete[each.job.message_id] = each
        self._keeper.spared.add(each.job.message_id)
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
            self._incomplete[message_id] = each
            if not missing:
                self._drop(message_id)
            elif missing < each.missing:
                await self._keep(replace(each, missing=missing))
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
            await self._clock.sleep(each.until_s - self._clock.wall())
            if first in self._incomplete and each.until_s <= self._clock.wall():
                self._drop(first)
        self._watch = None

    def _drop(self, message_id: int) -> None:
        if self._incomplete.pop(message_id, None) is not None:
            self._keeper.end(message_id)


def _look_at(written: asyncio.Future[None]) -> None:
    if not written.cancelled():
        written.exception()
