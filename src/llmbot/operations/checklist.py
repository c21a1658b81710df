"""The operators' validation checklist after a recovery: five looks, one verdict.

Source: the operators' document, "Recovery Validation Checklist".
"""

from __future__ import annotations

import asyncio

from llmbot.operations.ports import Check, Part, Plant
from llmbot.resilience.breaker_facts import BreakerState

_P95_MS = 5000
_SAMPLES_MIN = 10
"""Fewer answers say nothing about the usual time."""


async def validate_all(plant: Plant, fresh_s: float = 60.0) -> tuple[Check, ...]:
    """Status, circuits, external, performance, end to end; the outside is asked for real.

    Response times are judged on the last `fresh_s` seconds: older ones tell of what is over.
    """
    discord, model, whole = await asyncio.gather(
        plant.probe(Part.DISCORD, "rest"),
        plant.probe(Part.MODEL, ""),
        plant.probe(Part.QUEUE, ""),
    )
    external = Check(
        "external",
        discord.passed and model.passed,
        f"Discord: {discord.detail}; model: {model.detail}",
    )
    end_to_end = Check("end to end", whole.passed, whole.detail)
    return (status(plant), circuits(plant), external, performance(plant, fresh_s), end_to_end)


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
