"""What an operator may look at: the list of all views, as `actions.py` is that of all actions.

The routes of the API and the commands are both held against this list by a test, so that whatever
can be seen over the API can be seen on the command line too.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["VIEWS", "ViewSpec"]


@dataclass(frozen=True, slots=True)
class ViewSpec:
    """One view: its path, and the words that follow `llmbot` on the command line."""

    words: tuple[str, ...]
    path: str
    summary: str
    target: str = ""
    """What the placeholder of the path names; empty where it has none."""


VIEWS: tuple[ViewSpec, ...] = (
    ViewSpec(("probe", "live"), "/api/health/live", "Whether the process works at all"),
    ViewSpec(("probe", "ready"), "/api/health/ready", "Whether messages are being answered"),
    ViewSpec(
        ("degradation",), "/api/health/degradation", "How much is given up, since when and why"
    ),
    ViewSpec(("circuits",), "/api/health/circuits", "Every circuit breaker"),
    ViewSpec(("memory",), "/api/health/memory", "Memory in use, its limit and its trend"),
    ViewSpec(("memory", "detailed"), "/api/health/memory/detailed", "The same, and where it went"),
    ViewSpec(
        ("service", "dependencies"),
        "/api/health/dependencies",
        "What each service needs, in start order",
    ),
    ViewSpec(
        ("service",),
        "/api/health/services",
        "Every service: state, health, last error, restarts",
    ),
    ViewSpec(
        ("external",), "/api/health/external/{name}", "Something outside, measured", "external"
    ),
    ViewSpec(("discord",), "/api/health/external/discord", "Discord, measured"),
    ViewSpec(("gemini",), "/api/health/external/gemini", "Gemini, measured"),
    ViewSpec(
        ("performance",),
        "/api/health/performance",
        "Response times by stage over five minutes",
    ),
    ViewSpec(("ratelimit",), "/api/admin/ratelimit/status", "What is used of each limit"),
    ViewSpec(
        ("mutex",), "/api/admin/mutex/status", "Every named mutex: holder, waiters, contention"
    ),
    ViewSpec(
        ("mutex", "deadlocks"),
        "/api/admin/mutex/deadlocks",
        "Circles in the wait-for graph, each whole",
    ),
    ViewSpec(
        ("race-condition",),
        "/api/admin/race-condition/status",
        "The record of processed messages",
    ),
    ViewSpec(("queue",), "/api/admin/queue/status", "Depth by priority and state, ages, rates"),
    ViewSpec(
        ("context", "status"),
        "/api/admin/context/status",
        "Long texts: what is read, what failed, the room used",
    ),
    ViewSpec(
        ("metrics", "gemini"), "/api/metrics/gemini", "Calls, errors, latencies, tokens, quota"
    ),
    ViewSpec(("metrics", "discord"), "/api/metrics/discord", "Gateway, REST, commands, duplicates"),
    ViewSpec(("metrics", "queue"), "/api/metrics/queue", "Depth, rates, waits, errors"),
    ViewSpec(
        ("ledger",),
        "/api/ledger/{messageId}",
        "The whole story of one message, without its words",
        "message",
    ),
)
"""Those that `llmbot` shows by a table made from the answer; a few have commands of their own."""
