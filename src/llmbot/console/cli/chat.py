"""`llmbot chat`: says something as a user of the simulated Discord and shows the reply growing."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import mimetypes
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from rich.console import Console, Group
from rich.control import strip_control_codes
from rich.live import Live
from rich.markdown import Markdown
from rich.text import Text

from llmbot.console.cli.client import CommandError, NotRunningError, Remote
from llmbot.kernel.clock import Clock

QUIET_S = 3.0
"""A reply that has not changed for so long, where no bot can be asked, is taken as whole."""

IDLE_QUIET_S = 0.3
"""The same while the bot says that it has nothing to do."""

FILE_BYTES_MAX = 10 * 1024 * 1024
"""What Discord takes of a bot or a plain user. Source: Discord API reference, "Uploading Files"."""

FindBot = Callable[[], Remote | None]


@dataclass(frozen=True, slots=True)
class Saying:
    """What is said, by whom, where; seconds to wait for the whole reply."""

    text: str
    user: str
    channel: str
    guild: str
    direct: bool
    files: tuple[Path, ...]
    timeout_s: float


class Replies:
    """The messages of the bot that answer one message, as they stand now."""

    def __init__(self, message_id: str) -> None:
        """None yet."""
        self._message_id = message_id
        self._nonce = f"{int(message_id):x}-"
        self._texts: dict[str, str] = {}

    def hear(self, event: dict[str, Any]) -> bool:
        """Take an event of the simulator; whether it changed anything here."""
        message = event.get("message") or {}
        if not self._is_ours(message):
            return False
        if message.get("deleted_at"):
            return self._texts.pop(message["id"], None) is not None
        before = self._texts.get(message["id"])
        self._texts[message["id"]] = str(message.get("content") or "")
        return before != self._texts[message["id"]]

    def _is_ours(self, message: dict[str, Any]) -> bool:
        if not (message.get("author") or {}).get("bot"):
            return False
        # A later part of a long answer replies to nothing; its nonce names what it belongs to.
        nonce = str(message.get("nonce") or "")
        return message.get("reply_to") == self._message_id or nonce.startswith(self._nonce)

    @property
    def texts(self) -> list[str]:
        """The parts, oldest first."""
        return [self._texts[key] for key in sorted(self._texts, key=int)]


async def chat(simulator: str, find_bot: FindBot | None, saying: Saying, clock: Clock) -> list[str]:
    """Say it, show the reply as it grows, and return its parts.

    `find_bot` finds the bot that says when it is done, None while it is away; without it a reply
    that rests is taken as whole.

    Raises:
        NotRunningError: no simulator answers.
        CommandError: it refused, or no reply came in time.
    """
    body = _body(saying)
    timeout = httpx2.Timeout(10.0, read=None)  # the stream may rest; the whole has a deadline
    try:
        async with (
            asyncio.timeout(saying.timeout_s),
            httpx2.AsyncClient(base_url=simulator, timeout=timeout, trust_env=False) as client,
            client.stream("GET", "/_sim/discord/events") as stream,
        ):
            answer = await client.post("/_sim/discord/say", json=body)
            if answer.status_code != httpx2.codes.OK:
                raise CommandError(str(answer.json().get("error", "the simulator refused")))
            replies = Replies(answer.json()["id"])
            await _show(stream, replies, find_bot, clock)
            return replies.texts
    except TimeoutError:
        raise CommandError(
            f"No whole reply came within {saying.timeout_s:g} s; `llmbot status` may say why."
        ) from None
    except (httpx2.HTTPError, json.JSONDecodeError):
        raise NotRunningError(f"No simulated Discord answers at {simulator}.") from None


async def _show(
    stream: httpx2.Response, replies: Replies, find_bot: FindBot | None, clock: Clock
) -> None:
    """Show every change until the reply is whole."""
    screen = Console()
    events = _events(stream)
    pump: asyncio.Queue[dict[str, Any]] = asyncio.Queue(10_000)
    reader = asyncio.create_task(_pump(events, pump), name="events of the simulator")
    changed_at = clock.monotonic()
    live = Live(Text("…"), console=screen, refresh_per_second=12, vertical_overflow="visible")
    try:
        with live if screen.is_terminal else contextlib.nullcontext():
            while not await _is_whole(replies, find_bot, clock.monotonic() - changed_at):
                try:
                    async with asyncio.timeout(IDLE_QUIET_S):
                        event = await pump.get()
                except TimeoutError:
                    if reader.done():
                        raise NotRunningError("The simulated Discord went away.") from None
                    continue
                if replies.hear(event):
                    changed_at = clock.monotonic()
                    live.update(_render(replies.texts))
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
    if not screen.is_terminal:
        sys.stdout.write("\n\n".join(replies.texts) + "\n")


async def _pump(events: AsyncIterator[dict[str, Any]], queue: asyncio.Queue[Any]) -> None:
    async for event in events:
        await queue.put(event)


async def _is_whole(replies: Replies, find_bot: FindBot | None, quiet_s: float) -> bool:
    if not replies.texts or quiet_s < IDLE_QUIET_S:
        return False
    return quiet_s >= QUIET_S if find_bot is None else await _is_idle(find_bot)


async def _is_idle(find_bot: FindBot) -> bool:
    """Whether the bot has nothing under way; one that is away comes back and has."""
    bot = find_bot()
    if bot is None:
        return False
    try:
        status = await asyncio.to_thread(bot.ask, "GET", "/api/health/status", deadline_s=2.0)
    except (CommandError, NotRunningError):
        return False
    facts = status.get("parts", {}).get("waiting", {}).get("facts", {})
    return bool(facts.get("waiting") == 0 and facts.get("inFlight") == 0)


async def _events(stream: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in stream.aiter_lines():
        if line.startswith("data: "):
            event = json.loads(line.removeprefix("data: "))
            if isinstance(event, dict):
                yield event


def _render(texts: list[str]) -> Group:
    return Group(*(Markdown(strip_control_codes(text)) for text in texts))


def _body(saying: Saying) -> dict[str, Any]:
    body: dict[str, Any] = {
        "user": saying.user,
        "content": saying.text,
        # In a channel it answers who mentions it; alone with somebody it answers anything.
        "mention_bot": not saying.direct,
        "attachments": [_file(path) for path in saying.files],
    }
    if saying.direct:
        return {**body, "dm": True}
    return {**body, "channel": saying.channel, **({"guild": saying.guild} if saying.guild else {})}


def _file(path: Path) -> dict[str, str]:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise CommandError(f"{path} is larger than the 10 MiB that Discord takes.")
        data = path.read_bytes()
    except OSError as error:
        raise CommandError(f"{path} cannot be read ({error.strerror}).") from None
    return {
        "filename": path.name,
        "content_type": mimetypes.guess_type(path.name)[0] or "application/octet-stream",
        "data_base64": base64.b64encode(data).decode("ascii"),
    }
