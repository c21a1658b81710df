"""Kill -9 the stores, ten thousand times: `python -m tests.crash.stores --cycles 10000`.

Each cycle is a process that opens the real document store and the real database on a real disk,
saves into both side by side and acknowledges over a pipe what it was told to be durable. SIGKILL
comes after a random time, the start of the process included. Then everything acknowledged must be
there, and every document must be one of the versions that were saved. With `--damage` some files
are cut, flipped or emptied before the next life begins, which must say so and serve a version that
was saved. A process is forked and needs no start of an interpreter: that is what makes it fast.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import select
import signal
import sqlite3
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NoReturn

from tests.support.documents import KINDS, NOTE, Note, note

from llmbot.kernel.clock import Random, SystemClock
from llmbot.storage.database.opening import Migration, Session, open_database
from llmbot.storage.documents.facts import DataEdited, DataInvalid, DataLost
from llmbot.storage.documents.reader import DocumentReader
from llmbot.storage.documents.recovery import DocumentShelf
from llmbot.storage.documents.store import DocumentStore, StoreSettings
from llmbot.storage.filesystem import RealFileSystem

DOCUMENTS = 12
LIFE_MAX_S = 0.12
"""A life takes about a third of this to open both stores."""

FRESH_AFTER = 500
"""Cycles after which a new directory is begun: the look at all that was ever written takes time."""

CLOCK = SystemClock()

TOLD = (DataInvalid, DataLost, DataEdited)
"""A cut that takes the last line end and nothing else is told as an edit of the layout."""

ROWS_A_LIFE_MAX = 1_000_000

SCHEMA = (Migration(1, ("CREATE TABLE jobs (seq INTEGER PRIMARY KEY, body TEXT NOT NULL)",)),)


@dataclass
class Count:
    """What was seen."""

    cycles: int = 0
    saves: int = 0
    rows: int = 0
    damaged: int = 0
    told: int = 0
    """Damages that were noticed and told."""
    amiss: list[str] = field(default_factory=list)


@dataclass
class Ground:
    """One directory and what is known of it."""

    root: Path
    durable: dict[int, int] = field(default_factory=dict)
    """The newest acknowledged version of each document."""
    begun: dict[int, int] = field(default_factory=dict)
    """The newest version of each document that was ever handed to the store."""
    first_row: int = 0
    rows: list[int] = field(default_factory=list)

    @property
    def database(self) -> Path:
        """The database's file."""
        return self.root / "bot.db"

    def shelf(self) -> DocumentShelf:
        """The documents, as a life finds them."""
        reader = DocumentReader(self.root / "data", KINDS, RealFileSystem())
        return DocumentShelf(reader, SystemClock())


# ── the life that is killed ─────────────────────────────────────────────────────────────────────


def live(ground: Ground, pipe: int) -> NoReturn:
    """Save into both stores until the end comes from outside."""
    try:
        asyncio.run(_save_for_ever(ground, pipe))
    except BaseException:  # noqa: BLE001 - whatever it is, the parent tells that the life ended
        traceback.print_exc()
    finally:
        os._exit(1)


async def _save_for_ever(ground: Ground, pipe: int) -> None:
    clock = SystemClock()
    database = open_database(f"sqlite:///{ground.database}", migrations=SCHEMA, clock=clock)
    settings = StoreSettings(retry_first_s=0.01)
    store = DocumentStore(ground.root / "data", KINDS, clock, lambda _: None, settings=settings)
    await asyncio.gather(database.start(), store.start())

    async def document(number: int) -> None:
        version = ground.begun.get(number, 0)
        while True:
            version += 1
            os.write(pipe, b"b %d %d\n" % (number, version))
            await store.put(NOTE.ref(number), note(version % 1000))
            os.write(pipe, b"d %d %d\n" % (number, version))

    async def row(first: int) -> None:
        seq = first
        while True:
            number = seq

            await database.write(partial(_insert, number))
            os.write(pipe, b"r %d\n" % number)
            seq += 8

    documents = [document(number) for number in range(1, DOCUMENTS + 1)]
    await asyncio.gather(*documents, *(row(ground.first_row + lane) for lane in range(8)))


def _insert(number: int, session: Session) -> None:
    session.execute("INSERT INTO jobs VALUES (?, ?)", (number, "x" * (number % 500)))


