"""From an event to a place in the queue: claimed first, in order, as its author left it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.support.conversation import Talk, talk
from tests.support.database import FaultyDatabase
from tests.support.discord import OUR_ID, MemoryDiscord
from tests.support.waiting import PATIENCE_S, until

from llmbot.conversation.claim import Claims
from llmbot.conversation.intake.place import StreamPlace
from llmbot.conversation.messages import ChannelMessage, SessionCursor
from llmbot.conversation.ports import KnownChannel
from llmbot.kernel.clock import ManualClock
from llmbot.kernel.errors import LlmbotError, StoreUnavailableError
from llmbot.kernel.events import MessageAccepted, Noted
from llmbot.storage.database.opening import Database

CHANNEL = KnownChannel(100, 1, None)


def at(sequence: int, session: str = "s1") -> SessionCursor:
    """A place in a session's stream."""
    return SessionCursor(session, sequence, "ws://gateway")


def only(*numbers: int) -> Callable[[int], LlmbotError | None]:
    """A fault for these calls."""
    return lambda number: StoreUnavailableError("disk full") if number in numbers else None


def accepted(t: Talk, message_id: int) -> Awaitable[object]:
    """The claim of a message, heard from now on."""
    found = t.bus.expect(MessageAccepted, lambda event: event.message_id == message_id)
    return asyncio.wait_for(found, PATIENCE_S)


def test_the_place_stays_behind_what_is_not_stored() -> None:
    """The place moves on only behind the oldest event that is still on its way to the disk."""
    place = StreamPlace()
    first, second, third = (place.enter(at(n), float(n)) for n in (1, 2, 3))
    assert place.to_store(first) == at(1)
    place.not_stored()
    assert place.to_store(second) is None
    place.pass_by(second)
    place.pass_by(third)
    assert (place.cursor, place.heard_s) == (None, 0.0)
    place.pass_by(first)
    assert (place.cursor, place.heard_s) == (at(3), 3.0)


def test_events_behind_one_that_is_never_stored_take_no_room() -> None:
    """What was passed behind an event that holds the place is merged."""
    place = StreamPlace()
    held = place.enter(at(1), 1.0)
    for n in range(2, 1000):
        place.pass_by(place.enter(at(n), float(n)))
    assert len(place._steps) <= 3
    place.pass_by(held)
    assert place.cursor == at(999)


def test_the_place_moves_on_in_a_flood() -> None:
    """Where an event is always on its way, each claim stores how far the ones before it got."""
    place = StreamPlace()
    first, second, third = (place.enter(at(n), float(n)) for n in (1, 2, 3))
    place.pass_by(first)
    assert place.to_store(third) == at(1)
    assert place.to_store(third) is None, "it is stored already"
    place.pass_by(second)
    place.enter(at(4), 4.0)
    place.pass_by(third)
    assert place.to_store(place.enter(at(5), 5.0)) == at(3)
    place.not_stored()
    assert place.to_store() == at(3)


async def test_the_place_is_stored_with_the_claim(tmp_path: Path) -> None:
    """The session's sequence is durable in the same commit as the claim of its message."""
    async with talk(tmp_path / "db", running=False) as t:
        inbound = t.question("hello")
        heard = accepted(t, inbound.message_id)
        t.inbox.on_message(inbound, at(7))
        await heard
        assert await t.store.session_cursor() == at(7)


async def test_no_later_message_moves_the_place_past_an_undurable_claim(tmp_path: Path) -> None:
    """While one claim cannot be stored, no other message's claim stores a place beyond it."""
    faulty: list[FaultyDatabase] = []

    async with talk(tmp_path / "db", wrap=_kept(faulty), running=False, clock=ManualClock()) as t:
        faulty[0].fault = only(faulty[0].writes)
        stuck, stored = t.question("first"), t.question("second", author=8)
        heard = accepted(t, stored.message_id)
        t.inbox.on_message(stuck, at(1))
        t.inbox.on_message(stored, at(2))
        await heard
        t.inbox.keep_place()
        assert await t.store.session_cursor() is None
        await t.inbox.close()
        t.inbox.keep_place()
        assert await t.store.session_cursor() is None


