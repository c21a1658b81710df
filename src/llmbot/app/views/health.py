"""How the bot is, read off its parts: vitals, breakers, degradation, memory, response times."""

from __future__ import annotations

import gc
from collections.abc import Mapping

from llmbot.app.running import Running
from llmbot.app.stores import stores_of
from llmbot.console.facts.facts import (
    CircuitFacts,
    DegradationFacts,
    GenerationFacts,
    LoopFacts,
    MemoryDetails,
    MemoryFacts,
    PerformanceFacts,
    Spread,
    StoreFacts,
    moment,
)
from llmbot.operations.health import MIB, Vitals
from llmbot.operations.stats import Percentiles
from llmbot.resilience.breaker_facts import BreakerFacts, BreakerState

__all__ = [
    "circuit_of",
    "circuits_of",
    "degradation_of",
    "held_models",
    "memory_details_of",
    "memory_of",
    "performance_of",
    "spread",
    "vitals_of",
]


def vitals_of(bot: Running) -> Vitals:
    """The readings of this moment; microseconds, nothing is asked of the disk."""
    sensors, modes = bot.operations.sensors, bot.mechanisms.modes
    ladder = modes.ladder.facts()
    queue = bot.operations.glance.queue()
    gateway = bot.edges.discord.facts()
    ready, held = held_models(bot)
    lag = sensors.loop.lag()
    disk = sensors.disk
    return Vitals(
        models_ready=ready,
        models_held=held,
        breakers_open=_others_open(bot),
        heartbeat_age_s=gateway.last_ack_age_s if gateway.state == "ready" else None,
        loop_lag_mean_ms=lag.mean_ms,
        loop_lag_worst_ms=lag.worst_ms,
        degradation=str(ladder.level),
        degradation_why=ladder.why,
        waiting=queue.waiting,
        capacity=queue.capacity,
        in_flight=queue.in_flight,
        oldest_s=queue.oldest_s,
        waiting_is_wanted=modes.maintenance or modes.queueing,
        answered_ago_s=sensors.answered_ago_s(),
        memory_bytes=bot.edges.host.resident_bytes(),
        memory_limit_bytes=memory_limit_of(bot),
        memory_trend=sensors.trend.bytes_per_minute(),
        disk_free_bytes=None if disk is None else disk.free,
        disk_total_bytes=1 if disk is None else disk.total,
        disk_error="" if disk is None else disk.error,
        records_unwritten=bot.operations.audit.unwritten,
    )


