"""A reply on its way to Discord, where two of its tasks meet."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from tests.support.conversation import UNHURRIED, talk
from tests.support.discord import MemoryDiscord
from tests.support.models import ScriptedModel
from tests.support.waiting import PATIENCE_S, until

from llmbot.conversation.delivery import DeliverySettings
from llmbot.conversation.messages import ChannelMessage, Inbound
from llmbot.conversation.trouble import TroubleSettings
from llmbot.conversation.waiting.announcements import AnnouncementSettings
from llmbot.kernel.errors import (
    DiscordUnavailableError,
    LlmbotError,
    ModelBlockedError,
    ModelUnavailableError,
)
from llmbot.kernel.events import JobFailed
from llmbot.kernel.ids import snowflake_at
from llmbot.storage.database.opening import Session

NOBODY_TOLD = AnnouncementSettings(silence_s=0)


async def test_a_notice_under_way_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """A reply that ends without words while its notice is being sent is finished all the same."""
    go_on, sending, sent = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def hold(call: str, _: int) -> asyncio.Event | None:
        if call != "send":
            return None
        sending.set()
        return sent

    model = ScriptedModel(lambda _: [go_on, ModelUnavailableError()])
    discord = MemoryDiscord(hold=hold)
    delivery = DeliverySettings(silence_s=0.01)
    trouble = TroubleSettings(wait_s=0)
    async with talk(
        tmp_path / "db",
        model,
        discord=discord,
        delivery=delivery,
        trouble=trouble,
        announcements=NOBODY_TOLD,
    ) as t:
        asking = asyncio.create_task(t.ask("hello?"))
        await sending.wait()
        failed = t.bus.expect(JobFailed)
        go_on.set()
        await failed
        sent.set()
        assert (await asking).outcome.startswith("noticed")
        assert len(discord.ours(100)) == 1


async def test_a_whole_answer_is_not_replaced_by_a_notice(tmp_path: Path) -> None:
    """What has its answer and only waits for Discord says no "one moment" in its place."""
    discord = MemoryDiscord()
    lost = iter([DiscordUnavailableError()])
    discord.late_fault = lambda call: next(lost, None) if call == "send" else None
    trouble = TroubleSettings(pause_first_s=0.3, pause_max_s=0.3)
    delivery = DeliverySettings(silence_s=0.1)
    model = ScriptedModel(lambda _: ["The answer."])
    async with talk(
        tmp_path / "db",
        model,
        discord=discord,
        trouble=trouble,
        delivery=delivery,
        announcements=NOBODY_TOLD,
    ) as t:
        delivered = await t.ask("hello")
        assert t.reply(delivered.message_id) == "The answer."
        assert [text for _, text in discord.edits if text != "The answer."] == []


async def test_nobody_is_told_of_a_second_question_before_the_first(tmp_path: Path) -> None:
    """Notices keep the order of answers: a question in line behind its author's own waits."""
    go_on = asyncio.Event()
    words = " ".join(f"word{n}" for n in range(500))
    model = ScriptedModel(lambda _: [go_on, words])
    discord = MemoryDiscord()
    announcements = AnnouncementSettings(silence_s=0.02)
    async with talk(
        tmp_path / "db", model, discord=discord, announcements=announcements, workers=1
    ) as t:
        first, second, other = t.question("one"), t.question("two"), t.question("hi", author=8)
        done = [asyncio.ensure_future(t.delivered(q.message_id)) for q in (first, second, other)]
        for question in (first, second, other):
            t.inbox.on_message(question, None)
        await until(lambda: t.reply(other.message_id))
        assert t.reply(second.message_id) == ""
        go_on.set()
        await asyncio.gather(*done)
        mine = [m.reply_to for m in discord.ours(100) if m.reply_to != other.message_id]
        assert mine == sorted(mine, key=lambda asked: asked or 0)
        assert len(mine) == 4


async def half_a_reply(path: Path, discord: MemoryDiscord) -> Inbound:
    """A life that dies in its reply, of which nothing is recorded, and long enough ago."""
    stuck = ScriptedModel(lambda _: ["Half an answ", asyncio.Event()])
    async with talk(path, stuck, discord=discord, grace_s=0) as t:
        inbound = t.question("hello")
        for number in range(150):
            discord.seed(ChannelMessage(next(t.ids), 100, 50, "talker", f"chatter {number}"))
        t.inbox.on_message(inbound, None)
        await discord.changed.wait()
    async with talk(path, discord=discord, running=False) as t:
        await t.database.write(_forget_parts)
    discord.nonces.clear()
    return inbound


def _forget_parts(session: Session) -> None:
    session.execute("DELETE FROM parts")
    session.execute("UPDATE jobs SET state = 'generating', created_s = created_s - 120")


