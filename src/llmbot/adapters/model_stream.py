"""What every model adapter shares: the laws of a stream, its deadlines, its transport's errors.

An adapter turns its wire into `Piece`s; `lawful` makes of them what `conversation.ports.Model`
promises. Both SDKs (google-genai and openai) speak through an `httpx2.AsyncClient`, so
connections, limits and transport errors are treated here once.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

import httpx2

from llmbot.conversation.ports import Finish, FinishReason, ModelDeadlines, Words
from llmbot.kernel.errors import (
    ModelEmptyError,
    ModelGarbledError,
    ModelStreamCutError,
    ModelTimeoutError,
    ModelUnavailableError,
    TransientError,
)

ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024
"""No honest answer is longer on the wire; a server that never stops must not fill the memory."""

LINGER_S: Final = 1.0
"""How long the rest of a stream is awaited once the finish reason is here: it holds the figures of
usage, and a connection read to its end can serve again. Servers send it with the finish reason."""

CLOSE_S: Final = 1.0
"""How long closing a connection may take before it is left to the transport."""

IDLE_CONNECTION_S: Final = 20.0
"""An idle connection older than this is not used again: proxies drop them without a word."""


class Ending(StrEnum):
    """What a provider's finish reason means for the answer, where it is no error."""

    STOP = "stop"
    LENGTH = "length"
    UNKNOWN = "unknown"
    """A reason this version does not know: whole where there are words, else not understood."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a provider counted."""

    tokens_in: int = 0
    tokens_out: int = 0
    tokens_thought: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """One chunk of a provider's stream, understood."""

    text: str = ""
    ending: Ending | None = None
    usage: Usage | None = None
    model: str = ""


class Patience:
    """Counts down the deadlines of one call; begins with the waiting for the first words.

    The time that a reader takes between two pieces counts towards the whole answer alone.
    """

    __slots__ = ("_between_s", "_end", "_loop", "_stage", "_whole_end")

    def __init__(self, deadlines: ModelDeadlines) -> None:
        """Begin now."""
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._between_s = deadlines.between_words_s
        self._whole_end = now + deadlines.whole_answer_s
        self._end = now + deadlines.first_words_s
        self._stage = "first_words"

    def heard_words(self) -> None:
        """Await the next words from now on."""
        self._end = self._loop.time() + self._between_s
        self._stage = "between_words"

    def heard_ending(self) -> None:
        """Await nothing but the end of the stream from now on."""
        self._end = self._loop.time() + LINGER_S

    async def next_of(self, pieces: AsyncGenerator[Piece]) -> Piece | None:
        """The next piece, or None at the end.

        Raises:
            ModelTimeoutError: the deadline of the stage has passed.
        """
        late_as_a_whole = self._whole_end < self._end
        timer = asyncio.timeout_at(self._whole_end if late_as_a_whole else self._end)
        try:
            async with timer:
                return await anext(pieces, None)
        except TimeoutError:
            if not timer.expired():
                raise
        raise timed_out("whole_answer" if late_as_a_whole else self._stage)


async def lawful(
    pieces: AsyncGenerator[Piece], *, model: str, deadlines: ModelDeadlines
) -> AsyncGenerator[Words | Finish]:
    """The stream that `conversation.ports.Model` promises, made of a provider's pieces.

    White space before the first word is held back until there is one, so that an answer of nothing
    but white space counts as empty. `pieces` is closed on every way out.
    """
    patience = Patience(deadlines)
    ending: Ending | None = None
    usage, held, spoken = Usage(), "", False
    try:
        while (piece := await _next_piece(patience, pieces, ended=ending is not None)) is not None:
            usage = piece.usage or usage
            model = piece.model or model
            if piece.text:
                held += piece.text
                if spoken or not held.isspace():
                    words, held, spoken = Words(held), "", True
                    yield words
                    patience.heard_words()
            if piece.ending is not None:
                ending = piece.ending
                patience.heard_ending()
        yield _finish(ending, usage, model, spoken=spoken)
    finally:
        await pieces.aclose()


async def _next_piece(
    patience: Patience, pieces: AsyncGenerator[Piece], *, ended: bool
) -> Piece | None:
    """The next piece; once the answer is whole, trouble with the rest is no trouble of ours."""
    try:
        return await patience.next_of(pieces)
    except TransientError:
        if not ended:
            raise
        return None


def _finish(ending: Ending | None, usage: Usage, model: str, *, spoken: bool) -> Finish:
    if ending is None:
        raise ModelStreamCutError
    if not spoken and ending is Ending.STOP:
        raise ModelEmptyError
    if not spoken and ending is Ending.UNKNOWN:
        raise ModelGarbledError("The model finished without a word, for a reason not known here.")
    reason = FinishReason.LENGTH if ending is Ending.LENGTH else FinishReason.STOP
    return Finish(reason, model, usage.tokens_in, usage.tokens_out, usage.tokens_thought)


# ── transport ───────────────────────────────────────────────────────────────────────────────────


class _BoundedStream(httpx2.AsyncByteStream):
    """A response's bytes, up to a limit; a subclass because httpx2 checks for its own type."""

    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        seen = 0
        async with contextlib.aclosing(_generator(self._inner)) as parts:
            async for part in parts:
                seen += len(part)
                if seen > ANSWER_BYTES_MAX:
                    raise ModelGarbledError("The model's answer is longer than any answer can be.")
                yield part

    async def aclose(self) -> None:
        await self._inner.aclose()


async def _generator(stream: httpx2.AsyncByteStream) -> AsyncGenerator[bytes]:
    async for part in stream:
        yield part


async def _bound(response: httpx2.Response) -> None:
    """Limit what a response may send."""
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _BoundedStream(response.stream)


def new_http_client(
    base_url: str,
    *,
    connect_s: float,
    connections_max: int,
    on_request: Callable[[httpx2.Request], Awaitable[None]] | None = None,
    on_response: Callable[[httpx2.Response], Awaitable[None]] | None = None,
) -> httpx2.AsyncClient:
    """The one client through which a provider is spoken to.

    It follows no redirects (the key would travel along), takes no compressed streams (proxies
    hold those back to fill their buffers), limits every answer, and goes through no proxy to a
    server on this machine. Only connecting has a time-out; the rest is `Patience`.
    """
    return httpx2.AsyncClient(
        timeout=httpx2.Timeout(None, connect=connect_s, pool=connect_s),
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


async def close_response(response: httpx2.Response | None) -> None:
    """Close the connection of a response that was not read to its end, without waiting long."""
    if response is None or response.is_closed:
        return
    with contextlib.suppress(httpx2.HTTPError, OSError, RuntimeError, TimeoutError):
        async with asyncio.timeout(CLOSE_S):
            await response.aclose()


# ── errors ──────────────────────────────────────────────────────────────────────────────────────


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


def retry_after_s(header: str | None, *, now_wall_s: float) -> float | None:
    """Seconds that a `Retry-After` header names, as a number or as a date (RFC 9110, 10.2.3)."""
    if not header:
        return None
    with contextlib.suppress(ValueError):
        seconds = float(header)
        return seconds if 0 <= seconds < float("inf") else None
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        return max(0.0, parsedate_to_datetime(header).timestamp() - now_wall_s)
    return None
