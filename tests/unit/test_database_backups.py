"""Copies of the database: taken in use, few, private, and brought back with the bot down."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.conversation import talk

from llmbot.conversation.ledger.schema import MIGRATIONS, after_a_jump_back
from llmbot.kernel.clock import Clock, ManualClock, SystemClock
from llmbot.kernel.errors import LlmbotError
from llmbot.storage.database.backups import DatabaseBackups, bring_back
from llmbot.storage.database.opening import Database, Session, Work, open_database
from llmbot.storage.documents.recovery import NoGenerationError


def opened(path: Path, clock: Clock | None = None) -> Database:
    """The database of a bot."""
    return open_database(f"sqlite:///{path}", migrations=MIGRATIONS, clock=clock or SystemClock())


def claim(number: int, state: str) -> Work[None]:
    """Puts a row into the queue."""

    def work(session: Session) -> None:
        session.execute(
            "INSERT INTO jobs (message_id, channel_id, author_id, is_direct, priority, state, "
            "attempts, owner, created_s, due_s, updated_s, payload) "
            "VALUES (?, 1, 2, 0, 1, ?, 0, '', 0, 0, 0, '')",
            (number, state),
        )

    return work


async def state_of(path: Path) -> dict[int, str]:
    """What stands in the queue of a bot that is started now."""

    def work(session: Session) -> dict[int, str]:
        rows = session.execute("SELECT message_id, state FROM jobs")
        return {int(number): str(state) for number, state in rows}

    database = opened(path)
    await database.start()
    assert database.was_unclean
    found = await database.read(work)
    await database.stop()
    return found


async def test_copies_are_few_and_private(tmp_path: Path) -> None:
    """Every copy holds what was committed, nobody else may read it, and the oldest go."""
    clock = ManualClock()
    database = opened(tmp_path / "llmbot.db", clock)
    await database.start()
    backups = DatabaseBackups(tmp_path / "data/backups", clock, kept_max=2)
    taken = []
    for number in range(3):
        await database.write(claim(number, "done"))
        taken.append(await backups.take(database))
        clock.advance(3600)
    await database.stop()
    kept = backups.copies()
    assert [copy.path for copy in kept] == [copy.path for copy in reversed(taken[1:])]
    assert all(copy.path.stat().st_mode & 0o077 == 0 for copy in kept)
    assert all(copy.bytes == copy.path.stat().st_size > 0 for copy in kept)


async def test_a_copy_is_brought_back(tmp_path: Path) -> None:
    """The state of a time comes back, the present file is kept, and nothing old is answered."""
    path, clock = tmp_path / "llmbot.db", SystemClock()
    backups = DatabaseBackups(tmp_path / "backups", clock)
    database = opened(path)
    await database.start()
    await database.write(claim(1, "done"))
    await database.write(claim(2, "waiting"))
    await backups.take(database)
    await database.write(claim(3, "waiting"))
    await database.stop()
    before = path.read_bytes()
    copy, aside = bring_back(path, backups, clock.wall(), after_a_jump_back(clock.wall()), clock)
    assert copy.path.exists()
    assert aside is not None
    assert (tmp_path / aside.kept_as).read_bytes() == before
    assert await state_of(path) == {1: "done", 2: "dead"}


async def test_a_copy_that_is_none_is_refused(tmp_path: Path) -> None:
    """A damaged copy, or none that is old enough, leaves the present database as it is."""
    path, clock = tmp_path / "llmbot.db", SystemClock()
    backups = DatabaseBackups(tmp_path / "backups", clock)
    database = opened(path)
    await database.start()
    copy = await backups.take(database)
    await database.stop()
    before = path.read_bytes()
    with pytest.raises(NoGenerationError):
        bring_back(path, backups, 0.0, (), clock)
    raw = copy.path.read_bytes()
    copy.path.write_bytes(raw[:4096] + b"x" * 4096 + raw[8192:])
    with pytest.raises(LlmbotError):
        bring_back(path, backups, clock.wall(), (), clock)
    assert path.read_bytes() == before
    left = {file.name for file in sorted(tmp_path.glob("llmbot*"))}  # noqa: ASYNC240 - a test's own look
    assert left == {"llmbot.db", "llmbot.db-sums"}


async def test_a_bot_lives_on_with_yesterdays_database(tmp_path: Path) -> None:
    """After a jump back messages are answered, and those of the lost time are not looked for."""
    path, clock = tmp_path / "db", SystemClock()
    backups = DatabaseBackups(tmp_path / "backups", clock)
    async with talk(path) as t:
        await t.ask("one")
        await backups.take(t.database)
    bring_back(path, backups, clock.wall(), after_a_jump_back(clock.wall()), clock)
    async with talk(path, catching_up=True) as t:
        assert t.inbox.heard_s > clock.wall() - 60
        assert not t.catch_up.lacks_channels
        delivered = await t.ask("two")
        assert t.reply(delivered.message_id) == "You said: two"
