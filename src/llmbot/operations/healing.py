"""The control plane on one screen: sense, assess, diagnose, permit, act, validate, report."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from llmbot.kernel.clock import Clock
from llmbot.operations.catalog.registry import RUNBOOKS
from llmbot.operations.checklist import validate_all
from llmbot.operations.diagnosis import Cause, diagnose
from llmbot.operations.executor import Executor, Order
from llmbot.operations.guardrails import Rails
from llmbot.operations.incidents.log import IncidentLog
from llmbot.operations.pacing import Pacing
from llmbot.operations.ports import Plant
from llmbot.operations.sensing.sensors import Senses

LOOK_EVERY_S = 0.5
CALM_S = 1.5
"""An incident whose causes are all gone for so long is closed."""

FRESH_S = 2.0
"""Response times older than this tell of the trouble that is over."""

Collect = Callable[[str], Coroutine[None, None, None]]


@dataclass(slots=True)
class Healing:
    """The loop; the looking goes on while a treatment is under way."""

    senses: Senses
    plant: Plant
    rails: Rails
    executor: Executor
    incident_log: IncidentLog
    pacing: Pacing
    collect: Collect
    clock: Clock
    causes: tuple[Cause, ...] = ()
    _busy: asyncio.Task[None] | None = None
    _calm_since: float | None = None
    _wanted: set[str] = field(default_factory=set)
    """Runbooks of the causes of the last look."""
    _last_seen: dict[str, float] = field(default_factory=dict)

    async def run(self) -> None:
        """Look twice a second until cancelled."""
        try:
            while True:
                began = self.clock.monotonic()
                await self.clock.sleep(LOOK_EVERY_S)
                await self.round(lag_s=self.clock.monotonic() - began - LOOK_EVERY_S)
        finally:
            if self._busy is not None:
                self._busy.cancel()
                await asyncio.gather(self._busy, return_exceptions=True)

    async def round(self, *, lag_s: float = 0.0) -> None:
        """One round of the loop."""
        self.senses.look(lag_s=lag_s, storm=self.rails.storm)  # sense, assess
        now = self.clock.monotonic()
        self.causes = diagnose(  # diagnose
            self.senses.active(), self.plant, now, ended=self._last_seen
        )
        self._last_seen |= {cause.name: now for cause in self.causes}
        fresh = await self.incident_log.update(self.causes)
        wanted = {cause.facts.runbook for cause in self.causes}
        for runbook in self._wanted - wanted:
            await self.executor.over(runbook)
        self._wanted = wanted
        for name in fresh:
            if self.rails.alarm(name):
                await self.incident_log.say("Storm: many alarms at once; collecting, not acting.")
        self._calm_since = None if self.causes else self._calm_since or now
        if self._busy is not None and not self._busy.done():
            return
        if self._broken_runs():
            self._begin(self._end_broken_runs(), "end broken runs")
        elif fresh and self.incident_log.current is not None:
            self._begin(self.collect(self.incident_log.current.id), "collect metrics")
        elif not self.rails.killed and (
            over := self.executor.standing.causes() - {cause.name for cause in self.causes}
        ):
            self._begin(self.executor.release(min(over)), "take back relief")
        elif (cause := self.pacing.due(self.causes)) is not None:
            self._begin(self._treat(cause), f"treat {cause.name}")
        elif self._calm(now) and self.incident_log.current is not None:
            self._begin(self._close(), "close the incident")

    def _broken_runs(self) -> bool:
        """Whether an earlier life left runs open that can be ended now."""
        under_way = self.rails.running or self.plant.draining()
        return bool(self.executor.open_runs()) and not under_way

    async def _end_broken_runs(self) -> None:
        await self.executor.recover()

    def _calm(self, now: float) -> bool:
        return self._calm_since is not None and now - self._calm_since >= CALM_S

    async def _treat(self, cause: Cause) -> None:
        """Permit, act, validate: all in the executor."""
        order = Order(
            RUNBOOKS[cause.facts.runbook],
            cause.name,
            cause.subjects,
            "" if self.incident_log.current is None else self.incident_log.current.id,
        )
        unwell = frozenset(each.facts.part for each in self.causes if each.name != cause.name)
        result = await self.executor.run(
            order,
            unwell=unwell - {order.runbook.part},
            confirmed=lambda: cause.name in {each.name for each in self.causes},
        )
        self.pacing.done(cause, result)
        await self.incident_log.considered(cause, result)

    async def _close(self) -> None:
        """Validate with other eyes than those that raised it, then report."""
        incident = self.incident_log.current
        own = () if incident is None else tuple(incident.causes)
        checks = await validate_all(self.plant, self.clock, own, FRESH_S)
        if incident is None or self.causes:
            return
        if not self.pacing.may_close(checks, self._calm_since):
            await self.incident_log.not_yet(checks)
            return
        # The wall clock may have jumped meanwhile: the span holds both of its times.
        now, lasted_s = self.clock.wall(), self.incident_log.lasted_s()
        since_s = min(incident.opened_s, now - lasted_s)
        impact = await self.plant.impact(since_s, max(now, incident.opened_s + lasted_s))
        await self.incident_log.close(checks, impact)
        await self.collect(incident.id)

    def _begin(self, work: Coroutine[None, None, None], name: str) -> None:
        if self._busy is not None and not self._busy.cancelled():
            self._busy.result()  # a treatment that failed is a defect: the supervisor hears of it
        self._busy = asyncio.create_task(work, name=name)
