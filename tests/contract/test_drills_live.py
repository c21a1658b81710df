"""Some of the drills, in a demo of their own: real processes, real faults, real healing."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.support.waiting import PATIENCE_S

from llmbot.console.cli.client import CommandError, NotRunningError, Remote
from llmbot.console.drills.demo import own_demo
from llmbot.console.drills.runner import DrillRunner
from llmbot.kernel.clock import Random, SystemClock
from llmbot.operations.drills.drills import DRILLS
from llmbot.storage.instance import read_instance


def unused() -> None:
    """No drill of these kills the process."""


async def asked(bot: Remote, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """The answer; None while nobody answers."""
    with suppress(CommandError, NotRunningError):
        return await asyncio.to_thread(bot.ask, method, path, body)
    return None


async def until_well(bot: Remote) -> None:
    """Return once nothing is wrong, no incident is open and no run is under way."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = await asked(bot, "GET", "/api/diagnosis")
            history = await asked(bot, "GET", "/api/runbooks/history")
            if found and history and found["well"] and found["incident"] is None:
                assert "running" not in {run["outcome"] for run in history["runs"]}
                return
            await SystemClock().sleep(0.2)


@pytest.mark.slow
async def test_faults_are_named_and_mended_and_cost_no_answer() -> None:
    """A model's outage and a failed service are named and mended, and nobody stays unanswered."""
    with own_demo(lambda _: None) as data:
        facts = read_instance(data)
        assert facts is not None
        assert facts.simulator_address is not None
        bot, simulators = Remote(facts.http_address), Remote(facts.simulator_address)
        runner = DrillRunner(bot, simulators, unused, SystemClock())
        verdicts = [await runner.run(DRILLS[name]) for name in ("model-503", "service")]
    for verdict in verdicts:
        assert verdict.mended_after_s is not None, verdict
        assert verdict.right_cause, verdict
        assert verdict.right_runbook, verdict
        assert verdict.nothing_lost, verdict


STEPS = ("run.started", "step.begun", "step.done", "run.validated", "run.ended")
"""What the journal tells of a run that restarts a service, in order."""


def journaled(data: Path) -> list[dict[str, Any]]:
    """What the journal of the control plane tells; a line under way is left out."""
    lines = [
        line
        for path in sorted((data / "journal").glob("journal-*.log"))
        for line in path.read_bytes().splitlines(keepends=True)
    ]
    return [orjson.loads(line) for line in lines if line.endswith(b"}\n")]


async def until_killed_at(data: Path, bot: Remote, kind: str, pause_s: float) -> None:
    """Break a service, and kill the bot `pause_s` after its recovery has written such an entry."""
    # Two runs that a kill broke off set a runbook aside, until a person returns it to use.
    await asked(bot, "POST", "/api/runbooks/service-start/approve", {})
    known = len(journaled(data))
    running = read_instance(data)
    assert running is not None
    assert await asked(bot, "PUT", "/api/drills/bot.service", {"seconds": 1})
    async with asyncio.timeout(PATIENCE_S):
        while kind not in {entry["kind"] for entry in journaled(data)[known:]}:
            await SystemClock().sleep(0.001)
    await SystemClock().sleep(pause_s)
    os.kill(running.pid, signal.SIGKILL)
    async with asyncio.timeout(PATIENCE_S):
        while True:
            back = read_instance(data)
            if back is not None and back.http_address and back.pid != running.pid:
                return
            await SystemClock().sleep(0.1)


@pytest.mark.slow
async def test_a_recovery_that_is_killed_at_any_step_is_ended_by_the_next_life() -> None:
    """Signal 9 right after each entry of a run: the next life ends it, tells it, and is well."""
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")  # noqa: T201 - shown where the test fails
    chance = Random(seed)
    with own_demo(lambda _: None) as data:
        facts = read_instance(data)
        assert facts is not None
        bot = Remote(facts.http_address)
        for kind in STEPS:
            await until_well(bot)
            await until_killed_at(data, bot, kind, chance.choice((0.0, 0.002, 0.01)))
        await until_well(bot)
        states = (await asked(bot, "GET", "/api/health/services"))["services"]
        assert {service["state"] for service in states.values()} == {"running"}
        runs = Counter(e["data"]["run"] for e in journaled(data) if e["kind"] == "run.started")
        ends = [e["data"] for e in journaled(data) if e["kind"] == "run.ended"]
        assert Counter(end["run"] for end in ends) == runs
        for end in ends:
            told = (await asked(bot, "GET", f"/api/incidents/{end['incident']}"))["timeline"]
            assert any(end["reason"] in line["what"] for line in told)
