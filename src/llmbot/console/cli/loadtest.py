"""`llmbot loadtest`: more and more messages at once, in steps, until the bot is no longer well.

Source of steps and thresholds: the operators' document, "Load Testing Post-Recovery". The messages
go through the whole pipeline and to nobody's channel (`POST /api/test/load`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Annotated

import typer

from llmbot.console.cli.client import CommandError, Entry, NotRunningError, Remote
from llmbot.console.cli.incidents import DataDir, finder
from llmbot.kernel.clock import Clock, SystemClock
from llmbot.operations.stats import percentiles

if TYPE_CHECKING:
    from rich.table import Table

STEPS = "1,5,10,20"
P95_MS = 5000
AT_ONCE_MAX = 200
_WELL = frozenset({"healthy", "degraded"})


@dataclass(slots=True)
class _Step:
    """One step of the load and what came of it; times in milliseconds."""

    at_once: int
    sent: int = 0
    answered: int = 0
    p50: int = 0
    p95: int = 0
    state: str = ""

    @property
    def well(self) -> bool:
        """Whether the bot stood it."""
        return self.state in _WELL and self.answered == self.sent and self.p95 <= P95_MS


async def _one(bot: Remote, number: int, clock: Clock, threads: ThreadPoolExecutor) -> int | None:
    """The time of one message in milliseconds; None where it was not answered."""
    began = clock.monotonic()
    loop = asyncio.get_running_loop()
    body = {"id": number, "message": f"load {number}"}
    try:
        await loop.run_in_executor(
            threads, lambda: bot.ask("POST", "/api/test/load", body, deadline_s=60.0)
        )
    except CommandError:
        return None
    return round((clock.monotonic() - began) * 1000)


def _table(steps: Sequence[_Step]) -> Table:
    from rich.table import Table as Drawn  # noqa: PLC0415 - only who loads pays for it

    table = Drawn(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("at once", "sent", "answered", "p50 ms", "p95 ms", "state", ""):
        table.add_column(name, justify="left" if name in {"state", ""} else "right")
    for step in steps:
        figures = (step.at_once, step.sent, step.answered, step.p50, step.p95)
        mark = "" if not step.state else "ok" if step.well else "too much"
        table.add_row(*map(str, figures), step.state or "…", mark)
    return table


async def _load(bot: Remote, sizes: Sequence[int], rounds: int, pause_s: float) -> list[_Step]:
    from rich.live import Live  # noqa: PLC0415 - only who loads pays for it

    clock = SystemClock()
    numbers = count(1)
    steps: list[_Step] = []
    with ThreadPoolExecutor(max(sizes), "load") as threads, Live(_table(steps)) as live:
        for size in sizes:
            step = _Step(size)
            steps.append(step)
            times: list[int] = []
            for _ in range(rounds):
                step.sent += size
                live.update(_table(steps))
                found = await asyncio.gather(
                    *(_one(bot, next(numbers), clock, threads) for _ in range(size))
                )
                times += [each for each in found if each is not None]
                spread = percentiles(times)
                step.answered, step.p50, step.p95 = len(times), spread.p50, spread.p95
            status = await asyncio.to_thread(bot.ask, "GET", "/api/health/status")
            step.state = str(status.get("status", "unknown"))
            live.update(_table(steps))
            if not step.well:
                break
            if size is not sizes[-1]:
                await clock.sleep(pause_s)
    return steps


def _sizes(text: str) -> list[int]:
    try:
        sizes = [int(each) for each in text.split(",")]
    except ValueError:
        sizes = []
    if not sizes or any(not 0 < size <= AT_ONCE_MAX for size in sizes):
        raise CommandError(f"--steps are numbers from 1 to {AT_ONCE_MAX} with commas, as {STEPS}.")
    return sizes


def add_loadtest(cli: typer.Typer, entry: Entry) -> None:
    """Add the command."""
    find = finder(entry)

    @cli.command(help="Send more and more messages at once, until the bot is no longer well.")
    def loadtest(
        steps: Annotated[str, typer.Option(help="How many at once, step by step.")] = STEPS,
        rounds: Annotated[int, typer.Option(help="Rounds in each step.", min=1, max=1000)] = 3,
        pause: Annotated[float, typer.Option(help="Seconds between steps.", min=0)] = 10.0,
        data_dir: DataDir = None,
    ) -> None:
        sizes = _sizes(steps)
        try:
            done = asyncio.run(_load(find(data_dir), sizes, rounds, pause))
        except NotRunningError as error:
            raise CommandError(str(error)) from None
        well = len(done) == len(sizes) and done[-1].well
        last = done[-1].at_once
        typer.echo(f"Well up to {last} at once." if well else f"Too much at {last} at once.")
        raise typer.Exit(0 if well else 1)
