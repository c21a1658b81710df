"""Some of the drills, in a demo of their own: real processes, real faults, real healing."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import Any

import pytest
from tests.support.waiting import PATIENCE_S

from llmbot.console.cli.client import CommandError, NotRunningError, Remote
from llmbot.console.drills.demo import own_demo
from llmbot.console.drills.runner import DrillRunner
from llmbot.kernel.clock import SystemClock
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


@pytest.mark.slow
async def test_a_recovery_that_is_killed_is_ended_by_the_next_life() -> None:
    """Signal 9 at different moments of a recovery: the next life ends the run and is well."""
    with own_demo(lambda _: None) as data:
        facts = read_instance(data)
        assert facts is not None
        bot = Remote(facts.http_address)
        for delay_s in (0.6, 0.9, 1.3):
            await until_well(bot)
            assert await asked(bot, "PUT", "/api/drills/bot.service", {"seconds": 1})
            await SystemClock().sleep(delay_s)
            running = read_instance(data)
            assert running is not None
            os.kill(running.pid, signal.SIGKILL)
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    back = read_instance(data)
                    if back is not None and back.http_address and back.pid != running.pid:
                        break
                    await SystemClock().sleep(0.1)
        await until_well(bot)
        states = (await asked(bot, "GET", "/api/health/services"))["services"]
        assert {service["state"] for service in states.values()} == {"running"}
