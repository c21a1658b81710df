"""Who is answered."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.conversation import talk

from llmbot.conversation.admission import is_meant_for_us
from llmbot.conversation.messages import Inbound, InteractionRef
from llmbot.kernel.ids import snowflake_at


def inbound(**changes: object) -> Inbound:
    """A message in a guild channel that mentions nobody."""
    fields: dict[str, object] = {
        "message_id": 1,
        "channel_id": 2,
        "guild_id": 3,
        "author_id": 4,
        "author_name": "ann",
        "content": "hello",
    }
    return Inbound(**(fields | changes))  # type: ignore[arg-type] # tests name the fields they change


@pytest.mark.parametrize(
    "changes",
    [
        {"mentions_us": True},
        {"is_direct": True, "guild_id": None},
        {"replies_to_us": True, "reply_to": 9},
        {"is_thread": True, "in_our_thread": True},
        {"interaction": InteractionRef(1, 2, "t")},
        {"is_thread": True, "mentions_us": True},
    ],
)
def test_what_is_said_to_the_bot_is_meant_for_it(changes: dict[str, object]) -> None:
    """Mentions, replies to it, direct messages, its threads and commands are answered."""
    assert is_meant_for_us(inbound(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"mentions_us": True, "author_is_bot": True},
        {"is_direct": True, "author_is_bot": True},
        {"mentions_us": True, "may_speak": False},
        {"is_thread": True},
        {"is_thread": True, "in_our_thread": True, "mentions_others": True},
        {"is_thread": True, "in_our_thread": True, "reply_to": 9, "replies_to_us": False},
        {"reply_to": 9, "replies_to_us": False},
    ],
)
def test_what_is_said_to_others_is_not(changes: dict[str, object]) -> None:
    """Bots, other people's talk and places where it may not speak are left alone."""
    assert not is_meant_for_us(inbound(**changes))


async def test_a_call_without_a_question_gets_a_friendly_word(tmp_path: Path) -> None:
    """A bare mention costs no model call."""
    async with talk(tmp_path / "db") as t:
        delivered = await t.ask("<@42>")
        assert t.reply(delivered.message_id).startswith("Yes?")
        assert t.models[0].prompts == []


async def test_a_message_that_is_too_old_gets_one_notice(tmp_path: Path) -> None:
    """Nobody waits any more for an answer to what was said an hour ago; it is said honestly."""
    async with talk(tmp_path / "db") as t:
        old = snowflake_at(t.clock.wall() - 3600)
        delivered = await t.ask("hello", message_id=old)
        assert "too late" in t.reply(delivered.message_id)


async def test_a_file_without_words_is_a_question(tmp_path: Path) -> None:
    """A picture sent to the bot needs no text beside it."""
    from llmbot.conversation.messages import Attachment  # noqa: PLC0415 - only here

    async with talk(tmp_path / "db") as t:
        url = "https://cdn.discordapp.com/a.png"
        t.files.files[url] = b"\x89PNG\r\n\x1a\n"
        await t.ask("<@42>", attachments=(Attachment(1, "a.png", url, 8),))
        blobs = t.models[0].prompts[0].turns[-1].blobs
        assert [(blob.mime_type, blob.name) for blob in blobs] == [("image/png", "a.png")]


async def test_who_writes_too_fast_waits_and_is_answered(tmp_path: Path) -> None:
    """A message over its user's limit is not refused: it waits, says so, and is answered."""
    from llmbot.conversation.trouble import TroubleSettings  # noqa: PLC0415 - only here

    waits = iter([60.0, 0.1, 0.0])
    settings = TroubleSettings(pause_first_s=0.01, pause_max_s=0.02)
    async with talk(tmp_path / "db", trouble=settings) as t:
        t.limits.wait = lambda _: next(waits)
        inbound = t.question("hello")
        done = t.delivered(inbound.message_id)
        t.inbox.on_message(inbound, None)
        await t.discord.changed.wait()
        assert "60 s" in t.reply(inbound.message_id)
        await done
        assert t.reply(inbound.message_id) == "You said: hello"
        assert len(t.models[0].prompts) == 1


async def test_a_message_that_ended_life_after_life_is_given_up(tmp_path: Path) -> None:
    """What was begun too often gets an honest notice, and no model is asked any more."""
    async with talk(tmp_path / "db", running=False) as t:
        inbound = t.question("poison")
        await t.inbox.accept(inbound, None)
        job = await t.queue.next()
        job.attempts = 9
        await t.pipeline.answer(job)
        assert "went wrong" in t.reply(inbound.message_id)
        assert t.models[0].prompts == []


@pytest.mark.parametrize(
    ("attempts", "state", "words"),
    [(9, "done", "The answer."), (17, "noticed", "went wrong"), (25, "dead", "")],
)
async def test_a_stored_answer_outlasts_twice_as_many_ends(
    tmp_path: Path, attempts: int, state: str, words: str
) -> None:
    """What has its whole answer is delivered despite more ends of a life, yet not without end."""
    async with talk(tmp_path / "db", running=False) as t:
        inbound = t.question("hello")
        await t.inbox.accept(inbound, None)
        job = await t.queue.next()
        job.attempts, job.answer = attempts, "The answer."
        await t.pipeline.answer(job)
        assert job.state.value == state
        said = [message.content for message in t.discord.ours(100)]
        assert any(words in each for each in said) if words else not said
