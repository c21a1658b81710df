"""Server-sent events of a model's stream, and what is asked of the JSON in them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Final

import httpx2
import orjson

from llmbot.adapters.models.transport import CLOSE_S, close_response, transport_error
from llmbot.kernel.errors import ModelGarbledError, ModelStreamCutError

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
