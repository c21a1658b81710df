"""Words in the database that are not what was stored: noticed, and never answered or delivered."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.conversation import talk
from tests.support.discord import MemoryDiscord
from tests.unit.test_reconcile import reconciler

from llmbot.conversation.jobs import JobState
from llmbot.conversation.ledger.sealed import seal, unseal
from llmbot.conversation.missed.rereading import QuestionDamaged
from llmbot.storage.database.opening import Session, Work


def spoil(column: str, message_id: int) -> Work[None]:
    """Changes one character of a stored text, as a flipped bit would."""
    change = {
        "payload": "UPDATE jobs SET payload = replace(payload, 'one', 'onf') WHERE message_id = ?",
        "answer": "UPDATE jobs SET answer = replace(answer, 'one', 'onf') WHERE message_id = ?",
        "state": "UPDATE jobs SET state = 'leasee' WHERE message_id = ?",
        "no text": "UPDATE jobs SET payload = replace(payload, 'one', CAST(x'6fee65' AS TEXT)) "
        "WHERE message_id = ?",
    }

    def work(session: Session) -> None:
        session.execute(change[column], (message_id,))

    return work


def test_every_flip_of_a_sealed_text_is_noticed() -> None:
    """No text with a flipped bit, or cut anywhere, passes for the one that was sealed."""
    sealed = seal("Grüße, and a few words more.").encode()
    assert unseal(sealed.decode()) == "Grüße, and a few words more."
    spoilt = [
        sealed[:place] + bytes([sealed[place] ^ 1 << bit]) + sealed[place + 1 :]
        for place in range(len(sealed))
        for bit in range(8)
    ]
    for raw in (*spoilt, *(sealed[:end] for end in range(len(sealed)))):
        with pytest.raises(ValueError, match=r"not what was stored|codec"):
            unseal(raw.decode())


@pytest.mark.parametrize("column", ["payload", "state", "no text"])
async def test_a_damaged_question_is_read_again_where_it_was_asked(
    tmp_path: Path, column: str
) -> None:
    """An open question whose record is damaged is answered as it was asked, and it is told."""
    discord = MemoryDiscord()
    async with talk(tmp_path / "db", discord=discord, running=False) as t:
        inbound = t.question("one")
        discord.seed(t.as_it_stands(inbound))
        await t.inbox.accept(inbound, None)
        await t.database.write(spoil(column, inbound.message_id))
    async with talk(tmp_path / "db", discord=discord) as t:
        assert not t.queue.knows(inbound.message_id)
        told = t.bus.expect(QuestionDamaged)
        done = t.delivered(inbound.message_id)
        judge = reconciler(t)
        await judge.look()
        await judge.look()
        assert (await told).found
        await done
        assert t.reply(inbound.message_id) == "You said: one"
        assert len(discord.ours(100)) == 1


async def test_a_damaged_question_that_is_gone_is_a_dead_letter(tmp_path: Path) -> None:
    """What can be read nowhere is told to the operators, and nothing is answered in its place."""
    discord = MemoryDiscord()
    async with talk(tmp_path / "db", discord=discord, running=False) as t:
        inbound = t.question("one")
        await t.inbox.accept(inbound, None)
        await t.database.write(spoil("payload", inbound.message_id))
    await discord.delete(100, inbound.message_id)
    async with talk(tmp_path / "db", discord=discord) as t:
        told = t.bus.expect(QuestionDamaged)
        judge = reconciler(t)
        await judge.look()
        await judge.look()
        assert not (await told).found
        await t.store.tell(1, "looked", "")
        assert await t.store.counts() == {"dead": 1}
        assert discord.ours(100) == []


async def test_a_damaged_answer_is_given_anew(tmp_path: Path) -> None:
    """An answer that is not what was stored is not delivered: the model is asked again."""
    discord = MemoryDiscord()
    async with talk(tmp_path / "db", discord=discord, running=False) as t:
        inbound = t.question("one")
        await t.inbox.accept(inbound, None)
        job = await t.queue.next()
        job.answer = "You said: one"
        await t.store.move(job, JobState.DELIVERING, "a test")
        await t.database.write(spoil("answer", inbound.message_id))
    async with talk(tmp_path / "db", discord=discord, running=False) as t:
        found = await t.store.job(inbound.message_id)
        assert found is not None
        assert found.answer is None
    async with talk(tmp_path / "db", discord=discord) as t:
        await t.delivered(inbound.message_id)
        assert t.reply(inbound.message_id) == "You said: one"
