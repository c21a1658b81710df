"""Figures for Prometheus: counted from the events, read from the parts when somebody asks.

Every label has few values: names from the settings and words of our own, never a user's. What comes
beyond the most that a label may have is counted as `other`, so that no fault and no stranger can
make the series endless.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from llmbot.kernel.events import (
    BackfillDone,
    BreakerChanged,
    CommandExecuted,
    DuplicateMessage,
    Event,
    EventBus,
    GatewayChanged,
    JobFailed,
    JobMoved,
    MessageAccepted,
    ModelAnswered,
    ModelFailed,
    Published,
    ReplyDelivered,
    ServiceChanged,
    TaskDied,
    WorkRecovered,
)
from llmbot.operations.audit.trail import AuditRecorded

__all__ = ["GAUGES", "Metrics", "Reading"]

VALUES_MAX = 60
"""Values of one label that are told apart."""

OTHER = "other"

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0)

GAUGES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "llmbot_up_seconds": ("Seconds since the process began", ()),
    "llmbot_status": ("1 for the status that holds", ("status",)),
    "llmbot_part_health": ("2 healthy, 1 degraded, 0 unhealthy", ("part",)),
    "llmbot_breaker_state": ("0 closed, 1 half-open, 2 open", ("breaker",)),
    "llmbot_breaker_window_failures": ("Failures in the breaker's window", ("breaker",)),
    "llmbot_queue_waiting": ("Messages that wait, by priority", ("priority",)),
    "llmbot_queue_in_flight": ("Messages that are being answered", ()),
    "llmbot_queue_retrying": ("Messages that wait to be tried again", ()),
    "llmbot_queue_oldest_seconds": ("Age of the oldest message in the queue", ()),
    "llmbot_queue_capacity": ("Messages that may wait", ()),
    "llmbot_workers_limit": ("Messages that may be answered at once", ()),
    "llmbot_degradation_level": ("0 none to 3 high", ()),
    "llmbot_maintenance": ("1 during maintenance", ()),
    "llmbot_gateway_ready": ("1 while the gateway session is up", ()),
    "llmbot_gateway_latency_seconds": ("Last heartbeat's round trip", ()),
    "llmbot_gateway_heartbeat_age_seconds": ("Since the last acknowledgement", ()),
    "llmbot_gateway_resumes": ("Sessions resumed since the start", ()),
    "llmbot_gateway_identifies": ("Sessions begun anew since the start", ()),
    "llmbot_gateway_identifies_left": ("Left of the day's budget", ()),
    "llmbot_discord_requests": ("REST calls since the start", ("outcome",)),
    "llmbot_memory_resident_bytes": ("Memory in RAM", ()),
    "llmbot_memory_limit_bytes": ("MEMORY_LIMIT_MB", ()),
    "llmbot_memory_trend_bytes_per_minute": ("Fitted over ten minutes", ()),
    "llmbot_loop_lag_seconds": ("How late the event loop was, last ten seconds", ("kind",)),
    "llmbot_disk_free_bytes": ("Free below DATA_DIR", ()),
    "llmbot_disk_total_bytes": ("Size of the disk below DATA_DIR", ()),
    "llmbot_open_files": ("Open file descriptors", ()),
    "llmbot_processor_seconds": ("Processor time used", ()),
    "llmbot_store_units": ("Units of work committed since the start", ()),
    "llmbot_store_failures": ("Batches of them that were lost since the start", ()),
    "llmbot_store_waiting": ("Units of work that wait for the disk", ()),
    "llmbot_store_commit_seconds": ("The last commit, until it was durable", ()),
    "llmbot_store_bytes": ("The database with its write-ahead log", ()),
    "llmbot_ledger_amiss": ("In the ledger's last comparison with the channels", ("kind",)),
    "llmbot_ledger_mended": ("By those comparisons since the start", ()),
    "llmbot_mutexes_held": ("Named mutexes that are held", ()),
    "llmbot_mutexes_waiting": ("Tasks that wait for a named mutex", ()),
    "llmbot_model_quota_remaining": ("Calls left", ("model", "window")),
    "llmbot_audit_unwritten": ("Records of the audit that are not on the disk", ()),
    "llmbot_subscriber_failures": ("Events that a listener failed on", ()),
}
"""What is read from the parts at each scrape: help and labels by name."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One value of one gauge, its labels in the order of `GAUGES`."""

    name: str
    value: float
    labels: tuple[str, ...] = ()


