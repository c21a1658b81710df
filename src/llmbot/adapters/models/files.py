"""Files in a request's JSON without making megabytes of JSON on the event loop.

Encoding 8 MB into base64 and JSON at once stops the loop for 50 ms and holds four copies of it. So
a short mark stands for each file while an SDK makes its request; on the way out the marks are
replaced by the files, a slice at a time.
"""

from __future__ import annotations

import re
import secrets
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Final

import httpx2

from llmbot.kernel.clock import Clock

SLICE_BYTES: Final = 3 * 64 * 1024
"""Encoded at once, in a quarter of a millisecond; a multiple of 3, so that slices join without
padding. Files up to this size are not worth a mark."""


class Files:
    """The large files of one request."""

    __slots__ = ("_clock", "_data", "_mark")

    def __init__(self, clock: Clock) -> None:
        """Begin without files; the clock lets others have their turns between slices."""
        self._clock = clock
        self._data: list[bytes] = []
        self._mark = ""

    def base64(self, data: bytes) -> str:
        """What to write into the JSON as this file's base64: that, or a mark for it."""
        if len(data) <= SLICE_BYTES:
            return b64encode(data).decode("ascii")
        self._mark = self._mark or secrets.token_hex(16)  # nobody's text can hold it
        self._data.append(data)
        return f"{self._mark}-{len(self._data) - 1}."

    def put_into(self, request: httpx2.Request) -> None:
        """Replace the marks in a request's body by the files."""
        if not self._data:
            return
        mark = re.compile(self._mark.encode() + rb"-(\d+)\.")
        texts = mark.split(request.content)
        length = 0
        for i, text in enumerate(texts):
            is_mark = i % 2 == 1
            length += -(-len(self._data[int(text)]) // 3) * 4 if is_mark else len(text)
        request.headers["content-length"] = str(length)
        request.stream = _Body(self._clock, texts, self._data)


class _Body(httpx2.AsyncByteStream):
    """Texts and, at every second place, numbers of files; httpx2 checks for its own type."""

    def __init__(self, clock: Clock, texts: list[bytes], data: list[bytes]) -> None:
        self._clock = clock
        self._texts = texts
        self._data = data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for i, text in enumerate(self._texts):
            if i % 2 == 0:
                yield text
                continue
            data = memoryview(self._data[int(text)])
            for start in range(0, len(data), SLICE_BYTES):
                yield b64encode(data[start : start + SLICE_BYTES])
                await self._clock.sleep(0)