async def test_a_part_far_down_the_channel_is_found(tmp_path: Path) -> None:
    """What an earlier life sent is found behind hundreds of other messages, and completed."""
    discord = MemoryDiscord()
    inbound = await half_a_reply(tmp_path / "db", discord)
    async with talk(tmp_path / "db", discord=discord, running=False) as t:
        done = t.delivered(inbound.message_id)
        await t.pipeline.answer(await t.queue.next())
        await done
    assert [m.content for m in discord.ours(100)] == ["You said: hello"]


async def test_nothing_is_sent_while_it_is_unknown_what_stands_there(tmp_path: Path) -> None:
    """Where Discord may have forgotten the nonce and cannot be asked, the reply waits."""
    discord = MemoryDiscord()
    inbound = await half_a_reply(tmp_path / "db", discord)
    away = True
    discord.fault = lambda call: DiscordUnavailableError() if away and call == "history" else None
    trouble = TroubleSettings(pause_first_s=0.01, pause_max_s=0.02)
    async with talk(tmp_path / "db", discord=discord, trouble=trouble) as t:
        done = t.delivered(inbound.message_id)
        await t.bus.wait_for(JobFailed, timeout_s=PATIENCE_S)
        away = False
        await done
    assert [m.content for m in discord.ours(100)] == ["You said: hello"]


def accepted_but_failed(call: str) -> LlmbotError | None:
    """Discord takes every message in, and says that it did not."""
    return DiscordUnavailableError("502 after it had accepted") if call == "send" else None


async def test_what_landed_unheard_of_is_looked_for_before_it_is_sent_again(
    tmp_path: Path,
) -> None:
    """When a send's outcome is unknown and its nonce is forgotten, the channel tells."""
    discord = MemoryDiscord(late_fault=accepted_but_failed)
    whole = replace(UNHURRIED, streaming=False)
    async with talk(tmp_path / "db", discord=discord, running=False, delivery=whole) as t:
        asked = t.question("hello")
        await t.inbox.accept(asked, None)
        await t.pipeline.answer(await t.queue.next())
        discord.late_fault = lambda _: None
        discord.nonces.clear()
        assert t.queue.bring_forward(asked.message_id)
        await t.pipeline.answer(await t.queue.next())
        assert [m.reply_to for m in discord.ours(100)] == [asked.message_id]


async def test_what_a_life_that_stopped_did_not_hear_of_is_looked_for_by_the_next(
    tmp_path: Path,
) -> None:
    """A clean stop after a send of unknown outcome doubles nothing, though its nonce is gone."""
    discord = MemoryDiscord(late_fault=accepted_but_failed)
    whole = replace(UNHURRIED, streaming=False)
    async with talk(tmp_path / "db", discord=discord, running=False, delivery=whole) as t:
        asked = t.question("hello", message_id=snowflake_at(t.clock.wall() - 300))
        await t.inbox.accept(asked, None)
        await t.pipeline.answer(await t.queue.next())
        assert len(discord.ours(100)) == 1
    discord.late_fault = lambda _: None
    discord.nonces.clear()
    async with talk(tmp_path / "db", discord=discord, announcements=NOBODY_TOLD) as t:
        await t.delivered(asked.message_id)
        assert len(discord.ours(100)) == 1


async def test_what_a_nonce_gives_back_is_made_equal_to_the_answer(tmp_path: Path) -> None:
    """A message that an earlier attempt sent, and nobody could look up, holds this answer."""
    texts = iter(["The first.", "The second."])
    discord = MemoryDiscord(late_fault=accepted_but_failed)
    model = ScriptedModel(lambda _: [next(texts)])
    whole = replace(UNHURRIED, streaming=False)
    async with talk(tmp_path / "db", model, discord=discord, running=False, delivery=whole) as t:
        asked = t.question("hello")
        await t.inbox.accept(asked, None)
        await t.pipeline.answer(await t.queue.next())
        discord.late_fault = lambda _: None
        discord.fault = lambda call: DiscordUnavailableError() if call == "history" else None
        t.inbox.on_message_edited(100, asked.message_id, "hello again")
        assert t.queue.bring_forward(asked.message_id)
        await t.pipeline.answer(await t.queue.next())
        assert [m.content for m in discord.ours(100)] == ["The second."]


async def test_a_notice_that_did_not_land_is_given_later(tmp_path: Path) -> None:
    """While Discord refuses the honest words for a refusal, the message waits and is told then."""
    discord = MemoryDiscord(fault=lambda _: DiscordUnavailableError("503"))
    model = ScriptedModel(lambda _: [ModelBlockedError()])
    async with talk(tmp_path / "db", model, discord=discord, running=False) as t:
        asked = t.question("hello")
        await t.inbox.accept(asked, None)
        await t.pipeline.answer(await t.queue.next())
        discord.fault = lambda _: None
        assert t.queue.bring_forward(asked.message_id)
        await t.pipeline.answer(await t.queue.next())
        assert len(discord.ours(100)) == 1