_Labels = Callable[[Any], tuple[str, ...]]
_Amount = Callable[[Any], float]


def _once(_: object) -> float:
    return 1.0


_RULES: Mapping[type, tuple[str, _Labels, _Amount]] = {
    MessageAccepted: ("accepted", lambda e: (e.source,), _once),
    DuplicateMessage: ("duplicates", lambda e: (e.stopped_by,), _once),
    JobFailed: ("failures", lambda e: (e.code, e.blame), _once),
    ModelFailed: ("calls", lambda e: (e.provider, e.model, e.code), _once),
    BreakerChanged: ("breakers", lambda e: (e.name, e.after), _once),
    CommandExecuted: ("commands", lambda e: (e.command, e.outcome), _once),
    GatewayChanged: ("gateway", lambda e: (e.state,), _once),
    ServiceChanged: ("services", lambda e: (e.service, e.state), _once),
    TaskDied: ("deaths", lambda _: (), _once),
    WorkRecovered: ("recovered", lambda _: ("restart",), lambda e: float(e.jobs)),
    BackfillDone: ("recovered", lambda _: ("backfill",), lambda e: float(e.found)),
    AuditRecorded: ("acts", lambda e: (e.action, e.outcome), _once),
}
"""What each event counts as: the counter, its labels, and how much."""


