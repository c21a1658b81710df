"""The memory of conversations: in documents that people can read, and never in an answer's way.

Turns are journaled in the database by the commit that ends their job (`journal.py`), and put into
the conversation's document in memory at once. The document is written some seconds later, together
with whatever came meanwhile, so that a busy channel costs one write and not one an answer; when it
is durable the journal lets go. A kill in between loses nothing: the next life finds the turns in
the journal and puts them where they belong.

A document that cannot be read now costs an answer its memory, never the answer: the turns wait in
the journal until it can.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import Any

from llmbot.conversation.memory.conversations import CONVERSATIONS, Bounds, Conversation
from llmbot.conversation.memory.journal import Key, MemoryJournal, Remembered
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import LlmbotError
from llmbot.kernel.events import EventBus, Noted, TaskDied
from llmbot.storage.documents.store import DocumentStore

READ_PATIENCE_S = 1.0
"""A disk that takes longer to give a conversation's memory holds its answer up no longer."""

WITHIN_S = 15.0
"""How long a document waits for further turns; the journal has them meanwhile."""

_HELD_BACK_MAX = 2000
"""Turns that wait in memory for a document that cannot be read; more only wait in the journal."""

_LONG_MAX = 500
_DELETE_MAX = 500


@dataclass(frozen=True, slots=True)
class MemoryFacts:
    """How the memory does."""

    journaled: int
    """Turns that no document has for certain."""
    held_back: int
    """Of these, those whose document cannot be read now."""
    long: int
    """Conversations whose oldest turns wait to be summarised."""


