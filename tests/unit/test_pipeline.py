"""The conversation path, through real queue and database, with Discord and the model in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.support.conversation import UNHURRIED, talk
from tests.support.discord import MemoryDiscord
from tests.support.models import Piece, ScriptedModel
from tests.support.waiting import PATIENCE_S

from llmbot.conversation.jobs import JobState
from llmbot.conversation.models.calls import GenerationSettings
from llmbot.conversation.ports import Finish, FinishReason, ModelDeadlines, Prompt, Words
from llmbot.conversation.text.notices import notice
from llmbot.conversation.trouble import TroubleSettings
from llmbot.kernel.errors import (
    DiscordForbiddenError,
    DiscordUnavailableError,
    LlmbotError,
    ModelBlockedError,
    ModelEmptyError,
    ModelOvertakenError,
    ModelStreamCutError,
    ModelTimeoutError,
    ModelUnavailableError,
)
from llmbot.kernel.events import DuplicateMessage, JobFailed, JobMoved


@dataclass
class Hurried(ScriptedModel):
    """Remembers how much time each call was given."""

    given: list[ModelDeadlines] = field(default_factory=list)

    def stream(self, prompt: Prompt, deadlines: ModelDeadlines) -> AsyncGenerator[Words | Finish]:
        """See `Model.stream`."""
        self.given.append(deadlines)
        return super().stream(prompt, deadlines)


async def test_a_question_is_answered_once_and_acknowledged(tmp_path: Path) -> None:
    """An accepted message gets exactly one answer, and its job ends as done."""
    async with talk(tmp_path / "db") as t:
        delivered = await t.ask("<@42> hello")
        assert t.reply(delivered.message_id) == "You said: hello"
        await t.store.tell(delivered.message_id, "looked", "")
        story = [line.fact for line in await t.store.story(delivered.message_id)]
        assert story == [
            "claimed", "leased", "generating", "delivering", "part sent", "done", "looked"
        ]  # fmt: skip


async def test_a_message_that_comes_twice_is_answered_once(tmp_path: Path) -> None:
    """The second delivery of a message id is dropped and said, before and after a restart."""
    discord = MemoryDiscord()
    async with talk(tmp_path / "db", discord=discord) as t:
        delivered = await t.ask("hello")
        again = t.question("hello", message_id=delivered.message_id)
        heard = t.bus.expect(DuplicateMessage)
        t.inbox.on_message(again, None)
        assert (await heard).stopped_by == "memory"
    async with talk(tmp_path / "db", discord=discord) as t:
        heard = t.bus.expect(DuplicateMessage)
        t.inbox.on_message(again, None)
        assert (await heard).stopped_by == "record"
    assert len(discord.ours(100)) == 1


async def test_a_user_in_a_channel_is_answered_in_order(tmp_path: Path) -> None:
    """Messages of one user in one channel are answered one after the other, by their ids."""
    async with talk(tmp_path / "db", workers=16) as t:
        questions = [t.question(f"number {n}") for n in range(20)]
        last = t.delivered(questions[-1].message_id)
        for inbound in reversed(questions[10:]):
            t.inbox.on_message(inbound, None)
        for inbound in questions[:10]:
            t.inbox.on_message(inbound, None)
        await t.inbox.drain()
        await last
        order = [m.reply_to or 0 for m in t.discord.ours(100)]
    # The first may have been begun before the others came; from then on the order holds.
    assert sorted(order[1:]) == order[1:]
    assert len(order) == 20


async def test_words_are_shown_before_the_answer_is_whole(tmp_path: Path) -> None:
    """First words appear as soon as there are any; the final text always lands."""
    go_on = asyncio.Event()
    model = ScriptedModel(lambda _: ["First ", go_on, "and last."])
    async with talk(tmp_path / "db", model) as t:
        asking = asyncio.create_task(t.ask("tell me"))
        await t.discord.changed.wait()
        assert [m.content for m in t.discord.ours(100)] == ["First"]
        go_on.set()
        delivered = await asking
        assert t.reply(delivered.message_id) == "First and last."
        assert len(t.discord.ours(100)) == 1


async def test_an_instant_answer_needs_one_call(tmp_path: Path) -> None:
    """An answer that is whole within the settling pause is sent once and never edited."""
    model = ScriptedModel(lambda _: ["a ", "b ", "c"])
    delivery = replace(UNHURRIED, settle_s=PATIENCE_S)
    async with talk(tmp_path / "db", model, delivery=delivery) as t:
        await t.ask("quick")
        assert t.discord.calls.count("send") == 1
        assert t.discord.calls.count("edit") == 0


async def test_a_long_answer_is_split_and_whole(tmp_path: Path) -> None:
    """A long answer lands in several messages that each fit and together hold every word."""
    words = " ".join(f"word{n}" for n in range(2000))
    model = ScriptedModel(lambda _: [words[i : i + 50] for i in range(0, len(words), 50)])
    async with talk(tmp_path / "db", model) as t:
        delivered = await t.ask("long")
        parts = [m.content for m in t.discord.ours(100, delivered.message_id)]
        assert all(0 < len(part) <= 2000 for part in parts)
        assert " ".join(parts) == words
        assert delivered.parts == len(parts)


async def test_the_next_model_completes_the_same_message(tmp_path: Path) -> None:
    """A stream that is cut after words were shown is completed by the next model, in place."""
    shown = asyncio.Event()
    first = ScriptedModel(lambda _: ["Half an ", shown, ModelStreamCutError()], name="one")
    second = ScriptedModel(lambda _: ["Whole answer."], name="two")
    async with talk(tmp_path / "db", first, second) as t:
        asking = asyncio.create_task(t.ask("tell me"))
        await t.discord.changed.wait()
        shown.set()
        delivered = await asking
        assert t.reply(delivered.message_id).startswith("Whole answer.")
        assert "two" in t.reply(delivered.message_id)
        assert len(t.discord.ours(100)) == 1


async def test_an_outage_is_told_at_once_and_mended_in_place(tmp_path: Path) -> None:
    """While no model serves, the user is told; the notice becomes the answer when one is back."""
    tries: list[int] = []

    def script(_: object) -> list[str | LlmbotError]:
        tries.append(1)
        return [ModelUnavailableError()] if len(tries) == 1 else ["Back again."]

    settings = TroubleSettings(pause_first_s=0.05, pause_max_s=0.1)
    async with talk(tmp_path / "db", ScriptedModel(script), trouble=settings) as t:
        inbound = t.question("hello?")
        done = t.delivered(inbound.message_id)
        t.inbox.on_message(inbound, None)
        await t.discord.changed.wait()
        assert "language model" in t.reply(inbound.message_id)
        await done
        assert t.reply(inbound.message_id) == "Back again."
        assert len(t.discord.ours(100)) == 1


async def test_a_blip_is_retried_without_a_word(tmp_path: Path) -> None:
    """One passing failure of the whole chain costs a retry from the budget and no notice."""
    answers: Iterator[list[Piece]] = iter([[ModelUnavailableError()], ["Here."]])
    model = ScriptedModel(lambda _: next(answers))
    async with talk(tmp_path / "db", model, attempts=2) as t:
        delivered = await t.ask("hello?")
        assert t.reply(delivered.message_id) == "Here."
        assert t.discord.edits == []


async def test_waiting_has_an_end(tmp_path: Path) -> None:
    """A message that waited too long for a model gets one last notice and is noticed."""
    settings = TroubleSettings(pause_first_s=0.02, pause_max_s=0.02, wait_s=0.1)
    model = ScriptedModel(lambda _: [ModelUnavailableError()])
    async with talk(tmp_path / "db", model, trouble=settings) as t:
        delivered = await t.ask("hello?")
        assert delivered.outcome.startswith("noticed")
        assert "could not get an answer" in t.reply(delivered.message_id)


async def test_a_blocked_question_is_said_honestly(tmp_path: Path) -> None:
    """A question that safety rules stop gets a notice, and no other model is tried."""
    second = ScriptedModel(name="two")
    first = ScriptedModel(lambda _: [ModelBlockedError()], name="one")
    async with talk(tmp_path / "db", first, second) as t:
        delivered = await t.ask("something bad")
        assert "safety rules" in t.reply(delivered.message_id)
        assert second.prompts == []


async def test_a_partial_answer_is_kept(tmp_path: Path) -> None:
    """Words given before a block are kept, with a line that says why they end."""
    model = ScriptedModel(lambda _: ["So far so good.", ModelBlockedError()])
    async with talk(tmp_path / "db", model) as t:
        delivered = await t.ask("go on")
        assert t.reply(delivered.message_id).startswith("So far so good.")
        assert "safety rules" in t.reply(delivered.message_id)


async def test_a_call_that_hangs_is_given_up_early_once(tmp_path: Path) -> None:
    """Where a model usually speaks at once, its silence is short; the next one has time."""
    hang = [False]
    first = Hurried(lambda _: [ModelTimeoutError(stage="first_words")] if hang[0] else ["First."])
    second = Hurried(lambda _: ["Second."], name="scripted-2")
    async with talk(tmp_path / "db", first, second) as t:
        for _ in range(4):
            await t.ask("hello")
        hang[0] = True
        delivered = await t.ask("are you there?")
        assert t.reply(delivered.message_id).startswith("Second.")
    patient = GenerationSettings().deadlines
    assert first.given[0] == second.given[0] == patient
    assert first.given[-1].first_words_s < patient.first_words_s


async def test_a_call_that_hung_is_asked_again_and_blames_nobody(tmp_path: Path) -> None:
    """That a call hung while its provider did says nothing of how the provider is now."""
    answers: Iterator[list[Piece]] = iter([[ModelOvertakenError()], ["Here."]])
    async with talk(tmp_path / "db", ScriptedModel(lambda _: next(answers))) as t:
        delivered = await t.ask("are you there?")
        assert t.reply(delivered.message_id) == "Here."
        assert {facts.counts.failed for facts in t.breakers.facts().values()} == {0}


async def test_a_cut_answer_is_continued(tmp_path: Path) -> None:
    """An answer that met the token limit is continued where it stopped."""
    answers: Iterator[list[Piece]] = iter([["One two ", FinishReason.LENGTH], ["three four."]])
    model = ScriptedModel(lambda _: next(answers))
    async with talk(tmp_path / "db", model) as t:
        delivered = await t.ask("count")
        assert t.reply(delivered.message_id) == "One two three four."


async def test_an_answer_beyond_all_measure_ends_with_a_word_about_it(tmp_path: Path) -> None:
    """A model that ignores its limit is cut off, and the answer says so."""
    model = ScriptedModel(lambda _: ["word " * 4_000] * 3)
    async with talk(tmp_path / "db", model) as t:
        await t.ask("go on for ever")
        last = t.discord.ours(100)[-1].content
    assert last.endswith(f"-# {notice('cut', '')}")


async def test_an_empty_answer_is_asked_for_again_with_less_thinking(tmp_path: Path) -> None:
    """Thinking that used up the answer is cut down for a second try."""
    answers: Iterator[list[Piece]] = iter([[ModelEmptyError()], ["Here."]])
    model = ScriptedModel(lambda _: next(answers))
    async with talk(tmp_path / "db", model) as t:
        delivered = await t.ask("think")
        assert t.reply(delivered.message_id) == "Here."
        assert [p.little_thinking for p in model.prompts] == [False, True]


async def test_accepted_but_lost_answers_do_not_double(tmp_path: Path) -> None:
    """A send that Discord accepted and then failed is repeated with the same nonce."""
    discord = MemoryDiscord()
    lost = iter([DiscordUnavailableError()])
    discord.late_fault = lambda call: next(lost, None) if call == "send" else None
    settings = TroubleSettings(pause_first_s=0.02, pause_max_s=0.02)
    async with talk(tmp_path / "db", discord=discord, trouble=settings) as t:
        delivered = await t.ask("hello")
        assert t.reply(delivered.message_id) == "You said: hello"
        assert len(discord.ours(100)) == 1
        assert len(t.models[0].prompts) == 1


async def test_a_refused_channel_is_left_alone(tmp_path: Path) -> None:
    """Where the bot may not speak, the message becomes a dead letter at once, with a reason."""
    discord = MemoryDiscord(fault=lambda _: DiscordForbiddenError("missing permission"))
    async with talk(tmp_path / "db", discord=discord) as t:
        inbound = t.question("hello")
        dead = t.bus.expect(JobMoved, lambda e: e.after == "dead")
        t.inbox.on_message(inbound, None)
        assert (await dead).message_id == inbound.message_id
        assert t.pipeline.admission.set_aside == {100: "missing permission"}


async def test_a_poison_message_ends_with_an_honest_notice(tmp_path: Path) -> None:
    """A message whose handling fails every time is given up after the cap, and said so."""

    def script(_: object) -> list[str]:
        raise ZeroDivisionError("the user's secret text")

    settings = TroubleSettings(attempts_max=3, pause_first_s=0.01, pause_max_s=0.01)
    async with talk(tmp_path / "db", ScriptedModel(script), trouble=settings) as t:
        failures: list[JobFailed] = []
        t.bus.subscribe(
            lambda p: failures.append(p.event) if isinstance(p.event, JobFailed) else None
        )
        delivered = await t.ask("boom")
        assert "wrong on my side" in t.reply(delivered.message_id)
        assert len(failures) == 3
        assert all("secret" not in failure.detail for failure in failures)


async def test_a_deleted_question_is_not_answered(tmp_path: Path) -> None:
    """A question that its author deleted while it waited gets no answer; the next one does."""
    hold = asyncio.Event()
    model = ScriptedModel(lambda p: [hold, "Answer."] if "first" in p.turns[-1].text else ["Two."])
    async with talk(tmp_path / "db", model, workers=1) as t:
        first, second, third = (t.question(text) for text in ("first", "second", "third"))
        done = t.delivered(third.message_id)
        for inbound in (first, second, third):
            t.inbox.on_message(inbound, None)
        await t.inbox.drain()
        t.inbox.on_message_deleted(100, second.message_id)
        hold.set()
        await done
        assert [m.reply_to for m in t.discord.ours(100)] == [first.message_id, third.message_id]


async def test_a_waiting_question_is_answered_as_edited(tmp_path: Path) -> None:
    """An edit that comes while a question waits changes what is answered."""
    hold = asyncio.Event()
    model = ScriptedModel(
        lambda p: [hold, "One."] if "first" in p.turns[-1].text else ["Got: ", p.turns[-1].text]
    )
    async with talk(tmp_path / "db", model, workers=1) as t:
        first, second = t.question("first"), t.question("secnd")
        done = t.delivered(second.message_id)
        for inbound in (first, second):
            t.inbox.on_message(inbound, None)
        await t.inbox.drain()
        t.inbox.on_message_edited(100, second.message_id, "second, spelt right")
        hold.set()
        await done
        assert "spelt right" in t.reply(second.message_id)


async def test_a_stop_hands_back_and_the_next_life_completes(tmp_path: Path) -> None:
    """A half-streamed reply is completed in the same message by the next life of the process."""
    discord = MemoryDiscord()
    stuck = ScriptedModel(lambda _: ["Half an answ", asyncio.Event()])
    async with talk(tmp_path / "db", stuck, discord=discord, grace_s=0) as t:
        inbound = t.question("hello")
        t.inbox.on_message(inbound, None)
        await discord.changed.wait()
    whole = ScriptedModel(lambda _: ["The whole answer."])
    async with talk(tmp_path / "db", whole, discord=discord, running=False) as t:
        stored = await t.store.job(inbound.message_id)
        assert stored is not None
        assert stored.state is JobState.WAITING
        assert len(stored.parts) == 1
        done = t.delivered(inbound.message_id)
        await t.pipeline.answer(await t.queue.next())
        await done
        assert t.reply(inbound.message_id) == "The whole answer."
        assert len(discord.ours(100)) == 1
