"""A process that is killed at any moment has kept every write it had acknowledged.

A child writes in groups and acknowledges each write over a pipe as soon as its future resolves;
SIGKILL comes after a random number of acknowledgements plus a random time. What the kernel already
has survives a SIGKILL, so this proves the order of commit and answer and the recovery, not fsync.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from llmbot.kernel.clock import Random, SystemClock
from llmbot.storage.database.opening import Database, Migration, Session, open_database

SCHEMA = (
    Migration(
        1,
        (
            "CREATE TABLE jobs (seq INTEGER PRIMARY KEY, life INTEGER NOT NULL, body TEXT)",
            """CREATE TABLE parts (job INTEGER NOT NULL REFERENCES jobs (seq),
            part INTEGER NOT NULL, PRIMARY KEY (job, part))""",
        ),
    ),
)

WRITER = """
import asyncio, os, sys
from llmbot.kernel.clock import SystemClock
from llmbot.storage.database.opening import Migration, open_database

path, life, first, width = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])

async def main():
    database = open_database(path, migrations=SCHEMA, clock=SystemClock(), owner=f"life-{life}")
    await database.start()
    numbers = iter(range(first, first + 10**9))

    def acknowledge(future):
        os.write(1, b"%d\\n" % future.result())

    def write():
        seq = next(numbers)
        def work(session):
            session.execute("INSERT INTO jobs VALUES (?, ?, ?)", (seq, life, "x" * (seq % 700)))
            session.execute("INSERT INTO parts VALUES (?, 0), (?, 1)", (seq, seq))
            return seq
        future = database.write(work)
        future.add_done_callback(acknowledge)
        return future

    async def go_on():
        while True:
            await write()

    await asyncio.gather(*(go_on() for _ in range(width)))

asyncio.run(main())
""".replace("SCHEMA", repr(SCHEMA))


async def one_life(path: Path, life: int, first: int, random: Random) -> list[int]:
    """Let a child write from `first` on, kill it, and return what it had acknowledged."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        WRITER,
        str(path),
        str(life),
        str(first),
        str(random.choice([1, 8, 64])),
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    acknowledged = [
        int(await child.stdout.readline()) for _ in range(random.choice([0, 1, 20, 300]))
    ]
    await SystemClock().sleep(random.random() * 0.05)
    child.kill()
    # The last line may be cut by the kill: what has no line end was not said.
    rest = (await child.stdout.read()).split(b"\n")[:-1]
    await child.wait()
    return acknowledged + [int(line) for line in rest]


def everything(session: Session) -> tuple[list[tuple[int, int]], int]:
    """All jobs in the order of their numbers, and how many of them lack a part."""
    jobs = session.execute("SELECT seq, life FROM jobs ORDER BY seq")
    half = session.execute(
        "SELECT count(*) FROM jobs WHERE 2 <> (SELECT count(*) FROM parts WHERE job = seq)"
    )
    return [(int(seq), int(life)) for seq, life in jobs], int(half[0][0])


async def check(path: Path, acknowledged: list[int]) -> int:
    """Open after a kill, see that the laws hold, and return the number to go on from."""
    database: Database = open_database(str(path), migrations=SCHEMA, clock=SystemClock())
    await database.start()
    jobs, half = await database.read(everything)
    await database.stop()
    numbers = [seq for seq, _ in jobs]
    assert set(acknowledged) <= set(numbers), "an acknowledged write is lost"
    assert half == 0, "a unit is there in part"
    # Units are committed in the order of submission, so those of one life have no gap before
    # the last: a later one is never kept where an earlier one is not.
    for life in {life for _, life in jobs}:
        of_life = [seq for seq, its in jobs if its == life]
        assert of_life == list(range(of_life[0], of_life[-1] + 1)), "the order was not kept"
    return (numbers[-1] + 1) if numbers else 0


async def kill_rounds(path: Path, rounds: int, seed: int) -> None:
    """So many lives of one database, each ended by SIGKILL."""
    random = Random(seed)
    acknowledged: list[int] = []
    first = 0
    for life in range(rounds):
        acknowledged += await one_life(path, life, first, random)
        first = await check(path, acknowledged)
    assert acknowledged


async def test_killed(tmp_path: Path) -> None:
    """Every acknowledged write outlives SIGKILL, whole and in order, life after life."""
    await kill_rounds(tmp_path / "bot.db", rounds=12, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "seed", [2, 3, *(pytest.param(seed, marks=pytest.mark.slower) for seed in range(4, 8))]
)
async def test_killed_often(tmp_path: Path, seed: int) -> None:
    """The same, over many more lives."""
    await kill_rounds(tmp_path / "bot.db", rounds=40, seed=seed)


async def test_killed_in_start(tmp_path: Path) -> None:
    """A life that ends while it opens the database takes nothing from those before it."""
    path = tmp_path / "bot.db"
    random = Random(9)
    acknowledged = await one_life(path, 0, 0, random)
    first = await check(path, acknowledged)
    for life in range(1, 8):
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            WRITER,
            str(path),
            str(life),
            str(first),
            "1",
            stdout=asyncio.subprocess.DEVNULL,
        )
        await SystemClock().sleep(0.1 + random.random() * 0.15)
        child.kill()
        await child.wait()
        first = await check(path, acknowledged)
