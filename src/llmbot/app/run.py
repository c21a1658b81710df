"""The life of the process: build, start, serve until a signal or a request, stop cleanly."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from llmbot import __version__
from llmbot.adapters.host import return_freed_memory
from llmbot.adapters.systemd import Systemd
from llmbot.app.bootstrap import build
from llmbot.app.drill_desk import DrillDesk
from llmbot.app.healing.desk import BotDesk
from llmbot.app.healing.wiring import HealingService, build_control_plane
from llmbot.app.lifecycle.recovery_mode import RecoveryMode
from llmbot.app.lifecycle.restart_brake import Brake
from llmbot.app.lifecycle.watchdog import Progress, WatchdogService
from llmbot.app.operator_side import OperatorSide
from llmbot.app.parts import Bot, House, Mode
from llmbot.app.settings.tree import Settings
from llmbot.app.telemetry.logs import Telemetry
from llmbot.app.telemetry.service import LogService
from llmbot.console.dashboard.service import Dashboard
from llmbot.console.views import Life
from llmbot.kernel.clock import Clock, Random, SystemClock
from llmbot.kernel.events import EventBus, Noted
from llmbot.kernel.ids import this_owner
from llmbot.kernel.redact import Redactor
from llmbot.resilience.mutex import Mutexes
from llmbot.storage.instance import InstanceLock, acquire

if TYPE_CHECKING:
    from fastapi import APIRouter

RESTART_EXIT = 75
"""Exit code that asks whoever started the bot to start it again (EX_TEMPFAIL)."""

SWITCH_INTERVAL_S = 0.0001
"""How long a thread may keep the others from running Python code.

With the default of 5 ms a busy event loop starves the database's thread, and every claim waits for
it (p99 of seconds under load, of milliseconds with this).
"""

Announce = Callable[[str], None]


class Ending:
    """How the process is asked to end: by a signal, or to be started again."""

    def __init__(self) -> None:
        """Nothing is asked yet."""
        self._asked = asyncio.Event()
        self.exit_code = 0
        self.why = ""

    def ask(self, why: str, exit_code: int = 0) -> bool:
        """End soon; the first request decides, and False answers the later ones."""
        if self._asked.is_set():
            return False
        self.why, self.exit_code = why, exit_code
        self._asked.set()
        return True

    async def wait(self) -> None:
        """Return when it was asked."""
        await self._asked.wait()


async def run_bot(
    settings: Settings,
    *,
    mode: Mode,
    simulator_address: str | None,
    announce: Announce,
    clock: Clock | None = None,
) -> int:
    """Run until SIGINT, SIGTERM or a requested restart; the exit code.

    `clock` is the machine's where none is given.

    Raises:
        StartupError: the bot could not start; nothing is left running.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    return_freed_memory()
    clock = clock or SystemClock()
    owner = this_owner()
    lock = acquire(settings.storage.data_dir, owner, clock)
    redactor = Redactor(settings.secrets)
    telemetry = Telemetry(
        settings.storage.log_dir,
        clock,
        redactor,
        level=settings.logs.level,
        file_bytes_max=settings.logs.file_bytes_max,
        files_max=settings.logs.files_max,
    )
    try:
        telemetry.start()
        bus = EventBus(clock)
        telemetry.attach(bus)
        mutexes = Mutexes(clock, bus)
        began = clock.monotonic()
        house = House(settings, mode, clock, Random(), bus, owner, mutexes, began, redactor)
        return await _live(house, lock, LogService(telemetry), simulator_address, announce)
    finally:
        telemetry.stop()
        lock.release()


@dataclass(frozen=True, slots=True)
class _Stage:
    """The bot with what shows it to its operator and keeps it alive; nothing is started."""

    bot: Bot
    operator: OperatorSide
    recovery: RecoveryMode
    systemd: Systemd


