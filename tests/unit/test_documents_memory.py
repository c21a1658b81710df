"""The memory of conversations: bounded, in its own channel, across lives, forgotten when told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.conversation import Talk, talk
from tests.support.models import ScriptedModel

from llmbot.conversation.memory.conversations import CONVERSATIONS, Bounds, Conversation, Summary
from llmbot.conversation.memory.documents import ConversationMemory
from llmbot.conversation.memory.journal import MemoryJournal, Remembered
from llmbot.conversation.memory.summaries import Summaries, SummarySettings
from llmbot.conversation.ports import Prompt, Role
from llmbot.kernel.errors import ModelUnavailableError
from llmbot.kernel.ids import snowflake_at
from llmbot.storage.database.opening import Session
from llmbot.storage.documents.format import JsonObject
from llmbot.storage.documents.kinds import MisfitError


def turn(number: int, text: str = "x", *, ours: bool = False, author: int = 7) -> Remembered:
    """A turn of channel 100."""
    name = "llmbot" if ours else f"user{author}"
    return Remembered(100, number, 0 if ours else author, name, ours, text)


def pair(number: int, text: str = "x", *, author: int = 7) -> tuple[Remembered, Remembered]:
    """A question and its answer."""
    return turn(number, text, author=author), turn(number, f"re: {text}", ours=True)


def document(path: Path, channel: int = 100) -> JsonObject:
    """A conversation as it stands on the disk."""
    folder = path.with_name(f"{path.name}-documents")
    whole = json.loads((folder / f"conversations/{channel}.json").read_text())
    assert isinstance(whole, dict)
    return whole


async def journaled(t: Talk) -> int:
    """How many turns the journal holds."""

    def count(session: Session) -> int:
        return int(session.execute("SELECT COUNT(*) FROM memory")[0][0])

    return await t.database.read(count)


async def test_what_was_said_stands_in_a_document(tmp_path: Path) -> None:
    """Question and answer are in the channel's file, ids as strings, once the journal lets go."""
    async with talk(tmp_path / "db") as t:
        delivered = await t.ask("my name is Ada")
        await t.documents.saved()
        turns = document(tmp_path / "db")["turns"]
        asked = str(delivered.message_id)
        assert turns == [
            {"id": asked, "author": "7", "name": "user7", "text": "my name is Ada"},
            {"id": asked, "answer": True, "text": "You said: my name is Ada"},
        ]
        await t.memory.drain()
        assert await journaled(t) == 0


async def test_a_kill_before_the_document_loses_nothing(tmp_path: Path) -> None:
    """Turns that only the journal has are put into their document by the next life, once."""
    async with talk(tmp_path / "db") as t:
        await t.ask("my name is Ada")
        await t.store.tell(1, "looked", "")
        assert await journaled(t) == 2
        t.documents.put(CONVERSATIONS.ref(100), Conversation(100))
        await t.documents.remove(CONVERSATIONS.ref(100))
    async with talk(tmp_path / "db") as t:
        assert [turn.text for turn in await t.memory.recall(100, 2**62, 10)] == [
            "my name is Ada",
            "You said: my name is Ada",
        ]
        await t.documents.saved()
        await t.memory.drain()
        assert await journaled(t) == 0


async def test_an_answer_never_waits_for_its_memory(tmp_path: Path) -> None:
    """A document that cannot be read costs the answer its memory only, and is not overwritten."""
    folder = tmp_path / "db-documents/conversations"
    folder.mkdir(parents=True)
    newer = {"_llmbot": {"schema": "conversation", "version": 9, "savedAt": "x"}, "turns": []}
    newer["_llmbot"] |= {"savedAt": "2026-01-01T00:00:00.000Z"}  # type: ignore[operator] # a header of the future
    (folder / "100.json").write_text(json.dumps(newer))
    async with talk(tmp_path / "db") as t:
        delivered = await t.ask("hello")
        assert t.reply(delivered.message_id) == "You said: hello"
        await t.memory.drain()
        assert t.memory.facts().held_back == 2
        await t.store.tell(1, "looked", "")
        assert await journaled(t) == 2
    assert json.loads((folder / "100.json").read_text()) == newer


