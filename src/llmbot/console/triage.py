"""The runbook's triage: what is wrong, how far it reaches, and the one command that comes next.

Source: the operators' document, "Emergency Triage Checklist": system status, critical services,
scope of the impact, immediate action. Works on the answers of the API; asks nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Next", "Readings", "Triage", "triage"]

MEMORY_PERCENT = 100
QUEUE_PERCENT = 80
SEVERITIES = {"healthy": "none", "maintenance": "planned", "degraded": "P1 high"}


@dataclass(frozen=True, slots=True)
class Readings:
    """What the API told, each as it came."""

    status: Mapping[str, Any]
    degradation: Mapping[str, Any]
    circuits: Mapping[str, Any]
    services: Mapping[str, Any]
    memory: Mapping[str, Any]
    queue: Mapping[str, Any]
    performance: Mapping[str, Any]
    deadlocks: Mapping[str, Any]
    external: Mapping[str, Mapping[str, Any]]
    diagnosis: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Next:
    """A command, and why it comes next."""

    command: str
    why: str


@dataclass(frozen=True, slots=True)
class Triage:
    """The four steps; each of the first three is words by what they are about."""

    status: Mapping[str, str]
    services: Mapping[str, str]
    impact: Mapping[str, str]
    actions: tuple[Next, ...]
    """What to do, the most urgent first; never empty."""


def triage(found: Readings) -> Triage:
    """Walk the checklist."""
    return Triage(
        status=_status(found),
        services=_services(found),
        impact=_impact(found),
        actions=tuple(_actions(found)),
    )


def _status(found: Readings) -> dict[str, str]:
    level = found.degradation["level"]
    off = ", ".join(found.degradation["switchedOff"])
    words = {"status": str(found.status["status"])}
    if found.status["reasons"]:
        words["because"] = "; ".join(found.status["reasons"])
    words["degradation"] = f"{level}{f': without {off}' if off else ''}"
    return words


def _services(found: Readings) -> dict[str, str]:
    words = {}
    for name, outside in found.external.items():
        took = "" if outside["latencyMs"] is None else f", {outside['latencyMs']} ms"
        reason = f": {outside['reason']}" if outside["reason"] else ""
        words[name] = f"{outside['status']}{took}{reason}"
    memory, lag = found.memory, found.performance["eventLoopLag"]
    words["memory"] = f"{memory['percent']} % of the limit, {_trend(memory['trend'])}"
    words["event loop"] = f"{lag['mean']} ms late on average, {lag['worst']} ms at worst"
    parts = found.status["parts"]
    for name in ("database", "documents", "disk"):
        if name in parts:
            words[name] = " ".join(filter(None, (parts[name]["status"], parts[name]["detail"])))
    not_closed = [f"{n} {c['state']}" for n, c in found.circuits.items() if c["state"] != "closed"]
    words["circuits"] = ", ".join(not_closed) or "all closed"
    return words


def _trend(per_minute: int) -> str:
    return f"{'rising' if per_minute > 0 else 'falling'} by {abs(per_minute) // 1024} KiB a minute"


def _impact(found: Readings) -> dict[str, str]:
    queue, times = found.queue, found.performance
    seconds = times["windowSeconds"]
    words = {
        "waiting": f"{queue['depth']} messages, the oldest for {queue['oldestAgeSeconds']} s",
        "lately": f"{times['answered']} answered, {times['noticed']} told that it is not possible "
        f"now, {times['failedAttempts']} failed attempts in {seconds} s",
        "for so long": "; ".join(_durations(found)) or "nothing is wrong",
        "severity": SEVERITIES.get(str(found.status["status"]), "P0 critical"),
    }
    if found.diagnosis.get("incident"):
        words["incident"] = f"{found.diagnosis['incident']} (llmbot incident show last)"
    return words


def _durations(found: Readings) -> Iterator[str]:
    for cause in found.diagnosis.get("causes", ()):
        yield f"{cause['what']}, {cause['forSeconds']:.0f} s"
    for name, circuit in found.circuits.items():
        if circuit["openedAt"]:
            yield f"circuit {name} open since {circuit['openedAt']}"
    if found.degradation["level"] != "none":
        yield f"degraded since {found.degradation['since']}"


# ── what comes next ─────────────────────────────────────────────────────────────────────────────


def _actions(found: Readings) -> Iterator[Next]:
    """In the order in which they help: what everything rests upon first."""
    actions = [
        *_failed_services(found),
        *_locks(found),
        *_outside(found),
        *_circuits(found),
        *_pressure(found),
        *_switches(found),
        *(
            Next(f"llmbot runbook run {cause['runbook']}", f"{cause['what']}: {cause['remedy']}")
            for cause in found.diagnosis.get("causes", ())
            if cause["runbook"]
        ),
    ]
    yield from actions
    if not actions and found.status["status"] != "healthy":
        yield Next("llmbot explain", "something is unwell that has no command of its own")
    elif not actions:
        yield Next("llmbot verify", "nothing is wrong; this looks at the whole checklist")


def _failed_services(found: Readings) -> Iterator[Next]:
    for name, service in found.services.items():
        if service["state"] in {"failed", "stopped"}:
            why = service["lastError"] or f"it is {service['state']}"
            yield Next(f"llmbot service restart {name}", why)


def _locks(found: Readings) -> Iterator[Next]:
    for name in found.deadlocks["mutexes"][:1]:
        yield Next(f"llmbot mutex force-release {name}", "it is part of a deadlock")


def _outside(found: Readings) -> Iterator[Next]:
    for name, outside in found.external.items():
        if outside["status"] == "unconfigured":
            yield Next("llmbot config test", f"{name} has no credentials")
        elif outside["status"] == "unhealthy" and name == "discord":
            yield Next("llmbot discord reconnect", outside["reason"])
        elif outside["status"] == "unhealthy":
            why = f"{outside['reason']} {outside['remedy']}".strip()
            yield Next("llmbot config test", f"{name}: {why}")


def _circuits(found: Readings) -> Iterator[Next]:
    for name, circuit in found.circuits.items():
        outside = found.external.get(name.partition(":")[0], {})
        if circuit["state"] != "closed" and outside.get("status") != "unhealthy":
            yield Next(
                f"llmbot circuits reset {name}",
                f"it is {circuit['state']} ({circuit['reason']}), and what is behind it answers",
            )


def _pressure(found: Readings) -> Iterator[Next]:
    if found.memory["percent"] >= MEMORY_PERCENT:
        yield Next("llmbot gc", f"memory stands at {found.memory['percent']} % of its limit")
        yield Next("llmbot cache clear", "if that was not enough")
    depth, capacity = found.queue["depth"], found.queue["capacity"]
    if depth * 100 >= capacity * QUEUE_PERCENT:
        yield Next("llmbot queue enable", f"{depth} of {capacity} places are taken")


def _switches(found: Readings) -> Iterator[Next]:
    if found.degradation["maintenance"]:
        yield Next("llmbot maintenance disable", "messages wait until maintenance ends")
    if found.degradation["manual"]:
        yield Next("llmbot degradation disable", "the level is held by hand")
    if found.degradation["queueing"]:
        yield Next("llmbot queue disable", "every message is queued by hand")
