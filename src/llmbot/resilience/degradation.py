"""The ladder of degradation: give up what is dispensable before what is not.

The level rises at once to the worst that any reading calls for, and falls one step at a time, only
after all readings have stayed clearly below the step's threshold for a while: a reading that swings
around a threshold does not make the bot flap. An operator can force a level; maintenance is a flag
beside the ladder. Pure state: somebody else takes the readings and calls `assess`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from llmbot.kernel.clock import Clock
from llmbot.kernel.events import EventBus, Level

__all__ = [
    "SWITCHES",
    "Degradation",
    "DegradationChanged",
    "DegradationFacts",
    "DegradationLadder",
    "DegradationSettings",
    "MaintenanceChanged",
    "Readings",
    "Switches",
    "Thresholds",
]


class Degradation(StrEnum):
    """How much is given up."""

    NONE = "none"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    @property
    def rank(self) -> int:
        """0 for none to 3 for high."""
        return _LADDER.index(self)


_LADDER = tuple(Degradation)


@dataclass(frozen=True, slots=True)
class Switches:
    """What is on at a level."""

    streaming_edits: bool
    """Replies grow while they are written; otherwise they appear whole."""
    large_context: bool
    """Attachments and histories beyond the model's budget are worked through in chunks."""
    history_share: float
    """Share of the usual conversation history that goes into a prompt."""
    images: bool
    """Pictures are passed to the model."""
    non_essential_commands: bool
    """Commands other than those that ask, tell the status or protect privacy."""

    def off(self) -> tuple[str, ...]:
        """Names of what is off or reduced, for people."""
        names = ("streaming_edits", "large_context", "images", "non_essential_commands")
        found = [name for name in names if not getattr(self, name)]
        if self.history_share < 1:
            found.append(f"history at {self.history_share:.0%}")
        return tuple(found)


SWITCHES: dict[Degradation, Switches] = {
    Degradation.NONE: Switches(
        streaming_edits=True,
        large_context=True,
        history_share=1.0,
        images=True,
        non_essential_commands=True,
    ),
    # Edits are most of the bot's calls to Discord and the least missed.
    Degradation.LOW: Switches(
        streaming_edits=False,
        large_context=True,
        history_share=1.0,
        images=True,
        non_essential_commands=True,
    ),
    # Next goes what costs memory and model time.
    Degradation.MEDIUM: Switches(
        streaming_edits=False,
        large_context=False,
        history_share=0.5,
        images=True,
        non_essential_commands=True,
    ),
    # What is left is short answers to plain questions.
    Degradation.HIGH: Switches(
        streaming_edits=False,
        large_context=False,
        history_share=0.2,
        images=False,
        non_essential_commands=False,
    ),
}
"""What each level leaves on."""


@dataclass(frozen=True, slots=True)
class Readings:
    """The state of the bot as the ladder sees it; None is not known and calls for nothing."""

    open_breakers: tuple[str, ...] = ()
    breakers: int = 0
    """How many there are."""
    error_share: float | None = None
    """Failed answers of all, over the last minutes; 0 to 1."""
    p95_s: float | None = None
    """Response time that 95 of 100 answers keep."""
    memory_share: float | None = None
    """Resident memory of its limit."""
    queue_share: float | None = None
    """Messages that wait, of the queue's capacity."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From which value on a reading calls for low, medium and high."""

    low: float
    medium: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.medium <= self.high:
            raise ValueError("thresholds must be positive and ordered")

    def level(self, value: float, *, factor: float = 1.0) -> Degradation:
        """The level that this value calls for, with all thresholds multiplied by a factor."""
        if value >= self.high * factor:
            return Degradation.HIGH
        if value >= self.medium * factor:
            return Degradation.MEDIUM
        return Degradation.LOW if value >= self.low * factor else Degradation.NONE


@dataclass(frozen=True, slots=True)
class DegradationSettings:
    """When the ladder is climbed, and when it is left."""

    error_share: Thresholds = field(default_factory=lambda: Thresholds(0.10, 0.25, 0.50))
    p95_s: Thresholds = field(default_factory=lambda: Thresholds(10.0, 20.0, 40.0))
    memory_share: Thresholds = field(default_factory=lambda: Thresholds(0.85, 0.95, 1.0))
    queue_share: Thresholds = field(default_factory=lambda: Thresholds(0.80, 0.90, 0.97))
    open_breaker_share: Thresholds = field(default_factory=lambda: Thresholds(0.01, 0.5, 1.0))
    """Any open breaker calls for low, half of them for medium, all of them for high."""
    fall_factor: float = 0.8
    """A level is left only below this share of its threshold."""
    calm_s: float = 30.0
    """Time below it, for each step down."""

    def __post_init__(self) -> None:
        if not 0 < self.fall_factor <= 1 or self.calm_s < 0:
            raise ValueError("fall_factor must be above 0 and at most 1, calm_s not negative")


@dataclass(frozen=True, slots=True)
class DegradationChanged:
    """The level of degradation changed."""

    level: ClassVar[Level] = Level.WARNING
    before: str
    after: str
    why: tuple[str, ...]
    manual: bool

    def describe(self) -> str:
        """See `Event.describe`."""
        how = "by hand" if self.manual else "automatic"
        return f"Degradation: {self.before} → {self.after} ({how}: {', '.join(self.why)})"


@dataclass(frozen=True, slots=True)
class MaintenanceChanged:
    """Maintenance began or ended."""

    level: ClassVar[Level] = Level.WARNING
    on: bool
    reason: str

    def describe(self) -> str:
        """See `Event.describe`."""
        return f"Maintenance {'began' if self.on else 'ended'}: {self.reason}"