def _furnish(
    house: House,
    lock: InstanceLock,
    log: LogService,
    ending: Ending,
    simulator_address: str | None,
) -> _Stage:
    bus, clock = house.bus, house.clock
    ask_restart = partial(ending.ask, "restart requested", RESTART_EXIT)
    healing = HealingService()
    desk = BotDesk(lambda: healing.plane)
    drills = DrillDesk(house.settings.storage.data_dir, simulated=simulator_address is not None)
    more = partial(_routes_of_repair, desk, drills)
    dashboard = Dashboard(bus, clock, simulator_address or "")
    operator = OperatorSide(house, ask_restart, more, dashboard)
    systemd = Systemd.of(os.environ)
    watchdog = WatchdogService(systemd, bus, clock)
    operators = (log, *operator.services, dashboard, drills, healing, watchdog)
    bot = build(house, operator.views.bot_state, operators, commands=operator.commands)
    watchdog.attach(Progress(bot.mechanisms.queue, bot.conversation.workers, clock), bot.supervisor)
    whole = operator.attach(bot)
    plane = build_control_plane(whole, operator.views.life, operator.desk)
    plane.journal.subscribe(desk.hear)
    healing.attach(whole, plane)

    def recovery_changed(why: str) -> None:
        operator.views.enter(Life.RECOVERY if why else Life.RUNNING, why)
        if why:
            # Whoever looks for the API must find it although the chat is off.
            lock.publish(version=__version__, http_address=operator.api.address)
            systemd.ready(f"recovery mode: {why}")
        else:
            systemd.say("serving")

    names = [service.name for service in operators]
    recovery = RecoveryMode(bot.supervisor, names, recovery_changed, bus, clock)
    bus.subscribe(recovery.hear)
    _keep_what_stands()
    return _Stage(bot, operator, recovery, systemd)


def _routes_of_repair(desk: BotDesk, drills: DrillDesk) -> tuple[APIRouter, ...]:
    """The routes of incidents, runbooks and drills, when the operator API is put together."""
    from llmbot.console.api.drills import drill_routes  # noqa: PLC0415 - loads FastAPI
    from llmbot.console.api.incidents import incident_routes  # noqa: PLC0415 - loads FastAPI
    from llmbot.console.api.runbooks import runbook_routes  # noqa: PLC0415 - loads FastAPI

    return (
        incident_routes(lambda: desk),
        runbook_routes(lambda: desk),
        drill_routes(lambda: desk.faults, drills),
    )


def _keep_what_stands() -> None:
    """Look for rubbish from now on, but not among what stands now: it stands to the end.

    Looking through all of it, as a full collection does, stopped the loop for 130 to 230 ms.
    """
    gc.freeze()
    gc.enable()


async def _live(
    house: House,
    lock: InstanceLock,
    log: LogService,
    simulator_address: str | None,
    announce: Announce,
) -> int:
    bus, settings = house.bus, house.settings
    brake = Brake(settings.storage.data_dir, house.clock)
    braked = brake.begin()
    ending = Ending()
    stage = _furnish(house, lock, log, ending, simulator_address)
    operator, supervisor = stage.operator, stage.bot.supervisor
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ending.ask, signal.Signals(number).name)
    try:
        bus.publish(Noted("llmbot", f"version {__version__} starts, {house.mode}"))
        for loose in settings.loosened():
            bus.publish(loose)
        await operator.open()
        because = f"{braked.in_vain} starts in a row ended before they served anybody"
        if not await _started(
            stage.recovery.start(pause_s=braked.pause_s, because=because), ending
        ):
            return ending.exit_code
        supervisor.watch("recovery", stage.recovery.run)
        await asyncio.to_thread(brake.served)
        _keep_what_stands()
        lock.publish(
            version=__version__,
            http_address=operator.api.address,
            simulator_address=simulator_address,
        )
        why = stage.recovery.reason
        operator.views.enter(Life.RECOVERY if why else Life.RUNNING, why)
        announce(operator.api.address)
        stage.systemd.ready(f"recovery mode: {why}" if why else "serving")
        await ending.wait()
        operator.views.enter(Life.STOPPING)
        bus.publish(Noted("llmbot", f"stops: {ending.why}"))
        return ending.exit_code
    finally:
        if ending.why:
            brake.served()  # whoever ends it knows why; that is no restart loop
        stage.systemd.stopping(ending.why)
        await stage.bot.edges.discord.close_gateway(keep_session=True)
        await supervisor.stop_all()
        await operator.close()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def _started(start: Coroutine[Any, Any, None], ending: Ending) -> bool:
    """Start all services; False when the process was asked to end meanwhile."""
    starting = asyncio.create_task(start, name="start")
    asked = asyncio.create_task(ending.wait(), name="asked to end")
    try:
        await asyncio.wait({starting, asked}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        asked.cancel()
        if not starting.done():
            # Cancelled, it undoes what had started.
            starting.cancel()
        await asyncio.gather(starting, asked, return_exceptions=True)
    if starting.cancelled():
        return False
    starting.result()
    return True
