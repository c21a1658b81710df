"""How the API says no: RFC 9457 problem documents with a stable code and a remedy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"

SECURITY_HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""On every answer, refusals too. A page may loosen the policy of content for itself alone."""


def problem(
    status: int,
    code: str,
    detail: str,
    remedy: str = "",
    headers: Mapping[str, str] | None = None,
    **more: object,
) -> Response:
    """A refusal or failure, ready to send."""
    document = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "success": False,
        "code": code,
        "detail": detail,
        "remedy": remedy,
        **more,
    }
    return Response(
        json.dumps(document, ensure_ascii=False),
        status_code=status,
        media_type=MEDIA_TYPE,
        headers={**SECURITY_HEADERS, **(headers or {})},
    )
