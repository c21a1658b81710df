"""The control plane on a set plant, a recording hand and a real journal in a folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from llmbot.kernel.clock import Clock
from llmbot.kernel.events import EventBus
from llmbot.operations.approvals import Approvals
from llmbot.operations.executor import Executor, Mode
from llmbot.operations.guardrails import Rails, RailSettings
from llmbot.operations.healing import Healing
from llmbot.operations.incidents.burn_rate import BurnRates
from llmbot.operations.incidents.incidents import Incidents
from llmbot.operations.incidents.log import IncidentLog
from llmbot.operations.journal import Journal
from llmbot.operations.pacing import Pacing
from llmbot.operations.ports import Hand
from llmbot.operations.sensing.inside import inside_sensors
from llmbot.operations.sensing.outside import outside_sensors
from llmbot.operations.sensing.recent_events import RecentEvents
from llmbot.operations.sensing.sensors import Senses
from tests.support.plant import SetPlant


@dataclass(slots=True)
class Plane:
    """All of it."""

    bus: EventBus
    plant: SetPlant
    journal: Journal
    rails: Rails
    approvals: Approvals
    executor: Executor
    incidents: Incidents
    healing: Healing


def ids() -> Callable[[str], str]:
    """Ids that are the same in every run of a test."""
    numbers = count(1)
    return lambda prefix: f"{prefix}-{next(numbers)}"


def plane(
    folder: Path,
    clock: Clock,
    hand: Hand,
    plant: SetPlant,
    *,
    settings: RailSettings | None = None,
    mode: Mode = Mode.ACT,
    started_s: float = float("-inf"),
) -> Plane:
    """Put it together as `app/healing/wiring.py` does."""
    bus = EventBus(clock)
    journal = Journal(folder, clock, lambda text: text)
    rails = Rails(clock, settings or RailSettings(), started_s)
    approvals = Approvals(journal, clock, rails.settings.approval_s)
    incidents = Incidents()
    new_id = ids()
    executor = Executor(
        plant, hand, journal, rails, approvals, clock, new_id, mode=mode, documents=lambda: 100
    )
    incident_log = IncidentLog(incidents, journal, bus, clock, new_id)
    for hear in (incidents.hear, rails.hear, approvals.hear, executor.hear):
        journal.subscribe(hear)
    sensors = (*outside_sensors(), *inside_sensors())
    senses = Senses(sensors, plant, RecentEvents(bus, clock), clock, burn=BurnRates(bus, clock))

    async def collect(_: str) -> None:
        pass

    healing = Healing(senses, plant, rails, executor, incident_log, Pacing(clock), collect, clock)
    return Plane(bus, plant, journal, rails, approvals, executor, incidents, healing)
