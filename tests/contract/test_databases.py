"""The same laws for every kind of database: SQLite always, PostgreSQL where it is installed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.waiting import PATIENCE_S

from llmbot.kernel.clock import ManualClock, SystemClock
from llmbot.kernel.errors import (
    DefectError,
    SecondInstanceError,
    ServiceStartError,
    SettingsError,
    ShuttingDownError,
    StoreUnavailableError,
)
from llmbot.storage.database.opening import Database, Migration, Row, Session, open_database

SCHEMA = Migration(
    1,
    (
        """CREATE TABLE words (
            id INTEGER PRIMARY KEY,
            word TEXT,
            weight REAL,
            body BLOB
        ) STRICT""",
        "CREATE TABLE seen (message_id INTEGER NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID",
    ),
)
Open = Callable[..., Database]


# ── a PostgreSQL of our own ─────────────────────────────────────────────────────────────────────


def postgres_binaries() -> Path | None:
    """The newest PostgreSQL server installed here."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    on_path = shutil.which("initdb")
    return found[0].parent if found else Path(on_path).parent if on_path else None


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[str]:
    """A cluster in a directory of its own, reached by a socket in it; its address."""
    binaries = postgres_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's server (initdb, pg_ctl) is not installed")
    user = "postgres" if os.geteuid() == 0 else None
    home = Path(tempfile.mkdtemp(prefix="llmbot-pg-"))
    if user is not None:
        shutil.chown(home, user)

    def run(program: str, *arguments: str) -> None:
        subprocess.run(  # noqa: S603 - a program of the installed server
            [binaries / program, *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            user=user,
            cwd=home,
            timeout=60,
        )

    data = str(home / "data")
    run("initdb", "-D", data, "-U", "llmbot", "-A", "trust", "-E", "UTF8", "--no-sync")
    options = f"-c listen_addresses='' -c unix_socket_directories={home} -c fsync=off"
    run("pg_ctl", "-D", data, "-w", "-l", str(home / "log"), "-o", options, "start")
    try:
        yield f"postgresql://llmbot@/postgres?host={home}"
    finally:
        run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
        shutil.rmtree(home, ignore_errors=True)


_numbers = itertools.count()


def new_postgres_database(cluster: str) -> str:
    """An empty database; its address."""
    import psycopg  # noqa: PLC0415 - only where PostgreSQL is tested

    name = f"contract_{next(_numbers)}"
    with psycopg.connect(cluster, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    return cluster.replace("/postgres?", f"/{name}?")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'bot.db'}"
    return new_postgres_database(request.getfixturevalue("postgres_cluster"))


@pytest.fixture
def postgres_url(postgres_cluster: str) -> str:
    """The address of an empty PostgreSQL database."""
    return new_postgres_database(postgres_cluster)


def opened(
    url: str, *migrations: Migration, owner: str = "first", queue_max: int = 10_000
) -> Database:
    """A database that is not started yet."""
    return open_database(
        url,
        migrations=migrations or (SCHEMA,),
        clock=SystemClock(),
        owner=owner,
        queue_max=queue_max,
    )


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    """A started database with the tables `words` and `seen`."""
    database = opened(url)
    await database.start()
    yield database
    await database.stop()


def add(number: int, word: str = "word") -> Callable[[Session], int]:
    """A unit that adds a word."""

    def work(session: Session) -> int:
        session.execute("INSERT INTO words (id, word) VALUES (?, ?)", (number, word))
        return number

    return work


def statement(sql: str, *params: Any) -> Callable[[Session], list[Row]]:
    """A unit of one statement."""
    return lambda session: session.execute(sql, params)


def ids(session: Session) -> list[int]:
    """All words' ids."""
    return [row[0] for row in session.execute("SELECT id FROM words ORDER BY id")]


class Gate:
    """A unit of work that holds the database's thread until it is opened."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self.entered = threading.Event()

    def __call__(self, _: Session) -> None:
        self.entered.set()
        assert self._open.wait(PATIENCE_S)

    def open(self) -> None:
        self._open.set()


# ── the laws ────────────────────────────────────────────────────────────────────────────────────


async def test_result(database: Database) -> None:
    """A write's future holds what its unit returned, and a read sees what it wrote."""
    assert await database.write(add(7)) == 7
    assert await database.read(ids) == [7]


async def test_order(database: Database) -> None:
    """Units run in the order of the calls, whoever awaits them first."""
    seen: list[int] = []

    def note(number: int, _: Session) -> None:
        seen.append(number)

    writes = [database.write(partial(note, number)) for number in range(1200)]
    await asyncio.gather(*reversed(writes))
    assert seen == list(range(1200))


async def test_group(database: Database) -> None:
    """Units that wait at the same moment share commits."""
    await asyncio.gather(*(database.write(add(number)) for number in range(1000)))
    facts = database.facts()
    assert facts.units == 1000
    assert facts.commits < 100
    assert facts.queued == 0
    assert await database.read(ids) == list(range(1000))


async def test_failed_unit(database: Database) -> None:
    """A unit that raises is undone alone, with the statements it had run, and hears its error."""

    def half(session: Session) -> None:
        add(50)(session)
        raise LookupError("its own business")

    gate = Gate()
    blocked = database.write(gate)
    before = database.write(add(1))
    failed = database.write(half)
    after = database.write(add(2))
    gate.open()
    with pytest.raises(LookupError, match="its own business"):
        await failed
    await asyncio.gather(blocked, before, after)
    assert await database.read(ids) == [1, 2]


async def test_failed_unit_alone(database: Database) -> None:
    """A unit that raises while no other waits is undone too."""

    def half(session: Session) -> None:
        add(50)(session)
        raise LookupError

    with pytest.raises(LookupError):
        await database.write(half)
    await database.write(add(1))
    assert await database.read(ids) == [1]


async def test_swallowed_error(database: Database) -> None:
    """A unit whose statement failed is undone even if its code caught the error."""

    def work(session: Session) -> str:
        add(1)(session)
        with contextlib.suppress(DefectError):
            add(1)(session)
        return "fine"

    with pytest.raises(DefectError):
        await database.write(work)
    results = await asyncio.gather(
        database.write(add(2)), database.write(work), return_exceptions=True
    )
    assert isinstance(results[1], DefectError)
    assert await database.read(ids) == [2]


async def test_defects(database: Database) -> None:
    """A wrong statement, a forbidden row and an unstorable value are defects that show no data."""
    await database.write(add(1))
    wrong: list[tuple[str, tuple[object, ...]]] = [
        ("SELEC nothing", ()),
        ("INSERT INTO words (id, word) VALUES (?, ?)", (1, "a secret")),
        ("INSERT INTO words (id, word) VALUES (?, ?)", (2, "a secret \ud800")),
        ("INSERT INTO words (id, word) VALUES (?, ?)", (1 << 80, "a secret")),
        ("INSERT INTO words (id, word) VALUES (?, ?)", (3, {"a secret"})),
        ("INSERT INTO words (id, word) VALUES (?, ?)", ("a secret", "x")),
        ("INSERT INTO words (id, word) VALUES (?, ?)", (4,)),
    ]
    for sql, params in wrong:
        with pytest.raises(DefectError) as caught:
            await database.write(statement(sql, *params))
        assert "a secret" not in str(caught.value)
        with pytest.raises(DefectError):
            await database.read(statement(sql, *params))
    assert await database.read(ids) == [1]


async def test_values(database: Database) -> None:
    """Every value comes back as it was: 64-bit integers, floats, any text, bytes, nothing."""
    rows = [
        (1, "", 0.0, b""),
        ((1 << 63) - 1, "naïve 😀 \u202e 中", 1_800_000_000.123456, bytes(range(256))),
        (-(1 << 63), None, None, None),
        (1_290_000_000_000_000_000, 'it\'s ? 100 % "sure"\\n', -1e-300, b"\x00"),
    ]
    insert = "INSERT INTO words (id, word, weight, body) VALUES (?, ?, ?, ?)"
    await database.write(lambda s: s.execute_many(insert, rows))
    got = await database.read(statement("SELECT id, word, weight, body FROM words ORDER BY id"))
    assert got == sorted(rows)
    assert [type(v) for v in got[1]] == [int, str, float, bytes]


async def test_literals(database: Database) -> None:
    """Question and percent marks inside of literals, names and comments are no parameters."""
    sql = """SELECT '?', 'it''s 50 %s', ? AS "what?", 7 % 4 -- and why?
             /* ? */ FROM words WHERE word LIKE ?"""
    await database.write(add(1, "word"))
    assert await database.read(statement(sql, 5, "w%")) == [("?", "it's 50 %s", 5, 3)]


async def test_arithmetic(database: Database) -> None:
    """Small integers add up to large ones, sums are int, means are float, truths are 0 and 1."""
    await database.write(lambda s: [add(n)(s) for n in (30_000, 2_000_000_000)])
    sql = "SELECT SUM(id), AVG(id), COUNT(*), MAX(id) + ?, COALESCE(SUM(weight), ?) FROM words"
    (row,) = await database.read(statement(sql, 3_000_000_000, 0.5))
    assert row == (2_000_030_000, 1_000_015_000.0, 2, 5_000_000_000, 0.5)
    assert [type(v) for v in row] == [int, float, int, int, float]
    truth = await database.read(statement("SELECT id = ? FROM words", 30_000))
    assert sorted(truth) == [(0,), (1,)]


async def test_upsert(database: Database) -> None:
    """A claim by key happens once, and says whether it was the first."""
    claim = "INSERT INTO seen VALUES (?) ON CONFLICT (message_id) DO NOTHING RETURNING message_id"
    first, second = await asyncio.gather(
        database.write(statement(claim, 1 << 60)),
        database.write(statement(claim, 1 << 60)),
    )
    assert (first, second) == ([(1 << 60,)], [])


async def test_numbered_rows(database: Database) -> None:
    """A table with an integer key numbers its rows by itself where no number is given."""

    def work(session: Session) -> object:
        return session.execute("INSERT INTO words (word) VALUES (?) RETURNING id", ("x",))[0][0]

    assert await database.write(work) != await database.write(work)


async def test_read_only(database: Database) -> None:
    """A read that tries to write is a defect and changes nothing; reads go on."""
    with pytest.raises(DefectError):
        await database.read(add(1))
    assert await database.read(ids) == []


async def test_consistent_read(database: Database) -> None:
    """A read sees one state from its first statement to its last, whatever is committed."""
    gate = Gate()

    def twice(session: Session) -> tuple[list[int], list[int]]:
        before = ids(session)
        gate(session)
        return before, ids(session)

    await database.write(add(1))
    reading = asyncio.ensure_future(database.read(twice))
    await asyncio.to_thread(gate.entered.wait, 30)
    await database.write(add(2))
    gate.open()
    assert await reading == ([1], [1])
    assert await database.read(ids) == [1, 2]


async def test_cancelled(database: Database) -> None:
    """Cancelling a future takes nothing back and disturbs no other."""
    gate = Gate()
    blocked = database.write(gate)
    cancelled, other = database.write(add(1)), database.write(add(2))
    cancelled.cancel()
    gate.open()
    await asyncio.gather(blocked, other)
    assert await database.read(ids) == [1, 2]


async def test_stop_iteration(database: Database) -> None:
    """A unit that raises StopIteration, which no future can hold, is a defect."""
    with pytest.raises(DefectError):
        await database.write(lambda _: next(iter(())))


async def test_queue_limit(url: str) -> None:
    """More waiting units than the limit are refused at once; those within it are kept."""
    database = opened(url, queue_max=2)
    await database.start()
    gate = Gate()
    within: list[asyncio.Future[Any]] = [database.write(gate), database.write(add(1))]
    with pytest.raises(StoreUnavailableError):
        await database.write(add(2))
    assert database.facts().queued == 2
    gate.open()
    await asyncio.gather(*within)
    await database.write(add(3))
    assert await database.read(ids) == [1, 3]
    await database.stop()


async def test_stop(url: str) -> None:
    """Stop commits what was submitted before; afterwards every call fails as shutting down."""
    database = opened(url)
    await database.start()
    writes = [database.write(add(number)) for number in range(700)]
    await database.stop()
    assert all(write.done() for write in writes)
    with pytest.raises(ShuttingDownError):
        await database.write(add(701))
    with pytest.raises(ShuttingDownError):
        await database.read(ids)
    await database.stop()
    again = opened(url)
    await again.start()
    assert await again.read(ids) == list(range(700))
    await again.stop()


async def test_before_start(url: str) -> None:
    """A database that was not started refuses work, and its stop does nothing."""
    database = opened(url)
    with pytest.raises(ShuttingDownError):
        await database.write(add(1))
    await database.stop()


async def test_cancelled_start(url: str) -> None:
    """A start that is cancelled can be stopped, and then holds nothing."""
    for turns in range(4):
        database = opened(url)
        starting = asyncio.ensure_future(database.start())
        for _ in range(turns):
            await asyncio.sleep(0)  # noqa: TID251 - one turn of the loop, no wait
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        await database.stop()
    later = opened(url)
    await later.start()
    assert not later.was_unclean
    await later.stop()


async def test_stop_twice_at_once(url: str) -> None:
    """Two stops at once are one."""
    database = opened(url)
    await database.start()
    write = database.write(add(1))
    await asyncio.gather(database.stop(), database.stop())
    assert await write == 1


# ── lives and schemas ───────────────────────────────────────────────────────────────────────────

DIES = """
import asyncio, os, sys
from llmbot.kernel.clock import SystemClock
from llmbot.storage.database.opening import Migration, open_database

async def main():
    schema = [Migration(1, ())]
    database = open_database(sys.argv[1], migrations=schema, clock=SystemClock(), owner="dies")
    await database.start()
    os._exit(7)

asyncio.run(main())
"""


async def test_unclean_end(url: str) -> None:
    """A life that ends without stop is known as such by the next one, and only by that."""
    fresh = opened(url, Migration(1, ()))
    await fresh.start()
    assert not fresh.was_unclean
    await fresh.stop()
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", DIES, url)
    assert await child.wait() == 7
    for expected in (True, False):
        later = opened(url, Migration(1, ()))
        await later.start()
        assert later.was_unclean is expected
        await later.stop()


async def test_migrations(url: str) -> None:
    """Each migration is applied once, in order, and keeps the rows of those before."""
    first = opened(url)
    await first.start()
    await first.write(add(1))
    await first.stop()
    second = Migration(4, ("ALTER TABLE words ADD COLUMN size INTEGER NOT NULL DEFAULT 3",))
    third = Migration(5, ("UPDATE words SET size = size * 3000000000",))
    for _ in range(2):
        later = opened(url, SCHEMA, second, third)
        await later.start()
        rows = await later.read(statement("SELECT id, size FROM words"))
        assert rows == [(1, 9_000_000_000)]
        await later.stop()


async def test_failed_migration(url: str) -> None:
    """A migration that fails leaves nothing behind, and the next start tries it again."""
    broken = Migration(2, ("ALTER TABLE words ADD COLUMN size INTEGER", "no such statement"))
    database = opened(url, SCHEMA, broken)
    with pytest.raises(DefectError):
        await database.start()
    mended = opened(url, SCHEMA, Migration(2, ("ALTER TABLE words ADD COLUMN size INTEGER",)))
    await mended.start()
    assert await mended.read(statement("SELECT size FROM words")) == []
    await mended.stop()


async def test_newer_schema(url: str) -> None:
    """A database written by a newer version is refused in one sentence and left alone."""
    newer = opened(url, SCHEMA, Migration(2, ()))
    await newer.start()
    await newer.stop()
    with pytest.raises(ServiceStartError, match="newer llmbot"):
        await opened(url).start()


async def test_migration_order(url: str) -> None:
    """Migrations whose versions do not grow are a defect."""
    with pytest.raises(DefectError):
        await opened(url, Migration(2, ()), Migration(2, ())).start()


@pytest.mark.parametrize(
    "address", ["", "mysql://u:hunter2@h/d", "sqlite://", "sqlite:///", "sqlite://host/path"]
)
def test_unknown_address(address: str) -> None:
    """An address of no known kind is refused without being repeated, for it may hold a password."""
    with pytest.raises(SettingsError) as caught:
        open_database(address, migrations=(), clock=ManualClock())
    assert "hunter2" not in str(caught.value)


# ── PostgreSQL alone ────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
async def test_second_bot(postgres_url: str) -> None:
    """A second bot on the same PostgreSQL database is refused and told who holds it."""
    first = opened(postgres_url, owner="the-first")
    await first.start()
    with pytest.raises(SecondInstanceError, match="the-first"):
        await opened(postgres_url, owner="the-second").start()
    await first.write(add(1))
    await first.stop()
    second = opened(postgres_url, owner="the-second")
    await second.start()
    assert await second.read(ids) == [1]
    await second.stop()


def end_sessions(url: str) -> None:
    """Let the server end every other session in this database."""
    import psycopg  # noqa: PLC0415 - only where PostgreSQL is tested

    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@pytest.mark.slow
async def test_lost_in_a_transaction(postgres_url: str) -> None:
    """A connection lost in a transaction fails its units, whole; the next ones get a new one."""
    database = opened(postgres_url)
    await database.start()
    before, within = Gate(), Gate()
    waiting = database.write(before)
    await asyncio.to_thread(before.entered.wait, 30)
    carried: list[asyncio.Future[Any]] = [
        database.write(add(1)),
        database.write(within),
        database.write(add(2)),
    ]
    before.open()
    await waiting
    await asyncio.to_thread(within.entered.wait, 30)
    await asyncio.to_thread(end_sessions, postgres_url)
    within.open()
    lost = await asyncio.gather(*carried, return_exceptions=True)
    assert [type(error) for error in lost] == [StoreUnavailableError] * 3
    assert await database.write(add(4)) == 4
    assert await database.read(ids) == [4]
    assert database.facts().failures == 1
    await database.stop()


@pytest.mark.slow
async def test_lost_between_transactions(postgres_url: str) -> None:
    """A connection lost while nothing used it is replaced without anyone noticing."""
    database = opened(postgres_url)
    await database.start()
    await database.write(add(1))
    assert await database.read(ids) == [1]
    await asyncio.to_thread(end_sessions, postgres_url)
    await asyncio.gather(database.write(add(2)), database.write(add(3)))
    assert await database.read(ids) == [1, 2, 3]
    assert database.facts().failures == 0
    await database.stop()


@pytest.mark.slow
async def test_taken_over(postgres_url: str) -> None:
    """A bot that lost its connection while another took over writes nothing any more."""
    first = opened(postgres_url, owner="the-first")
    await first.start()
    await asyncio.to_thread(end_sessions, postgres_url)
    second = opened(postgres_url, owner="the-second")
    await second.start()
    await second.stop()
    for _ in range(2):
        with pytest.raises(StoreUnavailableError):
            await first.write(add(1))
    with pytest.raises(StoreUnavailableError):
        await first.stop()
    third = opened(postgres_url)
    await third.start()
    assert await third.read(ids) == []
    await third.stop()


@pytest.mark.slow
async def test_loose_server(postgres_url: str) -> None:
    """A server that is set to answer before a commit is on its disk is told to wait for us."""
    import psycopg  # noqa: PLC0415 - only where PostgreSQL is tested

    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute("ALTER ROLE llmbot SET synchronous_commit = off")
    database = opened(postgres_url)
    await database.start()
    assert await database.write(statement("SHOW synchronous_commit")) == [("on",)]
    await database.stop()


@pytest.mark.slow
async def test_nul(postgres_url: str) -> None:
    """Text with NUL, which PostgreSQL cannot hold, is stored with a stand-in, not refused."""
    database = opened(postgres_url)
    await database.start()
    await database.write(add(1, "a\x00b"))
    assert await database.read(statement("SELECT word FROM words")) == [("a\ufffdb",)]
    await database.stop()


@pytest.mark.slow
async def test_unreachable(tmp_path: Path) -> None:
    """A server that is not there is unavailable, and its password is not told."""
    with pytest.raises(StoreUnavailableError) as caught:
        await opened(f"postgresql://bot:hunter2@/bot?host={tmp_path}").start()
    assert "hunter2" not in str(caught.value)