async def test_another_channels_file_is_not_used(tmp_path: Path) -> None:
    """A file that was copied under another channel's name tells that channel nothing."""
    async with talk(tmp_path / "db") as t:
        await t.ask("a secret", channel=200)
        await t.documents.saved()
    folder = tmp_path / "db-documents/conversations"
    (folder / "100.json").write_bytes((folder / "200.json").read_bytes())
    async with talk(tmp_path / "db") as t:
        t.discord.channels.clear()
        await t.ask("what was said?")
        assert "secret" not in "".join(turn.text for turn in t.models[0].prompts[0].turns)


async def test_clear_leaves_no_copy(tmp_path: Path) -> None:
    """A cleared conversation is in no document, no backup and no journal."""
    async with talk(tmp_path / "db") as t:
        for number in range(3):
            await t.ask(f"unforgettable {number}")
            await t.documents.saved()
        await t.ask("not saved yet: unforgettable")
        assert await t.memory.forget(100, snowflake_at(t.clock.wall() + 5)) == 8
        await t.memory.drain()
        assert await journaled(t) == 0
        assert await t.memory.recall(100, 2**62, 10) == []
    for path in (tmp_path / "db-documents").rglob("*"):
        assert not path.is_file() or b"unforgettable" not in path.read_bytes()


async def test_clear_keeps_what_came_after(tmp_path: Path) -> None:
    """Forgetting up to a message leaves what was said later."""
    async with talk(tmp_path / "db") as t:
        first = await t.ask("before")
        await t.ask("after")
        assert await t.memory.forget(100, first.message_id) == 2
        await t.documents.saved()
        turns = document(tmp_path / "db")["turns"]
        assert [entry["text"] for entry in turns] == ["after", "You said: after"]


async def test_old_turns_are_forgotten_with_every_copy(tmp_path: Path) -> None:
    """What is older than the retention is gone from the document and from its backups."""
    async with talk(tmp_path / "db") as t:
        await t.ask("long ago")
        await t.documents.saved()
        await t.ask("just now")
        await t.documents.saved()
        value = await t.memory.conversation(100)
        old = [
            Remembered(100, snowflake_at(t.clock.wall() - 90 * 86_400), 7, "u", False, "long ago")
        ]
        aged = Conversation(100, (*old, *value.turns[2:]))
        await t.documents.put(CONVERSATIONS.ref(100), aged)
        await t.documents.put(CONVERSATIONS.ref(100), aged)
        assert await t.memory.forget_old() == 1
        assert await t.memory.forget_old() == 0
        assert [turn.text for turn in (await t.memory.conversation(100)).turns] == [
            "just now",
            "You said: just now",
        ]
    for path in (tmp_path / "db-documents").rglob("*"):
        assert not path.is_file() or b"long ago" not in path.read_bytes()


# ── bounds ──────────────────────────────────────────────────────────────────────────────────────


@given(
    st.lists(st.integers(0, 400), max_size=40),
    st.integers(2, 20),
    st.integers(100, 3000),
)
def test_a_conversation_stays_within_its_bounds(
    lengths: list[int], turns_max: int, characters_max: int
) -> None:
    """Neither too many turns nor too many characters; the newest stay, in whole pairs."""
    value = Conversation(100)
    for number, length in enumerate(lengths, 1):
        value = value.with_turns(pair(number, "x" * length))
    bounds = Bounds(turns_max=turns_max, characters_max=characters_max)
    cut = value.cut(bounds)
    assert len(cut.turns) <= turns_max
    assert sum(len(entry.text) for entry in cut.turns) <= characters_max
    assert cut.turns == value.turns[len(value.turns) - len(cut.turns) :]
    assert not cut.turns or not cut.turns[0].by_us


