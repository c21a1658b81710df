"""Bytes that are wrong in the database's own file: put right, or told; never silent.

The tables are those of the bot, so that every kind of page is hit: texts, numbers, indexes, schema.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path

import pytest
from tests.support.tiny_disk import fill, tiny_disk

from llmbot.conversation.ledger.schema import MIGRATIONS
from llmbot.kernel.clock import Random, SystemClock
from llmbot.kernel.errors import StoreUnavailableError
from llmbot.kernel.events import Event
from llmbot.storage.database.opening import (
    Database,
    DatabasePagesWrong,
    Row,
    Session,
    Work,
    open_database,
)

PLACES = 40
TABLES = ("jobs", "parts", "story", "memory", "meta")
Content = dict[str, list[Row]]


@asynccontextmanager
async def life(path: Path, told: list[Event]) -> AsyncIterator[Database]:
    """A database that is open."""
    clock = SystemClock()
    database = open_database(str(path), migrations=MIGRATIONS, clock=clock, announce=told.append)
    await database.start()
    try:
        yield database
    finally:
        await database.stop()


def adding(number: int) -> Work[None]:
    """A unit that adds a message with all that belongs to it."""
    return partial(_add, number=number)


def _add(session: Session, number: int) -> None:
    row = (number, 7, 8, 9, 0, 1, "done", 1, "", 1.5 * number, 2.5 * number, 3.5, "p" * 40)
    session.execute(
        "INSERT INTO jobs (message_id, channel_id, guild_id, author_id, is_direct, priority, "
        "state, attempts, owner, created_s, due_s, updated_s, payload) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        row,
    )
    session.execute("INSERT INTO parts VALUES (?, 0, ?, 1.0)", (number, number + 1))
    session.execute("INSERT INTO story VALUES (?, 1, 1.0, 'claimed', 'a detail')", (number,))
    session.execute("INSERT INTO memory VALUES (7, ?, 9, 'name', 0, 'words')", (number,))
    session.execute("INSERT INTO meta VALUES (?, ?)", (f"name {number}", str(number)))


def content(session: Session) -> Content:
    """All rows of all tables."""
    return {name: session.execute(f"SELECT * FROM {name} ORDER BY 1, 2") for name in TABLES}  # noqa: S608 - names above


async def _talk(path: Path, first: int, units: int, *, killed_as: Path | None = None) -> Content:
    told: list[Event] = []
    async with life(path, told) as database:
        for number in range(first, first + units):
            await database.write(adding(number))
        found = await database.read(content)
        if killed_as is not None:
            shutil.copytree(path.parent, killed_as)
    assert told == []
    return found


async def _next_life(path: Path) -> tuple[Content, list[Event]]:
    told: list[Event] = []
    async with life(path, told) as database:
        return await database.read(content), told


def spoil(path: Path, place: int, wrong: int) -> None:
    """Flip bits of the byte at a place."""
    with path.open("r+b") as file:
        file.seek(place)
        [byte] = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ wrong]))


@pytest.mark.slow
@pytest.mark.parametrize("killed", [False, True])
def test_a_wrong_byte_anywhere_is_put_right_and_told(tmp_path: Path, *, killed: bool) -> None:
    """After a clean end, and after a kill behind more than one checkpoint: rows are as before."""
    live, ended = tmp_path / "live" / "db", tmp_path / "ended"
    before = asyncio.run(_talk(live, 0, 1200, killed_as=ended if killed else None))
    if not killed:
        shutil.copytree(live.parent, ended)
    chance = Random(6)
    size = (ended / "db").stat().st_size
    told_of = 0
    for _ in range(PLACES):
        place, wrong = chance.randrange(size), chance.randrange(1, 256)
        folder = tmp_path / "next"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(ended, folder)
        spoil(folder / "db", place, wrong)
        found, told = asyncio.run(_next_life(folder / "db"))
        assert found == before, place
        told_of += any(isinstance(event, DatabasePagesWrong) for event in told)
        assert told or killed, place  # a page that stands in the log is read from there
    assert told_of >= PLACES // 2


def test_what_cannot_be_put_right_is_told(tmp_path: Path) -> None:
    """Two wrong bytes of one page that SQLite finds nothing wrong with."""
    path = tmp_path / "db"
    asyncio.run(_talk(path, 0, 100))
    raw = path.read_bytes()
    first = raw.index(b"a detail")
    for place in (first, first + 3):
        spoil(path, place, 1)
    found, told = asyncio.run(_next_life(path))
    [event] = told
    assert isinstance(event, DatabasePagesWrong)
    assert event.strange
    assert "changed by another program" in event.describe()
    assert len(found["story"]) == 100
    assert asyncio.run(_next_life(path))[1] == []


@pytest.mark.parametrize("emptied", [True, False])
def test_a_database_that_is_gone_is_told(tmp_path: Path, *, emptied: bool) -> None:
    """A clean start, but not a silent one."""
    path = tmp_path / "db"
    asyncio.run(_talk(path, 0, 100))
    if emptied:
        os.truncate(path, 0)
    else:
        path.unlink()
    found, told = asyncio.run(_next_life(path))
    assert found["jobs"] == []
    assert [type(event) for event in told] == [DatabasePagesWrong]


def test_what_another_program_changed_is_taken_and_told(tmp_path: Path) -> None:
    """A person's shell writes rows without checksums: they are no damage, but they are told."""
    path = tmp_path / "db"
    asyncio.run(_talk(path, 0, 100))
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("DELETE FROM memory")
    found, told = asyncio.run(_next_life(path))
    assert found["memory"] == []
    assert [type(event) for event in told] == [DatabasePagesWrong]


def test_lives_without_damage_have_nothing_to_tell(tmp_path: Path) -> None:
    """Kills and clean ends in turn, behind checkpoints, and with the checksums gone."""
    path, rows = tmp_path / "live" / "db", 0
    for turn in range(6):
        killed = tmp_path / f"killed-{turn}"
        asyncio.run(_talk(path, rows, 600, killed_as=killed))
        rows += 600
        if turn % 2:
            shutil.rmtree(path.parent)
            killed.rename(path.parent)
        if turn == 3:
            path.with_name("db-sums").unlink()
    found, told = asyncio.run(_next_life(path))
    assert told == []
    assert len(found["jobs"]) == rows


async def _fill_up(disk: Path, killed_as: Path) -> Content:
    path, told = disk / "db", list[Event]()
    async with life(path, told) as database:
        number = 0
        filler = fill(disk)
        os.truncate(filler, filler.stat().st_size - 200 * 1024)
        for _ in range(3):
            refused = 0
            while refused < 5:
                lot = [database.write(adding(number + more)) for more in range(7)]
                refused += any(
                    isinstance(each, StoreUnavailableError)
                    for each in await asyncio.gather(*lot, return_exceptions=True)
                )
                number += 7
            os.truncate(filler, max(0, filler.stat().st_size - 16 * 1024))
            await SystemClock().sleep(0.1)  # the time that a lost connection is not tried again
        found = await database.read(content)
        shutil.copytree(disk, killed_as)
        filler.unlink()
    assert told == []
    return found


def test_a_kill_after_the_disk_was_full_leaves_nothing_to_tell(tmp_path: Path) -> None:
    """What failed commits have left in the log is no damage."""
    with tiny_disk(tmp_path / "tiny", "2m") as disk:
        before = asyncio.run(_fill_up(disk, tmp_path / "killed"))
    found, told = asyncio.run(_next_life(tmp_path / "killed" / "db"))
    assert told == []
    assert found == before
