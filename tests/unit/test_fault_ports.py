"""Nothing is broken on purpose during an incident, nor in a live bot unasked; each fault ends."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import httpx2
import pytest
from fastapi import FastAPI
from tests.support.operators import recorded_in, recording

from llmbot.app.drill_desk import DrillDesk
from llmbot.app.fault_ports import FAULTS, FaultPorts
from llmbot.app.running import Running
from llmbot.console.api.drills import drill_routes
from llmbot.kernel.clock import SystemClock
from llmbot.kernel.errors import RefusedError
from llmbot.kernel.events import EventBus


def ports(folder: Path, *, mode: str = "simulated", well: bool = True) -> FaultPorts:
    """Ports of a bot of which only what the fault of TEMP_DIR touches is there."""
    temp = folder / "temp"
    temp.mkdir()
    house = SimpleNamespace(
        mode=mode,
        bus=EventBus(SystemClock()),
        clock=SystemClock(),
        settings=SimpleNamespace(storage=SimpleNamespace(temp_dir=temp)),
    )
    return FaultPorts(cast("Running", SimpleNamespace(house=house)), lambda: well)


async def test_a_live_bot_is_broken_only_when_told_so(tmp_path: Path) -> None:
    """Without the flag a live bot refuses every fault; with it the fault comes, and ends."""
    faults = ports(tmp_path, mode="live")
    for name in FAULTS:
        with pytest.raises(RefusedError, match="live"):
            await faults.begin(name, 1.0)
    await faults.begin("bot.temp", 60.0, live=True)
    assert not (tmp_path / "temp").exists()
    await faults.end("bot.temp")
    assert (tmp_path / "temp").is_dir()


async def test_nothing_is_broken_during_an_incident(tmp_path: Path) -> None:
    """While an incident goes on every fault is refused."""
    faults = ports(tmp_path, well=False)
    for name in FAULTS:
        with pytest.raises(RefusedError, match="incident"):
            await faults.begin(name, 1.0)


async def test_a_fault_ends_by_itself_and_with_the_bot(tmp_path: Path) -> None:
    """After its time, and at the latest when the bot stops, things are as they were."""
    faults = ports(tmp_path)
    await faults.begin("bot.temp", 0.01)
    on = faults._on["bot.temp"].task
    await on
    assert (tmp_path / "temp").is_dir()
    await faults.end("bot.temp")
    await faults.begin("bot.temp", 300.0)
    await faults.close()
    assert (tmp_path / "temp").is_dir()


async def test_the_api_tells_what_may_be_broken_and_why_not(tmp_path: Path) -> None:
    """Unknown faults, faults that are on already and foreign lengths are refused with a reason."""
    faults = ports(tmp_path)
    app = FastAPI()
    app.include_router(drill_routes(lambda: faults, DrillDesk(tmp_path, simulated=False)))
    transport = httpx2.ASGITransport(app=app)
    async with (
        recording(app, tmp_path),
        httpx2.AsyncClient(transport=transport, base_url="http://bot") as client,
    ):
        assert set((await client.get("/api/drills")).json()["faults"]) == set(FAULTS)
        put = client.put
        assert (await put("/api/drills/bot.temp", json={"seconds": 5})).status_code == 200
        assert (await put("/api/drills/bot.temp", json={"seconds": 5})).status_code == 409
        assert (await put("/api/drills/bot.sun", json={})).status_code == 404
        assert (await put("/api/drills/bot.loop", json={"seconds": 1e9})).status_code == 422
        assert (await client.delete("/api/drills/bot.temp")).status_code == 200
    await faults.close()
    assert [(action, outcome) for _, action, _, outcome in recorded_in(tmp_path)] == [
        ("drill/fault-on", "done"),
        ("drill/fault-on", "refused"),
        ("drill/fault-off", "done"),
    ]
