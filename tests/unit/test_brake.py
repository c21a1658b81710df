"""Lives that end before they run are counted; and what does not start keeps no API down."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.support.waiting import PATIENCE_S

from llmbot.app.lifecycle.recovery_mode import RecoveryMode, RecoveryModeChanged, RecoverySettings
from llmbot.app.lifecycle.restart_brake import FILE_NAME, FREE, PAUSE_MAX_S, WITHIN_S, Brake
from llmbot.app.lifecycle.supervisor import ServiceState, Supervisor
from llmbot.kernel.clock import ManualClock, SystemClock
from llmbot.kernel.errors import CredentialsError, ServiceStartError, StartupError
from llmbot.kernel.events import EventBus, GatewayChanged

QUICK = RecoverySettings(pause_first_s=0.01, pause_max_s=0.02)


def test_lives_that_never_ran_are_braked(tmp_path: Path) -> None:
    """A few failed starts are free, then the pauses double up to their cap."""
    clock = ManualClock()
    pauses = [Brake(tmp_path, clock).begin().pause_s for _ in range(FREE + 9)]
    assert pauses[:FREE] == [0.0] * FREE
    assert pauses[FREE : FREE + 4] == [1.0, 2.0, 4.0, 8.0]
    assert pauses[-1] == PAUSE_MAX_S


def test_lives_that_ran_are_never_braked(tmp_path: Path) -> None:
    """However often a bot that ran is killed, the next life begins at once."""
    clock = ManualClock()
    for _ in range(1000):
        brake = Brake(tmp_path, clock)
        assert brake.begin().pause_s == 0
        brake.served()


def test_old_failures_are_forgotten(tmp_path: Path) -> None:
    """Failed starts of long ago, or of a future that a clock once showed, brake nothing."""
    clock = ManualClock()
    for _ in range(FREE + 5):
        Brake(tmp_path, clock).begin()
    clock.advance(WITHIN_S + 1)
    assert Brake(tmp_path, clock).begin().in_vain == 0
    clock.now_wall -= 10 * WITHIN_S
    assert Brake(tmp_path, clock).begin().in_vain == 0


@pytest.mark.parametrize("text", ["", "{}", '[1, null, "x"]', "\x00\xff"])
def test_a_damaged_record_brakes_nothing(tmp_path: Path, text: str) -> None:
    """The brake is never the reason why a bot stays down."""
    (tmp_path / FILE_NAME).write_text(text)
    assert Brake(tmp_path, ManualClock()).begin().pause_s == 0
    assert Brake(tmp_path / "nowhere" / "at" / "all", ManualClock()).begin().pause_s == 0


@dataclass
class Part:
    """A service that fails as often as a test says."""

    name: str
    needs: tuple[str, ...] = ()
    failures: list[StartupError] = field(default_factory=list)
    starts: int = 0
    stops: int = 0

    async def start(self) -> None:
        """Fail while there are failures left."""
        self.starts += 1
        if self.failures:
            raise self.failures.pop(0)

    async def stop(self) -> None:
        """Count."""
        self.stops += 1

    def trouble(self) -> str:
        """None."""
        return ""


def house(*parts: Part) -> tuple[RecoveryMode, Supervisor, EventBus, list[str]]:
    """A supervisor with an API and these parts, and its recovery mode."""
    clock = SystemClock()
    bus = EventBus(clock)
    supervisor = Supervisor(parts, bus, clock)
    told: list[str] = []
    return RecoveryMode(supervisor, ["api"], told.append, bus, clock, QUICK), supervisor, bus, told


async def test_what_does_not_start_keeps_the_api_up() -> None:
    """The API runs on and the reason is shown while the start is tried again, until it succeeds."""
    api = Part("api")
    store = Part("store", (), [ServiceStartError("the disk is full")] * 3)
    chat = Part("chat", ("store",))
    mode, supervisor, bus, told = house(api, store, chat)
    entered = bus.expect(RecoveryModeChanged)
    await mode.start()
    assert (await entered).reason == "the disk is full"
    assert supervisor.all_running
    assert (api.starts, api.stops) == (1, 0)
    assert (store.starts, chat.starts) == (4, 1)
    assert told == ["the disk is full"] * 3 + [""]
    assert mode.reason == ""
    await supervisor.stop_all()


async def test_what_no_try_can_mend_ends_the_start() -> None:
    """A refused token is told and not retried; nothing is left running."""
    api, discord = Part("api"), Part("discord", (), [CredentialsError()])
    mode, supervisor, _, told = house(api, discord)
    with pytest.raises(CredentialsError):
        await mode.start()
    assert discord.starts == 1
    assert told == []
    await supervisor.stop_all()
    assert api.stops == 1


async def test_without_an_api_there_is_nothing_to_wait_with() -> None:
    """Where the operator's own services do not start, the start fails for good."""
    api = Part("api", (), [ServiceStartError("no port")])
    mode, supervisor, _, _ = house(api, Part("store"))
    with pytest.raises(ServiceStartError):
        await mode.start()
    await supervisor.stop_all()


