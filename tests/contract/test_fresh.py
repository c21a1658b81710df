"""The status is kept for a moment: many who look cost one look, and nobody sees what is past."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.support.operators import House, Served, serving

from llmbot.console.api.problem import SECURITY_HEADERS
from llmbot.console.gate.gate import GateSettings
from llmbot.console.views import Life
from llmbot.kernel.clock import ManualClock

STATUS = "/api/health/status"
FRESH_S = GateSettings().status_age_max_s


@dataclass
class Counting(House):
    """Counts how often it is looked at."""

    looks: int = 0

    def life(self) -> Life:
        self.looks += 1
        return super().life()


async def status_of(served: Served) -> str:
    """What the view tells."""
    answer = await served.call(STATUS)
    assert answer.status == 200
    for name, value in SECURITY_HEADERS.items():
        assert answer.header(name) == value
    return str(answer.json()["status"])


async def test_many_who_look_cost_one_look(tmp_path: Path) -> None:
    """Within a moment the parts are asked once; after it, anew. Each answer is whole."""
    clock, house = ManualClock(), Counting()
    async with serving(tmp_path, house, clock=clock, status_age_max_s=FRESH_S) as served:
        assert {await status_of(served) for _ in range(20)} == {"healthy"}
        assert house.looks == 1
        clock.advance(FRESH_S)
        assert await status_of(served) == "healthy"
        assert house.looks == 2


async def test_what_an_action_changed_is_seen_at_once(tmp_path: Path) -> None:
    """After anything but a reading, what was kept is forgotten."""
    house = Counting()
    async with serving(tmp_path, house, clock=ManualClock(), status_age_max_s=FRESH_S) as served:
        assert await status_of(served) == "healthy"
        house.life_now = Life.MAINTENANCE
        assert await status_of(served) == "healthy"
        await served.call("/api/admin/gc", "POST")
        assert await status_of(served) == "maintenance"


async def test_what_is_kept_is_for_nobody_else(tmp_path: Path) -> None:
    """The gate stands before it: a foreign page and a wrong token get nothing of what is kept."""
    clock, gate = ManualClock(), GateSettings(token="a-token")
    async with serving(tmp_path, gate=gate, clock=clock, status_age_max_s=FRESH_S) as served:
        ours = [("Authorization", "Bearer a-token")]
        assert (await served.call(STATUS, headers=ours)).status == 200
        assert (await served.call(STATUS)).status == 401
        foreign = [*ours, ("Origin", "http://evil.example")]
        assert (await served.call(STATUS, headers=foreign)).status == 403
        assert (await served.call(STATUS, headers=ours, host="evil.example")).status == 403


async def test_a_failure_is_not_kept(tmp_path: Path) -> None:
    """Only an answer that went well is told again."""
    house = Counting(broken=True)
    async with serving(tmp_path, house, clock=ManualClock(), status_age_max_s=FRESH_S) as served:
        assert (await served.call(STATUS)).status == 500
        house.broken = False
        assert await status_of(served) == "healthy"
