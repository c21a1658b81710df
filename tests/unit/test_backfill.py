"""Looking back: what was asked while the gateway was away is found, once, and no more than that."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.support.conversation import Talk, talk
from tests.support.discord import MemoryDiscord
from tests.support.waiting import PATIENCE_S

from llmbot.conversation.messages import ChannelMessage, Inbound, SessionCursor
from llmbot.conversation.missed.backfill import BackfillSettings
from llmbot.conversation.ports import KnownChannel
from llmbot.kernel.clock import ManualClock
from llmbot.kernel.errors import (
    DiscordForbiddenError,
    DiscordUnavailableError,
    LlmbotError,
)
from llmbot.kernel.events import BackfillDone, MessageAccepted
from llmbot.kernel.ids import snowflake_at

OLD = 10**6 << 22
"""Some seventeen minutes of snowflakes."""


def new_session(t: Talk, channels: Sequence[KnownChannel], session_id: str = "s2") -> None:
    """Let a session begin that replays nothing."""
    t.inbox.on_session(resumed=False, channels=channels, session_id=session_id)


def missed(t: Talk, text: str, **more: object) -> Inbound:
    """A message that stands in its channel and was never heard."""
    inbound = t.question(text, **more)  # type: ignore[arg-type] # tests name the fields they change
    t.discord.seed(t.as_it_stands(inbound))
    return inbound


async def answered(t: Talk, *questions: Inbound, channels: Sequence[KnownChannel]) -> None:
    """Begin a session and wait until these are answered."""
    waiting = [asyncio.ensure_future(t.delivered(q.message_id)) for q in questions]
    new_session(t, channels)
    await asyncio.gather(*waiting)


async def test_mentions_replies_and_threads_are_found(tmp_path: Path) -> None:
    """What the gateway would have taken for a question is found: by name, role, reply, thread."""
    async with talk(tmp_path / "db", catching_up=True) as t:
        first = await t.ask("hello")
        await t.store.tell(first.message_id, "looked", "")
        ours = t.discord.ours(100, first.message_id)[0].id
        asked = [
            missed(t, "<@42> by name"),
            missed(t, "<@!42> by nickname", author=8),
            missed(t, "<@&77> by role", author=9),
            missed(t, "a reply", author=10, reply_to=ours),
            missed(t, "in the thread", channel=300),
        ]
        not_asked = [
            missed(t, "among people", author=11),
            missed(t, "<@5> in the thread to another", channel=300, author=12),
        ]
        last = asked[-1].message_id + OLD
        channels = [
            KnownChannel(100, 1, last, own_role=77),
            KnownChannel(300, 1, last, in_our_thread=True),
        ]
        done = t.bus.expect(BackfillDone)
        await answered(t, *asked, channels=channels)
        assert (await done).found == len(asked)
        for inbound in not_asked:
            assert t.reply(inbound.message_id, inbound.channel_id) == ""


async def test_direct_channels_are_found_though_no_session_tells_them(tmp_path: Path) -> None:
    """Discord lists no direct channels; those that were spoken in are searched all the same."""
    async with talk(tmp_path / "db", catching_up=True) as t:
        await t.ask("hello", channel=900, guild_id=None, is_direct=True, mentions_us=False)
        question = missed(t, "still there?", channel=900)
        await answered(t, question, channels=[])
        assert t.reply(question.message_id, 900) == "You said: still there?"


async def test_direct_channels_are_found_though_what_is_known_of_them_is_old(
    tmp_path: Path,
) -> None:
    """What the connection remembers of a direct channel ends before the gap: it is asked anew."""
    async with talk(tmp_path / "db", catching_up=True) as t:
        known = await t.ask("hello", channel=900, guild_id=None, is_direct=True, mentions_us=False)
        question = missed(t, "still there?", channel=900)
        stale = KnownChannel(900, None, known.message_id - OLD)
        await answered(t, question, channels=[stale])
        assert t.reply(question.message_id, 900) == "You said: still there?"


async def test_a_long_absence_is_read_to_its_end(tmp_path: Path) -> None:
    """More messages than one round may read are found in further rounds, none twice."""
    settings = BackfillSettings(pages_per_channel_max=1, calls_max=1)
    async with talk(tmp_path / "db", catching_up=True, backfill=settings) as t:
        for n in range(150):
            t.discord.seed(ChannelMessage(next(t.ids), 100, 50, "talker", f"chatter {n}"))
        questions = [missed(t, f"<@42> number {n}", channel=100 + n) for n in range(3)]
        channels = [KnownChannel(100 + n, 1, questions[n].message_id) for n in range(3)]
        await answered(t, *questions, channels=channels)
        assert [len(t.discord.ours(100 + n)) for n in range(3)] == [1, 1, 1]
        # Two pages of the busy channel, one of each other, one for its end, context for each.
        assert t.discord.calls.count("history") <= 10


async def test_a_channel_that_fails_is_asked_again(tmp_path: Path) -> None:
    """Discord being unavailable ends no search; what was found is not fetched again."""
    failures: list[LlmbotError] = [DiscordUnavailableError() for _ in range(2)]
    async with talk(tmp_path / "db", catching_up=True) as t:
        question = missed(t, "<@42> hello")
        t.discord.fault = lambda call: failures.pop() if call == "history" and failures else None
        await answered(t, question, channels=[KnownChannel(100, 1, question.message_id)])
        assert not failures


async def test_a_channel_that_is_closed_to_us_holds_nothing_up(tmp_path: Path) -> None:
    """A channel that may not be read is left out, and the search is complete without it."""
    async with talk(tmp_path / "db", catching_up=True) as t:
        t.discord.fault = lambda call: DiscordForbiddenError() if call == "history" else None
        done = t.bus.expect(BackfillDone)
        new_session(t, [KnownChannel(100, 1, next(t.ids) + OLD)])
        assert (await done).complete
        unreadable = KnownChannel(200, 1, next(t.ids) + OLD, may_read=False)
        t.discord.fault = lambda _: None
        done = t.bus.expect(BackfillDone)
        new_session(t, [unreadable])
        assert (await done).channels == 0


async def test_channels_without_news_are_not_asked(tmp_path: Path) -> None:
    """A channel whose last message is older than the gap costs no call."""
    async with talk(tmp_path / "db", catching_up=True) as t:
        done = t.bus.expect(BackfillDone)
        new_session(t, [KnownChannel(100, 1, next(t.ids) - OLD)])
        assert (await done).calls == 0


async def test_a_deleted_question_is_not_found(tmp_path: Path) -> None:
    """Whoever took a question back while the bot was away gets no answer to it."""
    async with talk(tmp_path / "db", catching_up=True) as t:
        gone, kept = missed(t, "<@42> never mind"), missed(t, "<@42> but this", author=8)
        await t.discord.delete(100, gone.message_id)
        await answered(t, kept, channels=[KnownChannel(100, 1, kept.message_id)])
        assert t.reply(gone.message_id) == ""


async def test_a_life_that_died_in_its_search_is_followed_by_one_that_ends_it(
    tmp_path: Path,
) -> None:
    """The next life searches the recorded channels although it resumes and is told none."""
    discord = MemoryDiscord()
    hang = asyncio.Event()
    async with talk(tmp_path / "db", discord=discord, catching_up=True) as t:
        asked = missed(t, "<@42> hello")
        reading = asyncio.Event()

        def hold(call: str, channel: int) -> asyncio.Event:
            del call, channel
            reading.set()
            return hang

        discord.hold = hold
        new_session(t, [KnownChannel(100, 1, asked.message_id)])
        await asyncio.wait_for(reading.wait(), PATIENCE_S)
        # The place of the new session is durable; a resume from there replays nothing of the gap.
        await t.store.keep_cursor(SessionCursor("s2", 5, "ws://gateway"))
    discord.hold = lambda *_: None
    async with talk(tmp_path / "db", discord=discord, catching_up=True) as t:
        assert not t.catch_up.lacks_channels
        done = asyncio.ensure_future(t.delivered(asked.message_id))
        t.inbox.on_session(resumed=True, channels=[], session_id="s2")
        await done
    async with talk(tmp_path / "db", discord=discord, catching_up=True) as t:
        assert await t.store.meta("gap") == ""


async def test_a_life_that_died_before_its_channels_were_known_says_so(tmp_path: Path) -> None:
    """A gap without channels asks for a new session, because a resumed one tells no channels."""
    async with talk(tmp_path / "db", catching_up=True) as t:
        first = t.question("hello")
        done = asyncio.ensure_future(t.delivered(first.message_id))
        t.inbox.on_message(first, SessionCursor("s2", 1, "ws://gateway"))
        await t.inbox.drain()
        done.cancel()
    async with talk(tmp_path / "db", catching_up=True) as t:
        assert t.catch_up.lacks_channels


async def test_what_came_live_in_a_broken_search_waits_again(tmp_path: Path) -> None:
    """A live message that an earlier life held for a search is not begun before that search."""
    discord = MemoryDiscord()
    async with talk(tmp_path / "db", discord=discord, catching_up=True, running=False) as t:
        asked, live = missed(t, "<@42> first"), missed(t, "<@42> second")
        t.inbox.on_message(live, SessionCursor("s2", 1, "ws://gateway"))
        await t.inbox.drain()
    async with talk(tmp_path / "db", discord=discord, catching_up=True) as t:
        await answered(t, asked, live, channels=[KnownChannel(100, 1, live.message_id)])
        assert [m.reply_to for m in discord.ours(100)] == [asked.message_id, live.message_id]


async def test_the_first_life_misses_nothing_from_its_beginning_on(tmp_path: Path) -> None:
    """A bot killed before it heard anything finds what was asked since it was first started."""
    discord = MemoryDiscord()
    async with talk(tmp_path / "db", discord=discord, catching_up=True) as t:
        asked = missed(t, "<@42> hello")
    async with talk(tmp_path / "db", discord=discord, catching_up=True) as t:
        await answered(t, asked, channels=[KnownChannel(100, 1, asked.message_id)])


async def test_what_is_found_does_not_overtake_what_is_held(tmp_path: Path) -> None:
    """A live message that waits for the search goes before a later one that the search finds."""
    discord = MemoryDiscord()
    async with talk(tmp_path / "db", discord=discord, catching_up=True, workers=4) as t:
        live, later = missed(t, "<@42> live"), missed(t, "<@42> later, missed")
        others = [missed(t, "<@42> hello", author=n) for n in range(20, 30)]
        t.inbox.on_message(live, SessionCursor("s2", 1, "ws://gateway"))
        await t.inbox.drain()
        await answered(t, live, later, channels=[KnownChannel(100, 1, others[-1].message_id)])
        order = [m.reply_to for m in discord.ours(100)]
        assert order.index(live.message_id) < order.index(later.message_id)


async def test_an_announcement_that_is_late_does_not_end_the_search(tmp_path: Path) -> None:
    """Where no session tells its channels, those in which somebody waits come first, then all."""
    discord = MemoryDiscord()
    async with talk(tmp_path / "db", discord=discord, catching_up=True) as t:
        asked, live = missed(t, "<@42> first"), missed(t, "<@42> second")
        elsewhere = missed(t, "<@42> elsewhere", channel=200)
        t.inbox.on_message(live, SessionCursor("s2", 1, "ws://gateway"))
        await t.inbox.drain()
        done = asyncio.ensure_future(t.delivered(live.message_id))
        t.catch_up.announcement_late([KnownChannel(100, 1, None)])
        await done
        assert [m.reply_to for m in discord.ours(100)] == [asked.message_id, live.message_id]
        # Its connection was lost before it could be announced; it was resumed since.
        found = asyncio.ensure_future(t.delivered(elsewhere.message_id))
        t.inbox.on_session(resumed=True, channels=(), session_id="s2")
        channels = [KnownChannel(c, 1, elsewhere.message_id) for c in (100, 200)]
        t.inbox.on_session(resumed=True, channels=channels, session_id="s2")
        await found


async def test_a_search_for_a_session_that_was_lost_frees_nobody_in_the_next(
    tmp_path: Path,
) -> None:
    """What is missed before the next session waits for its search: answers keep their order."""
    discord = MemoryDiscord()
    async with talk(tmp_path / "db", discord=discord, catching_up=True) as t:
        first = missed(t, "<@42> first")
        done = asyncio.ensure_future(t.delivered(first.message_id))
        # The session is lost before it is announced; where somebody waits is searched.
        t.inbox.on_message(first, SessionCursor("s2", 1, "ws://gateway"))
        await t.inbox.drain()
        t.catch_up.announcement_late([KnownChannel(100, 1, None)])
        await done
        asked, live = missed(t, "<@42> second"), missed(t, "<@42> third")
        hang = asyncio.Event()
        discord.hold = lambda call, _: hang if call == "history" else None
        both = [asyncio.ensure_future(t.delivered(q.message_id)) for q in (asked, live)]
        new_session(t, [KnownChannel(100, 1, live.message_id)], "s3")
        t.inbox.on_message(live, SessionCursor("s3", 1, "ws://gateway"))
        await t.inbox.drain()
        assert t.inbox.gap.held(live.message_id) is not None
        hang.set()
        await asyncio.gather(*both)
        answered_in = [m.reply_to for m in discord.ours(100)]
        assert answered_in == [q.message_id for q in (first, asked, live)]


async def test_a_search_that_was_begun_before_the_next_session_frees_nobody_in_it(
    tmp_path: Path,
) -> None:
    """A page that was read before the session began says nothing of what was missed since."""
    discord = MemoryDiscord()
    async with talk(tmp_path / "db", discord=discord, catching_up=True, running=False) as t:
        first = missed(t, "<@42> first")
        hang, asking = asyncio.Event(), asyncio.Event()

        def hold(call: str, _: int) -> asyncio.Event | None:
            if call == "history":
                asking.set()
            return hang if call == "history" else None

        discord.hold = hold
        new_session(t, [KnownChannel(100, 1, first.message_id)], "s2")
        await asking.wait()
        new_session(t, [KnownChannel(100, 1, first.message_id)], "s3")
        over = t.bus.expect(BackfillDone)
        again = asyncio.Event()
        discord.hold = lambda call, _: again if call == "history" else None
        hang.set()
        await asyncio.wait_for(over, PATIENCE_S)
        live = t.question("live")
        t.inbox.on_message(live, SessionCursor("s3", 1, "ws://gateway"))
        await t.inbox.drain()
        assert t.inbox.gap.held(live.message_id) is not None


async def test_discord_knows_whose_message_a_reply_is_to(tmp_path: Path) -> None:
    """A reply to a part of ours that was never recorded is found all the same."""
    async with talk(tmp_path / "db", catching_up=True) as t:
        reply = t.question("why?", mentions_us=False, reply_to=12345)
        t.discord.seed(replace(t.as_it_stands(reply), replies_to_us=True))
        await answered(t, reply, channels=[KnownChannel(100, 1, reply.message_id)])


async def test_a_session_that_ended_before_its_first_event_hides_no_gap(tmp_path: Path) -> None:
    """What was missed after a short-lived session is found though the next one speaks first."""
    clock = ManualClock()
    async with talk(tmp_path / "db", catching_up=True, running=False, clock=clock) as t:
        searched = asyncio.ensure_future(t.bus.expect(BackfillDone))
        new_session(t, [KnownChannel(100, 1, None)], "s2")
        await asyncio.wait_for(searched, PATIENCE_S)
        asked = missed(t, "<@42> hello")
        clock.advance(600)
        live = t.question("live", message_id=snowflake_at(clock.wall()))
        found = t.bus.expect(MessageAccepted, lambda event: event.message_id == asked.message_id)
        t.inbox.on_message(live, SessionCursor("s3", 1, "ws://gateway"))
        new_session(t, [KnownChannel(100, 1, live.message_id)], "s3")
        await asyncio.wait_for(found, PATIENCE_S)


async def test_a_session_that_was_resumed_before_it_was_announced_is_a_new_one(
    tmp_path: Path,
) -> None:
    """What was missed before a session whose first connection was lost at once is looked for."""
    async with talk(tmp_path / "db", catching_up=True, running=False) as t:
        asked = missed(t, "<@42> hello")
        found = t.bus.expect(MessageAccepted, lambda event: event.message_id == asked.message_id)
        channels = [KnownChannel(100, 1, asked.message_id)]
        t.inbox.on_session(resumed=True, channels=channels, session_id="s2")
        await asyncio.wait_for(found, PATIENCE_S)


async def test_while_discord_cannot_be_asked_what_came_live_goes_on_waiting(tmp_path: Path) -> None:
    """The longest wait for a search begins when Discord can be asked: order is kept till then."""
    clock, discord = ManualClock(), MemoryDiscord()
    discord.fault = lambda call: DiscordUnavailableError("503") if call == "history" else None
    async with talk(
        tmp_path / "db", discord=discord, catching_up=True, running=False, clock=clock
    ) as t:
        live = t.question("live")
        t.inbox.on_message(live, SessionCursor("s2", 1, "ws://gateway"))
        await t.inbox.drain()
        clock.advance(4)
        searched = t.bus.expect(BackfillDone)
        new_session(t, [KnownChannel(100, 1, live.message_id)])
        assert not (await asyncio.wait_for(searched, PATIENCE_S)).complete
        for _ in range(3):
            await t.store.tell(live.message_id, "looked", "")  # the search goes on from its round
        clock.advance(29)
        await t.store.tell(live.message_id, "looked", "")
        assert t.inbox.gap.held(live.message_id) is not None
        clock.advance(2)
        await t.store.tell(live.message_id, "looked", "")
        assert t.inbox.gap.held(live.message_id) is None


async def test_other_bots_are_not_answered_when_they_are_found(tmp_path: Path) -> None:
    """A bot that mentions us while we are away starts no conversation."""
    async with talk(tmp_path / "db", catching_up=True) as t:
        bots = t.question("<@42> hello, colleague", author=8)
        t.discord.seed(replace(t.as_it_stands(bots), author_is_bot=True))
        asked = missed(t, "<@42> hello")
        await answered(t, asked, channels=[KnownChannel(100, 1, asked.message_id)])
        assert [m.reply_to for m in t.discord.ours(100)] == [asked.message_id]
