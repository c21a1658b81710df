"""What the page shows is what the API answers: each section is one of its own read routes.

The handlers are asked directly, without a request, so that page, API and command line read the same
models and the page costs no connection.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.responses import Response

from llmbot.console.facts.facts import as_shown

__all__ = ["SECTIONS", "Sections", "offered"]

SECTIONS: Mapping[str, str] = {
    "status": "/api/health/status",
    "degradation": "/api/health/degradation",
    "circuits": "/api/health/circuits",
    "performance": "/api/health/performance",
    "services": "/api/health/services",
    "queue": "/api/admin/queue/status",
    "memory": "/api/health/memory",
    "model": "/api/metrics/gemini",
    "discord": "/api/metrics/discord",
    "diagnosis": "/api/diagnosis",
    "incidents": "/api/incidents",
    "rails": "/api/runbooks/rails",
}

ONE_INCIDENT = "/api/incidents/{key}"
"""Read for the incident that goes on, so that the page tells what was tried and refused."""

Handler = Callable[..., Awaitable[Any]]


class Sections:
    """The read routes that fill sections, as far as the API has them."""

    def __init__(self, routers: Iterable[APIRouter]) -> None:
        """Find them among the routes of the API."""
        known = {
            route.path: route.endpoint
            for router in routers
            for route in router.routes
            if isinstance(route, APIRoute) and "GET" in (route.methods or ())
        }
        self._handlers: dict[str, Handler] = {
            name: known[path] for name, path in SECTIONS.items() if path in known
        }
        self._incident = known.get(ONE_INCIDENT)

    async def read(self) -> tuple[dict[str, object], list[str]]:
        """All sections as plain values, and the names of those that could not be read."""
        found: dict[str, object] = {}
        failed: list[str] = []
        for name, handler in self._handlers.items():
            await self._take(found, failed, name, handler)
        goes_on = found.get("incidents")
        key = goes_on.get("open") if isinstance(goes_on, Mapping) else None
        found["incident"] = None
        if key and self._incident is not None:
            await self._take(found, failed, "incident", self._incident, key)
        return found, failed

    @staticmethod
    async def _take(
        found: dict[str, object], failed: list[str], name: str, handler: Handler, *asked: str
    ) -> None:
        try:
            found[name] = _plain(await handler(*asked))
        except Exception:  # noqa: BLE001 - one part that cannot be read must not blind the page to the others
            failed.append(name)


def offered(routers: Iterable[APIRouter]) -> dict[str, list[str]]:
    """The API's paths by method: the page shows a control for these alone."""
    found: dict[str, list[str]] = {}
    for router in routers:
        for route in router.routes:
            if isinstance(route, APIRoute):
                for method in sorted(route.methods or ()):
                    found.setdefault(method, []).append(route.path)
    return found


def _plain(answer: object) -> object:
    if isinstance(answer, BaseModel):
        return answer.model_dump(mode="json", by_alias=True)
    if isinstance(answer, Response):
        raise TypeError("a section is read from a route that answers with a model")
    return as_shown(answer)
