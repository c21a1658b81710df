"""Earlier answers to the same question, where that is honest."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.conversation import talk
from tests.support.models import Piece, ScriptedModel

from llmbot.conversation.jobs import Job, JobState, Priority
from llmbot.conversation.messages import Attachment, Inbound
from llmbot.conversation.models.answer_cache import AnswerCache, CacheSettings
from llmbot.conversation.ports import FinishReason, Prompt
from llmbot.kernel.clock import ManualClock
from llmbot.kernel.errors import ModelUnavailableError

QUESTION = "<@42> How far is the moon?"


def asked(text: str = QUESTION, channel: int = 1, **more: object) -> Job:
    """A job that asks something somewhere."""
    inbound = Inbound(5, channel, 9, 7, "ann", text, **more)  # type: ignore[arg-type] # tests name the fields they change
    return Job(inbound, Priority.USER, JobState.LEASED, 0.0, 0.0)


def a_cache(**settings: float) -> tuple[ManualClock, AnswerCache]:
    """A cache on a clock that a test moves."""
    clock = ManualClock()
    return clock, AnswerCache(clock, "a persona", CacheSettings(**settings))  # type: ignore[arg-type] # counts are whole


def test_the_same_question_finds_its_answer_and_says_how_old_it_is() -> None:
    """Case, blanks, the mention and a question mark make no other question."""
    clock, cache = a_cache()
    cache.keep(asked(), "384,400 km.")
    clock.advance(600)
    for text in ("how far  is THE moon", "How far is the moon ?! <@!42>", QUESTION):
        found = cache.find(asked(text))
        assert found is not None
        assert found.startswith("384,400 km.\n\n-# ")
        assert "10 min ago" in found
    found = cache.find(asked(locale="de"))
    assert found is not None
    assert "vor 10 min" in found


@pytest.mark.parametrize(
    "job",
    [
        asked("How far is the sun?"),
        asked(channel=2),
        asked(reply_to=77),
        asked(attachments=(Attachment(1, "a.png", "https://x/a.png", 9),)),
    ],
)
def test_another_question_has_none(job: Job) -> None:
    """Other words, another channel, a reply and a file ask something else."""
    _, cache = a_cache()
    cache.keep(asked(), "384,400 km.")
    assert cache.find(job) is None


def test_a_question_that_leans_on_others_is_not_kept() -> None:
    """What has fewer than three words means something else each time."""
    _, cache = a_cache()
    cache.keep(asked("and then?"), "Nothing.")
    assert len(cache) == 0


def test_an_old_answer_is_none() -> None:
    """Past the age no answer stands in; with an age of 0 none is ever kept."""
    clock, cache = a_cache(age_max_s=100)
    cache.keep(asked(), "384,400 km.")
    clock.advance(101)
    assert cache.find(asked()) is None
    assert len(cache) == 0
    _, cache = a_cache(age_max_s=0)
    cache.keep(asked(), "384,400 km.")
    assert len(cache) == 0


def test_it_is_bounded_and_can_be_emptied() -> None:
    """The oldest answers give way, long ones are not kept, a channel or all can be forgotten."""
    _, cache = a_cache(entries_max=10, answer_characters_max=100)
    for number in range(50):
        cache.keep(asked(f"what is number {number}", channel=number % 2), "x" * 50)
    assert len(cache) == 10
    cache.keep(asked("what is very long"), "x" * 101)
    assert cache.find(asked("what is very long")) is None
    cache.forget(1)
    assert len(cache) == 5
    assert cache.bytes > 250
    cleared = cache.clear()
    assert (cleared.entries, len(cache), cache.bytes) == (5, 0, 0)


async def test_an_earlier_answer_stands_in_while_no_model_answers(tmp_path: Path) -> None:
    """The chain, then an earlier answer that says what it is, then a notice."""
    away = False

    def script(_: Prompt) -> list[Piece]:
        return [ModelUnavailableError()] if away else ["384,400 km."]

    async with talk(tmp_path / "db", ScriptedModel(script)) as t:
        delivered = await t.ask(QUESTION)
        assert t.reply(delivered.message_id) == "384,400 km."
        away = True
        delivered = await t.ask("how far is the moon", author=8)
        assert delivered.outcome == "answered"
        assert "same question" in t.reply(delivered.message_id)
        t.breakers.get("scripted").trip("test")
        delivered = await t.ask("how far is the moon", author=9)
        assert t.reply(delivered.message_id).startswith("384,400 km.")


async def test_an_answer_that_was_cut_is_not_kept(tmp_path: Path) -> None:
    """Only whole answers stand in for others."""
    model = ScriptedModel(lambda _: ["Some 384", FinishReason.LENGTH])
    async with talk(tmp_path / "db", model) as t:
        await t.ask(QUESTION)
        assert len(t.cache) == 0
