"""`make soak`: hours of talk with a little trouble; whether memory, descriptors or tasks grow.

    python -m benchmarks.soak [--hours 6] [--every 1.5] [--record]

The line is fitted through the samples after the first fifth, in which caches fill and windows of
statistics grow to their size. A run of minutes says little of hours: its length stands beside it.
What grows by the message shows sooner with `--every 0.1`; what grows by the hour does not.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from math import ceil
from pathlib import Path

import psutil

from llmbot.console.cli.client import CommandError, NotRunningError, Remote
from llmbot.console.drills.demo import own_demo
from llmbot.kernel.clock import Clock, SystemClock
from llmbot.storage.instance import InstanceFacts, read_instance

MIB = 1024 * 1024
SAMPLE_S = 10.0
EVERY_S = 1.5
TROUBLE_S = 300.0
SLOPE_MAX = 0.5
"""MiB an hour, over six hours."""
USER_EVERY_S = 10.0
"""Each speaks so often, in a channel of the same name, whose limits are no trouble."""
TROUBLES = ("gemini.error", "gateway.drop", "rest.rate_limit", "gemini.cut", "gateway.duplicate")
FIGURES = Path("docs/figures.md")


@dataclass(frozen=True, slots=True)
class Sample:
    """The bot's process at one moment."""

    at_s: float
    resident: int
    descriptors: int
    threads: int
    tasks: int


def slope_per_hour(points: Sequence[tuple[float, float]]) -> float:
    """The slope of the line that fits best, per hour; 0 for fewer than two points."""
    if len(points) < 2:
        return 0.0
    mean_at = sum(at for at, _ in points) / len(points)
    mean = sum(value for _, value in points) / len(points)
    spread = sum((at - mean_at) ** 2 for at, _ in points)
    return 3600.0 * sum((at - mean_at) * (value - mean) for at, value in points) / spread


class Soak:
    """Talks and samples."""

    def __init__(self, facts: InstanceFacts, clock: Clock, every_s: float = EVERY_S) -> None:
        """Watch the bot of `facts`; someone speaks every so many seconds."""
        self._every_s = every_s
        self._users = [f"soak-{n}" for n in range(max(1, ceil(USER_EVERY_S / every_s)))]
        self._bot = Remote(facts.http_address)
        self._simulators = Remote(facts.simulator_address or "")
        self._process = psutil.Process(facts.pid)
        self._clock = clock
        self.samples: list[Sample] = []
        self.said = 0

    async def run(self, seconds: float) -> None:
        """Talk, make trouble and sample for so long."""
        ends = self._clock.monotonic() + seconds
        await asyncio.gather(self._talk(ends), self._trouble(ends), self._sample(ends))

    async def _talk(self, ends: float) -> None:
        began = self._clock.monotonic()
        for number in count():
            if self._clock.monotonic() > ends:
                return
            user = self._users[number % len(self._users)]
            words = f"What is a mutex, in {number % 60 + 5} words? ({number})"
            body = {"user": user, "channel": user, "content": words, "mention_bot": True}
            with suppress(CommandError, NotRunningError):
                await asyncio.to_thread(self._simulators.ask, "POST", "/_sim/discord/say", body)
                self.said += 1
            due = began + (number + 1) * self._every_s
            await self._clock.sleep(max(0.0, due - self._clock.monotonic()))

    async def _trouble(self, ends: float) -> None:
        """A little of it every five minutes: what heals must not leave anything behind."""
        for number in count():
            await self._clock.sleep(min(TROUBLE_S, max(0.0, ends - self._clock.monotonic())))
            if self._clock.monotonic() >= ends:
                return
            name = TROUBLES[number % len(TROUBLES)]
            body = {"seconds": 5.0} | ({"times": 1} if name == "gateway.drop" else {})
            with suppress(CommandError, NotRunningError):
                await asyncio.to_thread(self._simulators.ask, "PUT", f"/_sim/faults/{name}", body)

    async def _sample(self, ends: float) -> None:
        began = self._clock.monotonic()
        while self._clock.monotonic() < ends:
            tasks = 0
            with suppress(CommandError, NotRunningError):
                found = await asyncio.to_thread(self._bot.ask, "GET", "/api/diagnosis")
                tasks = int(found["tasks"])
            with self._process.oneshot():
                sample = Sample(
                    self._clock.monotonic() - began,
                    self._process.memory_info().rss,
                    self._process.num_fds(),
                    self._process.num_threads(),
                    tasks,
                )
            self.samples.append(sample)
            await self._clock.sleep(SAMPLE_S)


def report(samples: Sequence[Sample], said: int, seconds: float, at_s: float) -> str:
    """What was seen, as a section in Markdown."""
    kept = [s for s in samples if s.at_s >= seconds / 5]
    slope = slope_per_hour([(s.at_s, s.resident / MIB) for s in kept])
    grown = f"{slope * seconds / 3600 / max(1, said) * 1000:+.2f} MiB a thousand messages"
    day = datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M UTC")

    def row(name: str, values: Sequence[int], unit: float = 1.0) -> str:
        first, last = values[0] / unit, values[-1] / unit
        return (
            f"| {name} | {first:.0f} | {last:.0f} | {min(values) / unit:.0f} "
            f"| {max(values) / unit:.0f} |"
        )

    return "\n".join(
        (
            "",
            f"### Soak of {seconds / 3600:.2g} h, {day}",
            "",
            f"{said} messages, {len(samples)} samples; memory slope {slope:+.2f} MiB/h, {grown}.",
            "",
            "| | at its begin | at its end | least | most |",
            "| --- | ---: | ---: | ---: | ---: |",
            row("resident, MiB", [s.resident for s in kept], MIB),
            row("descriptors", [s.descriptors for s in kept]),
            row("threads", [s.threads for s in kept]),
            row("tasks", [s.tasks for s in kept]),
            "",
        )
    )


def main() -> int:
    """Run it; 1 where six hours or more show a slope above the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=6.0)
    parser.add_argument("--every", type=float, default=EVERY_S, help="seconds between messages")
    parser.add_argument("--record", action="store_true", help="append to docs/figures.md")
    given = parser.parse_args()
    seconds = given.hours * 3600.0
    clock = SystemClock()
    with own_demo(print) as data:
        facts = read_instance(data)
        if facts is None:
            sys.stderr.write("The demo is gone.\n")
            return 1
        soak = Soak(facts, clock, given.every)
        asyncio.run(soak.run(seconds))
    told = report(soak.samples, soak.said, seconds, clock.wall())
    sys.stdout.write(told)
    if given.record:
        with FIGURES.open("a", encoding="utf-8") as file:
            file.write(told)
    points = [(s.at_s, s.resident / MIB) for s in soak.samples if s.at_s >= seconds / 5]
    return int(given.hours >= 6.0 and slope_per_hour(points) > SLOPE_MAX)


if __name__ == "__main__":
    raise SystemExit(main())