async def test_an_author_is_heard_in_order_though_a_claim_fails(tmp_path: Path) -> None:
    """A message whose claim had to be tried again still comes before its author's next one."""
    faulty: list[FaultyDatabase] = []
    async with talk(tmp_path / "db", wrap=_kept(faulty)) as t:
        faulty[0].fault = only(faulty[0].writes)
        questions = [t.question(f"number {n}") for n in range(3)]
        last = t.delivered(questions[-1].message_id)
        for inbound in questions:
            t.inbox.on_message(inbound, None)
        await last
        order = [m.reply_to for m in t.discord.ours(100)]
        assert order == [q.message_id for q in questions]


async def test_a_reply_that_must_be_looked_up_keeps_its_turn(tmp_path: Path) -> None:
    """A reply to the bot that Discord did not describe is answered before what came after it."""
    async with talk(tmp_path / "db") as t:
        first = await t.ask("hello")
        await t.store.tell(first.message_id, "looked", "")  # what was written before is durable now
        ours = t.discord.ours(100, first.message_id)[0]
        reply = t.question("and you?", mentions_us=False, reply_to=ours.id, replies_to_us=None)
        other = t.question("next")
        last = t.delivered(other.message_id)
        t.inbox.on_message(reply, None)
        t.inbox.on_message(other, None)
        await last
        assert [m.reply_to for m in t.discord.ours(100)][1:] == [
            reply.message_id,
            other.message_id,
        ]


async def test_a_claim_that_was_stored_though_told_to_have_failed_is_answered(
    tmp_path: Path,
) -> None:
    """A commit whose answer was lost is found at the next try; the message is answered once."""
    faulty: list[FaultyDatabase] = []
    async with talk(tmp_path / "db", wrap=_kept(faulty)) as t:
        faulty[0].late_fault = only(faulty[0].writes)
        inbound = t.question("hello")
        done = t.delivered(inbound.message_id)
        t.inbox.on_message(inbound, None)
        await done
        assert len(t.discord.ours(100)) == 1


async def test_an_edit_that_is_faster_than_the_claim_counts(tmp_path: Path) -> None:
    """A question edited before its claim is durable is answered as edited."""
    async with talk(tmp_path / "db") as t:
        inbound = t.question("secnd")
        done = t.delivered(inbound.message_id)
        t.inbox.on_message(inbound, None)
        t.inbox.on_message_edited(100, inbound.message_id, "second")
        await done
        assert t.reply(inbound.message_id) == "You said: second"


async def test_a_deletion_that_is_faster_than_the_claim_counts(tmp_path: Path) -> None:
    """A question deleted before its claim is durable is not answered, nor by the next life."""
    discord = MemoryDiscord()
    async with talk(tmp_path / "db", discord=discord) as t:
        gone, other = t.question("gone"), t.question("other")
        done = t.delivered(other.message_id)
        t.inbox.on_message(gone, None)
        t.inbox.on_message_deleted(100, gone.message_id)
        t.inbox.on_message(other, None)
        await done
        stored = await t.store.counts()
        assert stored in ({"done": 2}, {"done": 1, "delivering": 1})
    assert [m.reply_to for m in discord.ours(100)] == [other.message_id]


async def test_live_messages_wait_for_what_was_missed(tmp_path: Path) -> None:
    """After a new session an author's live message is answered after the one that was missed."""
    discord = MemoryDiscord()
    async with talk(tmp_path / "db", discord=discord) as t:
        await t.ask("hello")
        t.inbox.keep_place()
    async with talk(tmp_path / "db", discord=discord, catching_up=True) as t:
        missed, live = t.question("<@42> missed"), t.question("live")
        discord.seed(t.as_it_stands(missed))
        discord.seed(t.as_it_stands(live))
        last = t.delivered(live.message_id)
        t.inbox.on_message(live, at(3, "s2"))
        await t.inbox.drain()
        channels = [KnownChannel(100, 1, live.message_id)]
        t.inbox.on_session(resumed=False, channels=channels, session_id="s2")
        await last
        order = [m.reply_to for m in discord.ours(100)][1:]
        assert order == [missed.message_id, live.message_id]


async def test_channels_without_news_do_not_wait(tmp_path: Path) -> None:
    """A live message in a channel that missed nothing is not held up by a search elsewhere."""
    discord = MemoryDiscord()
    hang = asyncio.Event()
    async with talk(tmp_path / "db", discord=discord, catching_up=True) as t:
        live = t.question("live", channel=200)
        done = t.delivered(live.message_id)
        discord.hold = lambda call, channel: hang if (call, channel) == ("history", 100) else None
        channels = [
            KnownChannel(100, 1, live.message_id),
            KnownChannel(200, 1, live.message_id - (10**6 << 22)),
        ]
        t.inbox.on_session(resumed=False, channels=channels, session_id="s1")
        t.inbox.on_message(live, at(1))
        await done
        hang.set()


