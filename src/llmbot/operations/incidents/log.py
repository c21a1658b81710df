"""Writes incidents into the journal: opened, filled, escalated, closed; one for each episode."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

from llmbot.kernel.clock import Clock
from llmbot.kernel.events import EventBus, Level
from llmbot.operations.causes import Severity
from llmbot.operations.diagnosis import Cause
from llmbot.operations.executor import Result
from llmbot.operations.incidents.incidents import Incident, Incidents
from llmbot.operations.journal import Journal
from llmbot.operations.ports import Check, Impact

__all__ = ["IncidentChanged", "IncidentLog"]

MERGE_S = 300.0
"""Trouble with a cause of an incident that closed less than this ago is the same episode."""

LASTING_S = 900.0
"""An incident that lasts so long is escalated by one step."""

_EVIDENCE_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class IncidentChanged:
    """An incident was opened, escalated, closed or opened again."""

    level: ClassVar[Level] = Level.WARNING
    incident: str
    change: str
    severity: str
    title: str

    def describe(self) -> str:
        """See `Event.describe`."""
        return f"Incident {self.incident} {self.change} ({self.severity}): {self.title}"


@dataclass(slots=True)
class _Known:
    """What was last written of an active cause."""

    subjects: tuple[str, ...]
    consequences: tuple[str, ...]
    confidence: float
    at_s: float


class IncidentLog:
    """Follows the causes and keeps the incident of the episode."""

    def __init__(
        self,
        incidents: Incidents,
        journal: Journal,
        bus: EventBus,
        clock: Clock,
        new_id: Callable[[str], str],
    ) -> None:
        """Write to `journal`; `incidents` hears from it."""
        self._incidents = incidents
        self._journal = journal
        self._bus = bus
        self._clock = clock
        self._new_id = new_id
        self._known: dict[str, _Known] = {}
        self._told: dict[str, tuple[str, ...]] = {}
        self._began: tuple[str, float] = ("", 0.0)
        self._waits_for = ""

    @property
    def current(self) -> Incident | None:
        """The incident that goes on."""
        return self._incidents.current

    async def update(self, causes: Sequence[Cause]) -> tuple[str, ...]:
        """Write what changed, and what the disk refused; the names of causes that are new."""
        await self._journal.settle()
        fresh = tuple(cause.name for cause in causes if cause.name not in self._known)
        if causes:
            incident = await self._incident_for(causes)
            for cause in causes:
                await self._note(incident, cause)
            await self._escalate(incident, causes)
        active = {cause.name for cause in causes}
        for name in [name for name in self._known if name not in active]:
            del self._known[name]
            self._told.pop(name, None)
            if self.current is not None:
                await self._journal.add("incident.over", incident=self.current.id, cause=name)
        return fresh

    async def considered(self, cause: Cause, result: Result) -> None:
        """Write how a runbook that did not run was judged; once while that stays so."""
        incident = self.current
        if incident is None or result.run:
            return
        said = (str(result.outcome), *(refusal.rail for refusal in result.refusals))
        if self._told.get(cause.name) == said:
            return
        self._told[cause.name] = said
        await self._journal.add(
            "runbook.considered",
            incident=incident.id,
            runbook=cause.facts.runbook,
            cause=cause.name,
            outcome=str(result.outcome),
            reason=result.reason,
        )

    async def say(self, text: str) -> None:
        """Add a line to the story of the incident that goes on."""
        if self.current is not None:
            await self._journal.add("incident.said", incident=self.current.id, text=text)

    async def note(self, key: str, text: str, by: str) -> bool:
        """Add a person's note; False where there is no such incident."""
        if self._incidents.find(key) is None:
            return False
        await self._journal.add("incident.note", incident=key, text=text, by=by)
        return True

    def lasted_s(self) -> float:
        """For how long the incident goes on: a clock that jumps makes it no longer."""
        incident, now = self.current, self._clock.monotonic()
        if incident is None:
            return 0.0
        if self._began[0] != incident.id:
            self._began = (incident.id, now - max(0.0, self._clock.wall() - incident.opened_s))
        return now - self._began[1]

    async def not_yet(self, checks: Sequence[Check]) -> None:
        """Write once which checks keep the incident open though no cause is left."""
        failed = "; ".join(f"{each.name}: {each.detail}" for each in checks if not each.passed)
        names = ", ".join(each.name for each in checks if not each.passed)
        if failed and names != self._waits_for:
            self._waits_for = names
            await self.say(f"Not closed yet: {failed}")

    async def close(self, checks: Sequence[Check], impact: Impact | None) -> Incident | None:
        """End the episode, with what was looked at last and what users saw, where that is known."""
        incident = self.current
        if incident is None:
            return None
        self._waits_for = ""
        shown: list[Mapping[str, object]] = [asdict(check) for check in checks]
        await self._journal.add(
            "incident.closed",
            incident=incident.id,
            checks=shown,
            impact={} if impact is None else asdict(impact),
            lasted=round(self.lasted_s(), 3),
        )
        self._tell(incident, "closed")
        return incident

    # ── inside ──────────────────────────────────────────────────────────────────────────────────

    async def _incident_for(self, causes: Sequence[Cause]) -> Incident:
        if self.current is not None:
            return self.current
        border = self._clock.wall() - MERGE_S
        for cause in causes:
            lately = self._incidents.lately(cause.name, border)
            if lately is not None:
                await self._journal.add(
                    "incident.reopened", incident=lately.id, reason=f"{cause.facts.words}, again"
                )
                self._tell(lately, "opened again")
                return lately
        severity = min(cause.severity for cause in causes)
        key = self._new_id("inc")
        await self._journal.add("incident.opened", incident=key, severity=str(severity))
        opened = self._incidents.find(key)
        if opened is None:
            raise RuntimeError("the incidents do not hear the journal")
        return opened

    async def _note(self, incident: Incident, cause: Cause) -> None:
        now, known = self._clock.monotonic(), self._known.get(cause.name)
        first = not incident.causes
        data = {
            "incident": incident.id,
            "cause": cause.name,
            "evidence": list(cause.evidence),
            "ruledOut": list(cause.ruled_out),
            "consequences": list(cause.consequences),
            "confidence": cause.confidence,
        }
        shape = (cause.subjects, cause.consequences, cause.confidence)
        if known is None:
            await self._journal.add(
                "incident.cause",
                **data,
                row=cause.facts.row,
                words=cause.facts.words,
                runbook=cause.facts.runbook,
                remedy=cause.facts.remedy,
            )
            if first:
                self._tell(incident, "opened")
        elif (
            known.subjects,
            known.consequences,
            known.confidence,
        ) == shape or now - known.at_s < _EVIDENCE_EVERY_S:
            return
        else:
            await self._journal.add("incident.evidence", **data)
        self._known[cause.name] = _Known(*shape, now)

    async def _escalate(self, incident: Incident, causes: Sequence[Cause]) -> None:
        worst = min(cause.severity for cause in causes)
        reason = f"{causes[0].facts.words}"
        lasts = self.lasted_s() > LASTING_S and not incident.lasting
        if lasts:
            worst = min(worst, Severity(incident.severity).worse())
            reason = f"it lasts longer than {LASTING_S / 60:.0f} minutes"
        if worst < Severity(incident.severity):
            await self._journal.add(
                "incident.escalated",
                incident=incident.id,
                severity=str(worst),
                reason=reason,
                lasting=lasts,
            )
            self._tell(incident, "escalated")

    def _tell(self, incident: Incident, change: str) -> None:
        self._bus.publish(IncidentChanged(incident.id, change, incident.severity, incident.title()))
