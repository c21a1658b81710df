"""Run the judge from the command line: `python -m tests.crash.kills --kills 100 --seed 1`."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.crash.harness.chaos import Plan, torment
from tests.crash.harness.outside import monotonic
from tests.crash.harness.processes import Pace
from tests.crash.harness.run import stage


def main() -> int:
    """Torment a bot and print the count; 0 where nothing is amiss."""
    parser = argparse.ArgumentParser(prog="tests.crash.kills", description=__doc__)
    add = parser.add_argument
    add("--kills", type=int, default=100)
    add("--seed", type=int, default=1)
    add("--users", type=int, default=12)
    add("--faults", type=float, default=0.5, help="how many lives have faults, 0 to 1")
    add("--forgotten", type=float, default=0.2, help="how many starts find no session, 0 to 1")
    add("--limits", action="store_true", help="with Discord's rate limits")
    add("--heartbeat", type=float, default=2.0, help="seconds; short ones show zombies soon")
    add("--keep", type=Path, help="keep logs and data here")
    options = parser.parse_args()
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
        return asyncio.run(_run(options, options.keep))
    with tempfile.TemporaryDirectory(prefix="llmbot-crash-") as directory:
        return asyncio.run(_run(options, Path(directory)))


async def _run(options: argparse.Namespace, directory: Path) -> int:
    plan = Plan(
        kills=options.kills,
        faults_a_life=options.faults,
        forgotten_sessions=options.forgotten,
    )
    pace = Pace(seed=options.seed, heartbeat_s=options.heartbeat)
    began = monotonic()
    async with stage(
        directory, seed=options.seed, pace=pace, users=options.users, limits=options.limits
    ) as scene:
        told = await torment(scene, plan, _say)
        verdict = await scene.verdict()
        statistics = await scene.control.statistics()
    for line in verdict.lines():
        _say(line)
    _say(", ".join(f"{kind} {count}" for kind, count in sorted(told.kills.items())))
    if told.faults:
        _say("faults: " + ", ".join(f"{k} {n}" for k, n in sorted(told.faults.items())))
    if told.ended_by_itself:
        _say(f"ended by itself: {told.ended_by_itself}")
    shown = ("identifies", "resumes", "resumes_refused", "events_replayed", "nonce_duplicates")
    _say(", ".join(f"{name} {statistics[name]}" for name in shown))
    _say(f"{monotonic() - began:.0f} s, seed {options.seed}")
    return 0 if verdict.perfect and not told.ended_by_itself else 1


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
