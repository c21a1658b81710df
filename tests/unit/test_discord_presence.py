"""What the bot shows beside its name, at a pace that Discord allows."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from llmbot.adapters.discord.presence import GatewayPresence
from llmbot.kernel.clock import ManualClock


@dataclass
class Wire:
    """A connection that notes what is sent, or is broken."""

    broken: bool = False
    sent: asyncio.Queue[str] = field(default_factory=asyncio.Queue)

    async def send_as_json(self, data: Any) -> None:
        if self.broken:
            raise ConnectionResetError
        self.sent.put_nowait(data["d"]["activities"][0]["state"])


async def test_at_most_four_updates_in_twenty_seconds_and_the_last_wish_wins() -> None:
    """Wishes beyond the pace wait, and only the newest of them is sent."""
    clock, wire = ManualClock(), Wire()
    presence = GatewayPresence(clock)
    running = asyncio.create_task(presence.run())
    presence.attach(wire)
    for number in range(4):
        await presence.show("online", f"wish {number}")
        assert await wire.sent.get() == f"wish {number}"
    for number in range(4, 9):
        await presence.show("online", f"wish {number}")
    while not clock.sleepers:
        await asyncio.wait({running}, timeout=0.001)
    assert wire.sent.empty()
    clock.advance(20.1)
    assert await wire.sent.get() == "wish 8"
    running.cancel()


async def test_same_wish_is_sent_once_for_each_connection() -> None:
    """A wish repeated costs nothing; a new connection is told it anew."""
    first, second = Wire(), Wire()
    presence = GatewayPresence(ManualClock())
    running = asyncio.create_task(presence.run())
    await presence.show("idle", "resting")
    presence.attach(first)
    assert await first.sent.get() == "resting"
    await presence.show("idle", "resting")
    presence.attach(second)
    assert await second.sent.get() == "resting"
    assert first.sent.empty()
    running.cancel()


async def test_broken_connection_is_no_error() -> None:
    """A wish that could not be sent is shown on the next connection."""
    presence = GatewayPresence(ManualClock())
    running = asyncio.create_task(presence.run())
    presence.attach(Wire(broken=True))
    await presence.show("dnd", "in trouble")
    wire = Wire()
    presence.attach(wire)
    assert await wire.sent.get() == "in trouble"
    running.cancel()
