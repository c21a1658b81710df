"""What people are told while they wait, and how they come back in turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from tests.support.conversation import Talk, talk
from tests.support.discord import MemoryDiscord
from tests.support.models import Piece, ScriptedModel
from tests.support.waiting import PATIENCE_S, until

from llmbot.conversation.delivery import DeliverySettings
from llmbot.conversation.jobs import JobState
from llmbot.conversation.messages import InteractionRef
from llmbot.conversation.ports import Prompt
from llmbot.conversation.trouble import TroubleSettings
from llmbot.conversation.waiting.announcements import AnnouncementSettings
from llmbot.kernel.errors import (
    DiscordForbiddenError,
    DiscordUnavailableError,
    ModelRateLimitedError,
    ModelUnavailableError,
)
from llmbot.kernel.events import JobMoved
from llmbot.resilience.breaker_facts import BreakerSettings, BreakerState

QUICK = BreakerSettings(pause_s=0.02, pause_max_s=0.05, calls_min=20)
PATIENT = TroubleSettings(pause_first_s=0.01, pause_max_s=0.02, wait_s=60)


class Outage:
    """A script that fails until it is over."""

    def __init__(self) -> None:
        self.over = False
        self.calls = 0

    def __call__(self, _: Prompt) -> list[Piece]:
        self.calls += 1
        return ["Back again."] if self.over else [ModelUnavailableError()]


async def shown(
    t: Talk, message_id: int, holds: Callable[[str], bool] = bool, channel: int = 100
) -> str:
    """The reply to a message, as soon as it holds something."""
    await until(lambda: holds(t.reply(message_id, channel)))
    return t.reply(message_id, channel)


async def test_an_open_breaker_is_told_at_once_with_the_time(tmp_path: Path) -> None:
    """Where no model may be asked, the notice comes before anything is looked up or asked."""
    async with talk(tmp_path / "db") as t:
        t.breakers.get("scripted").trip("test", for_s=90)
        inbound = t.question("hello?")
        t.inbox.on_message(inbound, None)
        text = await shown(t, inbound.message_id)
        assert "2 min" in text
        assert t.models[0].prompts == []
        assert "history" not in t.discord.calls


async def test_a_wait_that_nobody_knows_is_not_invented(tmp_path: Path) -> None:
    """A breaker that is held open by hand has no time; the notice names none."""
    async with talk(tmp_path / "db") as t:
        t.breakers.get("scripted").trip("test")
        inbound = t.question("hello?")
        t.inbox.on_message(inbound, None)
        text = await shown(t, inbound.message_id)
        assert "language model" in text
        assert not any(character.isdigit() for character in text)
        done = t.delivered(inbound.message_id)
        t.controls.reset_breaker("scripted", "well again")
        await done
        assert t.reply(inbound.message_id) == "You said: hello?"


async def test_who_waits_is_called_back_without_a_stampede(tmp_path: Path) -> None:
    """While a model is away one message at a time finds out; when it is back all are answered."""
    outage = Outage()
    model = ScriptedModel(outage)
    async with talk(tmp_path / "db", model, workers=8, quick=QUICK, trouble=PATIENT) as t:
        waited: set[int] = set()
        t.bus.subscribe(lambda p: _keep_waiting(p.event, waited))
        questions = [t.question(f"number {n}", author=n, channel=n) for n in range(1, 41)]
        for inbound in questions:
            t.inbox.on_message(inbound, None)
        for inbound in questions:
            await shown(t, inbound.message_id, channel=inbound.channel_id)
        # Now all wait. Some probes fail, each of them one call on behalf of one message.
        await until(lambda: len(waited) == len(questions))
        for _ in range(3):
            before = outage.calls
            await t.bus.wait_for(JobMoved, lambda e: e.after == "generating", timeout_s=PATIENCE_S)
            await t.bus.wait_for(JobMoved, lambda e: e.after == "waiting", timeout_s=PATIENCE_S)
            assert outage.calls - before <= 2
        done = [t.delivered(inbound.message_id) for inbound in questions]
        outage.over = True
        assert {d.outcome for d in await asyncio.gather(*done)} == {"answered"}
        assert all(len(t.discord.ours(i.channel_id)) == 1 for i in questions)
        assert t.breakers.get("scripted").state is BreakerState.CLOSED


def _keep_waiting(event: object, waited: set[int]) -> None:
    if isinstance(event, JobMoved) and event.after == "waiting":
        waited.add(event.message_id)


async def test_a_day_that_is_used_up_is_told_at_once(tmp_path: Path) -> None:
    """A wait that is known to be longer than anyone waits ends in a notice that names it."""
    error = ModelRateLimitedError(retry_after_s=7 * 3600, per_day=True)
    model = ScriptedModel(lambda _: [error])
    async with talk(tmp_path / "db", model) as t:
        delivered = await t.ask("hello?")
        assert delivered.outcome == "noticed: model_rate_limited"
        assert "7 h" in t.reply(delivered.message_id)


async def test_silence_is_broken_and_the_notice_becomes_the_answer(tmp_path: Path) -> None:
    """A model that does not speak for a while leaves nobody without a word, in one message."""
    speak = asyncio.Event()
    model = ScriptedModel(lambda _: [speak, "Here it is."])
    delivery = DeliverySettings(silence_s=0.02)
    async with talk(tmp_path / "db", model, delivery=delivery) as t:
        inbound = t.question("hello?")
        done = t.delivered(inbound.message_id)
        t.inbox.on_message(inbound, None)
        assert "answer will appear" in await shown(t, inbound.message_id)
        speak.set()
        await done
        assert t.reply(inbound.message_id) == "Here it is."
        assert len(t.discord.ours(100)) == 1


async def test_a_command_is_told_in_its_own_place(tmp_path: Path) -> None:
    """A deferred command hears of a slow model where its answer will stand."""
    speak = asyncio.Event()
    model = ScriptedModel(lambda _: [speak, "Here it is."])
    delivery = DeliverySettings(silence_s=0.02)
    async with talk(tmp_path / "db", model, delivery=delivery) as t:
        inbound = t.question("hello?", interaction=InteractionRef(5, 6, "t"), channel=0)
        done = t.delivered(inbound.message_id)
        t.inbox.on_message(inbound, None)
        await t.discord.changed.wait()
        assert "answer will appear" in t.discord.ours(0)[0].content
        speak.set()
        await done
        assert [m.content for m in t.discord.ours(0)] == ["Here it is."]


async def test_who_is_in_line_is_told(tmp_path: Path) -> None:
    """A message that waits for its turn gets a notice, and later its answer in the same place."""
    hold = asyncio.Event()
    model = ScriptedModel(lambda p: [hold, "One."] if "first" in p.turns[-1].text else ["Two."])
    settings = AnnouncementSettings(silence_s=0.01)
    async with talk(tmp_path / "db", model, workers=1, announcements=settings) as t:
        first, second = t.question("first", author=1), t.question("second", author=2)
        for inbound in (first, second):
            t.inbox.on_message(inbound, None)
        assert "in line" in await shown(t, second.message_id)
        done = t.delivered(second.message_id)
        hold.set()
        await done
        assert t.reply(second.message_id) == "Two."
        assert len(t.discord.ours(100, second.message_id)) == 1


async def test_notices_give_way_when_discords_limits_are_tight(tmp_path: Path) -> None:
    """What Discord still takes is for answers: neither growth nor notices use it up."""
    go_on, end = asyncio.Event(), asyncio.Event()
    model = ScriptedModel(lambda _: ["First ", go_on, "second ", end, "third."])
    delivery = DeliverySettings(silence_s=0.01)
    discord = MemoryDiscord(tight=True)
    async with talk(tmp_path / "db", model, discord=discord, delivery=delivery) as t:
        inbound = t.question("tell me")
        done = t.delivered(inbound.message_id)
        t.inbox.on_message(inbound, None)
        assert await shown(t, inbound.message_id) == "First"
        go_on.set()
        end.set()
        await done
        assert t.reply(inbound.message_id) == "First second third."
        assert len(t.discord.edits) == 1


async def test_while_discord_is_away_nobody_keeps_calling(tmp_path: Path) -> None:
    """After a few failures answers wait for Discord, one call at a time finds out, none is lost."""
    away = True
    discord = MemoryDiscord(fault=lambda _: DiscordUnavailableError() if away else None)
    slow = BreakerSettings(pause_s=0.05, pause_max_s=0.1)
    async with talk(tmp_path / "db", discord=discord, workers=8, quick=slow, trouble=PATIENT) as t:
        questions = [t.question(f"number {n}", author=n, channel=n) for n in range(1, 31)]
        done = [t.delivered(inbound.message_id) for inbound in questions]
        for inbound in questions:
            t.inbox.on_message(inbound, None)
        await t.inbox.drain()
        breaker = t.breakers.get("discord")
        await until(lambda: breaker.facts().counts.opened >= 4)
        assert discord.calls.count("send") < 5 + 8 + breaker.facts().counts.opened * 3
        away = False
        assert {d.outcome for d in await asyncio.gather(*done)} == {"answered"}
        assert all(len(discord.ours(inbound.channel_id)) == 1 for inbound in questions)
        assert len(t.models[0].prompts) == 30


async def test_a_refusal_of_discord_is_no_outage(tmp_path: Path) -> None:
    """Missing permissions, however many, leave the breaker closed."""
    discord = MemoryDiscord(fault=lambda _: DiscordForbiddenError("missing permission"))
    async with talk(tmp_path / "db", discord=discord) as t:
        for channel in range(1, 9):
            dead = t.bus.expect(JobMoved, lambda e: e.after == "dead")
            t.inbox.on_message(t.question("hello", channel=channel), None)
            await asyncio.wait_for(dead, PATIENCE_S)
        assert t.breakers.get("discord").state is BreakerState.CLOSED


async def test_who_asks_where_the_bot_may_not_write_hears_of_it_once(tmp_path: Path) -> None:
    """The first author in a channel that refuses the bot is told directly, and nobody pinged."""
    discord = MemoryDiscord()

    def fault(call: str) -> DiscordForbiddenError | None:
        refused = call == "send" and "direct" not in discord.calls
        return DiscordForbiddenError("missing permission") if refused else None

    discord.fault = fault
    async with talk(tmp_path / "db", discord=discord) as t:
        for _ in range(3):
            dead = t.bus.expect(JobMoved, lambda e: e.after == "dead")
            t.inbox.on_message(t.question("hello", author=7), None)
            await asyncio.wait_for(dead, PATIENCE_S)
        await until(lambda: discord.ours(10_007))
        assert ["<#100>" in m.content for m in discord.ours(10_007)] == [True]
        assert discord.calls.count("direct") == 1
        assert discord.ours(100) == []


async def test_where_the_gateway_says_it_may_not_write_the_author_hears_so(tmp_path: Path) -> None:
    """Known missing permissions are told once, too; a server that wants no answer there is not."""
    async with talk(tmp_path / "db") as t:
        for _ in range(2):
            t.inbox.on_message(t.question("hello", may_speak=False), None)
        t.inbox.on_message(t.question("lovely day", may_speak=False, mentions_us=False), None)
        await t.inbox.drain()
        assert len(t.discord.ours(10_007)) == 1
        assert t.models[0].prompts == []
        assert await t.store.unfinished() == []


async def test_a_channel_that_is_set_aside_costs_no_model_call(tmp_path: Path) -> None:
    """Where the bot may not speak nothing is asked on behalf of that channel for a while."""
    discord = MemoryDiscord(fault=lambda _: DiscordForbiddenError("missing permission"))
    async with talk(tmp_path / "db", discord=discord) as t:
        for _ in range(3):
            dead = t.bus.expect(JobMoved, lambda e: e.after == "dead")
            t.inbox.on_message(t.question("hello"), None)
            await asyncio.wait_for(dead, PATIENCE_S)
        assert len(t.models[0].prompts) == 1
        discord.fault = lambda _: None
        assert t.pipeline.admission.let_back(100)
        delivered = await t.ask("hello again")
        assert t.reply(delivered.message_id) == "You said: hello again"


async def test_a_dead_letter_can_be_seen_tried_again_and_dropped(tmp_path: Path) -> None:
    """A message that was given up keeps its words until an operator decides about it."""
    discord = MemoryDiscord(fault=lambda _: DiscordForbiddenError("missing permission"))
    async with talk(tmp_path / "db", discord=discord) as t:
        questions = [t.question(f"hello {n}", channel=n) for n in (1, 2)]
        for inbound in questions:
            dead = t.bus.expect(JobMoved, lambda e: e.after == "dead")
            t.inbox.on_message(inbound, None)
            await asyncio.wait_for(dead, PATIENCE_S)
        await t.store.tell(questions[1].message_id, "looked", "")  # written behind all the others
        letters = await t.controls.dead_letters()
        assert [job.inbound.content for job in letters] == ["hello 2", "hello 1"]
        assert await t.controls.drop_dead_letter(questions[0].message_id)
        assert not await t.controls.drop_dead_letter(questions[0].message_id)
        assert not await t.controls.retry_dead_letter(questions[0].message_id)
        discord.fault = lambda _: None
        t.pipeline.admission.let_back(2)
        done = t.delivered(questions[1].message_id)
        assert await t.controls.retry_dead_letter(questions[1].message_id)
        assert (await done).outcome == "answered"
        await t.store.tell(questions[1].message_id, "looked", "")
        assert await t.controls.dead_letters() == []
        assert (await t.store.counts())[JobState.DONE] == 1


async def test_a_notice_that_somebody_deleted_is_no_loss(tmp_path: Path) -> None:
    """Where the message that holds a notice is gone, the answer is sent anew."""
    outage = Outage()
    async with talk(tmp_path / "db", ScriptedModel(outage), quick=QUICK, trouble=PATIENT) as t:
        inbound = t.question("hello?")
        done = t.delivered(inbound.message_id)
        t.inbox.on_message(inbound, None)
        await shown(t, inbound.message_id)
        t.discord.channels[100].clear()
        outage.over = True
        assert (await done).outcome == "answered"
        assert t.reply(inbound.message_id) == "Back again."


async def test_a_question_that_is_taken_back_takes_its_notice_along(tmp_path: Path) -> None:
    """Nothing is left of a question that its author deleted while it waited, nor is it answered."""
    async with talk(tmp_path / "db") as t:
        t.breakers.get("scripted").trip("test")
        inbound = t.question("hello?")
        t.inbox.on_message(inbound, None)
        await shown(t, inbound.message_id)
        await until(lambda: t.queue.waiting(inbound.message_id) is not None)
        t.inbox.on_message_deleted(100, inbound.message_id)
        await until(lambda: not t.discord.ours(100))
        t.controls.reset_breaker("scripted", "well again")
        assert (await t.ask("another")).outcome == "answered"
        assert len(t.discord.ours(100)) == 1


async def test_everyone_hears_in_the_order_of_their_questions(tmp_path: Path) -> None:
    """In an outage each question of one person has its notice, and each notice its answer."""
    async with talk(tmp_path / "db") as t:
        t.breakers.get("scripted").trip("test")
        questions = [t.question(f"number {n}") for n in range(5)]
        done = [t.delivered(inbound.message_id) for inbound in questions]
        for inbound in questions:
            t.inbox.on_message(inbound, None)
        for inbound in questions:
            await shown(t, inbound.message_id)
        notices = [(m.id, m.reply_to) for m in t.discord.ours(100)]
        assert [asked for _, asked in notices] == [inbound.message_id for inbound in questions]
        t.controls.reset_breaker("scripted", "well again")
        assert {d.outcome for d in await asyncio.gather(*done)} == {"answered"}
        assert [(m.id, m.reply_to) for m in t.discord.ours(100)] == notices
        assert t.discord.calls.count("send") == len(questions)
