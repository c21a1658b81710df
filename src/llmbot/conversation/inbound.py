"""The gateway's events on their way in: claimed and queued, nothing else.

Whatever is called here returns at once. A message meant for the bot becomes a claim; when that is
durable, a job in the queue. All other messages are only remembered as recent history.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

from llmbot.conversation.admission import is_meant_for_us
from llmbot.conversation.claim import Claims
from llmbot.conversation.job_store import JobStore
from llmbot.conversation.jobs import JobState
from llmbot.conversation.messages import (
    ChannelMessage,
    CommandReply,
    CommandRequest,
    Inbound,
    SessionCursor,
)
from llmbot.conversation.ports import KnownChannel
from llmbot.conversation.queue import JobQueue
from llmbot.conversation.recent import RecentMessages
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import OverloadedError, StoreUnavailableError
from llmbot.kernel.events import EventBus, Noted, TaskDied

_HEARD = "gateway_heard_s"
_RETRY_S = 0.5
_RETRY_MAX_S = 10.0


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
        self._cursor: SessionCursor | None = None
        self._stored_cursor: SessionCursor | None = None
        self._session_id = ""
        self._gap_since_s = 0.0
        self.heard_s = 0.0
        self.commands: Callable[[CommandRequest], Awaitable[CommandReply | None]] | None = None
        self.session_ready: Callable[[bool, float, Sequence[KnownChannel]], None] | None = None

    # ── ports.GatewayHandler ────────────────────────────────────────────────────────────────────

    def on_message(self, inbound: Inbound, cursor: SessionCursor | None) -> None:
        """Claim a message that is meant for the bot."""
        self._hear(cursor)
        if is_meant_for_us(inbound):
            self._spawn(self.accept(inbound, cursor), f"claim-{inbound.message_id}")
        elif self._may_reply_to_us(inbound):
            self._spawn(self._accept_if_reply(inbound, cursor), f"claim-{inbound.message_id}")

    def on_message_seen(self, message: ChannelMessage) -> None:
        """Keep the recent history up to date."""
        self._recent.saw(message)

    def on_message_edited(self, channel_id: int, message_id: int, content: str) -> None:
        """A question that still waits is answered as edited."""
        self._recent.edited(channel_id, message_id, content)
        job = self._queue.waiting(message_id)
        if job is not None and job.inbound.content != content:
            self._queue.amend(message_id, replace(job.inbound, content=content))

    def on_message_deleted(self, channel_id: int, message_id: int) -> None:
        """A question that was taken back while it waited is not answered."""
        self._recent.deleted(channel_id, message_id)
        job = self._queue.waiting(message_id)
        if job is not None and not job.parts and self._queue.withdraw(message_id) is not None:
            self._queue.move(job, JobState.DONE, "withdrawn by its author")

    def on_session(self, *, resumed: bool, channels: Sequence[KnownChannel]) -> None:
        """A session is ready; what was missed is looked for elsewhere (`catchup.py`)."""
        since_s = self._gap_since_s or self.heard_s
        self._gap_since_s = 0.0
        self.heard_s = self._clock.wall()
        if self.session_ready is not None:
            self.session_ready(resumed, since_s, channels)

    async def on_command(self, request: CommandRequest) -> CommandReply | None:
        """Hand a command to its handler."""
        if self.commands is None:
            return CommandReply("I am still starting. Please try again in a few seconds.")
        return await self.commands(request)

    # ── accepting ───────────────────────────────────────────────────────────────────────────────

    async def accept(self, inbound: Inbound, cursor: SessionCursor | None) -> bool:
        """Claim durably, then queue; False for a duplicate. Tries until the claim is stored."""
        pause_s = _RETRY_S
        while True:
            try:
                job = await self._claims.claim(inbound, cursor)
            except StoreUnavailableError as error:
                self._bus.publish(
                    Noted("claim", f"message {inbound.message_id} not stored yet: {error.code}")
                )
                await self._clock.sleep(pause_s)
                pause_s = min(pause_s * 2, _RETRY_MAX_S)
                continue
            if job is None:
                return False
            self._queue.put(job)
            return True

    async def continue_from(self) -> SessionCursor | None:
        """Read where an earlier life of the process had come to."""
        self._cursor = self._stored_cursor = await self._store.session_cursor()
        self._session_id = self._cursor.session_id if self._cursor else ""
        self.heard_s = float(await self._store.meta(_HEARD) or 0)
        return self._cursor

    def keep_place(self) -> None:
        """Store where in the gateway's stream we are, unless a claim is still on its way.

        Also stores when the gateway was last heard, from which a new life looks for what it missed.
        """
        if self._pending:
            return
        if self.heard_s:
            self._look_at(self._store.set_meta(_HEARD, f"{self.heard_s:.3f}"))
        if self._cursor is not None and self._cursor != self._stored_cursor:
            self._stored_cursor = self._cursor
            self._look_at(self._store.keep_cursor(self._cursor))

    async def drain(self) -> None:
        """Wait for the claims that are on their way."""
        while self._pending:
            await asyncio.wait(tuple(self._pending))

    async def close(self) -> None:
        """Give up the claims that cannot be stored; Discord replays or back-fill finds them."""
        for task in tuple(self._pending):
            task.cancel()
        await self.drain()

    def _hear(self, cursor: SessionCursor | None) -> None:
        """Note the place in the stream; the first event of a new session ends a gap."""
        if cursor is not None:
            if cursor.session_id != self._session_id:
                self._gap_since_s = self._gap_since_s or self.heard_s
                self._session_id = cursor.session_id
            self._cursor = cursor
        self.heard_s = self._clock.wall()

    def _may_reply_to_us(self, inbound: Inbound) -> bool:
        return (
            inbound.replies_to_us is None
            and inbound.reply_to is not None
            and not inbound.author_is_bot
            and inbound.may_speak
        )

    async def _accept_if_reply(self, inbound: Inbound, cursor: SessionCursor | None) -> None:
        """Discord did not say whose message this replies to; our record of parts knows."""
        if inbound.reply_to is not None and await self._store.is_ours(inbound.reply_to):
            await self.accept(replace(inbound, replies_to_us=True), cursor)

    def _spawn(self, work: Coroutine[Any, Any, object], name: str) -> None:
        if len(self._pending) >= self._pending_max:
            work.close()
            self._bus.publish(Noted("claim", f"refused: {OverloadedError.code}"))
            return
        task: asyncio.Task[object] = asyncio.create_task(work, name=name)
        self._pending.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[object]) -> None:
        self._pending.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._bus.publish(TaskDied(task.get_name(), type(error).__name__, None))

    @staticmethod
    def _look_at(written: asyncio.Future[None]) -> None:
        written.add_done_callback(lambda done: done.cancelled() or done.exception())
