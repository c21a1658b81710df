"""What a runbook is: data plus steps that plan acts; the executor alone performs them.

Plans, prechecks and validations only look (`Situation.plant`); the acts that a plan returns are
performed, journaled and rolled back by `executor.py`, or merely told by a dry run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum

from llmbot.kernel.clock import Clock
from llmbot.operations.ports import Act, Check, Part, Plant

__all__ = ["BY_HAND", "Go", "Ready", "Runbook", "Situation", "Step"]


BY_HAND = "by hand"
"""Stands for the cause where a person runs a runbook and no cause asks for it."""


class Go(StrEnum):
    """What a precheck answers."""

    ACT = "act"
    WAIT = "wait"
    """The outside must mend first; ask again later."""
    NOTHING = "nothing"
    """What the bot does by itself is enough, or only a person can help."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Whether to act, and why or why not."""

    go: Go
    reason: str


@dataclass(frozen=True, slots=True)
class Situation:
    """What a runbook is run for."""

    cause: str
    subjects: tuple[str, ...]
    plant: Plant
    clock: Clock


Plan = Callable[[Situation], tuple[Act, ...]]
Precheck = Callable[[Situation], Awaitable[Ready]]
Validate = Callable[[Situation], Awaitable[Check]]
Unneeded = Callable[[Situation], str]


def _needed(_: Situation) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Step:
    """One step; `plan` names its acts, an empty plan skips it."""

    name: str
    plan: Plan
    unneeded: Unneeded = _needed
    """Why the step need not be done now; empty where it must."""
    deadline_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Runbook:
    """A recovery procedure; `part` is the one subsystem that a run of it may change."""

    name: str
    title: str
    rows: tuple[int, ...]
    part: Part
    precheck: Precheck
    validate: Validate
    steps: tuple[Step, ...] = ()
    settle_s: float = 10.0
    """How long the validation may take to pass after the last step."""
    people: tuple[str, ...] = field(default=())
    """What only people can do."""
