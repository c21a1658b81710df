"""A few real kills with signal 9, faults and refused resumes between them; then the count."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.crash.harness.chaos import Plan, torment
from tests.crash.harness.run import stage

pytestmark = pytest.mark.slow


async def test_a_few_kills_lose_nothing(tmp_path: Path) -> None:
    """Killed at work and in its start, the bot gives every question one whole answer."""
    plan = Plan(kills=3, faults_a_life=0.5, asked_a_life=6, asked_while_down=2)
    async with stage(tmp_path, seed=5) as scene:
        told = await torment(scene, plan, lambda _: None)
        verdict = await scene.verdict()
    assert told.ended_by_itself == 0
    assert verdict.perfect, "\n".join(verdict.lines())
