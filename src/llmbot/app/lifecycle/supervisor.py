"""The life of the services: started in the order of their needs, stopped in reverse.

The list that bootstrap hands over is the supervision tree. A start that fails undoes what had
started; a stop has a grace and says what it left behind; one service can be restarted together
with those that need it; a task that dies is noticed here, started again within a budget, and
after that its service is reported as failed. The process lives on.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from graphlib import CycleError, TopologicalSorter
from typing import Any, Protocol

from llmbot.app.lifecycle.supervised_tasks import RestartPolicy, WatchedTask, in_words, within
from llmbot.kernel.clock import Clock, Random
from llmbot.kernel.errors import LockTimeoutError, ServiceStartError, StartupError
from llmbot.kernel.events import EventBus, Noted, ServiceChanged
from llmbot.resilience.lock import Lock
from llmbot.resilience.mutex import Mutexes

MUTEX = "services"
"""Held by whoever starts, stops or restarts services."""

CHANGE_MAX_S = 600.0
"""Far longer than all starts and stops together may take by their own deadlines."""

STOP_FLOOR_S = 2.0
"""What each service gets for its stop even when the grace of all is used up: to close its files."""


class Service(Protocol):
    """A part of the bot with a life of its own."""

    @property
    def name(self) -> str:
        """Short and unique, as the operator types it."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the services that must run before it, and while it runs."""
        ...

    async def start(self) -> None:
        """Return when it can serve; may be called again after `stop`."""
        ...

    async def stop(self) -> None:
        """Finish or hand back its work. Safe after a start that failed, and twice."""
        ...

    def trouble(self) -> str:
        """Why it is not healthy, in a few words; empty while it is. Returns at once."""
        ...


