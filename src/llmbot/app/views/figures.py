"""The figures for `/api/metrics` and `/metrics`, read off their parts."""

from __future__ import annotations

from collections.abc import Iterator

from llmbot.adapters.discord.recent_exchanges import WINDOW_S
from llmbot.app.externals import gateway_details, quotas_of
from llmbot.app.running import Running
from llmbot.app.views.health import circuit_of, spread, vitals_of
from llmbot.app.views.work import queue_of
from llmbot.console.facts.facts import (
    CircuitFacts,
)
from llmbot.console.facts.figures import (
    DiscordMetrics,
    ModelMetrics,
    ProviderMetrics,
    QueueMetrics,
)
from llmbot.console.views import Health, PartView, Verdict
from llmbot.operations.health import Status
from llmbot.operations.metrics import Reading
from llmbot.operations.stats import percentiles
from llmbot.resilience.breaker_facts import BreakerState

__all__ = ["discord_metrics_of", "provider_metrics_of", "queue_metrics_of", "readings_of"]

_BREAKER = {BreakerState.CLOSED: 0.0, BreakerState.HALF_OPEN: 1.0, BreakerState.OPEN: 2.0}
_HEALTH = {Health.UNHEALTHY: 0.0, Health.DEGRADED: 1.0, Health.HEALTHY: 2.0}


def provider_metrics_of(bot: Running, provider: str) -> ProviderMetrics:
    """See `Views.provider_metrics`; all 0 for a provider that is not configured."""
    stats, quotas = (
        bot.mechanisms.stats,
        quotas_of(bot.mechanisms.limits, bot.edges.chain.candidates, provider),
    )
    classes: dict[str, int] = {}
    models: dict[str, ModelMetrics] = {}
    for key, figures in stats.models().items():
        of_provider, _, name = key.partition(":")
        if of_provider != provider:
            continue
        for code, count in figures.errors_by_code.items():
            classes[code] = classes.get(code, 0) + count
        breaker = _circuit(bot, key)
        models[name] = ModelMetrics(
            calls=figures.calls,
            errors=figures.errors,
            calls_total=figures.calls_total,
            errors_total=figures.errors_total,
            errors_by_class=dict(figures.errors_by_code),
            first_words=spread(figures.first_words),
            duration=spread(figures.duration),
            tokens_in=figures.tokens_in,
            tokens_out=figures.tokens_out,
            tokens_in_total=figures.tokens_in_total,
            tokens_out_total=figures.tokens_out_total,
            breaker="none" if breaker is None else breaker.state,
            quota=quotas.get(name, {}),
        )
    return ProviderMetrics(
        provider=provider,
        window_seconds=round(stats.window_s),
        calls_total=sum(model.calls_total for model in models.values()),
        errors_total=sum(model.errors_total for model in models.values()),
        errors_by_class=classes,
        tokens_in_total=sum(model.tokens_in_total for model in models.values()),
        tokens_out_total=sum(model.tokens_out_total for model in models.values()),
        models=models,
        breaker=_circuit(bot, provider),
    )


def discord_metrics_of(bot: Running) -> DiscordMetrics:
    """See `Views.discord_metrics`."""
    gateway, recently = bot.edges.discord.facts(), bot.edges.discord.rest_recently()
    return DiscordMetrics(
        gateway=gateway_details(bot.edges.discord),
        rest={
            "requests": gateway.rest_requests,
            "retries": gateway.rest_retries,
            "rateLimited": gateway.rest_rate_limited,
            "unavailable": gateway.rest_unavailable,
            "invalidRequests": gateway.invalid_requests,
            "unparsable": gateway.unparsable,
            "handlerFailures": gateway.handler_failures,
        },
        window_seconds=round(WINDOW_S),
        calls=recently.calls,
        errors=recently.errors,
        errors_by_class=dict(recently.errors_by_class),
        latency=spread(percentiles(recently.times_ms)),
        commands=bot.operations.metrics.command_counts(),
        duplicates=dict(bot.mechanisms.claims.duplicates),
        breaker=_circuit(bot, "discord"),
    )


async def queue_metrics_of(bot: Running) -> QueueMetrics:
    """See `Views.queue_metrics`."""
    figures = bot.mechanisms.stats.performance()
    return QueueMetrics(
        queue=await queue_of(bot),
        window_seconds=round(figures.window_s),
        received=figures.received,
        answered=figures.answered,
        noticed=figures.noticed,
        failed_attempts=figures.failed_attempts,
        errors_by_class=dict(figures.errors_by_code),
        wait=spread(figures.stages["queue"]),
    )


def _circuit(bot: Running, name: str) -> CircuitFacts | None:
    breaker = bot.mechanisms.breakers.find(name)
    return None if breaker is None else circuit_of(breaker.facts())


# ── Prometheus ──────────────────────────────────────────────────────────────────────────────────


