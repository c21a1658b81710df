"""The control plane as the operator's side asks it: `console.desk.Desk`."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llmbot.app.fault_ports import FaultPorts
from llmbot.app.healing.wiring import ControlPlane
from llmbot.console.facts.facts import moment
from llmbot.operations.catalog.registry import RUNBOOKS
from llmbot.operations.causes import CAUSES
from llmbot.operations.checklist import validate_all
from llmbot.operations.executor import Order, Result
from llmbot.operations.incidents.incidents import Incident
from llmbot.operations.journal import Entry
from llmbot.operations.ports import Check, Part
from llmbot.operations.runbook import BY_HAND, Runbook

RUNS_MAX = 200
_STEPS_MAX = 60


class BotDesk:
    """See `console.desk.Desk`."""

    def __init__(self, plane: Callable[[], ControlPlane | None]) -> None:
        """The plane is there once the bot was put together, before anything is asked."""
        self._get = plane
        self._runs: deque[dict[str, Any]] = deque(maxlen=RUNS_MAX)

    @property
    def _plane(self) -> ControlPlane:
        plane = self._get()
        if plane is None:
            raise RuntimeError("the bot is not put together yet")
        return plane

    @property
    def faults(self) -> FaultPorts:
        """What may be broken on purpose, for drills."""
        return self._plane.faults

    def hear(self, entry: Entry) -> None:
        """Learn the runs from the journal."""
        if entry.kind == "run.started":
            data = dict(entry.data)
            self._runs.append({**data, "at": entry.at_s, "outcome": "running", "steps": []})
            return
        run = next((r for r in self._runs if r["run"] == entry.data.get("run")), None)
        if run is None:
            return
        if entry.kind == "run.ended":
            run |= {"outcome": entry.text("outcome"), "reason": entry.text("reason")}
        elif entry.kind.startswith("step.") and len(run["steps"]) < _STEPS_MAX:
            told = {k: v for k, v in entry.data.items() if k not in {"run", "incident"}}
            run["steps"].append({"at": entry.at_s, "what": entry.kind, **told})

    # ── looking ─────────────────────────────────────────────────────────────────────────────────

    def explain(self) -> Mapping[str, Any]:
        """See `Desk.explain`."""
        plane = self._plane
        now, wall = plane.healing.clock.monotonic(), plane.healing.clock.wall()
        incident = plane.incidents.current
        return {
            "well": not plane.healing.causes,
            "incident": None if incident is None else incident.id,
            "storm": plane.rails.storm,
            "tasks": len(asyncio.all_tasks()),
            "causes": [
                {
                    "name": cause.name,
                    "what": cause.facts.words,
                    "row": cause.facts.row,
                    "severity": str(cause.severity),
                    "confidence": cause.confidence,
                    "forSeconds": round(now - cause.since_s, 1),
                    "subjects": list(cause.subjects),
                    "evidence": list(cause.evidence),
                    "ruledOut": list(cause.ruled_out),
                    "consequences": list(cause.consequences),
                    "runbook": cause.facts.runbook,
                    "remedy": cause.facts.remedy,
                }
                for cause in plane.healing.causes
            ],
            "conditions": [
                {"name": c.key, "row": c.nature.row, "evidence": c.evidence}
                for c in plane.senses.active()
            ],
            "sensors": {
                name: {
                    "row": reading.row,
                    "ageSeconds": round(wall - reading.at_s, 1),
                    "findings": reading.findings,
                    "failed": reading.failed,
                }
                for name, reading in plane.senses.readings.items()
            },
        }

    def incidents(self) -> Sequence[Incident]:
        """See `Desk.incidents`."""
        return self._plane.incidents.all()

    def incident(self, key: str) -> Incident | None:
        """See `Desk.incident`."""
        if key == "last":
            return next(iter(self.incidents()), None)
        return self._plane.incidents.find(key)

    async def note(self, key: str, text: str, by: str) -> bool:
        """See `Desk.note`."""
        return await self._plane.incident_log.note(key, text, by)

    def runbooks(self) -> Sequence[Runbook]:
        """See `Desk.runbooks`."""
        return tuple(RUNBOOKS.values())

    def state_of(self, runbook: str) -> Mapping[str, Any]:
        """See `Desk.state_of`."""
        plane = self._plane
        return {
            "causes": [c.name for c in CAUSES.values() if c.runbook == runbook],
            "setAside": plane.rails.set_aside().get(runbook, ""),
            "asks": [a.what for a in plane.approvals.open() if a.runbook == runbook],
        }

    def history(self) -> Sequence[Mapping[str, Any]]:
        """See `Desk.history`."""
        return tuple(reversed(self._runs))

    def rails(self) -> Mapping[str, Any]:
        """See `Desk.rails`."""
        plane = self._plane
        settings = plane.rails.settings
        return {
            "mode": str(plane.executor.mode),
            "killed": plane.rails.killed,
            "paused": plane.rails.pause,
            "pausedUntil": moment(plane.rails.paused_until_s) if plane.rails.pause else None,
            "storm": plane.rails.storm,
            "running": plane.rails.running,
            "setAside": plane.rails.set_aside(),
            "runsPerHourMax": settings.runs_max,
            "runsPerCauseMax": settings.runs_per_cause_max,
            "coolDownSeconds": settings.cool_down_success_s,
            "failureCoolDownSeconds": settings.cool_down_failure_s,
            "coolDownMaxSeconds": settings.cool_down_max_s,
            "subsystemsMax": settings.subsystems_max,
            "documentsShareMax": settings.documents_share_max,
            "failuresMax": settings.failures_max,
            "approvalSeconds": settings.approval_s,
            "quietStartSeconds": settings.quiet_start_s,
            "stormFaults": settings.storm_faults,
            "stormWithinSeconds": settings.storm_within_s,
            "stormCalmSeconds": settings.storm_calm_s,
            "flapsMax": settings.flaps_max,
            "flapWithinSeconds": settings.flap_within_s,
            "journal": {
                "kept": plane.journal.kept,
                "failures": plane.journal.failures,
                "broken": plane.journal.broken,
            },
            "notices": {"waiting": plane.notifier.waiting, "sent": plane.notifier.sent},
        }

    async def verify(self) -> Sequence[Check]:
        """See `Desk.verify`."""
        plant = self._plane.plant
        checks = await validate_all(plant, self._plane.healing.clock)
        whole = await plant.whole_way()
        return (*(check for check in checks if check.name != whole.name), whole)

    # ── acting ──────────────────────────────────────────────────────────────────────────────────

    async def run(self, runbook: Runbook, target: str, by: str, *, dry: bool) -> Result:
        """See `Desk.run`."""
        plane = self._plane
        cause = next((c for c in plane.healing.causes if c.facts.runbook == runbook.name), None)
        subjects = cause.subjects if cause is not None else ()
        incident = plane.incidents.current
        order = Order(
            runbook,
            BY_HAND if cause is None else cause.name,
            (target,) if target else subjects,
            "" if incident is None else incident.id,
            by=by,
            dry=dry,
        )
        unwell: frozenset[Part] = frozenset(c.facts.part for c in plane.healing.causes)
        return await plane.executor.run(
            order, unwell=unwell - {runbook.part}, confirmed=lambda: True
        )

    async def approve(self, runbook: str, by: str) -> Sequence[str]:
        """See `Desk.approve`."""
        return await self._plane.approvals.give(runbook, by)

    async def return_to_use(self, runbook: str, by: str) -> None:
        """See `Desk.return_to_use`."""
        if runbook in self._plane.rails.set_aside():
            await self._plane.journal.add("book.returned", runbook=runbook, by=by)

    async def kill(self, reason: str, by: str) -> None:
        """See `Desk.kill`."""
        await self._plane.journal.add("rails.killed", reason=reason, by=by)

    async def pause(self, reason: str, by: str, for_s: float | None = None) -> None:
        """See `Desk.pause`."""
        plane = self._plane
        until = None if for_s is None else plane.healing.clock.wall() + for_s
        await plane.journal.add("rails.paused", reason=reason, by=by, until=until)
