"""Saves a second: the document store, plain `json.dump`, and SQLite, in one run on one disk.

    .venv/bin/python -m benchmarks.documents [--quick] [--folder DIR]

`json.dump` promises nothing after a power cut; SQLite's are single durable commits and groups of
them. Last, what a thousand remembered conversations cost in memory.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import psutil

from llmbot.conversation.memory.conversations import CONVERSATIONS, Conversation
from llmbot.conversation.memory.journal import Remembered
from llmbot.kernel.clock import SystemClock
from llmbot.storage.documents.kinds import Kinds
from llmbot.storage.documents.store import DocumentStore, StoreSettings

TURNS = 40
TEXT = "Words of a question or an answer, as long as people write them on most days. " * 2
CONVERSATION_COUNT = 1000


def conversation(channel_id: int) -> Conversation:
    """A conversation at its bounds."""
    turns = [
        Remembered(channel_id, number + 1, 0 if ours else 7, "Ann", ours, f"{number} {TEXT}")
        for number in range(TURNS // 2)
        for ours in (False, True)
    ]
    return Conversation(channel_id, tuple(turns))


def for_seconds(seconds: float, save: Callable[[int], object]) -> float:
    """How often a second something can be done, one after the other."""
    began, count = perf_counter(), 0
    while perf_counter() - began < seconds:
        save(count)
        count += 1
    return count / (perf_counter() - began)


def plain(folder: Path, seconds: float) -> float:
    """`json.dump` over the same file."""
    body = CONVERSATIONS.dump(conversation(1))

    def save(_: int) -> None:
        with (folder / "plain.json").open("w", encoding="utf-8") as file:
            json.dump(body, file, indent=2)

    return for_seconds(seconds, save)


def database(folder: Path, seconds: float, group: int) -> float:
    """SQLite with durable commits, so many rows in each."""
    connection = sqlite3.connect(folder / f"bench-{group}.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE saved (id INTEGER PRIMARY KEY, body TEXT)")
    body = json.dumps(CONVERSATIONS.dump(conversation(1)))

    def save(number: int) -> None:
        connection.execute("BEGIN IMMEDIATE")
        for row in range(group):
            connection.execute(
                "INSERT OR REPLACE INTO saved VALUES (?, ?)", ((number * group + row) % 1000, body)
            )
        connection.execute("COMMIT")

    rate = for_seconds(seconds, save) * group
    connection.close()
    return rate


async def documents(folder: Path, seconds: float, at_once: int) -> float:
    """The store, with so many documents saved at the same moment."""
    root = folder / f"documents-{at_once}"
    root.mkdir()
    store = DocumentStore(root, Kinds([CONVERSATIONS]), SystemClock(), lambda _: None)
    await store.start()
    values = [conversation(number + 1) for number in range(at_once)]
    for value in values:
        await store.put(CONVERSATIONS.ref(value.channel_id), value)
    began, count = perf_counter(), 0
    while perf_counter() - began < seconds:
        saves = [store.put(CONVERSATIONS.ref(value.channel_id), value) for value in values]
        await asyncio.gather(*saves)
        count += at_once
    rate = count / (perf_counter() - began)
    await store.stop()
    return rate


async def coalesced(folder: Path, seconds: float) -> float:
    """Versions of one document that come faster than the disk: all are told, few are written."""
    root = folder / "coalesced"
    root.mkdir()
    store = DocumentStore(root, Kinds([CONVERSATIONS]), SystemClock(), lambda _: None)
    await store.start()
    value, ref = conversation(1), CONVERSATIONS.ref(1)
    began, count = perf_counter(), 0
    while perf_counter() - began < seconds:
        await asyncio.gather(*[store.put(ref, value) for _ in range(100)])
        count += 100
    rate = count / (perf_counter() - began)
    await store.stop()
    return rate


async def memory(folder: Path) -> tuple[int, int]:
    """Resident bytes and the store's own count of a thousand conversations at their bounds."""
    root = folder / "memory"
    root.mkdir()
    settings = StoreSettings(held_bytes_max=2**40)
    store = DocumentStore(
        root, Kinds([CONVERSATIONS]), SystemClock(), lambda _: None, settings=settings
    )
    await store.start()
    gc.collect()
    before = psutil.Process().memory_info().rss
    for number in range(1, CONVERSATION_COUNT + 1):
        store.put(CONVERSATIONS.ref(number), conversation(number))
    await store.saved()
    gc.collect()
    after = psutil.Process().memory_info().rss
    counted = store.facts().bytes_in_memory
    await store.stop()
    return after - before, counted


def main() -> None:
    """Run all and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a second for each, not three")
    parser.add_argument("--folder", type=Path, default=None)
    given = parser.parse_args()
    size = len(json.dumps(CONVERSATIONS.dump(conversation(1)), indent=2))
    print(f"One document: {size} bytes")
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder, seconds = Path(name), 1.0 if given.quick else 3.0
        resident, counted = asyncio.run(memory(folder))
        rates = {
            "json.dump, not durable": plain(folder, seconds),
            "SQLite, a commit each": database(folder, seconds, 1),
            "SQLite, 64 in a commit": database(folder, seconds, 64),
            "documents, one at a time": asyncio.run(documents(folder, seconds, 1)),
            "documents, 64 at once": asyncio.run(documents(folder, seconds, 64)),
            "documents, 100 versions of one": asyncio.run(coalesced(folder, seconds)),
        }
    dump, sqlite = rates["json.dump, not durable"], rates["SQLite, a commit each"]
    for label, rate in rates.items():
        ratios = f"{rate / dump:6.2f} of json.dump{rate / sqlite:7.2f} of SQLite one by one"
        print(f"{label:34}{rate:10.0f} saves/s{ratios}")
    mib = 1024 * 1024
    print(f"1000 conversations: {resident / mib:.1f} MiB resident, {counted / mib:.1f} MiB counted")


if __name__ == "__main__":
    main()