def readings_of(
    bot: Running, verdict: Verdict, parts: tuple[PartView, ...], uptime_s: float
) -> Iterator[Reading]:
    """Every gauge of `operations.metrics.GAUGES` that can be told now."""
    yield Reading("llmbot_up_seconds", uptime_s)
    for status in Status:
        yield Reading("llmbot_status", float(status is verdict.status), (str(status),))
    for part in parts:
        yield Reading("llmbot_part_health", _HEALTH[part.health], (part.name,))
    yield from _traffic(bot)
    yield from _discord(bot)
    yield from _machine(bot)
    yield from _quotas(bot)


def _traffic(bot: Running) -> Iterator[Reading]:
    for name, facts in bot.mechanisms.breakers.facts().items():
        yield Reading("llmbot_breaker_state", _BREAKER[facts.state], (name,))
        yield Reading("llmbot_breaker_window_failures", facts.failures, (name,))
    queue, controls = bot.operations.glance.queue(), bot.conversation.controls
    for priority, count in queue.by_priority.items():
        yield Reading("llmbot_queue_waiting", count, (priority,))
    yield Reading("llmbot_queue_in_flight", queue.in_flight)
    yield Reading("llmbot_queue_retrying", queue.retrying)
    yield Reading("llmbot_queue_oldest_seconds", queue.oldest_s)
    yield Reading("llmbot_queue_capacity", queue.capacity)
    yield Reading("llmbot_workers_limit", controls.pool_facts().limit)
    yield Reading("llmbot_degradation_level", controls.modes.ladder.level.rank)
    yield Reading("llmbot_maintenance", float(controls.modes.maintenance))
    ledger = bot.conversation.reconciler.facts()
    if ledger.rounds:
        for kind, count in (
            ("lost", ledger.lost),
            ("doubled", ledger.doubled),
            ("cut", ledger.cut),
        ):
            yield Reading("llmbot_ledger_amiss", count, (kind,))
        yield Reading("llmbot_ledger_mended", ledger.mended)
    totals = bot.operations.mutexes.totals()
    yield Reading("llmbot_mutexes_held", totals.held)
    yield Reading("llmbot_mutexes_waiting", totals.waiting)


def _discord(bot: Running) -> Iterator[Reading]:
    gateway = bot.edges.discord.facts()
    yield Reading("llmbot_gateway_ready", float(gateway.state == "ready"))
    if gateway.latency_ms is not None:
        yield Reading("llmbot_gateway_latency_seconds", gateway.latency_ms / 1000)
    if gateway.last_ack_age_s is not None:
        yield Reading("llmbot_gateway_heartbeat_age_seconds", gateway.last_ack_age_s)
    yield Reading("llmbot_gateway_resumes", gateway.resumes)
    yield Reading("llmbot_gateway_identifies", gateway.identifies)
    yield Reading("llmbot_gateway_identifies_left", gateway.identifies_left)
    for outcome, count in (
        ("all", gateway.rest_requests),
        ("retried", gateway.rest_retries),
        ("rate_limited", gateway.rest_rate_limited),
        ("unavailable", gateway.rest_unavailable),
        ("invalid", gateway.invalid_requests),
    ):
        yield Reading("llmbot_discord_requests", count, (outcome,))


def _machine(bot: Running) -> Iterator[Reading]:
    vitals, host = vitals_of(bot), bot.edges.host
    yield Reading("llmbot_memory_resident_bytes", vitals.memory_bytes)
    yield Reading("llmbot_memory_limit_bytes", vitals.memory_limit_bytes)
    yield Reading("llmbot_memory_trend_bytes_per_minute", vitals.memory_trend or 0)
    yield Reading("llmbot_loop_lag_seconds", vitals.loop_lag_mean_ms / 1000, ("mean",))
    yield Reading("llmbot_loop_lag_seconds", vitals.loop_lag_worst_ms / 1000, ("worst",))
    if vitals.disk_free_bytes is not None:
        yield Reading("llmbot_disk_free_bytes", vitals.disk_free_bytes)
        yield Reading("llmbot_disk_total_bytes", vitals.disk_total_bytes)
    yield Reading("llmbot_open_files", host.open_files())
    yield Reading("llmbot_processor_seconds", host.processor_s())
    store = bot.mechanisms.database.facts()
    yield Reading("llmbot_store_units", store.units)
    yield Reading("llmbot_store_failures", store.failures)
    yield Reading("llmbot_store_waiting", store.queued)
    yield Reading("llmbot_store_commit_seconds", store.last_commit_ms / 1000)
    yield Reading("llmbot_store_bytes", store.disk_bytes)
    yield Reading("llmbot_audit_unwritten", vitals.records_unwritten)
    yield Reading("llmbot_subscriber_failures", bot.house.bus.subscriber_failures)


def _quotas(bot: Running) -> Iterator[Reading]:
    for candidate in bot.conversation.generation.chain:
        model = candidate.model
        for window in bot.mechanisms.limits.forecast(f"{model.provider}:{model.name}").windows:
            labels = (model.name, window.window)
            yield Reading("llmbot_model_quota_remaining", window.remaining, labels)
