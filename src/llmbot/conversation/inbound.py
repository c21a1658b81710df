"""The gateway's events on their way in: claimed and queued, nothing else.

Whatever is called here returns at once. A message meant for the bot becomes a claim; when that is
durable, a job in the queue. All other messages are only remembered as recent history.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from llmbot.conversation.admission import is_meant_for_us
from llmbot.conversation.changes import Changes
from llmbot.conversation.claim import Claims
from llmbot.conversation.intake.arrivals import Arrival, Arrivals
from llmbot.conversation.intake.credit import Credit, Loan
from llmbot.conversation.intake.place import Step, StreamPlace
from llmbot.conversation.intake.references import References
from llmbot.conversation.jobs import Job, JobState
from llmbot.conversation.ledger.job_store import JobStore
from llmbot.conversation.memory.recent import RecentMessages
from llmbot.conversation.messages import (
    ChannelMessage,
    CommandReply,
    CommandRequest,
    Inbound,
    SessionCursor,
    Source,
)
from llmbot.conversation.missed.gap_hold import GapHold
from llmbot.conversation.ports import KnownChannel
from llmbot.conversation.queue import JobQueue
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import OverloadedError, StoreUnavailableError
from llmbot.kernel.events import EventBus, Noted, TaskDied

T = TypeVar("T")

_HEARD = "gateway_heard_s"
_RETRY_S = 0.5
_RETRY_MAX_S = 10.0
_HEARD_AGAIN = (Source.REPLAYED, Source.BACKFILLED)
"""An earlier life may have answered these on credit."""


class Inbox:
    """Hears the gateway (`ports.GatewayHandler`) and feeds the queue."""

    def __init__(
        self,
        claims: Claims,
        queue: JobQueue,
        store: JobStore,
        recent: RecentMessages,
        bus: EventBus,
        clock: Clock,
        *,
        pending_max: int = 20_000,
    ) -> None:
        """Hold at most `pending_max` messages whose claim is not durable yet."""
        self._claims = claims
        self._queue = queue
        self._store = store
        self._recent = recent
        self._bus = bus
        self._clock = clock
        self._pending_max = pending_max
        self._pending: set[asyncio.Task[object]] = set()
        self._arrivals = Arrivals()
        self._place = StreamPlace()
        self.credit = Credit(store, bus, clock)
        self._session_id = ""
        self._gap_since_s = 0.0
        self._announced = ""
        """The session that was announced last; one may end before it brought any event."""
        self.gap = GapHold(queue, clock)
        self.changes = Changes(queue, store)
        self.references = References(store.parts, recent, clock)
        self.heard_s = 0.0
        self.commands: Callable[[CommandRequest], Awaitable[CommandReply | None]] | None = None
        self.session_ready: Callable[[bool, float, Sequence[KnownChannel]], None] | None = None
        self.muted: Callable[[Inbound], Coroutine[Any, Any, None]] | None = None
        """Told of messages that are meant for the bot where it may not write."""
        self.gap_began: Callable[[float], Awaitable[None]] | None = None

    # ── ports.GatewayHandler ────────────────────────────────────────────────────────────────────

    def on_message(self, inbound: Inbound, cursor: SessionCursor | None) -> None:
        """Claim a message that is meant for the bot."""
        step = self._hear(cursor)
        if is_meant_for_us(inbound):
            self._spawn(self._accept, inbound, step)
        elif self.references.is_open(inbound):
            self._spawn(self._accept_if_reply, inbound, step)
        else:
            self._place.pass_by(step)
            if inbound.may_speak or self.muted is None:
                return
            if is_meant_for_us(replace(inbound, may_speak=True)):
                self._own(self.muted(inbound), f"muted-{inbound.message_id}")

    def on_message_seen(self, message: ChannelMessage) -> None:
        """Keep the recent history up to date."""
        self._recent.saw(message)
        if message.author_is_us:
            self._store.parts.seen(message.id, message.reply_to or 0)

    def on_message_edited(self, channel_id: int, message_id: int, content: str) -> None:
        """A question that still waits is answered as edited."""
        self._recent.edited(channel_id, message_id, content)
        if (arrival := self._arrivals.outside(message_id)) is not None:
            arrival.content = content
        elif (job := self.gap.held(message_id)) is not None:
            self._amend(job, content)
        elif not self.changes.edited(message_id, content):
            waiting = self._queue.waiting(message_id)
            if waiting is not None and waiting.inbound.content != content:
                self._queue.amend(message_id, replace(waiting.inbound, content=content))

    def on_message_deleted(self, channel_id: int, message_id: int) -> None:
        """A question that was taken back while it waited is not answered."""
        self._recent.deleted(channel_id, message_id)
        if (arrival := self._arrivals.outside(message_id)) is not None:
            arrival.withdrawn = True
        elif (held := self.gap.held(message_id)) is not None:
            if self._withdraw(held):
                self.gap.drop(message_id)
        elif not self.changes.deleted(message_id):
            job = self._queue.waiting(message_id)
            if job is not None and self._withdraw(job):
                self._queue.withdraw(message_id)
            elif job is not None:
                self._queue.bring_forward(message_id)

    def on_session(
        self, *, resumed: bool, channels: Sequence[KnownChannel], session_id: str
    ) -> None:
        """A session is ready; what was missed is looked for elsewhere (`missed/catchup.py`)."""
        if resumed and session_id not in (self._session_id, self._announced):
            # A new session whose connection was lost before it could be announced.
            self._gap_since_s = self._gap_since_s or self.heard_s
            self._begin_gap()
        self._announced = session_id
        if self._gap_since_s:
            # A message of the new session was faster, whatever became of its connection since.
            if resumed and not channels:
                # And who resumed does not know its channels: they are told another time.
                return
            if not resumed and session_id != self._session_id:
                # The gap began with an earlier session; where that was searched, more is missing.
                self._begin_gap()
            resumed = False
        elif not resumed:
            self._begin_gap()
        since_s, self._gap_since_s = self._gap_since_s or self.heard_s, 0.0
        self.heard_s = self._clock.wall()
        self._place.pass_by(self._place.enter(None, self.heard_s))
        if self.session_ready is not None:
            self.session_ready(resumed, since_s, channels)
        else:
            self.gap.over()

    async def on_command(self, request: CommandRequest) -> CommandReply | None:
        """Hand a command to its handler."""
        if self.commands is None:
            return CommandReply("I am still starting. Please try again in a few seconds.")
        return await self.commands(request)

    # ── accepting ───────────────────────────────────────────────────────────────────────────────

    async def accept(self, inbound: Inbound, cursor: SessionCursor | None) -> bool:
        """Claim durably, then queue; False for a duplicate. Tries until the claim is stored."""
        step = None if cursor is None else self._place.enter(cursor, self._clock.wall())
        return await self._accept(inbound, self._arrivals.enter(inbound, step))

    async def _accept(self, inbound: Inbound, arrival: Arrival) -> bool:
        loan: Loan | None = None
        try:
            if arrival.twin is not None:
                # Two deliveries at once: what becomes of the message is the first one's to say.
                await arrival.twin.wait()
            loan = self.credit.watch(inbound, arrival.is_next, partial(self._lend, arrival))
            job = await self._claimed(inbound, arrival)
            loan.close()
            if arrival.step is not None:
                self._place.pass_by(arrival.step)
            if arrival.before is not None:
                # Its author's earlier message in the channel may still be on its way to the queue.
                await arrival.before.wait()
            if loan.job is not None:
                self.credit.repay(loan)
                return True
            if job is None or self._queue.knows(job.message_id):
                return False
            self._let_in(job, arrival)
            return True
        finally:
            if loan is not None:
                loan.close()
            self._arrivals.leave(arrival)

    async def _accept_if_reply(self, inbound: Inbound, arrival: Arrival) -> None:
        """Discord did not say whose message this replies to."""
        try:
            ours = await self._until_stored(inbound, lambda: self.references.is_ours(inbound))
        except BaseException:
            self._arrivals.leave(arrival)
            raise
        if ours:
            await self._accept(replace(inbound, replies_to_us=True), arrival)
            return
        if arrival.step is not None:
            self._place.pass_by(arrival.step)
        self._arrivals.leave(arrival)

    async def _claimed(self, inbound: Inbound, arrival: Arrival) -> Job | None:
        """The claim, durable; None for a duplicate."""
        tries = 0

        async def claim() -> Job | None:
            nonlocal tries
            tries += 1
            after = arrival.after
            try:
                cursor = self._place.to_store(arrival.step)
                job = await self._claims.claim(inbound, cursor, after=after)
            except StoreUnavailableError:
                self._place.not_stored()
                if after is not None and arrival.before is not None:
                    await arrival.before.wait()
                raise
            if job is None:
                self._place.not_stored()
                if tries > 1:
                    # An earlier try may have been stored although it was told to have failed.
                    job = await self._store.job(inbound.message_id)
                    if job is not None and job.state is not JobState.WAITING:
                        job = None
            return job

        return await self._until_stored(inbound, claim)

    async def _until_stored(self, inbound: Inbound, work: Callable[[], Awaitable[T]]) -> T:
        """Try until the database is back; the message is not lost meanwhile, nor its place."""
        pause_s = _RETRY_S
        while True:
            try:
                return await work()
            except StoreUnavailableError as error:
                self._bus.publish(
                    Noted("claim", f"message {inbound.message_id} not stored yet: {error.code}")
                )
                await self._clock.sleep(pause_s)
                pause_s = min(pause_s * 2, _RETRY_MAX_S)

    def _lend(self, arrival: Arrival, job: Job | None) -> bool:
        """Into the queue before its claim is stored; False for one that needs none any more."""
        known = self._queue.knows(arrival.message_id) or self.gap.held(arrival.message_id)
        if job is None or known:
            arrival.inside.set()
            return False
        self._let_in(job, arrival)
        return True

    def _let_in(self, job: Job, arrival: Arrival) -> None:
        """Into the queue, as its author left it; or to wait for earlier ones of its channel."""
        arrival.inside.set()
        if arrival.withdrawn and self._withdraw(job):
            return
        if arrival.content is not None:
            self._amend(job, arrival.content)
        if not self.gap.take(job):
            self._queue.put(job)

    def _amend(self, job: Job, content: str) -> None:
        if job.inbound.content != content:
            job.inbound = replace(job.inbound, content=content)
            self._store.amend(job)

    def _withdraw(self, job: Job) -> bool:
        """End a job that its author took back before its turn.

        False where a notice may stand in the answer's place: whoever has the job next deletes it.
        """
        if not job.times.received or job.inbound.source in _HEARD_AGAIN:
            job.unsure = True  # an earlier life may have given a notice and died of it
        job.withdrawn = bool(job.parts or job.unsure or job.in_flight_before)
        if not job.withdrawn:
            self._queue.move(job, JobState.DONE, "withdrawn by its author")
        return not job.withdrawn

    # ── the place in the stream ─────────────────────────────────────────────────────────────────

    async def continue_from(self) -> SessionCursor | None:
        """Read where an earlier life of the process had come to.

        The first life of all notes its beginning: from then on nothing may be missed.

        Raises:
            StoreUnavailableError: it could not be read or noted.
        """
        await self._store.known.look_back()
        stored = await self._store.session_cursor()
        self._session_id = stored.session_id if stored else ""
        self.heard_s = float(await self._store.meta(_HEARD) or 0)
        if not self.heard_s:
            self.heard_s = self._clock.wall()
            await self._store.set_meta(_HEARD, f"{self.heard_s:.3f}")
        self._place.continue_from(stored, self.heard_s)
        return stored

    def keep_place(self) -> None:
        """Store where in the gateway's stream we are: behind the oldest claim on its way.

        Also stores when the gateway was last heard, from which a new life looks for what it missed.
        """
        place = self._place
        if place.heard_s:
            _look_at(self._store.set_meta(_HEARD, f"{place.heard_s:.3f}"))
        if (cursor := place.to_store()) is not None:
            _look_at(self._store.keep_cursor(cursor))

    def has(self, message_id: int) -> bool:
        """Whether a message is on its way to the queue, or held before it."""
        return message_id in self._arrivals or self.gap.held(message_id) is not None

    async def drain(self) -> None:
        """Wait for the claims that are on their way."""
        while self._pending:
            await asyncio.wait(tuple(self._pending))

    async def close(self) -> None:
        """Give up the claims that cannot be stored; Discord replays or back-fill finds them."""
        await self.gap.close()
        await self.credit.close()
        for task in tuple(self._pending):
            task.cancel()
        await self.drain()

    def _hear(self, cursor: SessionCursor | None) -> Step:
        """Note the place in the stream; the first event of a new session begins a gap."""
        if cursor is not None and cursor.session_id != self._session_id:
            self._session_id = cursor.session_id
            if cursor.session_id != self._announced:
                self._gap_since_s = self._gap_since_s or self.heard_s
                self._begin_gap()
        self.heard_s = self._clock.wall()
        return self._place.enter(cursor, self.heard_s)

    # ── the gap before a new session ────────────────────────────────────────────────────────────

    def _begin_gap(self) -> None:
        """Hold live messages, and hold the place until it is durable that a search must be made.

        Else the next life would resume the new session, and nobody would search.
        """
        if not self.heard_s or self.session_ready is None:
            return
        self.gap.begin()
        if self.gap_began is not None:
            step = self._place.enter(None, self.heard_s)
            self._own(self._note_gap(self.gap_began(self.heard_s), step), "note-gap")

    async def _note_gap(self, noted: Awaitable[None], step: Step) -> None:
        await noted
        self._place.pass_by(step)

    # ── inside ──────────────────────────────────────────────────────────────────────────────────

    def _spawn(
        self,
        work: Callable[[Inbound, Arrival], Coroutine[Any, Any, object]],
        inbound: Inbound,
        step: Step,
    ) -> None:
        if len(self._pending) >= self._pending_max:
            # Its step is never passed: the next life hears it again.
            self._bus.publish(Noted("claim", f"refused: {OverloadedError.code}"))
            return
        arrival = self._arrivals.enter(inbound, step)
        self._own(work(inbound, arrival), f"claim-{inbound.message_id}")

    def _own(self, work: Coroutine[Any, Any, object], name: str) -> None:
        task: asyncio.Task[object] = asyncio.create_task(work, name=name)
        self._pending.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[object]) -> None:
        self._pending.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._bus.publish(TaskDied(task.get_name(), type(error).__name__, None))


def _look_at(written: asyncio.Future[None]) -> None:
    written.add_done_callback(lambda done: done.cancelled() or done.exception())