@dataclass(frozen=True, slots=True)
class DegradationFacts:
    """Where the ladder stands; times are seconds since the Unix epoch."""

    level: Degradation
    automatic: Degradation
    """The level that the readings call for, whatever is forced."""
    manual: bool
    since: float
    why: tuple[str, ...]
    switches: Switches
    maintenance: bool
    maintenance_since: float | None
    maintenance_reason: str


class DegradationLadder:
    """Holds the level; everything is synchronous."""

    def __init__(
        self, clock: Clock, bus: EventBus, settings: DegradationSettings | None = None
    ) -> None:
        self._clock = clock
        self._bus = bus
        self._settings = settings or DegradationSettings()
        self._automatic = Degradation.NONE
        self._automatic_why: tuple[str, ...] = ("started",)
        self._calm_since: float | None = None
        self._forced: Degradation | None = None
        self._forced_why = ""
        self._since = clock.wall()
        self._maintenance_since: float | None = None
        self._maintenance_reason = ""

    # ── what holds ──────────────────────────────────────────────────────────────────────────────

    @property
    def level(self) -> Degradation:
        """The level that holds: the forced one, else the automatic one."""
        return self._automatic if self._forced is None else self._forced

    @property
    def switches(self) -> Switches:
        """What is on now."""
        return SWITCHES[self.level]

    @property
    def maintenance(self) -> bool:
        """Whether new messages wait until maintenance ends."""
        return self._maintenance_since is not None

    def facts(self) -> DegradationFacts:
        """Where it stands, since when and why."""
        return DegradationFacts(
            level=self.level,
            automatic=self._automatic,
            manual=self._forced is not None,
            since=self._since,
            why=self._why(),
            switches=self.switches,
            maintenance=self.maintenance,
            maintenance_since=self._maintenance_since,
            maintenance_reason=self._maintenance_reason,
        )

    # ── what changes it ─────────────────────────────────────────────────────────────────────────

    def assess(self, readings: Readings) -> Degradation:
        """Take new readings; returns the level that holds now. Call it every few seconds."""
        called, why = self._called_for(readings, factor=1.0)
        if called.rank > self._automatic.rank:
            self._calm_since = None
            self._move(called, why)
        elif called is self._automatic:
            self._calm_since = None
            if called is not Degradation.NONE:
                self._automatic_why = why
        else:
            self._consider_falling(readings)
        return self.level

    def force(self, level: Degradation, reason: str) -> None:
        """Hold this level, whatever the readings say, until `release`."""
        before = self.level
        self._forced, self._forced_why = level, reason
        self._announce(before)

    def release(self, reason: str) -> None:
        """Let the readings decide again."""
        if self._forced is None:
            return
        before = self.level
        self._forced = None
        if self._automatic is Degradation.NONE:
            self._automatic_why = (reason,)
        self._announce(before)

    def set_maintenance(self, reason: str, *, on: bool, since: float | None = None) -> bool:
        """Begin or end maintenance; whether that changed anything.

        `since` is when it began, for one that an earlier life of the process had begun.
        """
        if on is self.maintenance:
            return False
        self._maintenance_since = None
        if on:
            self._maintenance_since = self._clock.wall() if since is None else since
        self._maintenance_reason = reason
        self._bus.publish(MaintenanceChanged(on, reason))
        return True

    # ── inside ──────────────────────────────────────────────────────────────────────────────────

    def _called_for(
        self, readings: Readings, *, factor: float
    ) -> tuple[Degradation, tuple[str, ...]]:
        """The worst level that a reading calls for, and which readings do."""
        calls = tuple(self._calls(readings, factor))
        worst = max((level for level, _ in calls), key=lambda x: x.rank, default=Degradation.NONE)
        if worst is Degradation.NONE:
            return worst, ("all readings are calm",)
        return worst, tuple(words for level, words in calls if level is worst)

    def _calls(self, readings: Readings, factor: float) -> Iterator[tuple[Degradation, str]]:
        settings = self._settings
        total = max(readings.breakers, len(readings.open_breakers))
        if total:
            # A breaker is open or not: no noise there to stay clear of, hence no factor.
            level = settings.open_breaker_share.level(len(readings.open_breakers) / total)
            yield level, f"open: {', '.join(readings.open_breakers)}"
        for value, thresholds, words in (
            (readings.error_share, settings.error_share, "errors {:.0%}"),
            (readings.p95_s, settings.p95_s, "p95 {:.1f} s"),
            (readings.memory_share, settings.memory_share, "memory {:.0%}"),
            (readings.queue_share, settings.queue_share, "queue {:.0%}"),
        ):
            if value is not None:
                yield thresholds.level(value, factor=factor), words.format(value)

    def _consider_falling(self, readings: Readings) -> None:
        now = self._clock.monotonic()
        clearly, why = self._called_for(readings, factor=self._settings.fall_factor)
        if clearly.rank >= self._automatic.rank:
            self._calm_since = None
            return
        if self._calm_since is None:
            self._calm_since = now
        if now - self._calm_since >= self._settings.calm_s:
            # Each further step takes its own calm time.
            self._calm_since = now
            self._move(_LADDER[self._automatic.rank - 1], why)

    def _move(self, level: Degradation, why: tuple[str, ...]) -> None:
        before = self.level
        self._automatic, self._automatic_why = level, why
        if self._forced is None:
            self._announce(before)

    def _announce(self, before: Degradation) -> None:
        after = self.level
        if after is not before:
            self._since = self._clock.wall()
            manual = self._forced is not None
            self._bus.publish(DegradationChanged(str(before), str(after), self._why(), manual))

    def _why(self) -> tuple[str, ...]:
        return self._automatic_why if self._forced is None else (self._forced_why,)
