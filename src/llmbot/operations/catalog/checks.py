"""Prechecks and validations that several runbooks share; they look and never act."""

from __future__ import annotations

from llmbot.operations.ports import Check, Part
from llmbot.operations.runbook import BY_HAND, Go, Precheck, Ready, Situation, Validate
from llmbot.resilience.breaker_facts import BreakerState


def only_told(reason: str) -> Precheck:
    """For what no act of the bot can mend, or what it mends without one."""

    async def precheck(_: Situation) -> Ready:
        return Ready(Go.NOTHING, reason)

    return precheck


async def at_once(situation: Situation) -> Ready:
    """The condition itself is reason enough; where there is none, a person asked."""
    asked = situation.cause == BY_HAND
    return Ready(Go.ACT, "a person asks for it" if asked else "the condition lasts")


def probed(part: Part) -> Validate:
    """Look at the part for real."""

    async def validate(situation: Situation) -> Check:
        subject = situation.subjects[0] if situation.subjects else ""
        return await situation.plant.probe(part, subject)

    return validate


def open_breakers(situation: Situation) -> tuple[str, ...]:
    """The breakers of the subjects and of their providers that hold calls back, and not by hand.

    Also those of models whose provider asked for a wait: a reset ends that, too.
    """
    facts, waits = situation.plant.breakers(), situation.plant.waits()
    wanted = dict.fromkeys(
        name for subject in situation.subjects for name in (subject, subject.partition(":")[0])
    )
    return tuple(
        name
        for name in wanted
        if name in facts
        and (facts[name].state is not BreakerState.CLOSED or name in waits)
        and not facts[name].held
    )
