"""What an author does to a question that is being answered: edits it, or takes it back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from tests.support.conversation import UNHURRIED, Talk, talk
from tests.support.database import FaultyDatabase
from tests.support.discord import OUR_ID, MemoryDiscord
from tests.support.models import Piece, ScriptedModel
from tests.support.waiting import until

from llmbot.conversation.delivery import DeliverySettings
from llmbot.conversation.jobs import JobState
from llmbot.conversation.messages import ChannelMessage, Inbound, Source
from llmbot.conversation.ports import Prompt
from llmbot.conversation.trouble import TroubleSettings
from llmbot.conversation.waiting.announcements import AnnouncementSettings
from llmbot.kernel.errors import DiscordForbiddenError, DiscordUnavailableError, LlmbotError
from llmbot.kernel.events import JobFailed, JobMoved, Published
from llmbot.storage.database.opening import Database


class Slow:
    """Says when it is asked, and answers with the question once it may."""

    def __init__(self, *, first: str = "") -> None:
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()
        self.questions: list[str] = []
        self._first = first

    def __call__(self, prompt: Prompt) -> list[Piece]:
        question = prompt.turns[-1].text.split("\n")[1]
        self.questions.append(question)
        self.asked.set()
        pieces: list[Piece] = [self.go_on, f"Answer to {question}."]
        return [self._first, *pieces] if self._first else pieces


async def test_an_edit_before_the_first_word_is_answered(tmp_path: Path) -> None:
    """A question that is edited while the model thinks is asked anew, and answered once."""
    slow = Slow()
    async with talk(tmp_path / "db", ScriptedModel(slow)) as t:
        failed: list[JobFailed] = []
        t.bus.subscribe(
            lambda p: failed.append(p.event) if isinstance(p.event, JobFailed) else None
        )
        inbound = t.question("teh question")
        done = t.delivered(inbound.message_id)
        t.inbox.on_message(inbound, None)
        await slow.asked.wait()
        t.inbox.on_message_edited(100, inbound.message_id, "the question")
        slow.go_on.set()
        await done
        assert t.reply(inbound.message_id) == "Answer to the question."
        assert len(t.discord.ours(100)) == 1
        assert slow.questions == ["teh question", "the question"]
        assert failed == []


async def test_an_edit_after_the_first_word_changes_nothing(tmp_path: Path) -> None:
    """Words that stand there are brought to their end; the model is asked once."""
    slow = Slow(first="Well. ")
    async with talk(tmp_path / "db", ScriptedModel(slow)) as t:
        inbound = t.question("one")
        done = t.delivered(inbound.message_id)
        t.inbox.on_message(inbound, None)
        await t.discord.changed.wait()
        t.inbox.on_message_edited(100, inbound.message_id, "two")
        t.inbox.on_message_deleted(100, inbound.message_id)
        slow.go_on.set()
        await done
        assert t.reply(inbound.message_id) == "Well. Answer to one."


async def test_an_edit_while_the_whole_answer_is_written_down_is_answered(tmp_path: Path) -> None:
    """Until an answer is durable nothing of it stands on Discord, and an edit is followed."""
    slow = Slow()
    slow.go_on.set()
    still = replace(UNHURRIED, streaming=False)
    async with talk(tmp_path / "db", ScriptedModel(slow), delivery=still) as t:
        inbound = t.question("teh question")
        done = t.delivered(inbound.message_id)
        loop = asyncio.get_running_loop()

        def edit(published: Published) -> None:
            event = published.event
            if isinstance(event, JobMoved) and event.after == JobState.DELIVERING:
                loop.call_soon(t.inbox.on_message_edited, 100, inbound.message_id, "the question")

        t.bus.subscribe(edit)
        t.inbox.on_message(inbound, None)
        await done
        assert t.reply(inbound.message_id) == "Answer to the question."
        assert len(t.discord.ours(100)) == 1
        assert slow.questions == ["teh question", "the question"]


async def test_an_edit_while_a_kept_answer_has_its_next_turn_is_answered(tmp_path: Path) -> None:
    """An answer that could not be shown yet is not the answer to what its author made of it."""
    slow = Slow()
    slow.go_on.set()
    still = replace(UNHURRIED, streaming=False)
    refused: list[str] = []

    def once(call: str) -> DiscordUnavailableError | None:
        if call != "send" or refused:
            return None
        refused.append(call)
        return DiscordUnavailableError("503")

    discord, trouble = MemoryDiscord(fault=once), TroubleSettings(pause_first_s=0.01)
    model = ScriptedModel(slow)
    async with talk(tmp_path / "db", model, delivery=still, discord=discord, trouble=trouble) as t:
        inbound = t.question("teh question")
        done = t.delivered(inbound.message_id)
        loop = asyncio.get_running_loop()

        def edit(published: Published) -> None:
            event = published.event
            if refused and isinstance(event, JobMoved) and event.after == JobState.DELIVERING:
                loop.call_soon(t.inbox.on_message_edited, 100, inbound.message_id, "the question")

        t.bus.subscribe(edit)
        t.inbox.on_message(inbound, None)
        await done
        assert t.reply(inbound.message_id) == "Answer to the question."
        assert len(t.discord.ours(100)) == 1
        assert slow.questions == ["teh question", "the question"]


async def test_edits_without_end_are_not_followed(tmp_path: Path) -> None:
    """Nobody makes the bot ask the model more than a few times for one question."""
    slow = Slow()
    async with talk(tmp_path / "db", ScriptedModel(slow)) as t:
        inbound = t.question("number 0")
        done = t.delivered(inbound.message_id)
        t.inbox.on_message(inbound, None)
        for number in range(1, 10):
            await slow.asked.wait()
            slow.asked.clear()
            t.inbox.on_message_edited(100, inbound.message_id, f"number {number}")
            if len(slow.questions) == 4:
                break
        slow.go_on.set()
        await done
        assert t.reply(inbound.message_id) == "Answer to number 3."


async def test_a_question_taken_back_while_the_model_thinks_is_not_answered(tmp_path: Path) -> None:
    """Deleted before the first word: no answer, no notice left, and the next one has its turn."""
    slow = Slow()
    discord = MemoryDiscord()
    async with talk(
        tmp_path / "db",
        ScriptedModel(slow),
        discord=discord,
        delivery=DeliverySettings(silence_s=0.01),
        announcements=AnnouncementSettings(silence_s=0),
        workers=1,
    ) as t:
        gone, other = t.question("gone"), t.question("other")
        ended = t.bus.expect(
            JobMoved, lambda e: e.message_id == gone.message_id and e.after == "done"
        )
        done = t.delivered(other.message_id)
        t.inbox.on_message(gone, None)
        await discord.changed.wait()
        assert len(discord.ours(100, gone.message_id)) == 1
        t.inbox.on_message(other, None)
        t.inbox.on_message_deleted(100, gone.message_id)
        assert "withdrawn" in (await ended).reason
        slow.go_on.set()
        await done
        assert [m.reply_to for m in discord.ours(100)] == [other.message_id]


async def test_a_stop_is_no_change(tmp_path: Path) -> None:
    """A bot that stops just as a question is edited hands it back, as edited, to the next life."""
    slow = Slow()
    discord = MemoryDiscord()
    async with talk(tmp_path / "db", ScriptedModel(slow), discord=discord, grace_s=0) as t:
        inbound = t.question("befor")
        t.inbox.on_message(inbound, None)
        await slow.asked.wait()
        t.inbox.on_message_edited(100, inbound.message_id, "before")
    async with talk(tmp_path / "db", discord=discord, running=False) as t:
        done = t.delivered(inbound.message_id)
        await t.pipeline.answer(await t.queue.next())
        await done
        assert t.reply(inbound.message_id) == "You said: before"


async def test_a_stop_in_the_moment_of_an_edit_is_a_stop(tmp_path: Path) -> None:
    """Struck by both at once, the attempt ends: no model is asked, and the edit is kept."""
    slow = Slow()
    async with talk(tmp_path / "db", ScriptedModel(slow), running=False) as t:
        inbound = t.question("befor")
        await t.inbox.accept(inbound, None)
        answering = asyncio.create_task(t.pipeline.answer(await t.queue.next()))
        await slow.asked.wait()
        slow.asked.clear()
        t.inbox.on_message_edited(100, inbound.message_id, "before")
        answering.cancel()
        asked_again = asyncio.create_task(slow.asked.wait())
        await asyncio.wait({answering, asked_again}, return_when=asyncio.FIRST_COMPLETED)
        asked_again.cancel()
        slow.go_on.set()
        assert slow.questions == ["befor"]
        assert answering.cancelled()
        waiting = t.queue.waiting(inbound.message_id)
        assert waiting is not None
        assert waiting.inbound.content == "before"


async def test_an_edit_while_the_answer_waits_for_discord_is_answered(tmp_path: Path) -> None:
    """An answer that could not be shown yet is dropped when its question changes."""
    discord = MemoryDiscord(fault=lambda _: DiscordUnavailableError("503"))
    async with talk(tmp_path / "db", discord=discord) as t:
        inbound = t.question("one")
        stuck = t.bus.expect(JobFailed, lambda e: e.code == DiscordUnavailableError.code)
        t.inbox.on_message(inbound, None)
        await stuck
        await until(lambda: t.queue.waiting(inbound.message_id))
        t.inbox.on_message_edited(100, inbound.message_id, "two")
        waiting = t.queue.waiting(inbound.message_id)
        assert waiting is not None
        assert waiting.answer is None
        await t.store.tell(inbound.message_id, "looked", "")
        stored = await t.store.job(inbound.message_id)
        assert stored is not None
        assert (stored.answer, stored.inbound.content) == (None, "two")


async def test_a_question_taken_back_after_a_kill_leaves_nothing_of_its_answer(
    tmp_path: Path,
) -> None:
    """What a dead life may have sent, and never wrote down, goes with the question."""
    async with talk(tmp_path / "db", running=False) as t:
        inbound = t.question("hello")
        await t.inbox.accept(inbound, None)
        job = t.queue.waiting(inbound.message_id)
        assert job is not None
        job.in_flight_before = True
        t.discord.seed(
            ChannelMessage(
                next(t.ids), 100, OUR_ID, "bot", "Well. ", True, True, inbound.message_id
            )
        )
        t.inbox.on_message_deleted(100, inbound.message_id)
        await t.pipeline.answer(await t.queue.next())
        assert t.discord.ours(100) == []


async def test_a_question_taken_back_while_its_answer_waits_for_discord_is_not_answered(
    tmp_path: Path,
) -> None:
    """An answer that could not be sent yet is never sent once its question is gone."""
    away = [DiscordUnavailableError("503")]
    discord = MemoryDiscord(fault=lambda call: away.pop() if call == "send" and away else None)
    whole = replace(UNHURRIED, streaming=False)
    async with talk(tmp_path / "db", discord=discord, running=False, delivery=whole) as t:
        inbound = t.question("hello")
        await t.inbox.accept(inbound, None)
        await t.pipeline.answer(await t.queue.next())
        waiting = t.queue.waiting(inbound.message_id)
        assert waiting is not None
        assert waiting.answer
        t.inbox.on_message_deleted(100, inbound.message_id)
        await t.pipeline.answer(await t.queue.next())
        assert waiting.state is JobState.DONE
        assert t.discord.ours(100) == []


async def test_what_a_question_left_behind_is_looked_for_before_it_ends(tmp_path: Path) -> None:
    """Taken back while Discord can not say what stands there: it is asked again, then deleted."""
    calls: list[str] = []

    def late(call: str) -> LlmbotError | None:
        return DiscordUnavailableError("502 after it had accepted") if call == "send" else None

    def away(call: str) -> LlmbotError | None:
        calls.append(call)
        return DiscordUnavailableError("503") if calls.count("history") == 1 else None

    discord = MemoryDiscord(late_fault=late)
    whole = replace(UNHURRIED, streaming=False)
    async with talk(tmp_path / "db", discord=discord, running=False, delivery=whole) as t:
        inbound = t.question("hello")
        await t.inbox.accept(inbound, None)
        await t.pipeline.answer(await t.queue.next())
        assert len(discord.ours(100)) == 1
        discord.fault = away
        t.inbox.on_message_deleted(100, inbound.message_id)
        await t.pipeline.answer(await t.queue.next())
        assert discord.ours(100) == []


async def test_a_notice_that_a_dead_life_gave_goes_with_its_question(tmp_path: Path) -> None:
    """Taken back after a kill that kept a notice from being written down, nothing is left of it."""
    discord = MemoryDiscord()
    async with talk(tmp_path / "db", discord=discord, running=False) as t:
        inbound = t.question("hello")
        await t.inbox.accept(inbound, None)
        notice = ChannelMessage(next(t.ids), 100, OUR_ID, "bot", "One moment.", True, True)
        discord.seed(replace(notice, reply_to=inbound.message_id))
    async with talk(tmp_path / "db", discord=discord, running=False) as t:
        t.inbox.on_message_deleted(100, inbound.message_id)
        await t.pipeline.answer(await t.queue.next())
        assert discord.ours(100) == []


def after_a_kill(inner: Database) -> FaultyDatabase:
    """A database whose last life ended uncleanly."""
    database = FaultyDatabase(inner)
    database.unclean = True
    return database


def noticed(t: Talk, inbound: Inbound) -> None:
    """An earlier life gave a notice, and died before it wrote anything down."""
    t.discord.seed(
        ChannelMessage(
            next(t.ids), 100, OUR_ID, "bot", "In line.", author_is_us=True,
            reply_to=inbound.message_id,
        )
    )  # fmt: skip


async def test_a_notice_of_a_killed_life_goes_with_its_question(tmp_path: Path) -> None:
    """What was answered on credit is heard again; taken back then, nothing is left of it."""
    slow = Slow()
    async with talk(tmp_path / "db", ScriptedModel(slow), wrap=after_a_kill) as t:
        inbound = t.question("never mind", source=Source.REPLAYED)
        noticed(t, inbound)
        t.inbox.on_message(inbound, None)
        await slow.asked.wait()
        t.inbox.on_message_deleted(100, inbound.message_id)
        await until(lambda: not t.discord.ours(100))
        slow.go_on.set()


async def test_a_notice_of_a_killed_life_goes_with_a_question_that_waits(tmp_path: Path) -> None:
    """So it is where the question is taken back before its turn, or with the same breath."""
    async with talk(tmp_path / "db", running=False, wrap=after_a_kill) as t:
        for arrives_first in (True, False):
            inbound = t.question("never mind", source=Source.REPLAYED)
            noticed(t, inbound)
            t.inbox.on_message(inbound, None)
            if arrives_first:
                await t.inbox.drain()
            t.inbox.on_message_deleted(100, inbound.message_id)
            await t.inbox.drain()
            await t.pipeline.answer(await t.queue.next())
            assert t.discord.ours(100) == []


async def test_a_notice_goes_with_a_question_that_is_held(tmp_path: Path) -> None:
    """Nothing is left of a question that is taken back while earlier ones are looked for."""
    async with talk(tmp_path / "db", running=False) as t:
        inbound = t.question("never mind")
        await t.inbox.accept(inbound, None)
        job = t.queue.waiting(inbound.message_id)
        assert job is not None
        async with t.pipeline.delivery.open(job, silent=True) as reply:
            await reply.finish("One moment.")
        t.inbox.gap.resume(0)
        t.inbox.on_message_deleted(100, inbound.message_id)
        t.inbox.gap.over()
        await t.pipeline.answer(await t.queue.next())
        assert t.discord.ours(100) == []


async def asked_before(path: Path, discord: MemoryDiscord) -> Inbound:
    """A question that an earlier life has claimed, and died of before its turn."""
    async with talk(path, discord=discord, running=False) as t:
        inbound = t.question("teh question")
        await t.inbox.accept(inbound, None)
    return inbound


async def test_a_question_that_was_taken_back_before_a_kill_is_not_answered(tmp_path: Path) -> None:
    """The record of its end died with the process: where it was asked it is not any more."""
    discord = MemoryDiscord()
    inbound = await asked_before(tmp_path / "db", discord)
    await discord.delete(100, inbound.message_id)
    async with talk(tmp_path / "db", discord=discord, running=False, wrap=after_a_kill) as t:
        job = await t.queue.next()
        await t.pipeline.answer(job)
        assert job.state is JobState.DONE
        assert discord.channels[100] == []
        assert t.models[0].prompts == []


async def test_a_question_that_was_edited_before_a_kill_is_answered_as_edited(
    tmp_path: Path,
) -> None:
    """So it is with an edit that the dead process heard of and could not store."""
    discord = MemoryDiscord()
    inbound = await asked_before(tmp_path / "db", discord)
    await discord.edit(100, inbound.message_id, "the question")
    async with talk(tmp_path / "db", discord=discord, running=False, wrap=after_a_kill) as t:
        await t.pipeline.answer(await t.queue.next())
        assert t.reply(inbound.message_id) == "You said: the question"


async def test_a_question_in_a_channel_that_shows_no_history_is_answered(tmp_path: Path) -> None:
    """A bot that may not read the history sees an empty one; that says nothing of a question."""
    discord = MemoryDiscord()
    inbound = await asked_before(tmp_path / "db", discord)
    await discord.delete(100, inbound.message_id)
    discord.fault = lambda call: DiscordForbiddenError("50001") if call == "message" else None
    async with talk(tmp_path / "db", discord=discord, running=False, wrap=after_a_kill) as t:
        await t.pipeline.answer(await t.queue.next())
        assert t.reply(inbound.message_id) == "You said: teh question"


async def test_an_edit_that_is_heard_during_a_look_is_newer_than_what_it_finds(
    tmp_path: Path,
) -> None:
    """Discord may have answered the look before the edit, and tell of that first."""
    looking, go_on = asyncio.Event(), asyncio.Event()
    discord = MemoryDiscord()
    inbound = await asked_before(tmp_path / "db", discord)

    def hold(call: str, channel_id: int) -> asyncio.Event | None:
        del channel_id
        if call != "history" or looking.is_set():
            return None
        looking.set()
        return go_on

    discord.hold = hold
    async with talk(tmp_path / "db", discord=discord, running=False, wrap=after_a_kill) as t:
        answering = asyncio.create_task(t.pipeline.answer(await t.queue.next()))
        await looking.wait()
        t.inbox.on_message_edited(100, inbound.message_id, "the question")
        go_on.set()
        await answering
        assert t.reply(inbound.message_id) == "You said: the question"
