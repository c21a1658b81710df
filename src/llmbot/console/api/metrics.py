"""`/api/metrics`, `/metrics` and `/api/ledger`: figures for people's scripts and for Prometheus."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from llmbot.console.actions import UnknownTargetError
from llmbot.console.api.models import ProblemShape
from llmbot.console.api.problem import MEDIA_TYPE
from llmbot.console.facts.figures import (
    DiscordMetrics,
    LedgerFacts,
    ProviderMetrics,
    QueueMetrics,
)
from llmbot.console.views import Views

_SNOWFLAKE_MAX = 2**63 - 1


def figure_routes(views: Views) -> APIRouter:
    """The routes, reading from `views`."""
    routes = APIRouter(tags=["metrics"])

    @routes.get("/api/metrics/gemini", summary="Calls, errors, latencies, tokens, quota")
    async def gemini() -> ProviderMetrics:
        return views.provider_metrics("gemini")

    @routes.get("/api/metrics/discord", summary="Gateway, REST, commands, duplicates")
    async def discord() -> DiscordMetrics:
        return views.discord_metrics()

    @routes.get("/api/metrics/queue", summary="Depth, rates, waits, errors")
    async def queue() -> QueueMetrics:
        return await views.queue_metrics()

    @routes.get(
        "/metrics",
        summary="The same for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def prometheus() -> Response:
        return Response(views.prometheus(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    @routes.get(
        "/api/ledger/{messageId}",
        summary="The whole story of one message, without its words",
        responses={
            404: {
                "model": ProblemShape,
                "content": {MEDIA_TYPE: {}},
                "description": "no message of this id was ever accepted",
            }
        },
    )
    async def ledger(
        message_id: Annotated[int, Path(alias="messageId", ge=0, le=_SNOWFLAKE_MAX)],
    ) -> LedgerFacts:
        found = await views.ledger(message_id)
        if found is None:
            raise UnknownTargetError("accepted message", ())
        return found

    return routes