async def test_the_gap_is_durable_before_the_new_session_is(tmp_path: Path) -> None:
    """A place in a new session is stored only behind the note that a search must be made."""
    faulty: list[FaultyDatabase] = []
    clock = ManualClock()
    async with talk(
        tmp_path / "db", wrap=_kept(faulty), running=False, catching_up=True, clock=clock
    ) as t:
        faulty[0].fault = only(faulty[0].writes)  # the note, which comes first
        first, second = t.question("hello"), t.question("again")
        heard = accepted(t, first.message_id)
        t.inbox.on_message(first, at(1, "s2"))
        await heard
        t.inbox.keep_place()
        assert await t.store.session_cursor() is None
        clock.advance(1.0)
        await t.inbox.drain()
        assert await t.store.meta("gap")
        heard = accepted(t, second.message_id)
        t.inbox.on_message(second, at(2, "s2"))
        await heard
        assert await t.store.session_cursor() == at(2, "s2")


def _kept(kept: list[FaultyDatabase]) -> Callable[[Database], Database]:
    """Wrap a database and keep the wrapper for the test."""

    def wrap(database: Database) -> Database:
        kept.append(FaultyDatabase(database))
        return kept[-1]

    return wrap


async def test_no_claim_is_stored_before_an_earlier_one_of_its_author(tmp_path: Path) -> None:
    """A kill while the disk refuses leaves no later question without the one before it."""
    kept: list[FaultyDatabase] = []
    async with talk(tmp_path / "db", running=False, wrap=_kept(kept)) as t:
        first, second = t.question("first"), t.question("second")
        left = [StoreUnavailableError("disk full")]
        kept[0].fault = lambda _: left.pop() if left else None
        refused = t.bus.expect(Noted)
        for inbound in (first, second):
            t.inbox.on_message(inbound, None)
        await refused
        await t.store.tell(1, "looked", "")
        assert await t.store.unfinished() == []
        await until(lambda: t.queue.knows(second.message_id))
        stored = [job.message_id for job in await t.store.unfinished()]
        assert stored == [first.message_id, second.message_id]


async def test_a_reply_to_words_of_a_killed_life_is_a_question(tmp_path: Path) -> None:
    """What was sent right before a kill is recorded nowhere: Discord is asked whose it is."""
    async with talk(tmp_path / "db") as t:
        ours = next(t.ids)
        t.discord.seed(ChannelMessage(ours, 100, OUR_ID, "bot", "In line.", author_is_us=True))
        reply = t.question("how long?", mentions_us=False, reply_to=ours, replies_to_us=None)
        done = t.delivered(reply.message_id)
        t.inbox.on_message(reply, None)
        await done
        assert t.reply(reply.message_id) == "You said: how long?"


async def test_a_reply_to_words_that_are_not_recorded_yet_is_a_question(tmp_path: Path) -> None:
    """Our message was seen on the gateway before the call that sent it was answered, or recorded.

    So it is with what a dead process sent last, in a channel where nobody has spoken since.
    """
    async with talk(tmp_path / "db") as t:
        ours = ChannelMessage(next(t.ids), 100, 42, "bot", "Words", True, True)
        t.inbox.on_message_seen(ours)
        reply = t.question("why?", mentions_us=False, reply_to=ours.id, replies_to_us=None)
        done = t.delivered(reply.message_id)
        t.inbox.on_message(reply, None)
        await done


async def test_the_memory_of_claims_is_bounded(tmp_path: Path) -> None:
    """Of all messages only the last ones are remembered; the record knows the others."""
    async with talk(tmp_path / "db", running=False) as t:
        claims = Claims(t.store, t.bus, t.clock, memory_max=2)
        asked = [t.question(f"number {n}") for n in range(4)]
        for inbound in asked:
            assert await claims.claim(inbound, None) is not None
        assert claims.remembered == 2
        assert await claims.claim(asked[0], None) is None
        assert claims.duplicates == {"memory": 0, "record": 1}