class ServiceState(StrEnum):
    """Where a service is in its life."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    FAILED = "failed"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """What is known of one service."""

    name: str
    needs: tuple[str, ...]
    state: ServiceState
    trouble: str
    last_error: str
    restarts: int
    task_restarts: int
    last_start_ms: int
    since_s: float
    """Since when it is in this state, in seconds since the Unix epoch."""


@dataclass(frozen=True, slots=True)
class Restarted:
    """A restart that went well: which services, in the order of their starts, and how long."""

    services: tuple[str, ...]
    duration_ms: int


@dataclass(slots=True)
class _Seat:
    """One service and what has become of it."""

    service: Service
    since_s: float
    state: ServiceState = ServiceState.STOPPED
    last_error: str = ""
    restarts: int = 0
    last_start_ms: int = 0


class UnknownServiceError(LookupError):
    """No service has this name; the message lists those that exist."""


class RestartUnderWayError(RuntimeError):
    """A restart is under way already."""


def in_start_order(services: Sequence[Service]) -> tuple[Service, ...]:
    """The services, each after all that it needs, else as listed.

    Raises:
        ServiceStartError: a name is there twice, something needed is missing, or needs go round.
    """
    by_name = {service.name: service for service in services}
    if len(by_name) != len(services):
        raise ServiceStartError("Two services have the same name.")
    missing = [
        f"{service.name} needs {need}"
        for service in services
        for need in service.needs
        if need not in by_name
    ]
    if missing:
        raise ServiceStartError(f"Services are missing: {'; '.join(missing)}.")
    try:
        TopologicalSorter({s.name: s.needs for s in services}).prepare()
    except CycleError as error:
        circle = " -> ".join(error.args[1])
        raise ServiceStartError(f"Services need each other in a circle: {circle}.") from None
    ordered: dict[str, Service] = {}
    while len(ordered) < len(services):
        ready = (s for s in services if s.name not in ordered and set(s.needs) <= set(ordered))
        service = next(ready)
        ordered[service.name] = service
    return tuple(ordered.values())


class Supervisor:
    """Starts, watches, restarts and stops the services."""

    def __init__(
        self,
        services: Sequence[Service],
        bus: EventBus,
        clock: Clock,
        *,
        start_deadline_s: float = 30.0,
        stop_grace_s: float = 20.0,
        rng: Random | None = None,
        mutexes: Mutexes | None = None,
    ) -> None:
        """Check the needs; nothing is started. Who changes services holds one of `mutexes`.

        Raises:
            ServiceStartError: see `in_start_order`.
        """
        self._bus = bus
        self._clock = clock
        self._rng = rng or Random()
        self._start_deadline_s = start_deadline_s
        self._stop_grace_s = stop_grace_s
        now = clock.wall()
        self._seats = {s.name: _Seat(s, now) for s in in_start_order(services)}
        self._tasks: list[WatchedTask] = []
        self._task_restarts: Counter[str] = Counter()  # of tasks that have ended, by owner
        self._left_behind: list[asyncio.Task[Any]] = []
        self._mutexes = mutexes or Mutexes(clock, bus)

    # ── all of them ─────────────────────────────────────────────────────────────────────────────

    async def start_all(
        self, *, keep: Collection[str] = (), only: Collection[str] | None = None
    ) -> None:
        """Start every service that does not run, or `only` some, in the order of needs.

        Raises:
            StartupError: one did not start; what had started was stopped again, in reverse, but
                for those that should be kept.
        """
        async with self._changing("start", wait_s=CHANGE_MAX_S):
            seats = [
                seat
                for name, seat in self._seats.items()
                if seat.state is not ServiceState.RUNNING and (only is None or name in only)
            ]
            await self._start(seats, undo_all=True, keep=keep)

    async def stop_all(self) -> tuple[str, ...]:
        """Stop every service in reverse; the names of services and tasks that would not end."""
        async with self._changing("stop", wait_s=CHANGE_MAX_S):
            left = await self._stop(self._seats.values(), self._stop_grace_s)
        for task in self._tasks:  # of no service, or of one that never started
            if task.running and not await task.stop():
                left.append(f"task {task.name}")
        if left:
            self._bus.publish(Noted("Left behind at the stop", ", ".join(left)))
        return tuple(left)

    # ── one of them ─────────────────────────────────────────────────────────────────────────────

    async def restart(self, name: str) -> Restarted:
        """Stop one service and all that need it, and start them again.

        Raises:
            UnknownServiceError: there is none of this name.
            RestartUnderWayError: another restart, the start or the stop is under way.
            StartupError: one did not start; it is failed, those that need it are stopped, the
                rest of the bot runs on.
        """
        if name not in self._seats:
            raise UnknownServiceError(f"unknown service {name}; known: {', '.join(self._seats)}")
        try:
            async with self._changing(f"restart of {name}", wait_s=0.0):
                began = self._clock.monotonic()
                seats = self._with_dependents(name)
                await self._stop(seats, self._stop_grace_s)
                self._seats[name].restarts += 1
                await self._start(seats, undo_all=False)
                duration_ms = round((self._clock.monotonic() - began) * 1000)
                return Restarted(tuple(seat.service.name for seat in seats), duration_ms)
        except LockTimeoutError:
            words = "services are being started or stopped; try again shortly"
            raise RestartUnderWayError(words) from None

    def _changing(self, reason: str, *, wait_s: float) -> AbstractAsyncContextManager[Lock]:
        """The right to start and stop services, which only one task has at a time."""
        return self._mutexes.hold(MUTEX, reason=reason, wait_s=wait_s, lease_s=CHANGE_MAX_S)

    def watch(
        self,
        name: str,
        factory: Callable[[], Awaitable[None]],
        *,
        owner: str = "",
        policy: RestartPolicy | None = None,
    ) -> WatchedTask:
        """Run a background task until its owner (the name of a service) stops.

        A death is published as `TaskDied`; when the policy's budget is used up the owner's state
        is failed. `factory` makes a fresh coroutine for every start.
        """
        self._forget_ended_tasks()
        task = WatchedTask(
            name,
            factory,
            owner=owner,
            policy=policy or RestartPolicy(),
            on_given_up=self._give_up,
            bus=self._bus,
            clock=self._clock,
            rng=self._rng,
        )
        self._tasks.append(task)
        return task

    # ── to look at ──────────────────────────────────────────────────────────────────────────────

    def facts(self) -> tuple[ServiceFacts, ...]:
        """What is known of every service, in start order."""
        return tuple(self._facts(seat) for seat in self._seats.values())

    @property
    def all_running(self) -> bool:
        """Whether every service runs."""
        return all(seat.state is ServiceState.RUNNING for seat in self._seats.values())

    def _facts(self, seat: _Seat) -> ServiceFacts:
        service = seat.service
        try:
            trouble = service.trouble() if seat.state is ServiceState.RUNNING else ""
        except Exception as error:  # noqa: BLE001 - who cannot say how it is, is not well
            trouble = f"its own check failed: {in_words(error)}"
        return ServiceFacts(
            name=service.name,
            needs=service.needs,
            state=seat.state,
            trouble=trouble,
            last_error=seat.last_error,
            restarts=seat.restarts,
            task_restarts=self._task_restarts[service.name]
            + sum(task.restarts for task in self._tasks if task.owner == service.name),
            last_start_ms=seat.last_start_ms,
            since_s=seat.since_s,
        )

    # ── how ─────────────────────────────────────────────────────────────────────────────────────

    async def _start(
        self, seats: Iterable[_Seat], *, undo_all: bool, keep: Collection[str] = ()
    ) -> None:
        started: list[_Seat] = []
        for seat in seats:
            started.append(seat)
            try:
                await self._start_one(seat)
            except BaseException as error:
                # Also when cancelled (a signal during the start): nothing may stay half started.
                words = "start was cancelled"
                if isinstance(error, StartupError):
                    words = seat.last_error = str(error)
                others = started[:-1] if undo_all else []
                undone = [other for other in others if other.service.name not in keep]
                await self._stop([*undone, seat], self._stop_grace_s)
                if isinstance(error, StartupError):
                    self._move(seat, ServiceState.FAILED, words)
                raise

    async def _start_one(self, seat: _Seat) -> None:
        name, began = seat.service.name, self._clock.monotonic()
        self._move(seat, ServiceState.STARTING)
        try:
            await self._within(self._start_deadline_s, seat.service.start(), f"start of {name}")
        except StartupError:
            raise
        except TimeoutError:
            raise ServiceStartError(
                f"Service {name} did not start within {self._start_deadline_s:g} s."
            ) from None
        except Exception as error:
            why = in_words(error).rstrip(".")
            raise ServiceStartError(f"Service {name} did not start: {why}.") from error
        seat.last_start_ms = round((self._clock.monotonic() - began) * 1000)
        if seat.state is ServiceState.STARTING:  # else one of its tasks has given up already
            self._move(seat, ServiceState.RUNNING, f"in {seat.last_start_ms} ms")

    async def _stop(self, seats: Iterable[_Seat], grace_s: float) -> list[str]:
        """Stop in reverse; the names of what would not end."""
        left: list[str] = []
        ends_at = self._clock.monotonic() + grace_s
        for seat in reversed(list(seats)):
            if seat.state is ServiceState.STOPPED:
                continue
            name = seat.service.name
            self._move(seat, ServiceState.STOPPING)
            patience = max(STOP_FLOOR_S, ends_at - self._clock.monotonic())
            detail = await self._stop_one(seat.service, patience)
            for task in [task for task in self._tasks if task.owner == name]:
                if not await task.stop():
                    left.append(f"task {task.name}")
                    detail = detail or f"task {task.name} did not end"
            if detail:
                seat.last_error = detail
                left.append(f"service {name}")
            self._move(seat, ServiceState.STOPPED, detail)
        return left

    async def _stop_one(self, service: Service, patience_s: float) -> str:
        """What went wrong with the stop, in words; empty when nothing did."""
        try:
            await self._within(patience_s, service.stop(), f"stop of {service.name}")
        except TimeoutError:
            return f"did not stop within {patience_s:g} s"
        except Exception as error:  # noqa: BLE001 - the others must still be stopped
            return f"stop failed: {in_words(error)}"
        return ""

    async def _within(self, seconds: float, work: Coroutine[Any, Any, None], name: str) -> None:
        _, stuck = await within(self._clock, seconds, work, name=name)
        if stuck is not None:
            self._left_behind.append(stuck)  # kept, or the collector would drop it half way
            raise TimeoutError(f"{name} does not even end when it is cancelled")

    def _with_dependents(self, name: str) -> list[_Seat]:
        chosen = {name}
        for seat in self._seats.values():  # in start order, so that one pass finds all
            if chosen & set(seat.service.needs):
                chosen.add(seat.service.name)
        return [seat for seat in self._seats.values() if seat.service.name in chosen]

    def _forget_ended_tasks(self) -> None:
        for task in self._tasks:
            if not task.running:
                self._task_restarts[task.owner] += task.restarts
        self._tasks = [task for task in self._tasks if task.running]

    def _give_up(self, owner: str, error: str) -> None:
        seat = self._seats.get(owner)
        if seat is not None and seat.state in {ServiceState.RUNNING, ServiceState.STARTING}:
            seat.last_error = error
            self._move(seat, ServiceState.FAILED, error)

    def _move(self, seat: _Seat, state: ServiceState, detail: str = "") -> None:
        seat.state = state
        seat.since_s = self._clock.wall()
        self._bus.publish(ServiceChanged(seat.service.name, state.value, detail))
