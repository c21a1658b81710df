"""Which operation leads to which: the links of the OpenAPI document (OpenAPI 3.1, section 4.8.20).

Tests that go from state to state, and clients that are made from the document, follow them.
"""

from __future__ import annotations

from typing import Any

__all__ = ["LINKS", "declare_links"]

Place = tuple[str, str]
"""A method and a path."""

_ADMIN, _INCIDENT, _RUNBOOK = "/api/admin", "/api/incidents/{key}", "/api/runbooks/{name}"
_DRILL = "/api/drills/{name}"
_TARGET = {"target": "$request.path.target"}
_KEY, _NAME = {"key": "$request.path.key"}, {"name": "$request.path.name"}

LINKS: tuple[tuple[Place, Place, dict[str, str]], ...] = (
    *(
        (("post", f"{_ADMIN}/{first}"), ("post", f"{_ADMIN}/{then}"), {})
        for first, then in (
            ("maintenance/enable", "maintenance/disable"),
            ("degradation/enable", "degradation/disable"),
            ("queue/enable", "queue/disable"),
            ("concurrency/reduce", "concurrency/restore"),
            ("circuit/trip/all", "circuit/reset/all"),
        )
    ),
    (
        ("post", f"{_ADMIN}/circuit/trip/{{target}}"),
        ("post", f"{_ADMIN}/circuit/reset/{{target}}"),
        _TARGET,
    ),
    (
        ("post", "/api/test/e2e"),
        ("get", "/api/ledger/{messageId}"),
        {"messageId": "$response.body#/messageId"},
    ),
    (("get", _INCIDENT), ("get", f"{_INCIDENT}/report"), _KEY),
    (("get", _INCIDENT), ("post", f"{_INCIDENT}/note"), _KEY),
    (("get", _RUNBOOK), ("post", f"{_RUNBOOK}/run"), _NAME),
    (("post", f"{_RUNBOOK}/run"), ("post", f"{_RUNBOOK}/approve"), _NAME),
    (("put", _DRILL), ("delete", _DRILL), _NAME),
)
"""From which operation to which, and what the second takes of the first."""


def declare_links(document: dict[str, Any]) -> None:
    """Add them to a document, where both operations are offered."""
    paths = document["paths"]
    for (method, path), (to_method, to_path), takes in LINKS:
        first = paths.get(path, {}).get(method)
        then = paths.get(to_path, {}).get(to_method)
        if first is None or then is None:
            continue
        link = {"operationId": then["operationId"], **({"parameters": takes} if takes else {})}
        first["responses"]["200"].setdefault("links", {})[then["operationId"]] = link
