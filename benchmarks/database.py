"""Durable writes a second: the group commit against committing one by one, in the same run.

    .venv/bin/python benchmarks/database.py [--units 20000] [--url postgresql://...] [--dir DIR]

One unit is a claim and a job: two inserts. "One by one" is plain sqlite3 in one thread with the
same durability (write-ahead log, synchronous=FULL), the best that code without grouping can do.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import tempfile
import time
from itertools import count
from pathlib import Path
from statistics import quantiles

from llmbot.kernel.clock import SystemClock
from llmbot.storage.database.opening import Migration, Session, open_database

SCHEMA = (
    "CREATE TABLE bench_claims (message_id INTEGER PRIMARY KEY, seen_s REAL NOT NULL)",
    """CREATE TABLE bench_jobs (message_id INTEGER PRIMARY KEY, state TEXT NOT NULL,
       body TEXT NOT NULL)""",
)
CLAIM = "INSERT INTO bench_claims VALUES (?, ?) ON CONFLICT (message_id) DO NOTHING"
JOB = "INSERT INTO bench_jobs VALUES (?, 'waiting', ?)"
BODY = "a question of two hundred characters " * 6
FIRST_ID = 1_290_000_000_000_000_000
ONE_BY_ONE_UNITS_MAX = 2000


def one_by_one(directory: Path, units: int) -> list[float]:
    """The seconds that each unit took, in plain sqlite3."""
    raw = sqlite3.connect(directory / "plain.db", isolation_level=None)
    raw.execute("PRAGMA journal_mode = WAL")
    raw.execute("PRAGMA synchronous = FULL")
    for statement in SCHEMA:
        raw.execute(statement)
    took = []
    for number in range(FIRST_ID, FIRST_ID + units):
        started = time.perf_counter()
        raw.execute("BEGIN IMMEDIATE")
        raw.execute(CLAIM, (number, 1.0))
        raw.execute(JOB, (number, BODY))
        raw.execute("COMMIT")
        took.append(time.perf_counter() - started)
    raw.close()
    return took


async def grouped(url: str, units: int, width: int, ids: count[int]) -> tuple[list[float], float]:
    """The seconds that each unit took with so many awaiters at once, and units to a commit."""
    database = open_database(url, migrations=[Migration(1, SCHEMA)], clock=SystemClock())
    await database.start()
    took: list[float] = []

    async def awaiter() -> None:
        for _ in range(max(1, units // width)):
            number = next(ids)

            def work(session: Session, number: int = number) -> None:
                session.execute(CLAIM, (number, 1.0))
                session.execute(JOB, (number, BODY))

            started = time.perf_counter()
            await database.write(work)
            took.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*(awaiter() for _ in range(width)))
    took.append(time.perf_counter() - started)
    facts = database.facts()
    await database.stop()
    return took, facts.units / facts.commits


def line(name: str, took: list[float], total_s: float, base: float, group: float) -> float:
    """Print one row; the rate."""
    rate = len(took) / total_s
    cuts = quantiles(took, n=100)
    ratio = f"{rate / base:6.1f} x" if base else "      1 x"
    print(
        f"{name:<28}{rate:>10.0f}/s {ratio}   p50 {cuts[49] * 1e3:8.2f} ms   "
        f"p99 {cuts[98] * 1e3:8.2f} ms   {group:6.1f} units a commit"
    )
    return rate


def main() -> None:
    """Run all of it and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=20_000)
    parser.add_argument("--url", help="an empty PostgreSQL database, measured as well")
    parser.add_argument("--dir", help="where the files go (the disk matters)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.dir) as name:
        directory = Path(name)
        took = one_by_one(directory, min(arguments.units, ONE_BY_ONE_UNITS_MAX))
        base = line("sqlite3, one by one", took, sum(took), 0.0, 1.0)
        kinds = {"sqlite": f"sqlite:///{directory / 'grouped.db'}"}
        if arguments.url:
            kinds["postgresql"] = arguments.url
        for kind, url in kinds.items():
            # Numbers of this run alone, so that a kept database may be measured again.
            ids = count(FIRST_ID + time.time_ns() // 1000)
            for width in (1, 64, 1000):
                units = arguments.units if width > 1 else min(arguments.units, 2000)
                took, group = asyncio.run(grouped(url, units, width, ids))
                total_s = took.pop()
                line(f"{kind}, {width} awaiter(s)", took, total_s, base, group)


if __name__ == "__main__":
    main()
