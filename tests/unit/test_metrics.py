"""Figures for Prometheus: what is counted, that no label is endless, what ops/ asks for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from llmbot.app.cli_entry import AppEntry
from llmbot.console.cli.main import command_words
from llmbot.kernel.clock import ManualClock
from llmbot.kernel.events import (
    BreakerChanged,
    CommandExecuted,
    DuplicateMessage,
    Event,
    EventBus,
    JobFailed,
    MessageAccepted,
    ModelAnswered,
    ModelFailed,
    ReplyDelivered,
    ServiceChanged,
)
from llmbot.operations.metrics import GAUGES, OTHER, VALUES_MAX, Metrics, Reading

OPS = Path(__file__).parents[2] / "ops"
_SERIES = re.compile(r"\b(llmbot_[a-z_]+)(?:\{([^}]*)\})?")
_BY = re.compile(r"\bby \(([^)]*)\)")


def told(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by its name and labels, as Prometheus reads them."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }


def heard(*events: Event, prices: dict[str, tuple[float, float]] | None = None) -> Metrics:
    """Figures that have heard these events."""
    bus = EventBus(ManualClock())
    metrics = Metrics(bus, list, prices)
    for event in events:
        bus.publish(event)
    return metrics


def test_a_message_is_counted_from_its_claim_to_its_end() -> None:
    """Claims by source, ends by outcome, each stage's time, calls, tokens and their cost."""
    metrics = heard(
        MessageAccepted(1, 2, None, "live"),
        ModelFailed(1, "gemini", "flash", "model_timeout", 1, 900, "slow"),
        ModelAnswered(1, "gemini", "flash", "stop", 80, 400, 1000, 500),
        ReplyDelivered(1, 2, 2, 3, "answered", 500, 10, 20, 400, 70),
        prices={"flash": (1.0, 2.0)},
    )
    found = told(metrics)
    assert found["llmbot_messages_accepted_total", (("source", "live"),)] == 1
    assert found["llmbot_messages_total", (("outcome", "answered"),)] == 1
    assert found["llmbot_reply_parts_total", ()] == 2
    assert found["llmbot_cost_dollars_total", (("model", "flash"),)] == pytest.approx(0.002)
    call = (("model", "flash"), ("outcome", "model_timeout"), ("provider", "gemini"))
    assert found["llmbot_model_calls_total", call] == 1
    for stage in ("queue", "context", "model", "delivery", "total"):
        assert found["llmbot_reply_seconds_count", (("stage", stage),)] == 1


STRANGE: list[Callable[[str], Event]] = [
    lambda s: MessageAccepted(1, 2, None, s),
    lambda s: DuplicateMessage(1, "live", s),
    lambda s: JobFailed(1, s, s, 1, "", ""),
    lambda s: ModelFailed(1, s, s, s, 1, 1, ""),
    lambda s: ModelAnswered(1, s, s, "stop", 1, 1, 1, 1),
    lambda s: BreakerChanged(s, "closed", s, ""),
    lambda s: CommandExecuted(s, s, 1),
    lambda s: ServiceChanged(s, s, ""),
]


def test_no_label_is_endless() -> None:
    """However many values come, a label has so many and `other`, for events and readings alike."""
    values = [f"v{n}" for n in range(VALUES_MAX * 3)]
    bus = EventBus(ManualClock())
    readings = [
        Reading(name, 1.0, (value,) * len(labels))
        for name, (_, labels) in GAUGES.items()
        if labels
        for value in values
    ]
    metrics = Metrics(bus, lambda: readings)
    for make in STRANGE:
        for value in values:
            bus.publish(make(value))
    seen: dict[tuple[str, str], set[str]] = {}
    for name, labels in told(metrics):
        for label, value in labels:
            seen.setdefault((name, label), set()).add(value)
    assert seen
    for (name, label), found in seen.items():
        assert len(found) <= VALUES_MAX + 1, name
        assert len(found) < VALUES_MAX or OTHER in found, (name, label)


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression of the files in ops/, with where it stands."""
    dashboard: dict[str, Any] = json.loads((OPS / "grafana-dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield f"panel {panel['title']}", target["expr"]
    for line in (OPS / "llmbot-alerts.yml").read_text().splitlines():
        if line.strip().startswith("expr:"):
            yield "alert", line.split(":", 1)[1].strip().strip("'")


def test_ops_asks_for_what_is_there() -> None:
    """Every metric and label in the dashboard and the alerts exists, and every metric is used."""
    series = heard().series
    used: set[str] = set()
    for place, expression in expressions():
        names = _SERIES.findall(expression)
        assert expression.count("(") == expression.count(")"), place
        for name, selector in names:
            assert name in series, f"{place}: {name}"
            used.add(name)
            for label in re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", selector):
                assert label in series[name], f"{place}: {name} has no {label}"
        for by in _BY.findall(expression):
            for label in (word.strip() for word in by.split(",")):
                assert any(label in series[name] for name, _ in names), f"{place}: {label}"
    assert len(used) > len(GAUGES) // 2


def test_every_alert_says_what_to_do() -> None:
    """An alert has a severity, a sentence, and a command that exists."""
    text = (OPS / "llmbot-alerts.yml").read_text()
    alerts = text.split("- alert: ")[1:]
    commands = set(command_words(AppEntry()))
    assert len({alert.split()[0] for alert in alerts}) == len(alerts)
    for alert in alerts:
        keys = re.findall(r"^\s*(\w+):", alert, re.MULTILINE)
        assert {"expr", "for", "severity", "summary", "command"} <= set(keys)
        words = re.findall(r"command: 'llmbot ([^']+)'", alert)[0].split()
        assert any(tuple(words[:n]) in commands for n in range(1, len(words) + 1)), words
