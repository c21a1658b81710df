"""Tells people of incidents: by the log at once, by webhook and channel durably and once.

What is to be told is in the journal before it is sent and when it was sent, so that a kill loses
and doubles nothing that the other side can recognise (`Idempotency-Key`). One message for each
change of an incident; a channel that fails is tried again with growing pauses for a day.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import orjson

from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import LlmbotError
from llmbot.operations.incidents.incidents import Incident
from llmbot.operations.incidents.log import IncidentChanged
from llmbot.operations.journal import Entry, Journal

__all__ = ["Channel", "Notice", "Notifier", "signed"]

PAUSE_FIRST_S = 2.0
PAUSE_MAX_S = 300.0
AGE_MAX_S = 86_400.0
WAITING_MAX = 500
CATCH_UP_S = 600.0
"""Older news of an earlier life is none: a channel may be new."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell."""

    key: str
    incident: str
    change: str
    severity: str
    title: str
    at_s: float


class Channel(Protocol):
    """A way to people."""

    @property
    def name(self) -> str:
        """Short, stable: it stands in the journal."""
        ...

    async def send(self, notice: Notice) -> None:
        """Tell it, within a deadline.

        Raises:
            LlmbotError, OSError, TimeoutError: it did not arrive, or nobody knows.
        """
        ...


@dataclass(slots=True)
class _Due:
    """What one channel still has to tell."""

    notice: Notice
    channel: str
    due_s: float = 0.0
    tries: int = 0


@dataclass(slots=True)
class Notifier:
    """Takes changes of incidents and sees them through every channel."""

    journal: Journal
    clock: Clock
    channels: Sequence[Channel]
    sent: int = 0
    failed: int = 0
    _known: dict[str, Notice] = field(default_factory=dict)
    _due: dict[tuple[str, str], _Due] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _fresh: list[IncidentChanged] = field(default_factory=list)

    def hear(self, entry: Entry) -> None:
        """Learn from the journal what is still to be told."""
        if entry.kind == "notice.queued":
            data = entry.data
            notice = Notice(
                str(data["key"]),
                str(data["incident"]),
                str(data["change"]),
                str(data["severity"]),
                str(data["title"]),
                entry.at_s,
            )
            self._known[notice.key] = notice
            while len(self._known) > WAITING_MAX:
                self._known.pop(next(iter(self._known)))
            for channel in self.channels:
                self._due[notice.key, channel.name] = _Due(notice, channel.name)
        elif entry.kind in {"notice.sent", "notice.dropped"}:
            self._due.pop((entry.text("key"), entry.text("channel")), None)

    def tell(self, change: IncidentChanged) -> None:
        """Take a change; returns at once."""
        if self.channels and len(self._fresh) < WAITING_MAX:
            self._fresh.append(change)
            self._news.set()

    def catch_up(self, incidents: Sequence[Incident]) -> None:
        """Take what an earlier life wrote of incidents and did not live to queue."""
        border = self.clock.wall() - CATCH_UP_S
        for incident in incidents:
            change, at = "opened", incident.opened_s
            if incident.closed_s is not None:
                change, at = "closed", incident.closed_s
            told = (n for n in self._known.values() if n.incident == incident.id)
            if at >= border and not any(n.change == change and n.at_s >= at for n in told):
                title = incident.title()
                self.tell(IncidentChanged(incident.id, change, incident.severity, title))

    @property
    def waiting(self) -> int:
        """How many messages are still to be sent."""
        return len(self._due) + len(self._fresh)

    async def run(self) -> None:
        """Send what is due until cancelled."""
        while True:
            await self.round()
            self._news.clear()
            if not self._fresh:
                await self._until_news()

    async def round(self) -> None:
        """Queue what is new and send what is due."""
        while self._fresh:
            await self._queue(self._fresh.pop(0))
        now = self.clock.monotonic()
        for due in [each for each in self._due.values() if each.due_s <= now]:
            await self._send(due)

    async def _until_news(self) -> None:
        now = self.clock.monotonic()
        waits = [max(0.05, each.due_s - now) for each in self._due.values()]
        timer = asyncio.create_task(self.clock.sleep(min(waits, default=60.0)), name="outbox pause")
        news = asyncio.create_task(self._news.wait(), name="outbox news")
        try:
            await asyncio.wait({timer, news}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (timer, news):
                task.cancel()
            await asyncio.gather(timer, news, return_exceptions=True)

    async def _queue(self, change: IncidentChanged) -> None:
        """One message for each change of an incident at each severity; told once a minute."""
        minute = int(self.clock.wall() // 60)
        key = f"{change.incident}:{change.change}:{change.severity}:{minute}"
        if key not in self._known:
            await self.journal.add(
                "notice.queued",
                key=key,
                incident=change.incident,
                change=change.change,
                severity=change.severity,
                title=change.title,
            )

    async def _send(self, due: _Due) -> None:
        channel = next(each for each in self.channels if each.name == due.channel)
        base = {"key": due.notice.key, "channel": due.channel}
        try:
            await channel.send(due.notice)
        except (LlmbotError, OSError, TimeoutError) as error:
            self.failed += 1
            due.tries += 1
            due.due_s = self.clock.monotonic() + min(PAUSE_MAX_S, PAUSE_FIRST_S * 2**due.tries)
            if self.clock.wall() - due.notice.at_s > AGE_MAX_S:
                await self.journal.add("notice.dropped", **base, error=type(error).__name__)
            return
        self.sent += 1
        await self.journal.add("notice.sent", **base)


def signed(notice: Notice, secret: str, now_s: float) -> tuple[bytes, Mapping[str, str]]:
    """The body and the headers of a post.

    The signature is HMAC-SHA256 over the timestamp, a dot and the body, so that neither can be
    changed and an old post cannot be played again.
    """
    body = orjson.dumps(
        {
            "id": notice.key,
            "incident": notice.incident,
            "change": notice.change,
            "severity": notice.severity,
            "title": notice.title,
            "at": notice.at_s,
        }
    )
    stamp = str(int(now_s))
    headers = {
        "Content-Type": "application/json",
        "Idempotency-Key": notice.key,
        "X-Llmbot-Timestamp": stamp,
    }
    if secret:
        digest = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256)
        headers["X-Llmbot-Signature"] = f"sha256={digest.hexdigest()}"
    return body, headers
