"""What open operator pages cost the bot, beside the same bot with none open.

    .venv/bin/python -m benchmarks.pages [--quick]

Each stretch is measured without and with five pages, at rest and under a message a second. One more
page connects and never reads: what it costs the others is seen in how soon a message is on a page.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from urllib.parse import urlsplit

import aiohttp
import orjson
from benchmarks.contender import Contender, contender, pin
from benchmarks.stage import Stage

from llmbot.kernel.clock import SystemClock
from llmbot.storage.instance import read_instance

PAGES = 5
CORE_SHARE_AIM = 0.02
MEMORY_AIM_MIB = 10
_CLOCK = SystemClock()


@dataclass
class Page:
    """One open page: how much it was sent, and when it first told of each message."""

    seen: dict[str, float] = field(default_factory=dict)
    received: int = 0

    async def read(self, session: aiohttp.ClientSession, address: str) -> None:
        """Take what is sent until cancelled."""
        async with session.get(f"{address}/dashboard/feed", timeout=None) as answer:
            kind = b""
            async for line in answer.content:
                self.received += len(line)
                if line.startswith(b"event:"):
                    kind = line[7:].strip()
                elif kind == b"rows" and line.startswith(b"data:"):
                    for row in orjson.loads(line[6:]):
                        self.seen.setdefault(row["id"], perf_counter())


@asynccontextmanager
async def open_pages(address: str, count: int) -> AsyncIterator[list[Page]]:
    """Pages that read, as browsers do."""
    pages = [Page() for _ in range(count)]
    async with aiohttp.ClientSession(read_bufsize=2**20) as session:
        tasks = [asyncio.create_task(page.read(session, address)) for page in pages]
        try:
            yield pages
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def dead_page(address: str) -> socket.socket:
    """A page that connects and never reads."""
    place = urlsplit(address)
    dead = socket.socket()
    dead.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    dead.connect((place.hostname, place.port))
    dead.sendall(b"GET /dashboard/feed HTTP/1.1\r\nHost: %b\r\n\r\n" % place.netloc.encode())
    return dead


async def stretch(stage: Stage, bot: Contender, seconds: float, per_second: float) -> float:
    """The share of one core that the bot took."""
    before, began = bot.cpu_s, perf_counter()
    while (left := began + seconds - perf_counter()) > 0:
        if per_second:
            stage.ask("ann", "pages")
        await _CLOCK.sleep(min(left, 1 / per_second if per_second else left))
    return (bot.cpu_s - before) / (perf_counter() - began)


async def compare(stage: Stage, bot: Contender, address: str, seconds: float) -> None:
    """Shares without and with pages, in turns."""
    for words, rate in (("at rest", 0.0), ("a message a second", 1.0)):
        without, with_pages, sent = [], [], 0.0
        for _ in range(3):
            without.append(await stretch(stage, bot, seconds, rate))
            async with open_pages(address, PAGES) as pages:
                await _CLOCK.sleep(1)  # the first load is not what an open page costs
                began = sum(page.received for page in pages)
                with_pages.append(await stretch(stage, bot, seconds, rate))
                sent = (sum(page.received for page in pages) - began) / seconds / PAGES
        bare, paged = statistics.median(without), statistics.median(with_pages)
        print(
            f"{words}: {bare:.2%} of a core without, {paged:.2%} with {PAGES} pages: "
            f"{paged - bare:+.2%} (aim: under {CORE_SHARE_AIM:.0%}); {sent / 1000:.1f} kB/s a page"
        )


async def memory(bot: Contender, address: str) -> None:
    """What five pages take."""
    before = bot.rss_mib
    async with open_pages(address, PAGES):
        await _CLOCK.sleep(5)
        print(
            f"memory: {before:.1f} MiB without, {bot.rss_mib:.1f} MiB with {PAGES} pages: "
            f"{bot.rss_mib - before:+.1f} MiB (aim: under {MEMORY_AIM_MIB})"
        )


async def delays(stage: Stage, address: str, messages: int) -> None:
    """How soon a message is on a page, without and with a page that is dead."""
    async with open_pages(address, 1) as (page,), AsyncExitStack() as stack:
        await _CLOCK.sleep(1)
        for words in ("without a dead page", "beside a dead page"):
            asked: dict[int, float] = {}
            known = set(page.seen)
            for _ in range(messages):
                asked[len(asked)] = perf_counter()
                stage.ask("ann", "pages")
                await _CLOCK.sleep(0.3)
            await _CLOCK.sleep(2)
            seen = sorted(at for name, at in page.seen.items() if name not in known)
            late = [(at - asked[number]) * 1000 for number, at in enumerate(seen)]
            print(
                f"a message is on the page {words}: p50 {statistics.median(late):.0f} ms, "
                f"worst {max(late):.0f} ms ({len(late)} of {messages})"
            )
            stack.enter_context(dead_page(address))


async def measure(seconds: float, messages: int) -> None:
    """Run all of it on one bot."""
    stage = Stage()
    simulators = await stage.start()
    pinned = pin(os.getpid(), 0)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="llmbot-bench-") as place,
            contender("llmbot", simulators, Path(place), core=1 if pinned else None) as bot,
        ):
            await bot.ready(stage)
            facts = read_instance(Path(place) / "data")
            assert facts is not None
            await memory(bot, facts.http_address)
            await compare(stage, bot, facts.http_address, seconds)
            await delays(stage, facts.http_address, messages)
    finally:
        await stage.stop()


def main() -> None:
    """Read the command line, and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="shorter stretches")
    options = parser.parse_args()
    asyncio.run(measure(6 if options.quick else 20, 10 if options.quick else 30))


if __name__ == "__main__":
    main()
