"""The recent history: complete where asked, bounded everywhere."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st
from tests.support.discord import MemoryDiscord

from llmbot.conversation.memory.recent import RecentMessages
from llmbot.conversation.messages import ChannelMessage
from llmbot.conversation.replies.pace import Pace
from llmbot.kernel.clock import ManualClock
from llmbot.kernel.errors import DiscordUnavailableError


def said(number: int, channel: int = 1, text: str = "x") -> ChannelMessage:
    """A message by its id."""
    return ChannelMessage(number, channel, 7, "ann", text)


async def test_an_unreachable_history_is_asked_for_again() -> None:
    """A failed look-up does not pass for an empty channel."""
    discord = MemoryDiscord()
    discord.seed(said(1))
    failures = iter([DiscordUnavailableError()])
    discord.fault = lambda _: next(failures, None)
    recent = RecentMessages()
    assert await recent.before(discord, 1, 100, 10) == []
    assert [m.id for m in await recent.before(discord, 1, 100, 10)] == [1]
    assert [m.id for m in await recent.before(discord, 1, 100, 10)] == [1]
    assert discord.calls.count("history") == 2


async def test_those_who_come_meanwhile_do_not_ask_too() -> None:
    """Many questions in a cold channel cost one look-up."""
    discord = MemoryDiscord()
    discord.seed(said(1))
    recent = RecentMessages()
    await asyncio.gather(*(recent.before(discord, 1, 100, 10) for _ in range(20)))
    assert discord.calls.count("history") == 1


async def test_edits_and_deletes_are_followed() -> None:
    """What was edited is told as edited, what was deleted is not told."""
    discord = MemoryDiscord()
    for number in (1, 2, 3):
        discord.seed(said(number))
    recent = RecentMessages()
    await recent.before(discord, 1, 100, 10)
    recent.edited(1, 2, "changed")
    recent.deleted(1, 3)
    found = await recent.before(discord, 1, 100, 10)
    assert [(m.id, m.content) for m in found] == [(1, "x"), (2, "changed")]


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 400)), max_size=120))
def test_the_bounds_hold_whatever_is_said(said_: list[tuple[int, int]]) -> None:
    """No number of messages, however long, makes the history larger than allowed."""

    async def follow() -> None:
        discord = MemoryDiscord()
        recent = RecentMessages(per_channel_max=5, characters_max=4000, text_max=300)
        for channel in range(1, 10):
            await recent.before(discord, channel, 10**9, 5)
        for number, (channel, length) in enumerate(said_):
            recent.saw(said(number + 1, channel, "y" * length))
            kept = [await recent.before(discord, c, 10**9, 99) for c in range(1, 10)]
            assert all(len(messages) <= 5 for messages in kept)
            assert all(len(m.content) <= 300 for messages in kept for m in messages)
            assert recent.characters <= 4000 + 500
        recent.forget()
        assert recent.characters == 0

    asyncio.run(follow())


async def test_channels_in_which_nothing_was_said_are_bounded_too() -> None:
    """However many channels are looked at, only the last ones are kept, counted as they cost."""
    recent, discord = RecentMessages(characters_max=10_000), MemoryDiscord()
    for channel in range(200):
        await recent.before(discord, channel, 100, 10)
    assert 0 < recent.channels <= 25
    assert recent.characters <= 10_000


async def test_the_pace_remembers_a_bounded_number_of_channels() -> None:
    """Channels that only ever got whole answers are forgotten like all others."""
    pace = Pace(ManualClock(), 1.0, channels_max=10)
    for channel in range(50):
        pace.spoke(channel)
        pace.reserve(channel + 1000)
    assert len(pace) == 10
