"""What the bot keeps of a user, told to them alone; and forgotten, in every copy, when they say so.

Forgotten are: their turns and the answers in every conversation, with summaries that their words
went into; their wishes; questions that still wait, and the texts and story of those that were
answered; what was counted for them; and all of this in backups, in what was put aside, and in the
freed pages of the database. What remains of an answered message is its id without its author, so
that it is never answered a second time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import orjson

from llmbot.conversation.jobs import Job, JobState
from llmbot.conversation.memory.documents import ConversationMemory
from llmbot.conversation.queue import JobQueue
from llmbot.conversation.rules.preferences import USERS
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import LlmbotError
from llmbot.kernel.events import EventBus, Level, TaskDied
from llmbot.storage.database.opening import Database, Row, Session
from llmbot.storage.documents.store import DocumentStore
from llmbot.storage.documents.sweep import sweep

AGAIN_S = 5.0
AGAIN_MAX = 60
"""Answers under way when their author was forgotten are looked after for five minutes."""

_FORGET_STORY = """
DELETE FROM story WHERE message_id IN (
    SELECT message_id FROM jobs WHERE author_id = ? AND state IN ('done', 'noticed', 'dead')
)
"""
_FORGET_PARTS = """
DELETE FROM parts WHERE message_id IN (
    SELECT message_id FROM jobs WHERE author_id = ? AND state IN ('done', 'noticed', 'dead')
)
"""
_FORGET_AUTHOR = """
UPDATE jobs SET author_id = 0, payload = '', answer = NULL, answer_note = ''
WHERE author_id = ? AND state IN ('done', 'noticed', 'dead') RETURNING message_id
"""


@dataclass(frozen=True, slots=True)
class UserForgotten:
    """Somebody had everything about them deleted; who it was is not kept."""

    level: ClassVar[Level] = Level.INFO
    conversations: int
    messages: int
    files: int

    def describe(self) -> str:
        """See `Event.describe`."""
        return (
            f"A user was forgotten: {self.conversations} conversation(s), {self.messages} "
            f"message(s), {self.files} copies removed"
        )


@dataclass(frozen=True, slots=True)
class UserLimits:
    """What is counted for users, seen from here."""

    told: Callable[[int], list[str]]
    """The names of the counts of a user."""
    forget: Callable[[int], Coroutine[Any, Any, None]]
    """Forget them, durably."""


class Privacy:
    """Tells and forgets what is kept of a user."""

    def __init__(
        self,
        store: DocumentStore,
        memory: ConversationMemory,
        database: Database,
        queue: JobQueue,
        limits: UserLimits,
        bus: EventBus,
        clock: Clock,
    ) -> None:
        """Look into all that keeps something."""
        self._store = store
        self._memory = memory
        self._db = database
        self._queue = queue
        self._limits = limits
        self._bus = bus
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self.forgotten: Callable[[int], None] = lambda _: None
        """Hears of a user who was forgotten, for what is held in memory only."""

    async def export(self, user_id: int) -> str:
        """Everything that is kept of a user, as JSON.

        Raises:
            StoreUnavailableError: something could not be read.
        """
        wishes = await self._store.get(USERS.ref(user_id))
        turns = await self._memory.words_of(user_id)
        whole = {
            "user": str(user_id),
            "preferences": None
            if wishes is None
            else wishes.model_dump(mode="json", by_alias=True),
            "memory": [
                {
                    "channel": str(turn.channel_id),
                    "message": str(turn.message_id),
                    "from": "llmbot" if turn.by_us else "you",
                    "text": turn.text,
                }
                for turn in turns
            ],
            "waiting": [
                {"message": str(job.message_id), "text": job.inbound.content}
                for job in self._queue.of_author(user_id)
            ],
            "messages": await self._messages(user_id),
            "counts": self._limits.told(user_id),
        }
        return orjson.dumps(whole, option=orjson.OPT_INDENT_2).decode()

    async def forget(self, user_id: int) -> UserForgotten:
        """Delete everything about a user; durable when it returns, and safe to repeat.

        Raises:
            StoreUnavailableError: not all of it is deleted yet.
        """
        under_way = self._withdraw(user_id)
        conversations = await self._memory.forget_author(user_id)
        await self._store.remove(USERS.ref(user_id))
        await self._limits.forget(user_id)
        messages = await self._forget_rows(user_id)
        self.forgotten(user_id)
        reader = self._store.reader
        files = await self._store.on_disk(
            partial(sweep, reader.files, reader.root, reader.kinds, user_id)
        )
        if under_way:
            self._own(self._forget_later(user_id), "forget-under-way")
        done = UserForgotten(conversations, messages, files)
        self._bus.publish(done)
        return done

    async def drain(self) -> None:
        """Wait for what is still to be forgotten."""
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))

    # ── inside ──────────────────────────────────────────────────────────────────────────────────

    def _withdraw(self, user_id: int) -> list[Job]:
        """Take back what waits; what is being answered is not remembered. The latter."""
        under_way = []
        for job in self._queue.of_author(user_id):
            if self._queue.withdraw(job.message_id) is not None:
                self._queue.move(job, JobState.DONE, "its author was forgotten")
            else:
                job.rules = replace(job.rules, remember=False)
                under_way.append(job)
        return under_way

    async def _forget_rows(self, user_id: int) -> int:
        def work(session: Session) -> int:
            session.execute(_FORGET_STORY, (user_id,))
            session.execute(_FORGET_PARTS, (user_id,))
            rows = session.execute(_FORGET_AUTHOR, (user_id,))
            session.execute(
                "DELETE FROM memory WHERE message_id IN "
                "(SELECT message_id FROM memory WHERE author_id = ?)",
                (user_id,),
            )
            return len(rows)

        count = await self._db.write(work)
        await self._db.scrub()
        return count

    async def _messages(self, user_id: int) -> list[dict[str, str]]:
        def work(session: Session) -> list[Row]:
            return session.execute(
                "SELECT message_id, state FROM jobs WHERE author_id = ? ORDER BY message_id",
                (user_id,),
            )

        return [{"message": str(m), "state": str(s)} for m, s in await self._db.read(work)]

    async def _forget_later(self, user_id: int) -> None:
        """Forget what was under way, once it has ended."""
        for _ in range(AGAIN_MAX):
            await self._clock.sleep(AGAIN_S)
            if not self._queue.of_author(user_id):
                break
        try:
            await self._memory.forget_author(user_id)
            await self._forget_rows(user_id)
        except LlmbotError as error:
            self._bus.publish(TaskDied("forget-under-way", error.code, None))

    def _own(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
