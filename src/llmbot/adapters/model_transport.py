"""Connections to model providers: one client, limits, server-sent events, waits, errors.

Both SDKs (google-genai and openai) speak through an `httpx2.AsyncClient`; the one made here is
handed to each, so that connections, limits and failures are treated the same way for both.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

import httpx2
import orjson

from llmbot.kernel.errors import (
    ModelGarbledError,
    ModelStreamCutError,
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


def new_http_client(
    base_url: str,
    *,
    connections_max: int,
    on_request: Callable[[httpx2.Request], Awaitable[None]] | None = None,
    on_response: Callable[[httpx2.Response], Awaitable[None]] | None = None,
) -> httpx2.AsyncClient:
    """The one client through which a provider is spoken to.

    It follows no redirects (the key would travel along), asks for no compression (proxies hold a
    stream back to fill their buffers), limits every answer, and goes through no proxy to a server
    on this machine. It has no time-outs: each call brings its own.
    """
    return httpx2.AsyncClient(
        timeout=None,
        limits=httpx2.Limits(
            max_connections=connections_max,
            max_keepalive_connections=connections_max,
            keepalive_expiry=IDLE_CONNECTION_S,
        ),
        follow_redirects=False,
        trust_env=not is_loopback(base_url),
        verify=_tls(base_url),
        headers={"accept-encoding": "identity"},
        event_hooks={
            "request": [on_request] if on_request else [],
            "response": [_bound, on_response] if on_response else [_bound],
        },
    )


def connect_timeout(seconds: float) -> httpx2.Timeout:
    """Patience for connecting and for a free connection; the rest is `model_stream.Patience`."""
    return httpx2.Timeout(None, connect=seconds, pool=seconds)


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


async def _bound(response: httpx2.Response) -> None:
    """Limit what a response may send."""
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _BoundedStream(response.stream)


async def close_response(response: httpx2.Response | None) -> None:
    """Close the connection of a response that was not read to its end, without waiting long."""
    if response is None or response.is_closed:
        return
    with contextlib.suppress(httpx2.HTTPError, OSError, RuntimeError):
        async with asyncio.timeout(CLOSE_S):
            await response.aclose()


# ── server-sent events ──────────────────────────────────────────────────────────────────────────

_FIELDS: Final = frozenset({b"event", b"id", b"retry"})


class EventDecoder:
    """Splits bytes into the payloads of server-sent events (HTML standard, 9.2.6).

    Lines end at LF or CRLF only: U+2028 and its kin stand unescaped inside JSON. An object without
    "data:" before it is a payload too: that is how Gemini sends an error in the middle of a stream.
    """

    __slots__ = ("_bare", "_data", "_held")

    def __init__(self) -> None:
        """Begin at the beginning of a body."""
        self._held: list[bytes] = []
        self._data: list[bytes] = []
        self._bare: list[bytes] = []

    def feed(self, part: bytes) -> list[bytes]:
        """The payloads that these bytes complete.

        Raises:
            ModelGarbledError: a line that is no server-sent event.
        """
        self._held.append(part)
        if b"\n" not in part:
            return []
        *lines, rest = b"".join(self._held).split(b"\n")
        self._held = [rest] if rest else []
        payloads: list[bytes] = []
        for line in lines:
            self._take(line.removesuffix(b"\r"), payloads)
        return payloads

    def flush(self) -> list[bytes]:
        """What the end of the body completes; half a payload is left out: the stream was cut."""
        payloads: list[bytes] = []
        rest, self._held = b"".join(self._held), []
        if rest.startswith((b"data:", b"{", b"}", b"]")):
            self._take(rest, payloads)
        self._take(b"", payloads)
        return [payload for payload in payloads if payload == b"[DONE]" or _is_json(payload)]

    def _take(self, line: bytes, payloads: list[bytes]) -> None:
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
        elif not line:
            if self._data:
                payloads.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                self._data = []
        elif self._bare or line[:1] in {b"{", b"["}:
            self._bare.append(line)
            if line.rstrip()[-1:] in {b"}", b"]"} and _is_json(whole := b"\n".join(self._bare)):
                payloads.append(whole)
                self._bare = []
        elif line[:1] != b":" and line.partition(b":")[0] not in _FIELDS:
            raise ModelGarbledError("The model's answer is no stream of events.")


def _is_json(payload: bytes) -> bool:
    try:
        orjson.loads(payload)
    except orjson.JSONDecodeError:
        return False
    return True


async def payloads_of(response: httpx2.Response) -> AsyncGenerator[bytes]:
    """The payloads of a response's events; the connection is closed on every way out.

    Raises:
        ModelStreamCutError: the connection was lost after the first event.
        ModelUnavailableError: it was lost before.
        ModelGarbledError: the body is no stream of events.
    """
    decoder, begun = EventDecoder(), False
    parts = response.aiter_bytes()
    try:
        async for part in parts:
            for payload in decoder.feed(part):
                begun = True
                yield payload
        for payload in decoder.flush():
            yield payload
    except (httpx2.TransportError, OSError) as error:
        raise (ModelStreamCutError() if begun else transport_error(error)) from None
    finally:
        await close_response(response)
        await _unwind(parts)


async def _unwind(parts: AsyncIterator[bytes]) -> None:
    """Run the transport's nested generators to their ends, now that the connection is closed.

    httpx2 leaves one of them suspended when its iterator is closed; the garbage collector would
    finish it in a task that nobody owns.
    """
    with contextlib.suppress(Exception):
        async with asyncio.timeout(CLOSE_S):
            async for _ in parts:
                pass


def parsed(payload: bytes) -> object:
    """The payload's JSON.

    Raises:
        ModelGarbledError: it is none.
    """
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:
        raise ModelGarbledError("The model's answer holds an event that is no JSON.") from None


def mapping(value: object) -> Mapping[str, object]:
    """The value as an object; an absent one is empty.

    Raises:
        ModelGarbledError: it is anything else.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ModelGarbledError("The model's answer has a field of the wrong kind.")
    return value


def sequence(value: object) -> list[object]:
    """The value as a list; an absent one is empty.

    Raises:
        ModelGarbledError: it is anything else.
    """
    if value is None:
        return []
    if not isinstance(value, list):
        raise ModelGarbledError("The model's answer has a field of the wrong kind.")
    return value


def count(value: object) -> int:
    """A figure of usage; anything that is none counts as 0, for no answer fails over it."""
    return value if isinstance(value, int) and value > 0 else 0


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
