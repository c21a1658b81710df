"""The operators' validation checklist after a recovery: five looks, one verdict.

Source: the operators' document, "Recovery Validation Checklist".
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import LlmbotError
from llmbot.operations.catalog.registry import RUNBOOKS
from llmbot.operations.causes import CAUSES
from llmbot.operations.ports import Check, Part, Plant
from llmbot.operations.runbook import Runbook, Situation
from llmbot.resilience.breaker_facts import BreakerState
from llmbot.resilience.deadline import Deadline

_P95_MS = 5000
_SAMPLES_MIN = 10
"""Fewer answers say nothing about the usual time."""
_CONFIRM_S = 15.0
_COVERED = frozenset({Part.DISCORD, Part.MODEL, Part.QUEUE})
"""The five look at these already."""


async def validate_all(
    plant: Plant, clock: Clock, causes: Sequence[str] = (), fresh_s: float = 60.0
) -> tuple[Check, ...]:
    """Status, circuits, external, performance, end to end; the outside is asked for real.

    What confirms the end of each of `causes` follows, where none of the five does. Response times
    are judged on the last `fresh_s` seconds: older ones tell of what is over.
    """
    books = dict.fromkeys(CAUSES[name].runbook for name in causes if name in CAUSES)
    own = [RUNBOOKS[name] for name in books if RUNBOOKS[name].part not in _COVERED]
    (discord, model, whole), confirmed = await asyncio.gather(
        asyncio.gather(
            plant.probe(Part.DISCORD, "rest"),
            plant.probe(Part.MODEL, ""),
            plant.probe(Part.QUEUE, ""),
        ),
        asyncio.gather(*(_confirmed(book, plant, clock) for book in own)),
    )
    external = Check(
        "external",
        discord.passed and model.passed,
        f"Discord: {discord.detail}; model: {model.detail}",
    )
    end_to_end = Check("end to end", whole.passed, whole.detail)
    five = (status(plant), circuits(plant), external, performance(plant, fresh_s), end_to_end)
    return (*five, *confirmed)


async def _confirmed(book: Runbook, plant: Plant, clock: Clock) -> Check:
    """What a run of this runbook would be judged by, though it may have had nothing to do."""
    try:
        async with Deadline.after(clock, _CONFIRM_S).limit():
            return await book.validate(Situation(book.name, (), plant, clock))
    except (LlmbotError, OSError, TimeoutError) as error:
        return Check(str(book.part), passed=False, detail=str(error) or type(error).__name__)


def status(plant: Plant) -> Check:
    """Every service runs and has no trouble."""
    unwell = [
        f"{service.name}: {service.trouble or service.state}"
        for service in plant.services()
        if service.state != "running" or service.trouble
    ]
    return Check("status", not unwell, "; ".join(unwell) or "every service is healthy")


def circuits(plant: Plant) -> Check:
    """Every circuit breaker is closed."""
    not_closed = [
        f"{name} is {breaker.state}"
        for name, breaker in plant.breakers().items()
        if breaker.state is not BreakerState.CLOSED
    ]
    return Check("circuits", not not_closed, "; ".join(not_closed) or "all closed")


def performance(plant: Plant, fresh_s: float) -> Check:
    """Memory and p95 within the operators' thresholds."""
    host, response = plant.host(), plant.performance(fresh_s).response
    words = f"{host.resident_bytes // 1024**2} MiB, p95 {response.p95} ms"
    quick = response.count < _SAMPLES_MIN or response.p95 <= _P95_MS
    fits = host.resident_bytes <= host.memory_limit_bytes and quick
    return Check("performance", fits, words)
