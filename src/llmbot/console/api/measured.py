"""`/api/health`, what is measured: degradation, breakers, memory, the outside, response times."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from llmbot.console.api.models import ProblemShape
from llmbot.console.api.problem import MEDIA_TYPE
from llmbot.console.facts.facts import (
    CircuitFacts,
    DegradationFacts,
    ExternalFacts,
    MemoryDetails,
    MemoryFacts,
    PerformanceFacts,
)
from llmbot.console.views import Views


def measured_routes(views: Views) -> APIRouter:
    """The routes, reading from `views`."""
    routes = APIRouter(prefix="/api/health", tags=["health"])

    @routes.get("/degradation", summary="How much is given up, since when and why")
    async def degradation() -> DegradationFacts:
        return views.degradation()

    @routes.get("/circuits", summary="Every circuit breaker")
    async def circuits() -> dict[str, CircuitFacts]:
        return dict(views.circuits())

    @routes.get("/memory", summary="Memory in use, its limit and its trend")
    async def memory() -> MemoryFacts:
        return views.memory()

    @routes.get("/memory/detailed", summary="The same, and where it went")
    async def memory_details() -> MemoryDetails:
        return views.memory_details()

    @routes.get(
        "/external/{name}",
        summary="Something outside, measured",
        responses={
            404: {
                "model": ProblemShape,
                "content": {MEDIA_TYPE: {}},
                "description": "there is nothing of this name; those that exist are listed",
            }
        },
    )
    async def external(name: Annotated[str, Path(max_length=64)]) -> ExternalFacts:
        return await views.external(name)

    @routes.get("/performance", summary="Response times by stage over five minutes")
    async def performance() -> PerformanceFacts:
        return views.performance()

    return routes
