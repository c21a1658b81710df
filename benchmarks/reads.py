"""What reading costs: `/api/health/status` 200 times a second, at rest and under load.

    .venv/bin/python -m benchmarks.reads [--quick]

The same load is answered with and without readers, in turns, on one bot; reads are timed with and
without load. Simulators, users and readers share one core, the bot has the other.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Self
from urllib.parse import urlsplit

import uvloop
from benchmarks.contender import Contender, contender, pin
from benchmarks.scenarios import Sizes, paced, percentile, warm_up
from benchmarks.stage import Stage

from llmbot.kernel.clock import SystemClock
from llmbot.storage.instance import read_instance

PATH = "/api/health/status"
READS_PER_S = 200
CONNECTIONS = 8
REST_S = 5.0
AIM_P99_MS = 10.0
_CLOCK = SystemClock()


@dataclass
class Readers:
    """Ask at a steady pace, over connections that stay open, until told to stop."""

    address: str
    times_ms: list[float] = field(default_factory=list)
    refused: int = 0
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        """Begin."""
        for number in range(CONNECTIONS):
            offset = number / READS_PER_S
            task = asyncio.create_task(self._read(offset), name=f"reader {number}")
            self._tasks.append(task)
        return self

    async def __aexit__(self, *_: object) -> None:
        """End."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _read(self, offset_s: float) -> None:
        place = urlsplit(self.address)
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        request = f"GET {PATH} HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode()
        due = time.perf_counter() + offset_s
        try:
            while True:
                await _CLOCK.sleep(max(0.0, due - time.perf_counter()))
                # From when it was due: a reader that was kept waiting counts that too.
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                self.times_ms.append((time.perf_counter() - due) * 1000)
                self.refused += not head.startswith(b"HTTP/1.1 200")
                due += CONNECTIONS / READS_PER_S
        finally:
            writer.close()


def shown(times_ms: list[float]) -> str:
    """The figures of some reads."""
    return (
        f"p50 {percentile(times_ms, 0.5):.1f} ms, p99 {percentile(times_ms, 0.99):.1f} ms, "
        f"worst {max(times_ms, default=0):.1f} ms of {len(times_ms)}"
    )


async def measure(sizes: Sizes) -> int:
    """All rounds, and the figures."""
    pinned = pin(os.getpid(), 0)
    stage = Stage()
    address = await stage.start()
    alone: list[dict[str, float]] = []
    read: list[dict[str, float]] = []
    under_load: list[float] = []
    try:
        with (
            tempfile.TemporaryDirectory(prefix="llmbot-bench-") as place,
            contender("llmbot", address, Path(place), core=1 if pinned else None) as bot,
        ):
            await bot.ready(stage)
            await warm_up(stage)
            facts = read_instance(Path(place) / "data")
            assert facts is not None
            resting, cost_ms = await at_rest(facts.http_address, bot)
            for _ in range(sizes.rounds):
                alone.append(await paced(stage, bot, sizes))
                async with Readers(facts.http_address) as readers:
                    read.append(await paced(stage, bot, sizes))
                under_load += readers.times_ms
                assert not readers.refused
    finally:
        await stage.stop()
    return tell(resting, cost_ms, under_load, alone, read)


async def at_rest(address: str, bot: Contender) -> tuple[list[float], float]:
    """Times of reads of a bot that rests, and what each costs it of its processor.

    The first reads after a start wait for the routes to be put together; they are left out.
    """
    async with Readers(address) as first:
        while not first.times_ms:
            await _CLOCK.sleep(0.01)
    before = bot.cpu_s
    await _CLOCK.sleep(REST_S)
    idle = bot.cpu_s - before
    before = bot.cpu_s
    async with Readers(address) as readers:
        await _CLOCK.sleep(REST_S)
    used = bot.cpu_s - before - idle
    return readers.times_ms, used * 1000 / max(1, len(readers.times_ms))


def tell(
    resting: list[float],
    cost_ms: float,
    under_load: list[float],
    alone: list[dict[str, float]],
    read: list[dict[str, float]],
) -> int:
    """Print; the exit code is 1 where an answer is missing."""
    print(f"{PATH}, {READS_PER_S} a second over {CONNECTIONS} connections")
    print(f"  at rest:    {shown(resting)}; {cost_ms:.2f} ms of processor each")
    p99 = percentile(under_load, 0.99)
    met = "met" if p99 < AIM_P99_MS else "missed"
    print(f"  under load: {shown(under_load)}; aim p99 under {AIM_P99_MS:g} ms: {met}")
    names = ("first_words_p50_ms", "first_words_p95_ms", "final_text_p50_ms", "messages_per_s")
    for name in names:
        without = median(figures[f"paced.{name}"] for figures in alone)
        with_them = median(figures[f"paced.{name}"] for figures in read)
        ratio = with_them / max(1e-9, without)
        print(f"  {name}: {without:.1f} alone, {with_them:.1f} beside readers ({ratio:.2f})")
    return int(any(f["paced.unanswered"] or f["paced.wrong"] for f in (*alone, *read)))


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one short round")
    quick = parser.parse_args().quick
    sizes = Sizes(
        rounds=1 if quick else 3,
        paced=100 if quick else 300,
        pace_per_s=20,
        flood=0,
        flood_users=0,
        burst=0,
        conversations=0,
    )
    return uvloop.run(measure(sizes))


if __name__ == "__main__":
    sys.exit(main())
