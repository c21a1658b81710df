"""Connections to model providers: one client, its limits, what its failures mean.

Both SDKs (google-genai and openai) speak through an `httpx2.AsyncClient`; the one made here is
handed to each, so that connections, limits and failures are treated the same way for both.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

import httpx2

from llmbot.adapters.models.files import Files
from llmbot.adapters.models.network import LoopBackend
from llmbot.kernel.errors import (
    ModelGarbledError,
    ModelTimeoutError,
    ModelUnavailableError,
    TransientError,
)

ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024
"""No honest answer is longer on the wire; a server that never stops must not fill the memory."""

CLOSE_S: Final = 1.0
"""How long closing a connection may take before it is left to the transport."""

IDLE_CONNECTION_S: Final = 20.0
"""An idle connection older than this is not used again: proxies drop them without a word."""

# ── the client ──────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Call:
    """One request on its way through an SDK, so that its connection stays in our hands."""

    connect_s: float
    files: Files
    response: httpx2.Response | None = None


_CALL: Final[ContextVar[Call | None]] = ContextVar("model_call", default=None)
"""The call that the current task sends; google-genai has no other way to reach its request."""


@contextlib.contextmanager
def calling(call: Call) -> Iterator[None]:
    """Everything sent in this block is `call`; nothing may be yielded out of it."""
    token = _CALL.set(call)
    try:
        yield
    finally:
        _CALL.reset(token)


async def _on_request(request: httpx2.Request) -> None:
    """Put in the call's own time-outs and files; only connecting has a time-out of the transport.

    google-genai sets none at all, openai ten minutes for each step.
    """
    call = _CALL.get()
    if call is not None:
        patience = httpx2.Timeout(None, connect=call.connect_s, pool=call.connect_s)
        request.extensions["timeout"] = patience.as_dict()
        call.files.put_into(request)


async def _on_response(response: httpx2.Response) -> None:
    """Limit what a response may send, and remember it."""
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _BoundedStream(response.stream)
    call = _CALL.get()
    if call is not None:
        call.response = response


def new_http_client(base_url: str, *, connections_max: int) -> httpx2.AsyncClient:
    """The one client through which a provider is spoken to.

    It follows no redirects (the key would travel along), asks for no compression (proxies hold a
    stream back to fill their buffers), limits every answer, and goes through no proxy to a server
    on this machine. A `Call` brings its own time-outs; the rest is `model_stream.Patience`.
    """
    client = httpx2.AsyncClient(
        limits=httpx2.Limits(
            max_connections=connections_max,
            max_keepalive_connections=connections_max,
            keepalive_expiry=IDLE_CONNECTION_S,
        ),
        follow_redirects=False,
        trust_env=not is_loopback(base_url),
        verify=_tls(base_url),
        headers={"accept-encoding": "identity"},
        event_hooks={"request": [_on_request], "response": [_on_response]},
    )
    for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001 - httpx2 has no parameter for it
        if isinstance(transport, httpx2.AsyncHTTPTransport):
            transport._pool._network_backend = LoopBackend()  # noqa: SLF001 - the same
    return client


def is_header_value(key: str) -> bool:
    """Whether a key can be sent; what cannot would be shown by the error of whoever tries."""
    return bool(key) and key.isascii() and key.isprintable()


def _tls(base_url: str) -> ssl.SSLContext:
    """Certificates are loaded (about 30 ms) only where they are needed; none means none trusted."""
    if urlsplit(base_url).scheme == "http":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return ssl.create_default_context()


def is_loopback(base_url: str) -> bool:
    """Whether an address names this machine."""
    host = urlsplit(base_url).hostname or ""
    with contextlib.suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


class _BoundedStream(httpx2.AsyncByteStream):
    """A response's bytes, up to a limit; a subclass because httpx2 checks for its own type."""

    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        seen = 0
        parts = aiter(self._inner)
        try:
            async for part in parts:
                seen += len(part)
                if seen > ANSWER_BYTES_MAX:
                    raise ModelGarbledError("The model's answer is longer than any answer can be.")
                yield part
        finally:
            if isinstance(parts, AsyncGenerator):
                await parts.aclose()

    async def aclose(self) -> None:
        await self._inner.aclose()


async def close_response(response: httpx2.Response | None) -> None:
    """Close the connection of a response that was not read to its end, without waiting long."""
    if response is None or response.is_closed:
        return
    with contextlib.suppress(httpx2.HTTPError, OSError, RuntimeError):
        async with asyncio.timeout(CLOSE_S):
            await response.aclose()


# ── errors and waits ────────────────────────────────────────────────────────────────────────────


def timed_out(stage: str) -> ModelTimeoutError:
    """The error of a deadline, its stage in words and as a code."""
    return ModelTimeoutError(
        f"The model did not answer in time ({stage.replace('_', ' ')}).", stage=stage
    )


def transport_error(error: BaseException) -> TransientError:
    """What a failure below the protocol means; anything unknown could not be understood."""
    if isinstance(error, TransientError):
        return error
    if isinstance(error, httpx2.ConnectTimeout | httpx2.PoolTimeout):
        return timed_out("connect")
    if isinstance(error, httpx2.DecodingError):
        return ModelGarbledError("The model's answer could not be decompressed.")
    if isinstance(error, httpx2.ConnectError):
        return ModelUnavailableError("The model's provider could not be reached.")
    if isinstance(error, httpx2.TransportError | OSError):
        return ModelUnavailableError("The connection to the model's provider was lost.")
    return ModelGarbledError(
        f"The model's answer could not be understood ({type(error).__name__})."
    )


_WAIT_IN_WORDS: Final = re.compile(
    r"(?:retry|try again) (?:in|after)\s+((?:\d+(?:\.\d+)?\s*(?:ms|h|m|s)\s*)+)", re.IGNORECASE
)
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|h|m|s)")
_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SEARCHED_MAX: Final = 4_000
"""Characters of a provider's error text that are searched."""


def duration_s(text: object) -> float | None:
    """Seconds of a duration such as "36.5s", "20ms" or "1h2m3s"."""
    parts = _DURATION.findall(text[:100]) if isinstance(text, str) else []
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts) if parts else None


def wait_in_words_s(text: str) -> float | None:
    """Seconds named in words: "Please retry in 12.3s.", "Please try again in 6m0s."."""
    found = _WAIT_IN_WORDS.search(text[:_SEARCHED_MAX])
    return duration_s(found.group(1)) if found else None


def retry_after_s(headers: Mapping[str, str] | None, *, now_wall_s: float) -> float | None:
    """Seconds named by `retry-after-ms`, or by `Retry-After` as a number or date (RFC 9110)."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name) if headers else None
        if not value:
            continue
        with contextlib.suppress(ValueError):
            seconds = float(value) * scale
            return seconds if 0 <= seconds < float("inf") else None
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            return max(0.0, parsedate_to_datetime(value).timestamp() - now_wall_s)
    return None


def longest(*waits: float | None) -> float | None:
    """The longest of the waits that were named: whoever waits it obeys all of them."""
    return max((wait for wait in waits if wait is not None), default=None)
