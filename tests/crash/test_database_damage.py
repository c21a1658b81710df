"""SQLite's files with a byte flipped or a piece gone, between a kill and the next start.

Whatever is hit: what was accepted is read back as it was, or the start says what it could not read.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from llmbot.kernel.clock import Random, SystemClock
from llmbot.kernel.errors import StoreUnavailableError
from llmbot.kernel.events import Event
from llmbot.storage.database.opening import (
    Database,
    DatabaseMended,
    DatabaseRebuilt,
    Migration,
    Session,
    open_database,
)

SCHEMA = (Migration(1, ("CREATE TABLE kept (id BIGINT PRIMARY KEY, words TEXT NOT NULL)",)),)
ROWS = 120
FLIPS = 64
FRAME = 4096 + 24
WORDS = {number: f"{number} was accepted. " * 12 for number in range(ROWS)}


@dataclass(frozen=True, slots=True)
class Found:
    """What the next life reads, and what it was told."""

    rows: dict[int, str]
    told: tuple[Event, ...]


@asynccontextmanager
async def life(path: Path, told: list[Event]) -> AsyncIterator[Database]:
    """A database that is open."""
    clock = SystemClock()
    database = open_database(str(path), migrations=SCHEMA, clock=clock, announce=told.append)
    await database.start()
    try:
        yield database
    finally:
        await database.stop()


async def _killed(folder: Path) -> None:
    """The files that a life leaves that is killed after its last row, all of them in its log."""
    live = folder.with_name("live")
    async with life(live / "db", []) as database:
        for number, words in WORDS.items():

            def work(session: Session, number: int = number, words: str = words) -> None:
                session.execute("INSERT INTO kept VALUES (?, ?)", (number, words))

            await database.write(work)
        shutil.copytree(live, folder)


async def _next_life(path: Path) -> Found:
    told: list[Event] = []
    try:
        async with life(path, told) as database:
            rows = await database.read(lambda s: s.execute("SELECT id, words FROM kept"))
    except StoreUnavailableError:
        # After a clean end not all of it was checked: whoever meets the damage is told, and the
        # next start repairs it.
        async with life(path, told) as database:
            rows = await database.read(lambda s: s.execute("SELECT id, words FROM kept"))
    return Found(dict(rows), tuple(told))


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """The files of a killed life."""
    folder = tmp_path / "killed"
    asyncio.run(_killed(folder))
    return folder


def after(killed: Path, name: str, place: int, bit: int) -> Found:
    """The life after a kill and one flipped bit."""
    folder = killed.with_name("next")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(killed, folder)
    with (folder / name).open("r+b") as file:
        file.seek(place)
        [byte] = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ 1 << bit]))
    return asyncio.run(_next_life(folder / "db"))


def test_a_life_after_a_kill_without_damage_tells_of_none(killed: Path) -> None:
    """All rows are there, and there is nothing to say."""
    assert asyncio.run(_next_life(killed / "db")) == Found(WORDS, ())


@pytest.mark.slow
def test_a_flipped_bit_of_the_log_undoes_no_commit_unseen(killed: Path) -> None:
    """Of the log's head, heads of frames and pages, most flips are put right; none is silent."""
    chance = Random(4)
    size = (killed / "db-wal").stat().st_size
    heads = [32 + FRAME * number + byte for number in (0, 40, 90) for byte in range(0, 24, 5)]
    places = [*range(32), *heads, *(chance.randrange(size) for _ in range(FLIPS))]
    lost = 0
    for place in places:
        found = after(killed, "db-wal", place, chance.randrange(8))
        assert all(WORDS[number] == words for number, words in found.rows.items()), place
        if found.rows != WORDS:
            [mended] = found.told
            assert isinstance(mended, DatabaseMended), place
            assert mended.lost_pages > 0, place
            lost += 1
    assert lost <= len(places) // 10


@pytest.mark.parametrize("gone", ["cut", "emptied", "removed"])
def test_a_log_whose_end_is_gone_is_told(killed: Path, gone: str) -> None:
    """The shared memory of the killed process knows how long the log was."""
    log = killed / "db-wal"
    if gone == "removed":
        log.unlink()
    else:
        os.truncate(log, 0 if gone == "emptied" else log.stat().st_size // 2)
    found = asyncio.run(_next_life(killed / "db"))
    assert found.rows.items() < WORDS.items()
    [mended] = found.told
    assert isinstance(mended, DatabaseMended)
    assert mended.lost_pages > 0


@pytest.mark.parametrize("emptied", [True, False])
def test_a_log_brings_a_database_back_whose_file_is_gone(killed: Path, *, emptied: bool) -> None:
    """SQLite would delete such a log; every row that stands in it is read, and it is told."""
    if emptied:
        os.truncate(killed / "db", 0)
    else:
        (killed / "db").unlink()
    found = asyncio.run(_next_life(killed / "db"))
    assert found.rows == WORDS
    assert [type(event) for event in found.told] == [DatabaseMended]


@pytest.mark.slow
@pytest.mark.parametrize("ended", [True, False])
def test_a_wrong_head_costs_no_row(killed: Path, *, ended: bool) -> None:
    """Every byte of the head that SQLite refuses the whole file for is put right.

    After a clean end by its checksum; after a kill by the first page that stands in the log.
    """
    if ended:
        asyncio.run(_next_life(killed / "db"))
    for place in range(100):
        found = after(killed, "db", place, place % 8)
        assert found.rows == WORDS, place
        assert found.told or not ended, place


@pytest.mark.slow
def test_flips_over_the_whole_file_leave_rows_as_they_were_or_are_told(killed: Path) -> None:
    """A row is as it was, or has the flipped bit, which its seal finds; or the start tells."""
    asyncio.run(_next_life(killed / "db"))
    chance = Random(5)
    size = (killed / "db").stat().st_size
    for _ in range(FLIPS):
        place = chance.randrange(100, size)
        found = after(killed, "db", place, chance.randrange(8))
        same = [number for number, words in found.rows.items() if WORDS.get(number) == words]
        told = any(isinstance(event, DatabaseRebuilt) for event in found.told)
        assert told or len(same) >= ROWS - 1, place
