"""The control plane on a set plant, a recording hand and a real journal in a folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from llmbot.kernel.clock import Clock
from llmbot.kernel.events import EventBus
from llmbot.operations.approvals import Approvals
from llmbot.operations.burn import BurnRates
from llmbot.operations.casebook import Casebook
from llmbot.operations.executor import Executor, Mode
from llmbot.operations.guardrails import Rails, RailSettings
from llmbot.operations.healing import Healing
from llmbot.operations.incidents import Incidents
from llmbot.operations.journal import Journal
from llmbot.operations.pacing import Pacing
from llmbot.operations.ports import Hand
from llmbot.operations.sensors import Senses
from llmbot.operations.sensors_inside import inside_sensors
from llmbot.operations.sensors_outside import outside_sensors
from llmbot.operations.tally import Tally
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
    """Put it together as `app/healing_wiring.py` does."""
    bus = EventBus(clock)
    journal = Journal(folder, clock, lambda text: text)
    rails = Rails(clock, settings or RailSettings(), started_s)
    approvals = Approvals(journal, clock, rails.settings.approval_s)
    incidents = Incidents()
    new_id = ids()
    executor = Executor(
        plant, hand, journal, rails, approvals, clock, new_id, mode=mode, documents=lambda: 100
    )
    casebook = Casebook(incidents, journal, bus, clock, new_id)
    for hear in (incidents.hear, rails.hear, approvals.hear, executor.hear):
        journal.subscribe(hear)
    sensors = (*outside_sensors(), *inside_sensors())
    senses = Senses(sensors, plant, Tally(bus, clock), clock, burn=BurnRates(bus, clock))

    async def collect(_: str) -> None:
        pass

    healing = Healing(senses, plant, rails, executor, casebook, Pacing(clock), collect, clock)
    return Plane(bus, plant, journal, rails, approvals, executor, incidents, healing)
