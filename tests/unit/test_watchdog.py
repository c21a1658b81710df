"""systemd hears that all is well only while messages get on."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.support.conversation import talk

from llmbot.adapters.systemd import Systemd
from llmbot.app.lifecycle.watchdog import Progress, WatchdogService
from llmbot.kernel.clock import ManualClock
from llmbot.kernel.events import EventBus, JobMoved


async def test_systemd_is_told_only_while_there_is_progress(tmp_path: Path) -> None:
    """A message that nobody takes silences the watchdog; one that moves wakes it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        clock = ManualClock()
        bus = EventBus(clock)
        async with talk(tmp_path / "db", running=False) as t:
            progress = Progress(t.queue, t.workers, clock, stuck_s=60.0)
            dog = WatchdogService(Systemd(str(tmp_path / "notify"), 30.0), bus, clock)
            dog.progress = progress
            bus.subscribe(progress.hear)
            clock.advance(3600.0)
            assert dog.look(), "there is nothing to do"
            await t.inbox.accept(t.question("hello"), None)
            assert dog.look()
            clock.advance(61.0)
            assert not dog.look(), "nobody takes it"
            bus.publish(JobMoved(1, "waiting", "leased", ""))
            assert dog.look()
        told = [manager.recv(1000) for _ in range(4)]
        assert told[0] == told[1] == told[3] == b"WATCHDOG=1"
        assert told[2] == b"STATUS=no message has moved for 61 s"
