"""Puts replies on the wire: JSON, server-sent events, or the JSON array of a plain stream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import orjson
from aiohttp import web

from llmbot.simulators.gemini.replies import Reply

_HEADERS = {
    "Vary": "Origin, X-Origin, Referer",
    "Server": "scaffolding on HTTPServer2",
    "X-XSS-Protection": "0",
    "X-Frame-Options": "SAMEORIGIN",
    "X-Content-Type-Options": "nosniff",
}
_JSON_HEADERS = {**_HEADERS, "Content-Type": "application/json; charset=UTF-8"}
_SSE_HEADERS = {
    **_HEADERS,
    "Content-Type": "text/event-stream",
    "Content-Disposition": "attachment",
}
_HOLD_POLL_S = 0.1
_HOLD_MAX_S = 900.0
_GARBAGE = b'{"candidates": [{"content": {"parts": [{"text": "half a chu'
_STALL_AFTER = 2  # chunks that still arrive before a stall or a cut


class ClientGoneError(Exception):
    """The client closed its connection before the answer was complete."""


def json_response(status: int, body: bytes) -> web.Response:
    """A complete JSON answer with the headers of the live service."""
    return web.Response(status=status, body=body, headers=_JSON_HEADERS)


async def hold(request: web.Request, closing: asyncio.Event) -> None:
    """Say nothing until the client leaves, the simulator stops, or a quarter of an hour is over.

    Raises:
        ClientGoneError: the client left.
    """
    for _ in range(int(_HOLD_MAX_S / _HOLD_POLL_S)):
        if _gone(request):
            raise ClientGoneError
        try:
            await asyncio.wait_for(closing.wait(), _HOLD_POLL_S)
        except TimeoutError:
            continue
        break


async def pause(request: web.Request, seconds: float) -> None:
    """Wait as a slow model does.

    Raises:
        ClientGoneError: the client left meanwhile.
    """
    if seconds > 0:
        await asyncio.sleep(seconds)
    if _gone(request):
        raise ClientGoneError


def drop(request: web.Request, *, reset: bool = False) -> None:
    """Close the connection under the answer; `reset` sends a TCP reset."""
    transport = request.transport
    if transport is None:
        return
    if reset:
        transport.abort()
    else:
        transport.close()


async def send_whole(
    request: web.Request, reply: Reply, closing: asyncio.Event
) -> web.StreamResponse:
    """A reply that is not streamed; what ends a stream early ends its body early.

    Raises:
        ClientGoneError: the client left.
    """
    body = orjson.dumps(reply.whole(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    waits = reply.first_wait_s + reply.chunk_wait_s * len(reply.pieces)
    await pause(request, waits)
    if reply.garbage_at is not None:
        return json_response(200, body[: len(body) // 2])
    if reply.ending == "end":
        return json_response(200, body)
    response = web.StreamResponse(headers={**_JSON_HEADERS, "Content-Length": str(len(body))})
    await _guarded(response.prepare, request)
    await _guarded(response.write, body[: len(body) // 2])
    await _break_off(request, reply.ending, closing)
    return response


async def send_stream(
    request: web.Request, reply: Reply, closing: asyncio.Event, *, sse: bool
) -> web.StreamResponse:
    """A streamed reply, chunk by chunk at its pace; an instant one in a single write.

    Raises:
        ClientGoneError: the client left.
    """
    frames = _frames(reply, sse=sse)
    if reply.ending != "end":
        frames = frames[: min(_STALL_AFTER, max(len(frames) - 1, 1))]
    waits = [reply.first_wait_s, *[reply.chunk_wait_s] * (len(frames) - 1)]
    return await send_frames(
        request,
        list(zip(waits, frames, strict=False)),
        closing,
        headers=_SSE_HEADERS if sse else _JSON_HEADERS,
        ending=reply.ending,
    )


async def send_frames(
    request: web.Request,
    frames: list[tuple[float, bytes]],
    closing: asyncio.Event,
    *,
    headers: dict[str, str],
    ending: str = "end",
    status: int = 200,
) -> web.StreamResponse:
    """Send frames, each after its seconds, and end as `Reply.ending` says.

    Frames that nothing separates leave in one write.

    Raises:
        ClientGoneError: the client left.
    """
    response = web.StreamResponse(status=status, headers=headers)
    if frames:
        await pause(request, frames[0][0])
    await _guarded(response.prepare, request)
    pending = bytearray()
    for number, (wait_s, frame) in enumerate(frames):
        if number and wait_s > 0:
            await _guarded(response.write, bytes(pending))
            pending.clear()
            await pause(request, wait_s)
        pending += frame
    if ending == "end":
        await _guarded(response.write_eof, bytes(pending))
        return response
    if pending:
        await _guarded(response.write, bytes(pending))
    await _break_off(request, ending, closing)
    return response


async def _break_off(request: web.Request, ending: str, closing: asyncio.Event) -> None:
    if ending == "stall":
        await hold(request, closing)
    # What was written must leave first, or the client would see no words at all.
    await asyncio.sleep(0)
    drop(request, reset=ending == "reset")


def _frames(reply: Reply, *, sse: bool) -> list[bytes]:
    bodies = [orjson.dumps(chunk) for chunk in reply.chunks()]
    if reply.garbage_at is not None:
        bodies.insert(min(reply.garbage_at, len(bodies)), _GARBAGE)
    if sse:
        return [b"data: %b\r\n\r\n" % body for body in bodies]
    last = len(bodies) - 1
    return [
        (b"[" if number == 0 else b",\r\n") + body + (b"\n]" if number == last else b"\n")
        for number, body in enumerate(bodies)
    ]


async def _guarded(write: Callable[..., object], *args: object) -> None:
    """One write; a broken connection becomes `ClientGoneError`."""
    try:
        await write(*args)  # type: ignore[misc]  # the three methods awaited here return different things
    except (ConnectionError, RuntimeError) as error:
        raise ClientGoneError from error


def _gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()