def held_models(bot: Running) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The models that may be asked now, and those that a breaker holds back."""
    breakers = bot.mechanisms.breakers
    ready: list[str] = []
    held: list[str] = []
    for candidate in bot.conversation.generation.chain:
        model = candidate.model
        names = (model.provider, f"{model.provider}:{model.name}")
        states = [b.state for name in names if (b := breakers.find(name)) is not None]
        is_held = any(state is not BreakerState.CLOSED for state in states)
        (held if is_held else ready).append(model.name)
    return tuple(ready), tuple(held)


def _others_open(bot: Running) -> tuple[str, ...]:
    providers = {candidate.model.provider for candidate in bot.conversation.generation.chain}
    return tuple(
        breaker.name
        for breaker in bot.mechanisms.breakers.all()
        if breaker.state is not BreakerState.CLOSED
        and breaker.name.partition(":")[0] not in providers
    )


def memory_limit_of(bot: Running) -> int:
    """MEMORY_LIMIT_MB in bytes."""
    return bot.house.settings.limits.memory_limit_mb * MIB


# ── answers ─────────────────────────────────────────────────────────────────────────────────────


def degradation_of(bot: Running) -> DegradationFacts:
    """See `Views.degradation`."""
    modes = bot.conversation.controls.mode_facts()
    ladder = modes.degradation
    return DegradationFacts(
        level=str(ladder.level),
        automatic_level=str(ladder.automatic),
        since=moment(ladder.since),
        reasons=list(ladder.why),
        manual=ladder.manual,
        mode="manual" if ladder.manual else "automatic",
        switched_off=list(ladder.switches.off()),
        maintenance=modes.maintenance,
        maintenance_since=moment(modes.maintenance_since),
        maintenance_reason=modes.maintenance_reason,
        queueing=modes.queueing,
        queueing_since=moment(modes.queueing_since),
        queue_depth=bot.operations.glance.queue().waiting,
    )


def circuits_of(bot: Running) -> Mapping[str, CircuitFacts]:
    """See `Views.circuits`."""
    return {name: circuit_of(facts) for name, facts in bot.mechanisms.breakers.facts().items()}


def circuit_of(facts: BreakerFacts) -> CircuitFacts:
    """One breaker."""
    counts = facts.counts
    return CircuitFacts(
        state=str(facts.state),
        reason=facts.reason,
        failures=facts.failures,
        calls=facts.calls,
        slow=facts.slow,
        consecutive_failures=facts.consecutive_failures,
        opened_at=moment(facts.opened_at),
        next_probe_at=moment(facts.next_probe_at),
        held=facts.held,
        last_error=facts.last_error,
        generation=facts.generation,
        counts={name: getattr(counts, name) for name in type(counts).__slots__},
    )


def memory_of(bot: Running) -> MemoryFacts:
    """See `Views.memory`."""
    used, limit = bot.edges.host.resident_bytes(), memory_limit_of(bot)
    trend = bot.operations.sensors.trend
    return MemoryFacts(
        heap_used=used,
        limit=limit,
        percent=round(100 * used / limit),
        trend=trend.bytes_per_minute() or 0,
        trend_seconds=round(trend.covered_s),
    )


def memory_details_of(bot: Running) -> MemoryDetails:
    """See `Views.memory_details`."""
    plain, full = memory_of(bot), bot.edges.host.memory()
    stores = {
        name: StoreFacts(store.bytes(), store.entries(), store.clear is not None)
        for name, store in stores_of(bot).items()
    }
    largest_first = sorted(stores.items(), key=lambda item: -item[1].bytes)
    return MemoryDetails(
        heap_used=plain.heap_used,
        limit=plain.limit,
        percent=plain.percent,
        trend=plain.trend,
        trend_seconds=plain.trend_seconds,
        resident=full.resident,
        unique=full.unique,
        virtual=full.virtual,
        generations=[
            GenerationFacts(
                count=count,
                threshold=threshold,
                collections=stats["collections"],
                collected=stats["collected"],
                uncollectable=stats["uncollectable"],
            )
            for count, threshold, stats in zip(
                gc.get_count(), gc.get_threshold(), gc.get_stats(), strict=True
            )
        ],
        stores=dict(largest_first),
    )


def performance_of(bot: Running) -> PerformanceFacts:
    """See `Views.performance`."""
    figures = bot.mechanisms.stats.performance()
    loop = bot.operations.sensors.loop
    lag = loop.lag()
    return PerformanceFacts(
        response_time=spread(figures.response),
        stages={name: spread(times) for name, times in figures.stages.items()},
        window_seconds=round(figures.window_s),
        received=figures.received,
        answered=figures.answered,
        noticed=figures.noticed,
        failed_attempts=figures.failed_attempts,
        per_minute=round(figures.per_minute, 2),
        error_rate=round(figures.error_share or 0.0, 4),
        errors_by_class=dict(figures.errors_by_code),
        event_loop_lag=LoopFacts(
            round(lag.mean_ms),
            round(lag.worst_ms),
            round(loop.p999_ms()),
            round(lag.worst_ever_ms),
            lag.blocked,
        ),
    )


def spread(times: Percentiles) -> Spread:
    """A distribution as it is shown."""
    return Spread(times.p50, times.p95, times.p99, times.max, times.count)