def one_life(ground: Ground, random: Random, count: Count) -> None:
    """Fork a life, kill it, and learn from the pipe what it had acknowledged."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        live(ground, writing)
    os.close(writing)
    heard = bytearray()
    end = CLOCK.monotonic() + random.random() * LIFE_MAX_S
    while (left := end - CLOCK.monotonic()) > 0:
        if select.select([reading], [], [], left)[0]:
            chunk = os.read(reading, 65_536)
            if not chunk:
                break
            heard += chunk
    os.kill(child, signal.SIGKILL)
    while chunk := os.read(reading, 65_536):
        heard += chunk
    os.close(reading)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        count.amiss.append("a life ended by itself")
    # What has no line end was not said.
    for line in bytes(heard).split(b"\n")[:-1]:
        kind, *numbers = line.split()
        if kind == b"r":
            ground.rows.append(int(numbers[0]))
            count.rows += 1
        else:
            number, version = map(int, numbers)
            known = ground.begun if kind == b"b" else ground.durable
            known[number] = max(version, known.get(number, 0))
            count.saves += kind == b"d"
    ground.first_row += ROWS_A_LIFE_MAX


# ── what must hold afterwards ───────────────────────────────────────────────────────────────────


def look(ground: Ground, count: Count, *, damaged: int | None = None) -> None:
    """Every document is a version between the acknowledged one and the last that was begun."""
    shelf = ground.shelf()
    for number in ground.begun:
        loaded = shelf.load(NOTE.ref(number))
        _judge(ground, count, number, None if loaded is None else loaded.value, number == damaged)
    told = [event for event in shelf.writer.events if isinstance(event, TOLD)]
    if damaged is None and told:
        count.amiss.append(f"a kill was taken for damage: {told[0].describe()}")
    elif damaged is not None:
        count.told += bool(told)
        if not told:
            count.amiss.append(f"damage of document {damaged} was not told")
    _look_at_rows(ground, count)


def _judge(ground: Ground, count: Count, number: int, value: Note | None, damaged: bool) -> None:
    oldest, begun = ground.durable.get(number, 0), ground.begun[number]
    if value is None:
        if oldest:
            count.amiss.append(f"document {number} is gone")
        return
    first = 1 if damaged else max(1, oldest)
    versions = {version % 1000 for version in range(first, begun + 1)}
    if value.count not in versions or value != note(value.count):
        count.amiss.append(f"document {number} is {value.count}, not {first} to {begun}")
    if damaged:
        # What was recovered is what the next life goes on from.
        ground.durable[number] = 0


def _look_at_rows(ground: Ground, count: Count) -> None:
    try:
        kept = _rows(f"file:{ground.database}?mode=ro")
    except sqlite3.OperationalError:
        # Killed in the middle of the log's first page: only a writer can begin it anew.
        kept = _rows(f"file:{ground.database}")
    lost = [seq for seq in ground.rows if seq not in kept]
    if lost:
        count.amiss.append(f"{len(lost)} acknowledged rows are lost")
        ground.rows = [seq for seq in ground.rows if seq in kept]


def _rows(address: str) -> set[int]:
    with closing(sqlite3.connect(address, uri=True)) as raw:
        if not raw.execute("SELECT 1 FROM sqlite_master WHERE name = 'jobs'").fetchall():
            return set()
        return {seq for (seq,) in raw.execute("SELECT seq FROM jobs")}


def damage(ground: Ground, random: Random) -> int | None:
    """Cut, flip or empty one document; which, or None where there is none to be damaged."""
    there = [n for n, version in ground.durable.items() if version]
    if not there:
        return None
    number = random.choice(there)
    path = ground.root / "data" / NOTE.ref(number).name
    raw = path.read_bytes()
    place = random.randrange(len(raw))
    ways: list[Callable[[], bytes]] = [
        lambda: raw[:place],
        lambda: b"",
        lambda: b"{}",
        lambda: raw[:place] + bytes([raw[place] ^ (1 << random.randrange(8))]) + raw[place + 1 :],
        lambda: raw[:place] + b"\0" * (len(raw) - place),
    ]
    spoilt = random.choice(ways)()
    path.write_bytes(spoilt)
    return None if spoilt == raw else number


def run(cycles: int, seed: int, damages: float, directory: Path) -> Count:
    """So many lives; ends early where something is amiss."""
    random, count = Random(seed), Count()
    ground = Ground(directory)
    for cycle in range(cycles):
        if cycle % FRESH_AFTER == 0:
            ground = Ground(directory / str(cycle))
            (ground.root / "data").mkdir(parents=True)
        one_life(ground, random, count)
        if not ground.database.exists():
            continue  # killed before it had opened anything
        look(ground, count)
        if random.random() < damages:
            spoilt = damage(ground, random)
            if spoilt is not None:
                count.damaged += 1
                look(ground, count, damaged=spoilt)
        count.cycles += 1
        if count.amiss:
            break
    return count


def main() -> int:
    """Run and print the count; 0 where nothing is amiss."""
    parser = argparse.ArgumentParser(prog="tests.crash.stores", description=__doc__)
    parser.add_argument("--cycles", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--damage", type=float, default=0.1, help="share of cycles with damage")
    options = parser.parse_args()
    began = CLOCK.monotonic()
    with tempfile.TemporaryDirectory(prefix="llmbot-stores-") as directory:
        count = run(options.cycles, options.seed, options.damage, Path(directory))
    for line in count.amiss:
        sys.stdout.write(f"AMISS: {line}\n")
    sys.stdout.write(
        f"{count.cycles} kills: {count.saves} document saves and {count.rows} rows acknowledged, "
        f"{len(count.amiss)} amiss; {count.damaged} documents damaged, {count.told} told; "
        f"{CLOCK.monotonic() - began:.0f} s, seed {options.seed}\n"
    )
    return 1 if count.amiss else 0


if __name__ == "__main__":
    sys.exit(main())
