"""The operator's hand on the conversation, through the whole path."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.support.conversation import Talk, talk
from tests.support.discord import MemoryDiscord
from tests.support.models import ScriptedModel
from tests.support.waiting import until

from llmbot.conversation.controls import UnknownBreakerError
from llmbot.conversation.messages import Attachment, ChannelMessage, Inbound
from llmbot.conversation.waiting.announcements import AnnouncementSettings
from llmbot.kernel.events import JobMoved
from llmbot.kernel.ids import snowflake_at
from llmbot.resilience.breaker_facts import BreakerState
from llmbot.resilience.degradation import Degradation


async def hear(t: Talk, *questions: Inbound) -> None:
    """Take messages in, until each is claimed."""
    for inbound in questions:
        t.inbox.on_message(inbound, None)
    await t.inbox.drain()


async def sent(discord: MemoryDiscord, count: int) -> None:
    """Wait until the bot has so many messages standing."""
    await until(lambda: sum(len(discord.ours(channel)) for channel in discord.channels) >= count)


async def test_maintenance_tells_each_channel_once_and_answers_all_afterwards(
    tmp_path: Path,
) -> None:
    """Messages are kept; one notice a channel and cool-down; all are answered in their places."""
    async with talk(tmp_path / "db") as t:
        assert await t.controls.maintenance("new disk", on=True)
        questions = [t.question(f"number {n}", author=n, channel=n % 2) for n in range(1, 9)]
        done = [t.delivered(inbound.message_id) for inbound in questions]
        await hear(t, *questions)
        await sent(t.discord, 2)
        assert ["kept" in m.content for n in (0, 1) for m in t.discord.ours(n)] == [True, True]
        assert t.controls.queue_facts().held
        assert len(t.models[0].prompts) == 0
        assert await t.controls.maintenance("done", on=False)
        assert {d.outcome for d in await asyncio.gather(*done)} == {"answered"}
        for inbound in questions:
            replies = t.discord.ours(inbound.channel_id, inbound.message_id)
            assert [m.content for m in replies] == [f"You said: {inbound.content}"]


async def test_maintenance_tells_again_after_the_cool_down(tmp_path: Path) -> None:
    """Who comes later is told, too, but not every few seconds."""
    settings = AnnouncementSettings(maintenance_every_s=0.0)
    async with talk(tmp_path / "db", announcements=settings) as t:
        await t.controls.maintenance("new disk", on=True)
        await hear(t, t.question("one", author=1), t.question("two", author=2))
        await sent(t.discord, 2)


async def test_maintenance_survives_a_restart_and_loses_nothing(tmp_path: Path) -> None:
    """A new life goes on holding, tells nobody twice, and answers what both lives took in."""
    discord = MemoryDiscord()
    async with talk(tmp_path / "db", discord=discord) as t:
        await t.controls.maintenance("new disk", on=True)
        first = t.question("first", author=1)
        await hear(t, first)
        await sent(discord, 1)
    async with talk(tmp_path / "db", discord=discord) as t:
        assert t.controls.mode_facts().maintenance_reason == "new disk"
        second = t.question("second", author=2)
        done = [t.delivered(i.message_id) for i in (first, second)]
        await hear(t, second)
        assert len(discord.ours(100)) == 1
        await t.controls.maintenance("done", on=False)
        assert {d.outcome for d in await asyncio.gather(*done)} == {"answered"}
        assert t.reply(first.message_id) == "You said: first"
        assert t.reply(second.message_id) == "You said: second"


async def test_time_in_maintenance_makes_no_message_too_old(tmp_path: Path) -> None:
    """A message that was held back for an hour is answered like a fresh one."""
    async with talk(tmp_path / "db") as t:
        await t.controls.maintenance("new disk", on=True)
        t.modes.ladder.set_maintenance("", on=False)
        t.modes.ladder.set_maintenance("new disk", on=True, since=t.clock.wall() - 3600)
        old = t.question("hello", message_id=snowflake_at(t.clock.wall() - 3000))
        done = t.delivered(old.message_id)
        await hear(t, old)
        await t.controls.maintenance("done", on=False)
        assert (await done).outcome == "answered"


async def test_queueing_gives_everyone_a_place_and_a_notice(tmp_path: Path) -> None:
    """Under forced queueing messages wait with a notice, until they are due or processed."""
    async with talk(tmp_path / "db") as t:
        assert await t.controls.force_queueing("busy", on=True)
        questions = [t.question(f"number {n}", author=n) for n in range(1, 4)]
        done = [t.delivered(inbound.message_id) for inbound in questions]
        await hear(t, *questions)
        await sent(t.discord, 3)
        assert all("in line" in t.reply(inbound.message_id) for inbound in questions)
        assert len(t.models[0].prompts) == 0
        assert t.controls.queue_facts().waiting == 3
        assert t.controls.process_priority_now() == 3
        assert {d.outcome for d in await asyncio.gather(*done)} == {"answered"}
        assert len(t.discord.ours(100)) == 3


async def test_queueing_holds_nobody_up_for_the_time_of_a_forecast(tmp_path: Path) -> None:
    """Who is told of a long wait is served as soon as it can be, not when that time is up."""
    go_on = asyncio.Event()
    model = ScriptedModel(lambda _: ("well",) if len(model.prompts) == 1 else (go_on, "well"))
    soon = AnnouncementSettings(queued_least_s=0.0001)
    async with talk(tmp_path / "db", model, workers=1, announcements=soon) as t:
        await t.ask("so that it is known how long an answer takes")
        crowd = [t.question(f"number {n}", author=n) for n in range(100, 140)]
        await hear(t, *crowd)
        await t.controls.force_queueing("busy", on=True)
        last = t.question("and I", author=7)
        await hear(t, last)
        job = t.queue.waiting(last.message_id)
        assert job is not None
        forecast_s = t.load.wait_s(7)
        assert forecast_s is not None
        assert forecast_s > 2 * soon.queued_least_s
        assert job.due_s <= t.clock.wall() + soon.queued_least_s
        go_on.set()


async def test_the_end_of_queueing_serves_all(tmp_path: Path) -> None:
    """What waits is due at once, and new messages are served as they come."""
    async with talk(tmp_path / "db") as t:
        await t.controls.force_queueing("busy", on=True)
        inbound = t.question("hello")
        done = t.delivered(inbound.message_id)
        await hear(t, inbound)
        await sent(t.discord, 1)
        await t.controls.force_queueing("calm", on=False)
        await done
        assert (await t.ask("and again")).outcome == "answered"


async def test_concurrency_is_halved_and_comes_back(tmp_path: Path) -> None:
    """Reducing halves the workers, never below one; restoring begins to lift that."""
    async with talk(tmp_path / "db", workers=4) as t:
        assert [t.controls.reduce_concurrency().limit for _ in range(4)] == [2, 1, 1, 1]
        assert t.controls.restore_concurrency().reduced
        assert (await t.ask("hello")).outcome == "answered"


async def test_breakers_are_tripped_and_reset_by_name(tmp_path: Path) -> None:
    """By name or all; a name that there is not is told with those that there are."""
    async with talk(tmp_path / "db") as t:
        assert t.controls.trip_breaker("scripted", "test").state is BreakerState.OPEN
        assert t.controls.reset_breaker("scripted", "test").state is BreakerState.CLOSED
        tripped = t.controls.trip_all_breakers("test")
        assert {facts.state for facts in tripped.values()} == {BreakerState.OPEN}
        t.controls.reset_all_breakers("test")
        assert {f.state for f in t.controls.breaker_facts().values()} == {BreakerState.CLOSED}
        with pytest.raises(UnknownBreakerError) as refused:
            t.controls.reset_breaker("gemni", "test")
        assert "scripted" in refused.value.names
        assert "gemni" not in str(refused.value)


async def test_a_level_by_hand_holds_until_it_is_released(tmp_path: Path) -> None:
    """Degradation can be forced to a level and given back to the readings."""
    async with talk(tmp_path / "db") as t:
        assert t.controls.degrade(Degradation.MEDIUM, "test").manual
        assert t.controls.mode_facts().degradation.level is Degradation.MEDIUM
        assert t.controls.degrade(None, "test").level is Degradation.NONE


async def test_what_a_level_switches_off_is_off(tmp_path: Path) -> None:
    """At the highest level answers appear whole, with little history and without pictures."""
    discord = MemoryDiscord()
    go_on = asyncio.Event()
    model = ScriptedModel(lambda _: ["First ", go_on, "and last."])
    async with talk(tmp_path / "db", model, discord=discord) as t:
        for number in range(1, 31):
            discord.seed(ChannelMessage(number, 100, 8, "bob", f"chat {number}"))
        url = "https://cdn.discordapp.com/a.png"
        t.files.files[url] = b"\x89PNG\r\n\x1a\n"
        t.controls.degrade(Degradation.HIGH, "test")
        generating = t.bus.expect(JobMoved, lambda e: e.after == "generating")
        inbound = t.question("look", attachments=(Attachment(1, "a.png", url, 8),))
        done = t.delivered(inbound.message_id)
        await hear(t, inbound)
        await generating
        go_on.set()
        await done
        assert discord.calls.count("edit") == 0
        prompt = model.prompts[0]
        assert prompt.turns[-1].blobs == ()
        assert "too busy for pictures" in t.reply(inbound.message_id)
        assert 0 < prompt.turns[0].text.count("chat ") <= 6
        t.controls.degrade(None, "test")
        go_on.clear()
        asking = asyncio.create_task(t.ask("look again"))
        await until(lambda: "First" in [m.content for m in discord.ours(100)])
        go_on.set()
        await asking
        assert model.prompts[1].turns[0].text.count("chat ") > 20
