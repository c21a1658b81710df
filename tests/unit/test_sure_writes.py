"""What the disk refused is written again, and nothing that was overtaken."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.conversation import UNHURRIED, talk
from tests.support.database import FaultyDatabase

from llmbot.conversation.ledger.sure_writes import SureWrites
from llmbot.kernel.errors import LlmbotError, StoreUnavailableError
from llmbot.storage.database.opening import Database, Session, Work


async def test_an_end_that_the_disk_refused_is_written_later(tmp_path: Path) -> None:
    """A message that was answered while the disk refused has ended on the disk too, once it can."""
    faulty: list[FaultyDatabase] = []

    def wrap(database: Database) -> Database:
        faulty.append(FaultyDatabase(database))
        return faulty[0]

    def fill_up(call: str) -> LlmbotError | None:
        if call == "send":
            faulty[0].fault = lambda _: StoreUnavailableError("disk full")
        return None

    whole = replace(UNHURRIED, streaming=False)
    async with talk(tmp_path / "db", wrap=wrap, delivery=whole) as t:
        t.discord.fault = fill_up
        await t.ask("hello")
        assert await t.store.counts() == {"delivering": 1}
        faulty[0].fault = lambda _: None
        assert t.store.sure.again() == 2
        await t.store.tell(1, "looked", "")
        assert await t.store.counts() == {"done": 1}
        assert await t.store.parts.is_ours(t.discord.ours(100)[0].id) is not None
        assert t.store.sure.again() == 0


async def test_an_end_names_every_part_of_its_reply(tmp_path: Path) -> None:
    """Whatever became of a part's own record, whoever reads of the end reads of the part."""
    faulty: list[FaultyDatabase] = []

    def wrap(database: Database) -> Database:
        faulty.append(FaultyDatabase(database))
        return faulty[0]

    def refuse_one(call: str) -> LlmbotError | None:
        if call == "send":
            left = [StoreUnavailableError("disk full")]
            faulty[0].fault = lambda _: left.pop() if left else None
        return None

    whole = replace(UNHURRIED, streaming=False)
    async with talk(tmp_path / "db", wrap=wrap, delivery=whole) as t:
        t.discord.fault = refuse_one
        await t.ask("hello")
        await t.store.tell(1, "looked", "")
        assert await t.store.counts() == {"done": 1}
        assert len(t.store.sure) == 1
        assert await t.store.parts.is_ours(t.discord.ours(100)[0].id) is not None


async def test_a_deletion_that_is_written_late_spares_what_was_sent_since(tmp_path: Path) -> None:
    """The disk refuses to note that a notice was deleted: the answer in its stead stays ours."""
    faulty: list[FaultyDatabase] = []

    def wrap(database: Database) -> Database:
        faulty.append(FaultyDatabase(database))
        return faulty[0]

    async with talk(tmp_path / "db", wrap=wrap, running=False) as t:
        await t.store.parts.sent(1, 0, 11)
        faulty[0].fault = lambda _: StoreUnavailableError("disk full")
        t.store.parts.dropped(1, 0)
        faulty[0].fault = lambda _: None
        await t.store.parts.sent(1, 0, 12)
        t.store.sure.again()
        await t.store.tell(1, "looked", "")
        rows = await t.database.read(lambda s: s.execute("SELECT discord_id FROM parts"))
        assert rows == [(12,)]


@pytest.mark.parametrize("refused", [0, 1])
async def test_a_later_fact_is_never_overwritten_by_an_earlier_one(
    tmp_path: Path, refused: int
) -> None:
    """Whichever of two writes was refused, the later one holds in the end."""
    async with talk(tmp_path / "db") as t:
        faulty = FaultyDatabase(t.database)
        faulty.fault = lambda number: StoreUnavailableError("full") if number == refused else None
        sure = SureWrites(faulty)
        written = [sure.write("name", _put(text)) for text in ("first", "second")]
        await asyncio.wait(written)
        sure.again()
        await t.store.tell(1, "looked", "")
        assert await t.store.meta("fact") == "second"


def _put(text: str) -> Work[None]:
    def work(session: Session) -> None:
        session.execute(
            "INSERT INTO meta (name, value) VALUES ('fact', ?) "
            "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (text,),
        )

    return work
