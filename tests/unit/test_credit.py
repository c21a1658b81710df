"""The conversation on a disk that refuses: it goes on, and nothing is acknowledged too early."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.conversation import Talk, talk
from tests.support.database import FaultyDatabase
from tests.support.discord import MemoryDiscord

from llmbot.conversation.intake.credit import AnsweredOnCredit, Credit
from llmbot.conversation.messages import SessionCursor
from llmbot.kernel.errors import LlmbotError, StoreUnavailableError
from llmbot.kernel.events import JobMoved, MessageAccepted
from llmbot.kernel.ids import snowflake_at
from llmbot.storage.database.opening import Database


class Disk:
    """Lets a test fill the disk of the database and free it again."""

    def __init__(self) -> None:
        self.full = False
        self.database: FaultyDatabase | None = None

    def wrap(self, inner: Database) -> FaultyDatabase:
        """Stand before a database."""
        self.database = FaultyDatabase(inner)
        self.database.fault = lambda _: self._refusal()
        return self.database

    def _refusal(self) -> LlmbotError | None:
        return StoreUnavailableError("the disk is full") if self.full else None


def fill(t: Talk, disk: Disk) -> None:
    """From now on the disk refuses; who waits for it is answered soon."""
    t.inbox.credit = Credit(t.store, t.bus, t.clock, after_s=0.02)
    disk.full = True


async def stored_state(t: Talk, message_id: int) -> str:
    """The state of a message as the disk has it."""
    job = await t.store.job(message_id)
    if job is not None:
        return job.state.value
    # An ended job has no payload left to be read; its story tells its end.
    story = await t.store.story(message_id)
    return story[-1].fact if story else ""


async def test_a_conversation_goes_on_without_a_disk(tmp_path: Path) -> None:
    """While the disk is full messages are answered once; it has them all when it is free again."""
    disk = Disk()
    async with talk(tmp_path / "db", wrap=disk.wrap) as t:
        fill(t, disk)
        first, second = t.question("one"), t.question("two")
        done = [t.delivered(inbound.message_id) for inbound in (first, second)]
        credit = t.bus.expect(AnsweredOnCredit)
        for inbound in (first, second):
            t.inbox.on_message(inbound, None)
        await credit
        await asyncio.gather(*done)
        assert t.reply(first.message_id) == "You said: one"
        disk.full = False
        t.store.sure.again()
        await t.inbox.drain()
        await t.store.tell(1, "looked", "")
        for inbound in (first, second):
            assert await stored_state(t, inbound.message_id) == "done"
        assert len(t.discord.ours(100)) == 2


async def test_a_conversation_goes_on_while_nobody_can_read_either(tmp_path: Path) -> None:
    """What is newer than all that was ever claimed needs no look at the disk."""
    disk = Disk()
    async with talk(tmp_path / "db") as t:
        known = await t.ask("one")
    async with talk(tmp_path / "db", wrap=disk.wrap) as t:
        await t.inbox.continue_from()
        fill(t, disk)
        assert disk.database is not None
        disk.database.reads_hang = True
        fresh = t.question("two", author=8, message_id=known.message_id + 1)
        done = t.delivered(fresh.message_id)
        for inbound in (t.question("one", message_id=known.message_id), fresh):
            t.inbox.on_message(inbound, None)
        await done
        assert t.discord.ours(100, known.message_id) == []
        disk.full = disk.database.reads_hang = False


async def test_nothing_is_acknowledged_before_it_is_stored(tmp_path: Path) -> None:
    """A message answered on credit neither counts as accepted nor moves the place in the stream."""
    disk = Disk()
    async with talk(tmp_path / "db", wrap=disk.wrap) as t:
        heard: list[object] = []
        t.bus.subscribe(lambda published: heard.append(type(published.event)))
        fill(t, disk)
        inbound = t.question("one")
        done = t.delivered(inbound.message_id)
        t.inbox.on_message(inbound, SessionCursor("s", 5, "wss://x"))
        await done
        disk.full = False
        t.inbox.keep_place()
        await t.store.tell(1, "looked", "")
        assert await t.store.session_cursor() is None
        assert MessageAccepted not in heard
        await t.inbox.drain()
        t.inbox.keep_place()
        await t.store.tell(1, "looked", "")
        cursor = await t.store.session_cursor()
        assert cursor is not None
        assert cursor.sequence == 5
        assert heard.count(MessageAccepted) == 1


async def test_a_kill_while_on_credit_makes_no_second_reply(tmp_path: Path) -> None:
    """The next life hears the message again and brings the reply that stands there to its end."""
    disk, discord = Disk(), MemoryDiscord()
    async with talk(tmp_path / "db", wrap=disk.wrap, discord=discord) as t:
        fill(t, disk)
        inbound = t.question("one")
        done = t.delivered(inbound.message_id)
        t.inbox.on_message(inbound, None)
        await done
    async with talk(tmp_path / "db", discord=discord) as t:
        done = t.delivered(inbound.message_id)
        t.inbox.on_message(inbound, None)
        await done
        assert len(discord.ours(100)) == 1


async def test_a_kill_long_ago_makes_no_second_reply_either(tmp_path: Path) -> None:
    """Where Discord has forgotten the nonce, the next life looks for the reply before it sends."""
    disk, discord = Disk(), MemoryDiscord()
    async with talk(tmp_path / "db", wrap=disk.wrap, discord=discord) as t:
        fill(t, disk)
        inbound = t.question("one", message_id=snowflake_at(t.clock.wall() - 300))
        done = t.delivered(inbound.message_id)
        t.inbox.on_message(inbound, None)
        await done
    discord.nonces.clear()

    def after_a_kill(inner: Database) -> FaultyDatabase:
        database = FaultyDatabase(inner)
        database.unclean = True
        return database

    async with talk(tmp_path / "db", wrap=after_a_kill, discord=discord) as t:
        done = t.delivered(inbound.message_id)
        t.inbox.on_message(inbound, None)
        await done
        assert len(discord.ours(100)) == 1


async def test_an_authors_messages_keep_their_order_on_credit(tmp_path: Path) -> None:
    """On a full disk the messages of one author are answered one after the other as ever."""
    disk = Disk()
    async with talk(tmp_path / "db", wrap=disk.wrap) as t:
        fill(t, disk)
        asked = [t.question(f"number {number}") for number in range(5)]
        done = [t.delivered(inbound.message_id) for inbound in asked]
        for inbound in asked:
            t.inbox.on_message(inbound, None)
        await asyncio.gather(*done)
        replies = [message.reply_to for message in t.discord.ours(100)]
        assert replies == [inbound.message_id for inbound in asked]
        disk.full = False


async def test_a_question_edited_on_credit_is_answered_as_edited(tmp_path: Path) -> None:
    """What waits for its turn without a durable claim is amended like all that waits."""
    disk = Disk()
    async with talk(tmp_path / "db", wrap=disk.wrap, running=False) as t:
        fill(t, disk)
        inbound = t.question("one")
        credit = t.bus.expect(AnsweredOnCredit)
        t.inbox.on_message(inbound, None)
        await credit
        t.inbox.on_message_edited(100, inbound.message_id, "two")
        disk.full = False
        await t.inbox.drain()
        await t.store.tell(1, "looked", "")
        job = await t.store.job(inbound.message_id)
        assert job is not None
        assert job.inbound.content == "two"


async def test_a_message_that_was_answered_before_gets_no_credit(tmp_path: Path) -> None:
    """A repeated message is never answered again, not even while its claim cannot be tried."""
    disk = Disk()
    async with talk(tmp_path / "db") as t:
        delivered = await t.ask("one")
        await t.store.tell(1, "looked", "")
    async with talk(tmp_path / "db", wrap=disk.wrap) as t:
        fill(t, disk)
        t.inbox.on_message(t.question("one", message_id=delivered.message_id), None)
        fresh = t.question("two")
        done = t.delivered(fresh.message_id)
        t.inbox.on_message(fresh, None)
        await done
        assert t.discord.ours(100, delivered.message_id) == []
        disk.full = False


async def test_a_repeat_on_credit_is_answered_once(tmp_path: Path) -> None:
    """The same message twice while the disk is full, and once more after, is answered once."""
    disk = Disk()
    async with talk(tmp_path / "db", wrap=disk.wrap) as t:
        fill(t, disk)
        inbound = t.question("one")
        done = t.delivered(inbound.message_id)
        t.inbox.on_message(inbound, None)
        t.inbox.on_message(inbound, None)
        await done
        disk.full = False
        await t.inbox.drain()
        t.inbox.on_message(inbound, None)
        await t.inbox.drain()
        assert len(t.discord.ours(100)) == 1
        assert t.queue.facts().waiting == 0


async def test_an_answer_is_given_though_it_cannot_be_stored(tmp_path: Path) -> None:
    """A disk that fills up while the model speaks does not keep the answer from its author."""
    disk = Disk()
    async with talk(tmp_path / "db", wrap=disk.wrap) as t:
        generating = t.bus.expect(JobMoved, lambda event: event.after == "generating")
        generating.add_done_callback(lambda _: setattr(disk, "full", True))
        delivered = await t.ask("one")
        assert t.reply(delivered.message_id) == "You said: one"
        disk.full = False
        t.store.sure.again()
        await t.store.tell(1, "looked", "")
        assert await stored_state(t, delivered.message_id) == "done"
