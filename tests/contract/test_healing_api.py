"""The control plane's side of the operator API, over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from tests.support.control_plane import Plane, plane
from tests.support.operators import recorded_in, recording
from tests.support.plant import RecordingHand, SetPlant

from llmbot.app.healing.desk import BotDesk
from llmbot.console.api.incidents import incident_routes
from llmbot.console.api.runbooks import runbook_routes
from llmbot.kernel.clock import ManualClock
from llmbot.operations.catalog.registry import RUNBOOKS
from llmbot.operations.executor import Order, Outcome, Result
from llmbot.operations.incidents.incidents import Incident
from llmbot.operations.incidents.report import as_markdown
from llmbot.operations.ports import Check
from llmbot.operations.runbook import Runbook


class PlaneDesk:
    """A desk over the control plane of a test."""

    def __init__(self, house: Plane) -> None:
        self.house = house

    def explain(self) -> Mapping[str, Any]:
        """See `Desk`."""
        return {"well": not self.house.healing.causes}

    def incidents(self) -> Sequence[Incident]:
        """See `Desk`."""
        return self.house.incidents.all()

    def incident(self, key: str) -> Incident | None:
        """See `Desk`."""
        return next(iter(self.incidents()), None) if key == "last" else None

    async def note(self, key: str, text: str, by: str) -> bool:
        """See `Desk`."""
        return await self.house.healing.incident_log.note(key, text, by)

    def runbooks(self) -> Sequence[Runbook]:
        """See `Desk`."""
        return tuple(RUNBOOKS.values())

    def state_of(self, runbook: str) -> Mapping[str, Any]:
        """See `Desk`."""
        return {"setAside": self.house.rails.set_aside().get(runbook, ""), "asks": []}

    async def run(self, runbook: Runbook, target: str, by: str, *, dry: bool) -> Result:
        """See `Desk`."""
        order = Order(runbook, "by hand", (target,), "", by=by, dry=dry)
        return await self.house.executor.run(order, unwell=frozenset(), confirmed=lambda: True)

    async def approve(self, runbook: str, by: str) -> Sequence[str]:
        """See `Desk`."""
        return await self.house.approvals.give(runbook, by)

    async def return_to_use(self, runbook: str, by: str) -> None:
        """See `Desk`."""
        await self.house.journal.add("book.returned", runbook=runbook, by=by)

    def history(self) -> Sequence[Mapping[str, Any]]:
        """See `Desk`."""
        return ()

    def rails(self) -> Mapping[str, Any]:
        """See `Desk`."""
        return {"killed": self.house.rails.killed}

    async def kill(self, reason: str, by: str) -> None:
        """See `Desk`."""
        await self.house.journal.add("rails.killed", reason=reason, by=by)

    async def pause(self, reason: str, by: str, for_s: float | None = None) -> None:
        """See `Desk`."""
        until = None if for_s is None else self.house.rails.clock.wall() + for_s
        await self.house.journal.add("rails.paused", reason=reason, by=by, until=until)

    async def verify(self) -> Sequence[Check]:
        """See `Desk`."""
        return (Check("status", passed=True, detail="well"),)


@pytest.fixture
def house(tmp_path: Path) -> Plane:
    """A control plane."""
    clock = ManualClock()
    return plane(tmp_path, clock, RecordingHand(clock), SetPlant())


@asynccontextmanager
async def client(house: Plane, directory: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """The routes, asked in the same loop."""
    app = FastAPI()
    desk = PlaneDesk(house)
    app.include_router(incident_routes(lambda: desk))
    app.include_router(runbook_routes(lambda: desk))
    transport = httpx2.ASGITransport(app=app)
    async with (
        recording(app, directory),
        httpx2.AsyncClient(transport=transport, base_url="http://test") as api,
    ):
        yield api


async def test_an_incident_is_shown_reported_and_noted(house: Plane, tmp_path: Path) -> None:
    """The report by API is the report of the journal, and a note stands in it."""
    await house.journal.add("incident.opened", incident="inc-1", severity="P1")
    async with client(house, tmp_path) as api:
        assert (await api.get("/api/incidents")).json()["open"] == "inc-1"
        noted = await api.post("/api/incidents/last/note", json={"text": "seen"})
        assert noted.json()["success"]
        report = await api.get("/api/incidents/last/report")
        assert report.text == as_markdown(house.incidents.all()[0])
        assert "seen" in report.text
        missing = await api.get("/api/incidents/none")
        assert (missing.status_code, "inc-1" in missing.json()["detail"]) == (404, True)


async def test_a_dry_run_by_api_acts_on_nothing(house: Plane, tmp_path: Path) -> None:
    """A dry run answers the acts that it would do; a run by hand does them."""
    async with client(house, tmp_path) as api:
        told = await api.post("/api/runbooks/disk/run", json={"dryRun": True})
        assert told.json()["outcome"] == Outcome.TOLD
        assert told.json()["acts"] == ["clean-temp"]
        done = await api.post("/api/runbooks/disk/run", json={})
        assert done.json()["outcome"] == Outcome.MENDED
        assert (await api.get("/api/runbooks/none")).status_code == 404


async def test_the_kill_switch_refuses_a_run_by_hand_too(house: Plane, tmp_path: Path) -> None:
    """While the switch is thrown nobody runs anything."""
    async with client(house, tmp_path) as api:
        await api.post("/api/runbooks/kill", json={"reason": "stop"})
        refused = await api.post("/api/runbooks/disk/run", json={})
        assert refused.status_code == 409
        assert refused.json()["refused"]["kill switch"] == "stop"
        await api.post("/api/runbooks/kill", json={})
        assert (await api.post("/api/runbooks/disk/run", json={})).status_code == 200


async def test_what_people_do_to_it_is_in_the_audit(house: Plane, tmp_path: Path) -> None:
    """Runs, approvals, switches and notes are recorded by who asked, as in the journal."""
    await house.journal.add("incident.opened", incident="inc-1", severity="P1")
    async with client(house, tmp_path) as api:
        await api.post("/api/runbooks/disk/run", json={"dryRun": True})
        await api.post("/api/runbooks/disk/approve")
        await api.post("/api/runbooks/kill", json={"reason": "stop"})
        await api.post("/api/runbooks/pause", json={"reason": "a test", "minutes": 2})
        await api.post("/api/incidents/last/note", json={"text": "seen"})
        await api.post("/api/runbooks/none/run", json={})
    assert recorded_in(tmp_path) == [
        ("loopback", "runbook/run", "disk", "done"),
        ("loopback", "runbook/approve", "disk", "done"),
        ("loopback", "runbook/kill", "", "done"),
        ("loopback", "runbook/pause", "", "done"),
        ("loopback", "incident/note", "inc-1", "done"),
    ]
    assert "loopback" in as_markdown(house.incidents.all()[0])


async def test_a_pause_ends_when_its_minutes_are_over(house: Plane, tmp_path: Path) -> None:
    """A pause with minutes refuses what is automatic until then, and no longer."""
    async with client(house, tmp_path) as api:
        await api.post("/api/runbooks/pause", json={"reason": "a test", "minutes": 2})
        clock = house.rails.clock
        assert isinstance(clock, ManualClock)
        clock.advance(119)
        assert house.rails.pause == "a test"
        clock.advance(2)
        assert house.rails.pause == ""
        await api.post("/api/runbooks/pause", json={"reason": "for good"})
        clock.advance(10_000)
        assert house.rails.pause == "for good"


def test_the_desk_answers_nothing_before_the_bot_is_put_together() -> None:
    """Asked too early, the desk says so instead of inventing an answer."""
    with pytest.raises(RuntimeError, match="not put together"):
        BotDesk(lambda: None).explain()