async def test_a_braked_start_waits_with_the_api_up() -> None:
    """After too many starts in vain the API comes first, says so, and the rest follows."""
    api, store = Part("api"), Part("store")
    mode, supervisor, bus, told = house(api, store)
    entered = bus.expect(RecoveryModeChanged)
    starting = asyncio.create_task(mode.start(pause_s=0.05, because="7 starts in vain"))
    assert "in vain" in (await entered).describe()
    assert (api.starts, store.starts) == (1, 0)
    await starting
    assert (api.starts, store.starts) == (1, 1)
    assert told == ["7 starts in vain", ""]
    await supervisor.stop_all()


async def test_a_gateway_that_refuses_for_good_keeps_the_chat_off() -> None:
    """Until a session is ready again the chat counts as off, whatever else is brought back."""
    mode, supervisor, bus, told = house(Part("api"), Part("discord"))
    bus.subscribe(mode.hear)
    bus.publish(GatewayChanged("fatal", "token refused"))
    await mode.start()
    assert mode.reason == "token refused"
    bus.publish(GatewayChanged("ready", "new session"))
    assert told == ["token refused", ""]
    await supervisor.stop_all()


async def test_an_operator_ends_the_pause() -> None:
    """Whoever starts a service by hand need not wait for the next try."""
    api, store = Part("api"), Part("store")
    mode, supervisor, bus, told = house(api, store)
    bus.subscribe(mode.hear)
    entered = bus.expect(RecoveryModeChanged)
    starting = asyncio.create_task(mode.start(pause_s=3600.0, because="7 starts in vain"))
    await entered
    await supervisor.restart("store")
    await starting
    assert supervisor.all_running
    assert store.starts == 1
    assert told[-1] == ""
    await supervisor.stop_all()


async def test_a_service_that_gives_up_is_brought_back() -> None:
    """A failed service is restarted with those that need it; when that is in vain, chat is off."""
    api, store, chat = Part("api"), Part("store"), Part("chat", ("store",))
    mode, supervisor, bus, told = house(api, store, chat)
    bus.subscribe(mode.hear)
    await mode.start()
    store.failures += [ServiceStartError("still broken")] * 4
    running = asyncio.create_task(mode.run())
    over = bus.expect(RecoveryModeChanged, lambda event: not event.on)

    async def die() -> None:
        raise RuntimeError

    supervisor.watch("pump", die, owner="store")
    async with asyncio.timeout(PATIENCE_S):
        await over
    running.cancel()
    await asyncio.wait((running,))
    assert supervisor.all_running
    assert told[0].startswith("service store: ")
    assert told[-1] == ""
    assert {f.state for f in supervisor.facts()} == {ServiceState.RUNNING}
    assert chat.starts == 2
    await supervisor.stop_all()