class _Bounded:
    """Lets each label have so many values, and calls all further ones `other`."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int], set[str]] = {}

    def __call__(self, name: str, labels: Sequence[str]) -> tuple[str, ...]:
        return tuple(self._one(name, place, value) for place, value in enumerate(labels))

    def _one(self, name: str, place: int, value: str) -> str:
        seen = self._seen.setdefault((name, place), set())
        if value in seen:
            return value
        if len(seen) >= VALUES_MAX:
            return OTHER
        seen.add(value)
        return value


class Metrics(Collector):
    """Hears every event and reads the parts; prometheus-client asks its collectors to inherit."""

    def __init__(
        self,
        bus: EventBus,
        read: Callable[[], Iterable[Reading]],
        prices: Mapping[str, tuple[float, float]] | None = None,
    ) -> None:
        """Take the readings from `read`; `prices` are dollars a million tokens, in and out."""
        self.registry = CollectorRegistry(auto_describe=False)
        self._read = read
        self._prices = prices or {}
        self._bounded = _Bounded()
        self.series = {name: labels for name, (_, labels) in GAUGES.items()}
        """The labels of every series that may be told, by its name as Prometheus has it."""
        self._make_counters()
        self.registry.register(self)
        self._stop = bus.subscribe(self._hear)

    def close(self) -> None:
        """Hear nothing more."""
        self._stop()

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)

    def command_counts(self) -> dict[str, dict[str, int]]:
        """How often each slash command ended how."""
        found: dict[str, dict[str, int]] = {}
        for metric in self._by_rule["commands"].collect():
            for sample in metric.samples:
                if sample.name.endswith("_total"):
                    outcomes = found.setdefault(sample.labels["command"], {})
                    outcomes[sample.labels["outcome"]] = int(sample.value)
        return found

    def collect(self) -> Iterator[Metric]:
        """See `Collector.collect`: the gauges."""
        families = {
            name: GaugeMetricFamily(name, words, labels=list(labels))
            for name, (words, labels) in GAUGES.items()
        }
        values: dict[tuple[str, tuple[str, ...]], float] = {}
        for reading in self._read():
            place = (reading.name, self._bounded(reading.name, reading.labels))
            # Of those that are `other` the largest is told: a series that comes twice would make
            # Prometheus refuse them all.
            values[place] = max(reading.value, values.get(place, reading.value))
        for (name, labels), value in values.items():
            families[name].add_metric(labels, value)
        yield from (family for family in families.values() if family.samples)

    def _make_counters(self) -> None:
        def counter(name: str, words: str, *labels: str) -> Counter:
            self.series[f"{name}_total"] = labels
            return Counter(name, words, labels, registry=self.registry)

        def histogram(name: str, words: str, *labels: str) -> Histogram:
            self.series |= {f"{name}_bucket": (*labels, "le"), f"{name}_sum": labels}
            self.series[f"{name}_count"] = labels
            return Histogram(name, words, labels, registry=self.registry, buckets=_SECONDS)

        self._by_rule = {
            "accepted": counter("llmbot_messages_accepted", "Messages claimed", "source"),
            "duplicates": counter("llmbot_duplicates", "Messages that came again", "stopped_by"),
            "failures": counter("llmbot_attempts_failed", "Attempts that failed", "code", "blame"),
            "breakers": counter("llmbot_breaker_changes", "Changes of state", "breaker", "to"),
            "commands": counter("llmbot_commands", "Slash commands", "command", "outcome"),
            "gateway": counter("llmbot_gateway_changes", "Changes of the connection", "state"),
            "services": counter("llmbot_service_changes", "Changes of state", "service", "state"),
            "deaths": counter("llmbot_task_deaths", "Background tasks that died"),
            "recovered": counter("llmbot_recovered", "Messages taken up after a gap", "kind"),
            "acts": counter("llmbot_actions", "Actions of operators", "action", "outcome"),
            "calls": counter(
                "llmbot_model_calls", "Calls of models", "provider", "model", "outcome"
            ),
        }
        self._ended = counter("llmbot_messages", "Messages that ended", "outcome")
        self._stages = histogram("llmbot_reply_seconds", "Time of each stage", "stage")
        self._parts = counter("llmbot_reply_parts", "Parts of replies that were delivered")
        self._edits = counter("llmbot_reply_edits", "Edits of replies while they grew")
        self._duration = histogram("llmbot_model_seconds", "Model calls that went well", "model")
        self._first = histogram("llmbot_model_first_words_seconds", "Until first words", "model")
        self._tokens = counter("llmbot_tokens", "Tokens", "provider", "model", "direction")
        self._cost = counter("llmbot_cost_dollars", "By MODEL_PRICES, where set", "model")
        self._events = counter("llmbot_events", "Everything published", "event")

    # ── hearing ─────────────────────────────────────────────────────────────────────────────────

    def _add(self, counter: Counter, *labels: str, amount: float = 1.0) -> None:
        name = counter._name  # noqa: SLF001 - prometheus-client tells it nowhere else
        one = counter.labels(*self._bounded(name, labels)) if labels else counter
        one.inc(amount)

    def _hear(self, published: Published) -> None:
        event = published.event
        self._add(self._events, published.name)
        if isinstance(event, ModelAnswered):
            self._answered(event)
        elif isinstance(event, ReplyDelivered):
            self._delivered(event)
        else:
            self._count(event)

    def _count(self, event: Event) -> None:
        rule = _RULES.get(type(event))
        if rule is not None:
            name, labels_of, amount_of = rule
            self._add(self._by_rule[name], *labels_of(event), amount=amount_of(event))
        elif isinstance(event, JobMoved) and event.after == "dead":
            self._add(self._ended, "dead")

    def _answered(self, event: ModelAnswered) -> None:
        provider, model = event.provider, event.model
        self._add(self._by_rule["calls"], provider, model, "answered")
        self._add(self._tokens, provider, model, "in", amount=event.tokens_in)
        self._add(self._tokens, provider, model, "out", amount=event.tokens_out)
        (label,) = self._bounded("model", (model,))
        self._duration.labels(label).observe(event.duration_ms / 1000)
        self._first.labels(label).observe(event.first_words_ms / 1000)
        price = self._prices.get(model)
        if price is not None:
            cost = (event.tokens_in * price[0] + event.tokens_out * price[1]) / 1_000_000
            self._add(self._cost, model, amount=cost)

    def _delivered(self, event: ReplyDelivered) -> None:
        self._add(self._ended, event.outcome.partition(":")[0])
        self._parts.inc(event.parts)
        self._edits.inc(event.edits)
        for stage, milliseconds in (
            ("total", event.total_ms),
            ("queue", event.queue_ms),
            ("context", event.context_ms),
            ("model", event.model_ms),
            ("delivery", event.delivery_ms),
        ):
            self._stages.labels(stage).observe(milliseconds / 1000)
