"""From findings to conditions: what lasts is a condition, what swings does not make it flap.

A sensor's finding must be there for `raise_after_s` before the condition is raised, and gone for
`clear_after_s` before it is cleared; between two thresholds (`UNSURE`) things stay as they are. An
*event* is a finding that is over already: it is raised at once and clears by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from llmbot.operations.ports import Part

CONDITIONS_MAX = 100
"""Of one sensor: more are not told apart, and none crowds out what another one sees."""


class Sign(StrEnum):
    """What a sensor says of its subject."""

    ALARM = "alarm"
    UNSURE = "unsure"
    """Between the thresholds of alarm and calm."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One sensor's word on one subject; silence about a subject means that it is well."""

    subject: str
    evidence: str
    sign: Sign = Sign.ALARM


@dataclass(frozen=True, slots=True)
class Nature:
    """What kind of condition a sensor raises."""

    name: str
    row: int
    """Of the failure catalogue."""
    part: Part
    raise_after_s: float = 0.0
    clear_after_s: float = 2.0
    timed: bool = False
    """Its readings measure time, and say nothing of a gap in which the process stood still."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that is not as it should be; times are monotonic seconds."""

    nature: Nature
    subject: str
    evidence: str
    since_s: float
    seen_s: float
    raised: bool
    times_raised: int = 0

    @property
    def key(self) -> str:
        """Its name, and of whom it is told."""
        return f"{self.nature.name}:{self.subject}" if self.subject else self.nature.name


class Conditions:
    """Holds what the sensors found, and says what was raised and what cleared."""

    def __init__(self, *, conditions_max: int = CONDITIONS_MAX) -> None:
        """Nothing is known yet."""
        self._held: dict[str, Condition] = {}
        self._max = conditions_max

    def active(self) -> tuple[Condition, ...]:
        """Those that are raised, the oldest first."""
        return tuple(c for c in self._held.values() if c.raised)

    def update(
        self, nature: Nature, findings: Iterable[Finding], now: float
    ) -> tuple[list[Condition], list[Condition]]:
        """Take one sensor's findings; the conditions that were raised by it, and that cleared."""
        raised: list[Condition] = []
        cleared: list[Condition] = []
        found: dict[str, Finding] = {}
        for finding in findings:
            found.setdefault(f"{nature.name}:{finding.subject}", finding)
        for key, finding in found.items():
            condition = self._seen(key, nature, finding, now)
            if condition is not None:
                raised.append(condition)
        for key in [k for k, c in self._held.items() if c.nature.name == nature.name]:
            gone = self._held[key]
            if key not in found and now - gone.seen_s >= nature.clear_after_s:
                del self._held[key]
                if gone.raised:
                    cleared.append(gone)
            elif key not in found and not gone.raised:
                del self._held[key]  # it did not last
        return raised, cleared

    def _seen(self, key: str, nature: Nature, finding: Finding, now: float) -> Condition | None:
        held = self._held.get(key)
        if finding.sign is Sign.UNSURE:
            if held is not None:
                self._held[key] = replace(held, seen_s=now)
            return None
        if held is None:
            if sum(c.nature.name == nature.name for c in self._held.values()) >= self._max:
                return None
            held = Condition(nature, finding.subject, finding.evidence, now, now, raised=False)
        due = not held.raised and now - held.since_s >= nature.raise_after_s
        held = replace(
            held,
            evidence=finding.evidence,
            seen_s=now,
            raised=held.raised or due,
        )
        self._held[key] = held
        return held if due else None
