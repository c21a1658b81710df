"""Fetches the files that people attach: no redirect, no more bytes than allowed, one session."""

from __future__ import annotations

import aiohttp

from llmbot.kernel.errors import AttachmentRefusedError, DiscordUnavailableError

_CHUNK = 64 * 1024
_CONNECT_S = 5.0


class HttpFileFetcher:
    """Fetches over HTTP (`conversation.attachments.FileFetcher`)."""

    def __init__(self, *, connections_max: int = 16) -> None:
        """Hold at most `connections_max` connections; nothing is opened yet."""
        self._connections_max = connections_max
        self._session: aiohttp.ClientSession | None = None

    async def fetch(self, url: str, *, bytes_max: int) -> bytes:
        """See `FileFetcher.fetch`; the caller sets the deadline and checks the host."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections_max),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        try:
            async with self._session.get(url, allow_redirects=False) as response:
                if response.status != 200:  # noqa: PLR2004 - HTTP's OK
                    raise DiscordUnavailableError(f"the file host answered {response.status}")
                if (response.content_length or 0) > bytes_max:
                    raise AttachmentRefusedError("the file is larger than allowed")
                data = bytearray()
                async for chunk in response.content.iter_chunked(_CHUNK):
                    data += chunk
                    if len(data) > bytes_max:
                        raise AttachmentRefusedError("the file is larger than allowed")
                return bytes(data)
        except (aiohttp.ClientError, OSError) as error:
            # The address may carry a signature, so it is not repeated.
            raise DiscordUnavailableError(f"file host: {type(error).__name__}") from None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None
