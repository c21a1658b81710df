"""The sensors: one small function for each kind of trouble, cheap, never acting.

Each looks at the plant and the recent events and says which subjects are not as they should be.
A sensor that fails is itself a condition, and keeps no other from looking.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from llmbot.kernel.clock import Clock
from llmbot.operations.incidents.burn_rate import BurnRates
from llmbot.operations.ports import Part, Plant
from llmbot.operations.sensing.conditions import Condition, Conditions, Finding, Nature
from llmbot.operations.sensing.recent_events import RecentEvents

__all__ = ["Reading", "Scene", "Sensed", "Senses", "Sensor", "SensorSettings"]


@dataclass(frozen=True, slots=True)
class SensorSettings:
    """Thresholds; where two are given the second is that of calm (hysteresis)."""

    gateway_away_s: float = 1.0
    ack_age_max_s: float = 65.0
    """Discord beats every 41.25 s, and an acknowledgement may take 20 s."""
    rest_quiet_s: float = 5.0
    """Discord answers a call within a fraction of a second."""
    model_quiet_s: float = 10.0
    """A model that failed is called calm when so long no further call failed."""
    silent_s: float = 2.0
    silent_factor: float = 3.0
    """A call is silent after so many times the usual time of first words, never before `silent_s`;
    where the usual time is not known, nothing is called silent.
    """
    silent_least: int = 2
    queue_share: tuple[float, float] = (0.8, 0.5)
    queue_age_s: tuple[float, float] = (60.0, 20.0)
    queue_drain_s: tuple[float, float] = (20.0, 10.0)
    """Who would wait longer than 30 s (QUEUE_WAIT_MAX_S) is turned away: the queue that makes it so
    hardly grows beyond, and the alarm must come before.
    """
    fresh_s: float = 8.0
    """Span of response times that tell of now; the alarm needs the minute, too."""
    files_refused: int = 3
    stuck_write_s: float = 2.0
    p95_ms: tuple[int, int] = (5000, 4500)
    """A long answer alone takes four seconds to be spoken, and is the p95 of few fresh ones."""
    p95_calls_min: int = 10
    memory_share: tuple[float, float] = (1.0, 0.9)
    disk_least_times: float = 2.0
    """So many times the room that is too little must be free before a disk is calm again."""
    lag_s: tuple[float, float] = (0.5, 0.1)
    freeze_s: float = 2.0
    """A look that comes so late crossed a gap: the whole process stood still."""
    stale_s: float = 1.0
    """For so long after a gap what was under way across it ends, most of it by a deadline."""
    clock_jump_s: float = 2.0
    duplicates: int = 3
    within_s: float = 10.0
    """Span in which passing events are looked at."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a sensor is handed."""

    plant: Plant
    recent_events: RecentEvents
    settings: SensorSettings
    now_s: float
    lag_s: float
    """How late this look is: the event loop was busy with something else."""
    jump_s: float
    """How far the wall clock moved against the monotonic one since the last look."""
    burn: BurnRates | None = None
    """How fast promises to users are being broken."""
    storm: bool = False
    """Whether so many alarms came at once that nothing is done automatically."""


Look = Callable[[Scene], Iterable[Finding]]


@dataclass(frozen=True, slots=True)
class Sensor:
    """What a sensor looks at, and what its findings mean."""

    nature: Nature
    look: Look


@dataclass(frozen=True, slots=True)
class Reading:
    """What one sensor said last; `at_s` is in seconds since the Unix epoch."""

    sensor: str
    row: int
    at_s: float
    findings: int
    failed: str
    """Why the sensor could not look; empty while it can."""


@dataclass(frozen=True, slots=True)
class Sensed:
    """What one round of looking changed."""

    raised: tuple[Condition, ...]
    cleared: tuple[Condition, ...]


SENSOR_FAILED = Nature("sensor-failed", 0, Part.SENSORS, raise_after_s=2.0)


class Senses:
    """Asks every sensor in turn and holds the conditions."""

    def __init__(
        self,
        sensors: Sequence[Sensor],
        plant: Plant,
        recent_events: RecentEvents,
        clock: Clock,
        settings: SensorSettings | None = None,
        burn: BurnRates | None = None,
    ) -> None:
        """Take the sensors; nothing is looked at yet. `burn` knows how the promises are kept."""
        self._burn = burn
        self._sensors = tuple(sensors)
        self._plant = plant
        self._recent_events = recent_events
        self._clock = clock
        self._settings = settings or SensorSettings()
        self._conditions = Conditions()
        self._drift: float | None = None
        self._gap: tuple[float, float] | None = None
        """When the process began to stand still, and until when readings tell of that."""
        self.readings: dict[str, Reading] = {}

    def active(self) -> tuple[Condition, ...]:
        """The conditions that are raised, the oldest first."""
        return self._conditions.active()

    def look(self, *, lag_s: float = 0.0, storm: bool = False) -> Sensed:
        """Ask every sensor once; `lag_s` is how late the loop came to this, `storm` its mode."""
        now, wall = self._clock.monotonic(), self._clock.wall()
        drift = wall - now
        jump = 0.0 if self._drift is None else drift - self._drift
        self._drift = drift
        scene = Scene(
            self._plant, self._recent_events, self._settings, now, lag_s, jump, self._burn, storm
        )
        if lag_s >= self._settings.freeze_s:
            self._gap = (now - lag_s, now + self._settings.stale_s)
        raised: list[Condition] = []
        cleared: list[Condition] = []
        failures: list[Finding] = []
        for sensor in self._sensors:
            nature = sensor.nature
            try:
                findings = list(sensor.look(scene))
            except Exception as error:  # noqa: BLE001 - a blind sensor is a condition of its own
                words = type(error).__name__
                failures.append(Finding(nature.name, f"cannot look: {words}"))
                self.readings[nature.name] = Reading(nature.name, nature.row, wall, 0, words)
                continue
            self.readings[nature.name] = Reading(nature.name, nature.row, wall, len(findings), "")
            if self._gap is not None and nature.timed:
                continue  # it measured the gap
            new, gone = self._conditions.update(nature, findings, now)
            raised += new
            cleared += gone
        if self._gap is not None:
            self._recent_events.forget_late(self._gap[0])
            self._gap = None if now >= self._gap[1] else self._gap
        new, gone = self._conditions.update(SENSOR_FAILED, failures, now)
        return Sensed((*raised, *new), (*cleared, *gone))
