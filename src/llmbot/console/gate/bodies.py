"""Reads the body of a request within a size and a time, before any handler sees it."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.responses import Response
from starlette.types import Receive

from llmbot.console.api.problem import problem

__all__ = ["read_body"]

DRAIN_S = 1.0
DRAIN_BYTES = 1024 * 1024

_CLOSE = {"Connection": "close"}  # what is left of the body is not waited for


async def read_body(
    receive: Receive, announced: str, bytes_max: int, deadline_s: float
) -> tuple[bytes, Response | None]:
    """The body, or why it is refused; `announced` is what `Content-Length` says."""
    if not announced.isdecimal() or int(announced[:20]) > bytes_max:
        return b"", await _too_large(receive, bytes_max)
    body = bytearray()
    try:
        async with asyncio.timeout(deadline_s):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    break
                body += message.get("body", b"")
                more = message.get("more_body", False)
                if len(body) > bytes_max:
                    return b"", await _too_large(receive, bytes_max)
    except TimeoutError:
        return b"", problem(
            408,
            "body_too_slow",
            f"The body did not come within {deadline_s:g} s.",
            "Send it faster.",
            _CLOSE,
        )
    return bytes(body), None


async def _too_large(receive: Receive, bytes_max: int) -> Response:
    """The refusal, after reading on for a moment: who still sends would never see it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            left = DRAIN_BYTES
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    break
    words = f"A body has at most {bytes_max} bytes."
    return problem(413, "body_too_large", words, "Send less.", _CLOSE)
