"""The life of a job: only the table's transitions, and nothing lost between lives."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from tests.support.conversation import talk

from llmbot.conversation.jobs import ENDED, TRANSITIONS, JobState, check_transition
from llmbot.conversation.ledger.payloads import dump_inbound, load_inbound
from llmbot.conversation.messages import (
    Attachment,
    ChannelMessage,
    Inbound,
    InteractionRef,
    SessionCursor,
    Source,
)
from llmbot.kernel.errors import DefectError


@pytest.mark.parametrize(("before", "after"), list(product(JobState, JobState)))
def test_only_the_tables_transitions_are_made(before: JobState, after: JobState) -> None:
    """A transition that the table does not list is a defect."""
    if after in TRANSITIONS[before]:
        check_transition(before, after)
    else:
        with pytest.raises(DefectError):
            check_transition(before, after)


def test_every_state_reaches_an_end() -> None:
    """From every state that is no end, each kind of end can be reached."""
    for state in set(JobState) - ENDED:
        reached = {state}
        while True:
            further = reached | {after for before in reached for after in TRANSITIONS[before]}
            if further == reached:
                break
            reached = further
        assert reached >= ENDED


def test_a_payload_comes_back_as_it_was() -> None:
    """What is queued is what was said, every field of it."""
    said = ChannelMessage(1, 2, 3, "bob", "earlier", attachments=(Attachment(1, "a", "u", 2),))
    inbound = Inbound(
        10, 2, None, 4, "ann", "hello \u2603 \U0001f600", Source.INTERACTION, False, True, False,
        False, True, False, 1, True, said, (Attachment(5, "b", "v", 6, "t"),), True, "de",
        InteractionRef(7, 8, "token"),
    )  # fmt: skip
    assert load_inbound(dump_inbound(inbound)) == inbound


@pytest.mark.parametrize("damaged", ["", "{}", "[]", '{"message_id": 1}', "{", "\x00"])
def test_a_damaged_payload_is_said_to_be_damaged(damaged: str) -> None:
    """A payload that cannot be read raises, and never passes for a message."""
    with pytest.raises(ValueError, match="unreadable"):
        load_inbound(damaged)


async def test_the_sessions_place_is_stored_with_the_claim(tmp_path: Path) -> None:
    """The place in the gateway's stream is as durable as the claim that it belongs to."""
    cursor = SessionCursor("session", 17, "wss://example.invalid")
    async with talk(tmp_path / "db") as t:
        inbound = t.question("hello")
        done = t.delivered(inbound.message_id)
        t.inbox.on_message(inbound, cursor)
        await done
    async with talk(tmp_path / "db") as t:
        assert await t.inbox.continue_from() == cursor


async def test_old_records_are_forgotten_and_unfinished_ones_kept(tmp_path: Path) -> None:
    """Pruning drops what ended long ago, with its parts and story, and nothing that waits."""
    async with talk(tmp_path / "db") as t:
        delivered = await t.ask("hello")
    async with talk(tmp_path / "db", running=False) as t:
        waiting = t.question("still waiting")
        assert await t.inbox.accept(waiting, None)
        assert await t.store.prune(waiting.message_id + 1) == 1
        assert await t.store.job(delivered.message_id) is None
        assert await t.store.story(delivered.message_id) == []
        assert await t.store.job(waiting.message_id) is not None


async def test_a_done_job_keeps_no_text(tmp_path: Path) -> None:
    """What prevents a second answer holds no word of what was said."""
    async with talk(tmp_path / "db") as t:
        delivered = await t.ask("a secret question")
        await t.store.tell(delivered.message_id, "looked", "")
        rows = await t.database.read(lambda s: s.execute("SELECT payload, answer FROM jobs"))
        assert rows == [("", None)]
