"""Maintenance and queueing: what an operator switched on for a while."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from llmbot.conversation.modes import Modes, QueueingChanged
from llmbot.kernel.clock import ManualClock
from llmbot.kernel.events import EventBus
from llmbot.resilience.degradation import DegradationLadder, MaintenanceChanged


@dataclass(slots=True)
class Shelf:
    """Small facts that outlive a `Modes`."""

    facts: dict[str, str] = field(default_factory=dict)

    def set_meta(self, name: str, value: str) -> asyncio.Future[None]:
        """Keep it."""
        self.facts[name] = value
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    async def meta(self, name: str) -> str | None:
        """Read it."""
        return self.facts.get(name)


@dataclass(slots=True)
class Gate:
    """Notes what a queue would be told."""

    held: bool = False
    hastened: int = 0

    def hold(self, *, on: bool) -> None:
        """See `QueueGate.hold`."""
        self.held = on

    def hasten(self) -> int:
        """See `QueueGate.hasten`."""
        self.hastened += 1
        return 0


@dataclass(slots=True)
class Bench:
    """Lives of a process on one shelf and one clock."""

    shelf: Shelf = field(default_factory=Shelf)
    clock: ManualClock = field(default_factory=ManualClock)
    gate: Gate = field(default_factory=Gate)
    bus: EventBus = field(init=False)

    async def life(self) -> Modes:
        """A new life: nothing in memory, the shelf as it was left."""
        self.gate = Gate()
        self.bus = EventBus(self.clock)
        modes = Modes(
            DegradationLadder(self.clock, self.bus), self.gate, self.shelf, self.bus, self.clock
        )
        await modes.load()
        return modes


async def test_maintenance_holds_the_queue_until_it_ends() -> None:
    """While it lasts nothing is handed out; at its end all that waits is due."""
    bench = Bench()
    modes = await bench.life()
    assert await modes.set_maintenance("new disk", on=True)
    assert (modes.maintenance, bench.gate.held) == (True, True)
    assert not await modes.set_maintenance("again", on=True)
    assert await modes.set_maintenance("done", on=False)
    assert (modes.maintenance, bench.gate.held, bench.gate.hastened) == (False, False, 1)
    events = [p.event for p in bench.bus.history]
    assert [e.on for e in events if isinstance(e, MaintenanceChanged)] == [True, False]


async def test_maintenance_survives_a_restart() -> None:
    """A new life goes on with it, since when and why; one that ended stays ended."""
    bench = Bench()
    modes = await bench.life()
    await modes.set_maintenance("new disk", on=True)
    began = modes.facts().maintenance_since
    bench.clock.advance(100)
    modes = await bench.life()
    assert (modes.maintenance, bench.gate.held) == (True, True)
    assert (modes.facts().maintenance_since, modes.facts().maintenance_reason) == (
        began,
        "new disk",
    )
    await modes.set_maintenance("done", on=False)
    modes = await bench.life()
    assert (modes.maintenance, bench.gate.held) == (False, False)


async def test_time_in_maintenance_is_told_apart_from_waiting() -> None:
    """How long a message was held back is known during, after, and across a restart."""
    bench = Bench()
    modes = await bench.life()
    bench.clock.advance(50)
    sent = bench.clock.wall()
    bench.clock.advance(10)
    await modes.set_maintenance("", on=True)
    bench.clock.advance(1000)
    assert modes.held_s(sent) == 1000
    modes = await bench.life()
    bench.clock.advance(500)
    await modes.set_maintenance("", on=False)
    bench.clock.advance(30)
    assert modes.held_s(sent) == 1500
    assert modes.held_s(sent + 1010) == 500
    modes = await bench.life()
    assert modes.held_s(sent) == 1500
    assert modes.held_s(bench.clock.wall()) == 0


async def test_queueing_survives_a_restart_and_ends_with_all_due() -> None:
    """It is said when it begins and ends; at its end all that waits is due."""
    bench = Bench()
    modes = await bench.life()
    assert await modes.set_queueing("busy", on=True)
    assert not await modes.set_queueing("busy", on=True)
    modes = await bench.life()
    assert modes.queueing
    assert modes.facts().queueing_reason == "busy"
    assert await modes.set_queueing("calm", on=False)
    assert (modes.queueing, bench.gate.hastened) == (False, 1)
    events = [p.event for p in bench.bus.history]
    assert [e.on for e in events if isinstance(e, QueueingChanged)] == [False]
    assert not (await bench.life()).queueing


async def test_a_damaged_record_switches_nothing_on() -> None:
    """What cannot be read was never switched on, and does not keep the bot from starting."""
    bench = Bench()
    await (await bench.life()).set_maintenance("", on=True)
    bench.shelf.facts = dict.fromkeys(bench.shelf.facts, "{half")
    modes = await bench.life()
    assert not modes.maintenance
    bench.shelf.facts = dict.fromkeys(bench.shelf.facts, "[1]")
    assert not (await bench.life()).maintenance