def test_turns_come_once_and_in_order() -> None:
    """However often and in whatever order turns come, the document has each once, by its time."""
    value = Conversation(100)
    for number in (3, 1, 2, 3, 1):
        value = value.with_turns(pair(number))
    assert [(entry.message_id, entry.by_us) for entry in value.turns] == [
        (number, ours) for number in (1, 2, 3) for ours in (False, True)
    ]
    assert CONVERSATIONS.fitted(CONVERSATIONS.dump(value)) == value


def test_a_conversation_out_of_order_does_not_fit() -> None:
    """A document whose turns are doubled or out of order is damaged, and the place is named."""
    body = CONVERSATIONS.dump(Conversation(100, (*pair(1), *pair(2))))
    body["turns"].reverse()
    with pytest.raises(MisfitError, match=r"turns\.1"):
        CONVERSATIONS.fitted(body)


# ── summaries ───────────────────────────────────────────────────────────────────────────────────


def summing(t: Talk, *, idle: bool = True, **given: int) -> tuple[ConversationMemory, Summaries]:
    """A memory of ten turns with the rest summed up."""
    bounds = Bounds(turns_max=10)
    memory = ConversationMemory(t.documents, MemoryJournal(t.database), t.bus, t.clock, bounds)
    memory.slack = 3.0
    settings = SummarySettings(turns_min=4, **given)
    generation = t.pipeline.generation
    return memory, Summaries(memory, generation, lambda: idle, t.bus, t.clock, settings)


def remember(memory: ConversationMemory, t: Talk, count: int) -> None:
    """Some pairs, just now."""
    start = snowflake_at(t.clock.wall())
    for number in range(count):
        memory.took(pair(start + number, f"fact {number}", author=7 + number % 2))


def says_summary(prompt: Prompt) -> list[str]:
    """A model that sums up when told to, and else says what it was told."""
    return ["They spoke of facts." if "Write a new summary" in prompt.system else "Answer."]


async def test_older_turns_become_a_summary_that_the_model_is_told(tmp_path: Path) -> None:
    """What is cut off lives on as a summary: data in the prompt, and whose words are in it."""
    model = ScriptedModel(says_summary)
    async with talk(tmp_path / "db", model) as t:
        memory, summaries = summing(t)
        await memory.conversation(100)
        remember(memory, t, 10)
        assert list(memory.long) == [100]
        assert await summaries.sum_up(100)
        value = await memory.conversation(100)
        assert len(value.turns) == 10
        assert value.summary is not None
        assert value.summary.text == "They spoke of facts."
        assert set(value.summary.author_ids) == {7, 8}
        asked = "".join(entry.text for entry in model.prompts[0].turns)
        assert "fact 0" in asked
        assert "fact 9" not in asked
        t.discord.channels.clear()
        await t.ask("what do you know?")
        first = model.prompts[-1].turns[0]
        assert first.role is Role.USER
        assert "They spoke of facts." in first.text
        assert first.text.startswith('<message from="summary')


async def test_a_summary_that_fails_costs_nothing(tmp_path: Path) -> None:
    """While no model can sum up, the turns stay, and are dropped only beyond the slack."""
    model = ScriptedModel(lambda _: [ModelUnavailableError()])
    async with talk(tmp_path / "db", model) as t:
        memory, summaries = summing(t)
        await memory.conversation(100)
        remember(memory, t, 10)
        assert not await summaries.sum_up(100)
        assert len((await memory.conversation(100)).turns) == 20
        remember(memory, t, 40)
        assert len((await memory.conversation(100)).turns) == 30


async def test_a_summary_never_brings_back_what_was_forgotten(tmp_path: Path) -> None:
    """A conversation that was cleared while it was summed up stays cleared."""
    async with talk(tmp_path / "db", ScriptedModel(says_summary)) as t:
        memory, _ = summing(t)
        await memory.conversation(100)
        remember(memory, t, 10)
        before = await memory.conversation(100)
        covered = before.surplus(memory.bounds)
        await memory.forget(100, 2**62)
        summary = Summary("old", covered[-1].message_id, (7,))
        later = Conversation(100, before.turns[len(covered) :], summary)
        assert not memory.summarised(later, covered)
        assert (await memory.conversation(100)).is_empty
