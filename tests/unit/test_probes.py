"""What confirms that trouble inside the bot is over is measured, each time anew."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from tests.support.plant import SetPlant
from tests.support.waiting import PATIENCE_S

from llmbot.adapters.loop_watch import LoopWatch
from llmbot.app.healing.probes import Probes
from llmbot.app.running import Running
from llmbot.app.settings.tree import Settings
from llmbot.kernel.clock import SystemClock
from llmbot.kernel.events import EventBus
from llmbot.operations.catalog.registry import RUNBOOKS
from llmbot.operations.ports import Check, Part
from llmbot.operations.runbook import Situation
from llmbot.operations.sensing.sensors import Reading


@dataclass(slots=True)
class JumpyClock(SystemClock):
    """The machine's clocks, the wall clock set forward in every sleep."""

    by_s: float = 0.0
    fast: float = field(default=1.0)

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        await SystemClock.sleep(self, seconds * self.fast)
        self.jump(self.by_s)


@dataclass(slots=True)
class FileOfSettings:
    """What the disk says, and what is in force."""

    on_disk: Settings
    in_force: Settings

    async def reread(self) -> Settings:
        """See `Reloader.reread`."""
        return self.on_disk


def probes(folder: Path, clock: SystemClock, watch: LoopWatch | None = None) -> Probes:
    """The probes of a bot of which only what they look at is there."""
    settings = Settings().replaced(
        storage={"log_dir": folder}, discord={"token": "a-very-secret-token"}
    )
    bot = SimpleNamespace(
        house=SimpleNamespace(clock=clock, settings=settings),
        operations=SimpleNamespace(sensors=SimpleNamespace(loop=watch)),
        mechanisms=SimpleNamespace(
            documents=SimpleNamespace(reloader=FileOfSettings(settings, settings))
        ),
    )
    return Probes(cast("Running", bot))


async def test_the_loop_is_measured_from_another_thread(tmp_path: Path) -> None:
    """A loop that gives a sign of life passes; one that is blocked meanwhile does not."""
    watch = LoopWatch(SystemClock(), EventBus(SystemClock()))
    looked = probes(tmp_path, SystemClock(), watch)
    assert not (await looked.look(Part.LOOP, "")).passed
    watch.start()
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not (await looked.look(Part.LOOP, "")).passed:
                pass  # a busy machine is late itself
        asyncio.get_running_loop().call_later(0.2, time.sleep, 0.9)
        assert "sign of life" in (await looked.look(Part.LOOP, "")).detail
        assert watch.lag().worst_ever_ms > 500
    finally:
        watch.stop()


@pytest.mark.parametrize(
    ("clock", "passed"),
    [(JumpyClock(), True), (JumpyClock(by_s=5.0), False), (JumpyClock(fast=0.1), False)],
    ids=["sound", "jumps", "early"],
)
async def test_the_clocks_are_held_against_each_other(
    clock: JumpyClock, passed: bool, tmp_path: Path
) -> None:
    """A wall clock that runs away, or a timer that is early, does not pass."""
    assert (await probes(tmp_path, clock).look(Part.CLOCK, "")).passed is passed


async def test_the_settings_are_read_again_and_the_log_with_them(tmp_path: Path) -> None:
    """Other settings on the disk than in force, or a secret in the log, do not pass."""
    looked = probes(tmp_path, SystemClock())
    assert (await looked.look(Part.CONFIG, "")).passed
    (tmp_path / "application.log").write_text("login with a-very-secret-token\n")
    assert (await looked.look(Part.CONFIG, "")).detail == "a secret stands in the log"
    (tmp_path / "application.log").write_text("login\n")
    held = looked._bot.mechanisms.documents.reloader
    cast("FileOfSettings", held).on_disk = Settings().replaced(limits={"attempts_max": 9})
    assert not (await looked.look(Part.CONFIG, "")).passed


async def test_a_sensor_is_believed_when_it_has_looked_anew(tmp_path: Path) -> None:
    """The reading of before says nothing; the next one decides."""
    looked = probes(tmp_path, SystemClock())
    old, blind = Reading("memory", 16, 0.0, 0, ""), Reading("memory", 16, 1.0, 0, "KeyError")
    readings = {"memory": old}
    looked.readings = readings
    asked = asyncio.create_task(looked.look(Part.SENSORS, ""))
    assert not (await asyncio.wait({asked}, timeout=0.05))[0]
    readings["memory"] = blind
    assert "memory" in (await asked).detail
    asked = asyncio.create_task(looked.look(Part.SENSORS, ""))
    await SystemClock().sleep(0)
    readings["memory"] = replace(blind, at_s=2.0, failed="")
    assert (await asked).passed


async def test_every_runbook_asks_what_can_be_asked(tmp_path: Path) -> None:
    """No validation asks a part that has no probe: that would never pass."""
    asked: set[Part] = set()

    def note(part: Part, _: str) -> bool:
        asked.add(part)
        return True

    for book in RUNBOOKS.values():
        situation = Situation(book.name, (), SetPlant(probes=note), SystemClock())
        assert isinstance(await book.validate(situation), Check)
    looked = probes(tmp_path, SystemClock())
    assert {part for part in Part if looked.has(part)} >= asked
