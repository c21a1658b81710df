"""What the reconciler and its readings share: their bounds, and a round's count."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["KINDS", "ReconcileSettings", "Round"]

KINDS = ("lost", "doubled", "cut")


@dataclass(frozen=True, slots=True)
class ReconcileSettings:
    """How often and how far; times in seconds."""

    first_after_s: float = 20.0
    every_s: float = 240.0
    window_s: float = 900.0
    """Messages asked earlier are settled, and replies ended earlier are proven no more."""
    settled_s: float = 30.0
    """What changed later than so long ago may still be under way."""
    messages_max: int = 2000
    """As many as a round could read if none but these stood in the channels."""
    calls_max: int = 20
    """Calls to Discord in one round; the next goes on where it broke off."""
    texts_max: int = 300
    """Answers whose text is kept in memory for comparison."""


@dataclass(slots=True)
class Round:
    """What one round finds."""

    found: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    mended: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    removed: int = 0
    calls: int = 0
    complete: bool = True
