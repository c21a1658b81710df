"""Files that people send along: which are read, which are left out, and what the model gets.

Only Discord's own file hosts are fetched, without redirects, within limits of size, count and
time. What a file is, its bytes say; its name and announced type are not believed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from llmbot.conversation.messages import Attachment
from llmbot.conversation.ports import Blob
from llmbot.conversation.text.notices import notice, reason
from llmbot.kernel.errors import AttachmentRefusedError, LlmbotError

DISCORD_FILE_HOSTS = ("cdn.discordapp.com", "media.discordapp.net")

GIF = "image/gif"
PDF = "application/pdf"

_NAME_MAX = 80


class FileFetcher(Protocol):
    """Fetches one file."""

    async def fetch(self, url: str, *, bytes_max: int) -> bytes:
        """The bytes at a URL; follows no redirect.

        Raises:
            AttachmentRefusedError: more than `bytes_max` bytes, or an answer other than 200.
            LlmbotError: it could not be reached.
        """
        ...


class Converter(Protocol):
    """Makes pictures that the models refuse into ones that they take."""

    async def gif_to_png(self, data: bytes) -> bytes:
        """The first frame of a GIF as PNG.

        Raises:
            AttachmentRefusedError: it cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class AttachmentSettings:
    """Limits for files."""

    hosts: tuple[str, ...] = DISCORD_FILE_HOSTS
    plain_http: bool = False
    """Whether `http:` will do: for the simulators' file host on loopback only."""
    count_max: int = 4
    bytes_max: int = 8 * 1024 * 1024
    text_characters_max: int = 4_000_000
    seconds_max: float = 10.0


@dataclass(frozen=True, slots=True)
class Files:
    """What became of a message's files."""

    blobs: tuple[Blob, ...] = ()
    texts: tuple[tuple[str, str], ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    """(name, reason code) of each file that the model does not get."""

    def as_text(self) -> str:
        """The text files, wrapped as data like everything from people."""
        return "".join(f'\n<file name="{name}">\n{text}\n</file>' for name, text in self.texts)

    @property
    def characters(self) -> int:
        """The length of all text files."""
        return sum(len(text) for _, text in self.texts)

    def within(self, characters_max: int, code: str) -> Files:
        """Without the texts that do not fit, which are left out for the reason `code`."""
        if self.characters <= characters_max:
            return self
        kept: list[tuple[str, str]] = []
        left_out = list(self.left_out)
        for name, text in self.texts:
            characters_max -= len(text)
            if characters_max >= 0:
                kept.append((name, text))
            else:
                left_out.append((name, code))
                characters_max += len(text)
        return Files(self.blobs, tuple(kept), tuple(left_out))

    def footnotes(self, locale: str) -> list[str]:
        """A line for each file that was left out, so that the answer does not hide it."""
        return [
            notice("attachment", locale, name=f"`{name}`", reason=reason(code, locale))
            for name, code in self.left_out
        ]


@dataclass(frozen=True, slots=True)
class _Text:
    text: str


@dataclass(frozen=True, slots=True)
class _LeftOut:
    code: str


_REFUSED = frozenset({"host", "too_large", "kind"})


class AttachmentReader:
    """Reads files within the limits."""

    def __init__(
        self, fetcher: FileFetcher, converter: Converter, settings: AttachmentSettings
    ) -> None:
        """Fetch with `fetcher`, make pictures fit with `converter`."""
        self._fetcher = fetcher
        self._converter = converter
        self.settings = settings
        self.refused = 0
        """Files that were not looked into: of a foreign host, too large, no kind that we read."""

    async def read(self, attachments: Sequence[Attachment], *, pictures: bool = True) -> Files:
        """All files of a message, fetched side by side; never raises for a file's sake.

        Without `pictures` those are left out, and the reply says why.
        """
        if not attachments:
            return Files()
        taken = attachments[: self.settings.count_max]
        outcomes = await asyncio.gather(*(self._read(item) for item in taken))
        blobs: list[Blob] = []
        texts: list[tuple[str, str]] = []
        left_out: list[tuple[str, str]] = []
        for item, outcome in zip(taken, outcomes, strict=True):
            if isinstance(outcome, Blob) and not (pictures or outcome.mime_type == PDF):
                left_out.append((safe_name(item.filename), "busy"))
            elif isinstance(outcome, Blob):
                blobs.append(outcome)
            elif isinstance(outcome, _Text):
                texts.append((safe_name(item.filename), outcome.text))
            else:
                left_out.append((safe_name(item.filename), outcome.code))
        self.refused += sum(code in _REFUSED for _, code in left_out)
        beyond = attachments[self.settings.count_max :]
        left_out.extend((safe_name(item.filename), "too_many") for item in beyond)
        return Files(tuple(blobs), tuple(texts), tuple(left_out))

    async def _read(self, item: Attachment) -> Blob | _Text | _LeftOut:
        if not self._may_fetch(item.url):
            return _LeftOut("host")
        if item.size_bytes > self.settings.bytes_max:
            return _LeftOut("too_large")
        try:
            async with asyncio.timeout(self.settings.seconds_max):
                data = await self._fetcher.fetch(item.url, bytes_max=self.settings.bytes_max)
        except AttachmentRefusedError:
            return _LeftOut("too_large")
        except (TimeoutError, LlmbotError):
            return _LeftOut("unreachable")
        kind = sniff(data)
        if kind == GIF:
            return await self._still(item, data)
        if kind is not None:
            return Blob(kind, data, safe_name(item.filename))
        return self._text(data)

    async def _still(self, item: Attachment, data: bytes) -> Blob | _LeftOut:
        try:
            still = await self._converter.gif_to_png(data)
        except AttachmentRefusedError:
            return _LeftOut("kind")
        return Blob("image/png", still, safe_name(item.filename))

    def _text(self, data: bytes) -> _Text | _LeftOut:
        text = as_text(data)
        if text is None:
            return _LeftOut("kind")
        if len(text) > self.settings.text_characters_max:
            return _LeftOut("too_large")
        return _Text(text.replace("</file>", "< /file>"))

    def _may_fetch(self, url: str) -> bool:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            return False
        if host is None or parts.username is not None or parts.password is not None:
            return False
        if parts.scheme != "https" and not (self.settings.plain_http and parts.scheme == "http"):
            return False
        named = host if port is None else f"{host}:{port}"
        return named in self.settings.hosts


def sniff(data: bytes) -> str | None:
    """The type of a picture or PDF by its first bytes, or None where it is neither.

    Source of the signatures: WHATWG MIME Sniffing, "Matching an image type pattern"; ISO 32000.
    """
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return GIF
    if data.startswith(b"RIFF") and data[8:14] == b"WEBPVP":
        return "image/webp"
    if data.startswith(b"%PDF-"):
        return PDF
    return None


def as_text(data: bytes) -> str | None:
    """The file as text, or None where its bytes are no UTF-8 or UTF-16 text."""
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def safe_name(filename: str) -> str:
    """A file's name without anything that could end a wrapper or a code span."""
    kept = "".join(c for c in filename if c.isprintable() and c not in '<>"`')
    return kept[:_NAME_MAX] or "file"