class ConversationMemory:
    """Remembers, recalls and forgets conversations."""

    def __init__(
        self,
        store: DocumentStore,
        journal: MemoryJournal,
        bus: EventBus,
        clock: Clock,
        bounds: Bounds | None = None,
    ) -> None:
        """Remember in the documents of `store`, by way of `journal`."""
        self._store = store
        self._journal = journal
        self._bus = bus
        self._clock = clock
        self.bounds = bounds or Bounds()
        self.slack = 1.0
        """How many times the bounds are kept; more than once where somebody summarises."""
        self._journaled: dict[int, set[Key]] = {}
        self._held_back: dict[int, list[Remembered]] = {}
        self._durable: list[Key] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.long: OrderedDict[int, None] = OrderedDict()
        """Channels whose oldest turns wait to be summarised, longest waiting first."""

    # ── remembering ─────────────────────────────────────────────────────────────────────────────

    async def adopt(self) -> int:
        """Put what an earlier life had journaled into documents; how many turns that were.

        Raises:
            StoreUnavailableError: the journal could not be read.
        """
        left = sorted(await self._journal.left(), key=lambda turn: turn.channel_id)
        for channel_id, turns in groupby(left, key=lambda turn: turn.channel_id):
            kept = tuple(turns)
            self._journaled.setdefault(channel_id, set()).update(turn.key for turn in kept)
            await self._fold(channel_id, kept)
        return len(left)

    def took(self, turns: tuple[Remembered, ...]) -> None:
        """Remember turns that are being journaled; returns at once."""
        if not turns:
            return
        channel_id = turns[0].channel_id
        self._journaled.setdefault(channel_id, set()).update(turn.key for turn in turns)
        if self._store.is_held(CONVERSATIONS.ref(channel_id)):
            self._put(channel_id, turns)
        else:
            self._own(self._fold(channel_id, turns), f"remember-{channel_id}")

    async def _fold(self, channel_id: int, turns: tuple[Remembered, ...]) -> None:
        try:
            await self._store.get(CONVERSATIONS.ref(channel_id))
        except LlmbotError as error:
            waiting = self._held_back.setdefault(channel_id, [])
            if sum(map(len, self._held_back.values())) + len(turns) <= _HELD_BACK_MAX:
                waiting.extend(turns)
            self._bus.publish(Noted("memory", f"channel {channel_id} cannot be read: {error.code}"))
            return
        self._put(channel_id, turns)

    def _put(self, channel_id: int, turns: Iterable[Remembered]) -> None:
        """Into the document, whose present value is in memory."""
        ref = CONVERSATIONS.ref(channel_id)
        held_back = self._held_back.pop(channel_id, [])
        value = self._own_of(channel_id, self._store.peek(ref))
        value = value.with_turns((*held_back, *turns))
        value = value.aged(self._clock.wall(), self.bounds).cut(self.bounds, slack=self.slack)
        self._note_long(value)
        keys = tuple(self._journaled.get(channel_id, ()))
        if value.is_empty:
            self._is_durable(channel_id, keys)
            return
        saved = self._store.put(ref, value, within_s=WITHIN_S, optional=True, patient=True)
        saved.add_done_callback(lambda done: self._saved(channel_id, keys, done))

    def _saved(self, channel_id: int, keys: tuple[Key, ...], done: asyncio.Future[None]) -> None:
        if not done.cancelled() and done.exception() is None:
            self._is_durable(channel_id, keys)

    def _is_durable(self, channel_id: int, keys: tuple[Key, ...]) -> None:
        """The journal may let go; what becomes durable in one turn of the loop is one write."""
        journaled = self._journaled.get(channel_id)
        if journaled is not None:
            journaled.difference_update(keys)
            if not journaled:
                del self._journaled[channel_id]
        if not self._durable:
            self._own(self._let_go(), "journal-lets-go")
        self._durable += keys

    async def _let_go(self) -> None:
        await self._clock.sleep(0)
        keys, self._durable = self._durable, []
        for start in range(0, len(keys), _DELETE_MAX):
            # A failure leaves them to the next life, which finds them in their documents already.
            with contextlib.suppress(LlmbotError):
                await self._journal.done(keys[start : start + _DELETE_MAX])

    # ── recalling ───────────────────────────────────────────────────────────────────────────────

    async def recall(self, channel_id: int, before_id: int, limit: int) -> list[Remembered]:
        """The newest turns of a conversation before a message, oldest first."""
        value = await self.conversation(channel_id)
        found = [turn for turn in value.turns if turn.message_id < before_id]
        return found[-limit:] if limit > 0 else []

    async def conversation(self, channel_id: int) -> Conversation:
        """All that is remembered of a conversation; nothing where it cannot be read now."""
        ref = CONVERSATIONS.ref(channel_id)
        try:
            async with asyncio.timeout(READ_PATIENCE_S):
                value = await self._store.get(ref)
        except (LlmbotError, TimeoutError):
            value = None
        else:
            if channel_id in self._held_back:
                self._put(channel_id, ())
                value = self._store.peek(ref)
        return self._own_of(channel_id, value)

    def _own_of(self, channel_id: int, value: Conversation | None) -> Conversation:
        if value is None:
            return Conversation(channel_id)
        if value.channel_id not in (0, channel_id):
            # Somebody copied another channel's file here; its words must not appear in this one.
            self._bus.publish(Noted("memory", f"channel {channel_id}: another channel's is there"))
            return Conversation(channel_id)
        return replace(value, channel_id=channel_id) if value.channel_id == 0 else value

    # ── forgetting ──────────────────────────────────────────────────────────────────────────────

    async def forget(self, channel_id: int, up_to_id: int) -> int:
        """Forget a conversation up to a message, every copy included; how many turns that were.

        Raises:
            StoreUnavailableError: it is forgotten in part, or in memory only; try again.
        """
        before = await self.conversation(channel_id)
        await self._journal.forget(channel_id, up_to_id)
        self._held_back.pop(channel_id, None)
        await self._shorten(channel_id, lambda value: value.since(up_to_id))
        return sum(turn.message_id <= up_to_id for turn in before.turns)

    async def cleared_up_to(self, channel_id: int) -> int:
        """The message up to which a channel was forgotten; 0 for never."""
        return await self._journal.cleared_up_to(channel_id)

    async def forget_old(self) -> int:
        """Forget what is older than it may be, in every conversation and every copy.

        How many conversations became shorter. One that cannot be read now is left to the next time.
        """
        shortened = 0
        limit_s = self._clock.wall() - self.bounds.age_max_s
        try:
            keys = await self._store.keys(CONVERSATIONS)
        except LlmbotError:
            return 0
        for key in keys:
            try:
                shortened += await self._forget_old(int(key), limit_s)
            except LlmbotError as error:
                self._bus.publish(Noted("memory", f"channel {key} not shortened: {error.code}"))
        return shortened

    async def _forget_old(self, channel_id: int, limit_s: float) -> bool:
        ref = CONVERSATIONS.ref(channel_id)
        held = self._store.peek(ref)
        looks = await self._store.look_at_disk(partial(self._store.reader.all_versions, ref))
        values = [look.value for look in looks if look.value is not None]
        if held is not None:
            values.append(held)
        if not any(0 < value.oldest_s < limit_s for value in values):
            return False
        now = self._clock.wall()
        await self._shorten(channel_id, lambda value: value.aged(now, self.bounds))
        return True

    async def forget_author(self, author_id: int) -> int:
        """Forget what somebody asked and was answered, everywhere, in every copy.

        How many conversations they had taken part in.

        Raises:
            StoreUnavailableError: not all of it could be forgotten; try again.
        """
        count = 0
        for key in await self._store.keys(CONVERSATIONS):
            ref = CONVERSATIONS.ref(key)
            held = self._store.peek(ref)
            looks = await self._store.look_at_disk(partial(self._store.reader.all_versions, ref))
            versions = [look.value for look in looks] + ([] if held is None else [held])
            # What cannot be read may hold their words, so it goes too.
            if not any(value is None or value.without(author_id) != value for value in versions):
                continue
            await self._shorten(int(key), lambda value: value.without(author_id))
            count += 1
        for channel_id, turns in list(self._held_back.items()):
            self._held_back[channel_id] = [t for t in turns if t.author_id != author_id]
        return count

    async def words_of(self, author_id: int) -> list[Remembered]:
        """Everything that somebody asked and was answered, as far as it can be read."""
        found: list[Remembered] = []
        for key in await self._store.keys(CONVERSATIONS):
            value = await self.conversation(int(key))
            theirs = {turn.message_id for turn in value.turns if turn.author_id == author_id}
            found += [turn for turn in value.turns if turn.message_id in theirs]
        return found

    async def _shorten(
        self, channel_id: int, change: Callable[[Conversation], Conversation]
    ) -> None:
        """Make a conversation shorter, and let no longer version of it survive anywhere."""
        ref = CONVERSATIONS.ref(channel_id)
        await self._store.get(ref)
        # Turns may have come meanwhile; from here to the put none can.
        value = change(self._own_of(channel_id, self._store.peek(ref)))
        self.long.pop(channel_id, None)
        if value.is_empty:
            await self._store.remove(ref)
        else:
            await self._store.put(ref, value)
            await self._store.on_disk(lambda: self._store.shelf.writer.drop_copies(ref))

    # ── summarising ─────────────────────────────────────────────────────────────────────────────

    def _note_long(self, value: Conversation) -> None:
        if value.surplus(self.bounds) and len(self.long) < _LONG_MAX:
            self.long.setdefault(value.channel_id)

    def summarised(self, shorter: Conversation, covered: tuple[Remembered, ...]) -> bool:
        """Let a summary stand for turns; False where some of them were forgotten meanwhile."""
        ref = CONVERSATIONS.ref(shorter.channel_id)
        self.long.pop(shorter.channel_id, None)
        if not self._store.is_held(ref):
            return False
        now = self._own_of(shorter.channel_id, self._store.peek(ref))
        gone = {turn.key for turn in covered}
        if not gone <= {turn.key for turn in now.turns}:
            return False
        rest = tuple(turn for turn in now.turns if turn.key not in gone)
        value = replace(now, turns=rest, summary=shorter.summary)
        self._store.put(ref, value, within_s=WITHIN_S, optional=True, patient=True)
        return True

    # ── its life ────────────────────────────────────────────────────────────────────────────────

    def facts(self) -> MemoryFacts:
        """How the memory does."""
        return MemoryFacts(
            journaled=sum(map(len, self._journaled.values())),
            held_back=sum(map(len, self._held_back.values())),
            long=len(self.long),
        )

    async def drain(self) -> None:
        """Wait for what is being remembered, and for the journal to let go of what was."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

    def _own(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._bus.publish(TaskDied(task.get_name(), type(error).__name__, None))
