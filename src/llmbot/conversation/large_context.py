"""Texts beyond the model's budget: read part by part, noted, and answered from the notes.

A long file or history becomes work that outlives the process: a plan and parts in a folder of the
message's, a note for each part that is durable when it counts. A kill costs the calls under way;
the next life leases the message again, finds the folder, and goes on in the same Discord message.
The folder goes when the message has ended, however it ended.

The worker's place and its author's turn are given up while this goes on. At most `jobs_max` texts
are read at once, the others stand in a line; no part is begun while overload or maintenance says
no.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial

from llmbot.conversation.attachments import Files
from llmbot.conversation.context import ContextBuilder
from llmbot.conversation.delivery import Reply
from llmbot.conversation.jobs import Job, Timeline
from llmbot.conversation.large.facts import (
    ContextNotKept,
    ContextPartsFailed,
    ContextTaken,
    LargeContextFacts,
    LargeContextSettings,
    LongTextsOffError,
    LongTextsRestError,
    TooManyLongTextsError,
)
from llmbot.conversation.large.plan import (
    Gathered,
    Part,
    Plan,
    Source,
    cut_sources,
    digest_of,
    part_key,
)
from llmbot.conversation.large.reading import Reader, Run
from llmbot.conversation.large.retention import ContextKeeper
from llmbot.conversation.large.retries import Mending, Retried
from llmbot.conversation.large.sources import HistoryReader, gathered_files
from llmbot.conversation.large.words import progress_words
from llmbot.conversation.large.writing import ContextWriter
from llmbot.conversation.ledger.job_store import JobStore
from llmbot.conversation.text.notices import notice
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import DefectError, LlmbotError, ModelBlockedError
from llmbot.kernel.events import EventBus

__all__ = ["LargeContexts"]

_NO_TEXT = ("image/", "video/", "audio/", "application/pdf", "application/zip")

_RETRY_PATIENCE_S = 60.0
_RETRY_LOOK_S = 0.1


@dataclass(slots=True)
class _Entry:
    """A long text in this life of the process."""

    job: Job
    reply: Reply
    waiting: bool = True
    again: bool = False
    task: asyncio.Task[str] | None = None
    plan: Plan | None = None
    run: Run | None = None
    unstored: Sequence[Source] = ()
    """The parts, only where the disk refused them."""


class LargeContexts:
    """Answers what is too long for one prompt."""

    def __init__(
        self,
        context: ContextBuilder,
        history: HistoryReader,
        keeper: ContextKeeper,
        reader: Reader,
        writer: ContextWriter,
        mending: Mending,
        store: JobStore,
        bus: EventBus,
        clock: Clock,
        settings: LargeContextSettings,
        allowed: Callable[[], bool],
    ) -> None:
        """Read with `reader`, keep with `keeper`, write with `writer`, while `allowed`."""
        self._context = context
        self._history = history
        self.keeper = keeper
        self._reader = reader
        self._writer = writer
        self.mending = mending
        self._store = store
        self._bus = bus
        self._clock = clock
        self.settings = settings
        self._allowed = allowed
        self._aside = self._reading = 0
        self._freed = asyncio.Condition()
        self._entries: dict[int, _Entry] = {}

    # ── what is asked ───────────────────────────────────────────────────────────────────────────

    def begun(self, job: Job) -> bool:
        """Whether an earlier attempt, or life, has begun to read the text of a job."""
        return self.keeper.has(job.message_id)

    @contextmanager
    def aside(self, job: Job) -> Iterator[None]:
        """Let a job that looks long step aside before it takes its author's turn.

        Only so many at once as may stand in line: who only looked long is answered without a place
        among the workers.
        """
        if self._aside >= self._most or not self._looks_long(job):
            yield
            return
        self._aside += 1
        job.step_aside()
        try:
            yield
        finally:
            self._aside -= 1

    def _looks_long(self, job: Job) -> bool:
        """Whether a job will most likely be taken; what a file claims decides nothing else."""
        inbound = job.inbound
        if inbound.long is not None or self.begun(job):
            return True
        claimed = sum(
            file.size_bytes
            for file in inbound.attachments
            if not file.content_type.startswith(_NO_TEXT)
        )
        return self._may_begin() and claimed > self._context.room

    @property
    def _most(self) -> int:
        return self.settings.jobs_max + self.settings.line_max

    def takes(self, job: Job, files: Files) -> bool:
        """Whether a job with these files is answered here."""
        if job.inbound.long is not None:
            return True
        return self._may_begin() and files.characters > self._context.room

    async def answer(self, job: Job, reply: Reply, files: Files) -> str:
        """The whole answer to a job that was begun or is taken here; shows its progress.

        Raises:
            RefusedError: in the user's words.
            TransientError: nothing of it could be read now; what is on the disk stays.
        """
        if not self.begun(job):
            self._check()
        if len(self._entries) >= self._most:
            raise TooManyLongTextsError
        # How long this takes says nothing about how fast messages are answered.
        job.times = Timeline()
        entry = self._entries[job.message_id] = _Entry(job, reply)
        try:
            await self._plan(entry, files)
            async with self._turn(entry):
                return await self._alive(entry)
        finally:
            del self._entries[job.message_id]

    def _may_begin(self) -> bool:
        return self.settings.jobs_max > 0 and self._allowed()

    def _check(self) -> None:
        if self.settings.jobs_max <= 0:
            raise LongTextsOffError
        if not self._allowed():
            raise LongTextsRestError

    # ── what operators see and do ───────────────────────────────────────────────────────────────

    @property
    def allowed(self) -> bool:
        """Whether neither overload nor maintenance holds long texts back."""
        return self._allowed()

    def facts(self) -> list[LargeContextFacts]:
        """All that are being read or wait for it."""
        return [_facts(entry) for entry in self._entries.values()]

    def live(self) -> frozenset[str]:
        """Names of the folders that are needed."""
        return frozenset(map(str, (*self.keeper.live(), *self._entries)))

    def restart(self) -> int:
        """Break off what is under way and go on from what is durable; how many that were."""
        restarted = 0
        for entry in self._entries.values():
            if entry.task is not None and not entry.task.done():
                entry.again = True
                entry.task.cancel()
                restarted += 1
        self._reader.hasten()
        return restarted

    @property
    def failed(self) -> int:
        """How many parts failed, of what is being read and of answers that were given."""
        runs = [entry.run for entry in self._entries.values() if entry.run is not None]
        return sum(len(run.failed) for run in runs) + self.mending.missing

    async def retry_failed(self) -> Retried:
        """Try failed parts again, also those of answers that were given without them."""
        self._reader.hasten()
        runs = [entry.run for entry in self._entries.values() if entry.run is not None]
        asked = [(run, key) for run in runs for key in self._reader.retry(run)]
        mended = await self.mending.retry()
        until = self._clock.monotonic() + _RETRY_PATIENCE_S
        while self._clock.monotonic() < until and any(
            key not in run.notes and key not in run.failed for run, key in asked
        ):
            await self._clock.sleep(_RETRY_LOOK_S)
        read = sum(key in run.notes for run, key in asked)
        return Retried(len(asked) + mended.parts, read + mended.read)

    async def adopt(self) -> None:
        """Find what earlier lives had begun; remove what belongs to no message that waits."""
        await self.mending.adopt()

    async def drain(self) -> None:
        """Wait until what has ended is removed."""
        await self.mending.close()
        await self.keeper.drain()

    # ── a life of one ───────────────────────────────────────────────────────────────────────────

    @asynccontextmanager
    async def _turn(self, entry: _Entry) -> AsyncIterator[None]:
        async with self._freed:
            if not self._has_place():
                _show(entry, notice("context_line", entry.job.inbound.locale))
            await self._freed.wait_for(self._has_place)
            self._reading += 1
        try:
            yield
        finally:
            self._reading -= 1
            # Waiters are woken in the order in which they came.
            async with self._freed:
                self._freed.notify_all()

    def _has_place(self) -> bool:
        return self._reading < max(1, self.settings.jobs_max)

    async def _alive(self, entry: _Entry) -> str:
        """Read and write, from the beginning again where an operator says so."""
        entry.waiting = False
        while True:
            entry.again = False
            name = f"context-{entry.job.message_id}"
            task = entry.task = asyncio.create_task(self._read(entry), name=name)
            try:
                await asyncio.wait((task,))
            finally:
                if not task.done():
                    task.cancel()
                    await asyncio.wait((task,))
            if not (task.cancelled() and entry.again):
                return task.result()

    async def _plan(self, entry: _Entry, files: Files) -> None:
        """Take up what stands on the disk, or gather and cut the text and put it there."""
        job = entry.job
        entry.plan = await self.keeper.plan(job.message_id)
        asked = digest_of(job.inbound.content)
        if entry.plan is not None and entry.plan.asked == asked:
            return
        if entry.plan is not None:
            # Its author edited the question: the notes were for another one.
            await self.keeper.remove(job.message_id)
        gathered = await self._gather(job, files)
        room = self._context.room
        pieces = await asyncio.to_thread(cut_sources, gathered.sources, room)
        entry.plan = _planned(job, gathered, pieces, room, self._clock.wall())
        if not await self.keeper.store(entry.plan, pieces):
            entry.unstored = pieces

    async def _gather(self, job: Job, files: Files) -> Gathered:
        inbound = job.inbound
        if inbound.long is not None and not inbound.attachments:
            return await self._history.read(inbound, inbound.long)
        if not files.texts and not files.left_out:
            files = await self._context.files(inbound)
        return gathered_files(files)

    async def _read(self, entry: _Entry) -> str:
        job, plan = entry.job, entry.plan
        if plan is None:
            raise DefectError("a long text without a plan")
        notes = await self.keeper.notes(job.message_id)
        pieces = entry.unstored or await self._pieces(job, plan, notes)
        run = entry.run = Run(
            job.message_id,
            self._clock.monotonic() + self.settings.deadline_s,
            keep=partial(self.keeper.keep, plan, pieces),
            changed=lambda: _tell(entry, plan),
            notes=notes,
        )
        read = _read_of(plan, run)
        self._bus.publish(ContextTaken(job.message_id, len(plan.parts), plan.characters, read))
        words = f"{len(plan.parts)} part(s), {plan.characters} characters, {read} read before"
        self._store.tell(job.message_id, "long text", words).add_done_callback(_look_at)
        run.changed()
        missing = await self._writer.read(job, plan, pieces, run)
        text = await self._writer.write(job, entry.reply, plan, run)
        if missing:
            codes = tuple(sorted(set(run.failed.values())))
            event = ContextPartsFailed(job.message_id, len(missing), len(plan.parts), codes)
            self._bus.publish(event)
            if codes != (ModelBlockedError.code,):
                # What the model's safety rules stop they stop again: no reason to keep the text.
                await self.mending.spare(job, plan, len(missing))
        return text

    async def _pieces(
        self, job: Job, plan: Plan, notes: Mapping[str, str]
    ) -> Sequence[Source | None]:
        """The parts as they were cut; those that are gone from the disk are fetched again."""
        pieces = await self.keeper.pieces(plan)
        if all(piece or part_key(number) in notes for number, piece in enumerate(pieces)):
            return pieces
        try:
            gathered = await self._gather(job, Files())
        except LlmbotError as error:
            self._bus.publish(ContextNotKept(job.message_id, f"not found again: {error.code}"))
            return pieces
        fresh = await asyncio.to_thread(cut_sources, gathered.sources, plan.room)
        if [digest_of(piece.text) for piece in fresh] != [part.digest for part in plan.parts]:
            return pieces
        await self.keeper.store(plan, fresh)
        return fresh


def _planned(
    job: Job, gathered: Gathered, pieces: Sequence[Source], room: int, now_wall_s: float
) -> Plan:
    inbound = job.inbound
    return Plan(
        message_id=job.message_id,
        author_id=inbound.author_id,
        created_s=now_wall_s,
        task=None if inbound.long is None else inbound.long.task,
        title=gathered.title,
        room=room,
        asked=digest_of(inbound.content),
        parts=tuple(Part(p.label, len(p.text), digest_of(p.text)) for p in pieces),
        left_out=gathered.left_out,
        older=gathered.older,
    )


def _facts(entry: _Entry) -> LargeContextFacts:
    plan, run = entry.plan, entry.run
    return LargeContextFacts(
        message_id=entry.job.message_id,
        waiting=entry.waiting,
        resting=run is not None and run.resting,
        parts=0 if plan is None else len(plan.parts),
        read=0 if plan is None or run is None else _read_of(plan, run),
        failed=0 if run is None else len(run.failed),
    )


def _read_of(plan: Plan, run: Run) -> int:
    return sum(part_key(number) in run.notes for number in range(len(plan.parts)))


def _tell(entry: _Entry, plan: Plan) -> None:
    if entry.run is not None:
        done, total = _read_of(plan, entry.run), len(plan.parts)
        locale, resting = entry.job.inbound.locale, entry.run.resting
        _show(entry, progress_words(plan.title, done, total, locale, resting=resting))


def _show(entry: _Entry, words: str) -> None:
    """Let the reply say how it goes, at the pace of its edits."""
    entry.reply.restart()
    entry.reply.words(words)


def _look_at(written: asyncio.Future[None]) -> None:
    written.add_done_callback(lambda done: done.cancelled() or done.exception())
