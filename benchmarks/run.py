"""The same load on the same simulators for llmbot and for a bare bot, side by side.

    .venv/bin/python -m benchmarks.run [--quick] [--json FILE] [--only llmbot|bare]

Simulators and users share one core, the bot has the other. Each round starts every bot afresh, in
turns; figures are medians over the rounds. Every answer is checked against what the model said.
The exit code is 1 where an answer of llmbot is missing or wrong; aims are shown, not enforced.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
from pathlib import Path

import orjson
import uvloop
from benchmarks.contender import NAMES, contender, pin
from benchmarks.report import CHECKS, aims, conditions, medians, table
from benchmarks.scenarios import Figures, Sizes, burst, flood, growth, lag, paced, warm_up
from benchmarks.stage import Stage

FULL = Sizes(
    rounds=3,
    paced=200,
    pace_per_s=20,
    flood=2000,
    flood_users=300,
    burst=150,
    conversations=10_000,
)
QUICK = Sizes(
    rounds=1,
    paced=80,
    pace_per_s=20,
    flood=800,
    flood_users=300,
    burst=60,
    conversations=600,
)


async def one_round(name: str, sizes: Sizes, *, pinned: bool) -> Figures:
    """Latency, throughput and rate limits, on a fresh bot and fresh simulators."""
    stage = Stage()
    address = await stage.start()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="llmbot-bench-") as place,
            contender(name, address, Path(place), core=1 if pinned else None) as bot,
        ):
            await bot.ready(stage)
            await warm_up(stage)
            figures = {"start.rss_mib": bot.rss_mib}
            gc.collect()
            for scenario in (paced, flood, burst):
                figures |= await scenario(stage, bot, sizes)
            if name == "llmbot":
                figures |= await lag(stage, bot, sizes, Path(place) / "data")
            return figures
    finally:
        await stage.stop()


async def one_growth(name: str, sizes: Sizes, *, pinned: bool) -> Figures:
    """Memory over many conversations, on a fresh bot and fresh simulators."""
    stage = Stage()
    address = await stage.start()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="llmbot-bench-") as place,
            contender(name, address, Path(place), core=1 if pinned else None) as bot,
        ):
            await bot.ready(stage)
            return await growth(stage, bot, sizes)
    finally:
        await stage.stop()


async def measure(sizes: Sizes, names: tuple[str, ...]) -> dict[str, list[Figures]]:
    """All rounds of all bots, in turns, and then the growth of each."""
    pinned = pin(os.getpid(), 0)
    rounds: dict[str, list[Figures]] = {name: [] for name in names}
    for number in range(sizes.rounds):
        # Who comes second may find the disk warm or the machine busy: they take turns at that.
        for name in names if number % 2 == 0 else reversed(names):
            _say(f"round {number + 1} of {sizes.rounds}: {name}")
            rounds[name].append(await one_round(name, sizes, pinned=pinned))
    for name in names:
        _say(f"{sizes.conversations} conversations: {name}")
        rounds[name].append(await one_growth(name, sizes, pinned=pinned))
    return rounds


def _say(words: str) -> None:
    print(f"==> {words}", file=sys.stderr, flush=True)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one short round, below 90 seconds")
    parser.add_argument("--rounds", type=int, help="instead of the usual number")
    parser.add_argument("--json", type=Path, help="write every figure of every round there")
    parser.add_argument("--only", choices=NAMES, help="one of the two")
    options = parser.parse_args()
    sizes: Sizes = QUICK if options.quick else FULL
    if options.rounds:
        sizes = Sizes(**{**_as_dict(sizes), "rounds": options.rounds})
    rounds = uvloop.run(measure(sizes, (options.only,) if options.only else NAMES))
    told = {name: medians(each) for name, each in rounds.items()}
    print(table(told))
    print(aims(told))
    if options.json:
        body = {"conditions": conditions(), "sizes": sizes, "medians": told, "rounds": rounds}
        options.json.write_bytes(orjson.dumps(body, option=orjson.OPT_INDENT_2))
    ours = told.get("llmbot", {})
    return int(any(ours.get(check) for check in CHECKS))


def _as_dict(sizes: Sizes) -> dict[str, float]:
    return {name: getattr(sizes, name) for name in Sizes.__dataclass_fields__}


if __name__ == "__main__":
    sys.exit(main())
