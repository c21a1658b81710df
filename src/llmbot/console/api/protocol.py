"""One connection to the API: its head has a size and a time, so that idle sockets cost nothing."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES_MAX = 32 * 1024
HEAD_DEADLINE_S = 10.0

_AUTHORITY = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)")
"""Of a request's target in absolute form."""

_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n"
    b"content-length: 0\r\n\r\n"
)


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's connection with what it lacks; uvicorn takes a class and offers no other way in."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what uvicorn hands over."""
        super().__init__(*args, **kwargs)
        self._in_head = True
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        """The first head is awaited from now on."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is awaited any more."""
        self._head_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head; a further head on the same connection has a time too."""
        if not self._in_head and self.cycle.response_complete:
            self._in_head, self._head_bytes = True, 0
        super().data_received(data)
        if self._in_head:  # most heads come whole, and need no timer
            if self._head_timer is None:
                self._start_timer()
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self._refuse(_TOO_LARGE)

    def on_headers_complete(self) -> None:
        """The head is whole."""
        named = _AUTHORITY.match(self.url)
        if named is not None and (b"host", named[1]) not in self.headers:
            # It counts in place of what `Host` says (RFC 9112, section 3.2.2). Where the two do not
            # agree the gate sees both, and refuses a request with two hosts.
            self.headers.append((b"host", named[1]))
        super().on_headers_complete()
        self._head_came()

    def _unsupported_upgrade_warning(self) -> None:
        """Whoever asks for a WebSocket gets an answer, and none of our log."""

    def _start_timer(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_DEADLINE_S, self._refuse, _TOO_SLOW)

    def _head_came(self) -> None:
        self._in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, answer: bytes) -> None:
        self._head_came()
        if not self.transport.is_closing():
            self.transport.write(answer)
            self.transport.close()
