"""Some of the drills, in a demo of their own: real processes, real faults, real healing."""

from __future__ import annotations

import pytest

from llmbot.console.cli_client import Remote
from llmbot.console.drill_demo import own_demo
from llmbot.console.drill_runner import DrillRunner
from llmbot.kernel.clock import SystemClock
from llmbot.operations.drills import DRILLS
from llmbot.storage.instance import read_instance


def unused() -> None:
    """No drill of these kills the process."""


@pytest.mark.slow
async def test_faults_are_named_and_mended_and_cost_no_answer() -> None:
    """A model's outage, a lost gateway and a failed service: named, mended, nobody unanswered."""
    with own_demo(lambda _: None) as data:
        facts = read_instance(data)
        assert facts is not None
        assert facts.simulator_address is not None
        bot, simulators = Remote(facts.http_address), Remote(facts.simulator_address)
        runner = DrillRunner(bot, simulators, unused, SystemClock())
        verdicts = [await runner.run(DRILLS[n]) for n in ("model-503", "gateway-drop", "service")]
    for verdict in verdicts:
        assert verdict.mended_after_s is not None, verdict
        assert verdict.right_cause, verdict
        assert verdict.right_runbook, verdict
        assert verdict.nothing_lost, verdict
