"""Gateway sessions: they outlive their connection and replay what it missed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from llmbot.simulators.discord.settings import DiscordSettings

DAY_S = 86_400.0
_IDENTIFY_SPACING_S = 5.0
SESSIONS_MAX = 500


class Link(Protocol):
    """What a session needs of the connection that serves it."""

    base: str

    def send(self, frame: bytes) -> None:
        """Queue a frame."""

    def close(self, code: int, reason: str) -> None:
        """Send what is queued, then close."""

    def abort(self) -> None:
        """Drop the connection without a close frame."""


@dataclass(slots=True)
class Session:
    """One identified client: its intents, its numbered events, its connection if it has one."""

    id: str
    intents: int
    shard: int
    shards: int
    base: str
    events: deque[tuple[str, bytes]]  # name and data of the last ones; the data is shared
    link: Link | None = None
    sequence: int = 0
    delivered: int = 0
    acknowledged: int = 0  # the sequence that the last heartbeat named
    disconnected_at: float | None = None
    paused: bool = False
    presence: dict[str, Any] = field(default_factory=dict)
    resumes: int = 0

    def dispatch(self, name: str, data: bytes) -> None:
        """Number an event, keep it for a resume, and send it if there is somebody to read it."""
        self.sequence += 1
        self.events.append((name, data))
        if self.link is not None and not self.paused and self.delivered == self.sequence - 1:
            self.delivered = self.sequence
            self.link.send(_frame(self.sequence, name, data))

    def can_replay_from(self, sequence: int) -> bool:
        """Whether every event after `sequence` is still kept."""
        return self.sequence - len(self.events) <= sequence <= self.sequence

    def flush(self) -> None:
        """Send what has not been delivered on this connection."""
        if self.link is None or self.paused:
            return
        first = self.sequence - len(self.events) + 1
        for index in range(max(0, self.delivered + 1 - first), len(self.events)):
            self.link.send(_frame(first + index, *self.events[index]))
        self.delivered = self.sequence

    def covers(self, guild_id: int | None) -> bool:
        """Whether events of a server (None: direct messages) belong to this session's shard."""
        if guild_id is None:
            return self.shard == 0
        return (guild_id >> 22) % self.shards == self.shard


def _frame(sequence: int, name: str, data: bytes) -> bytes:
    return b'{"t":"%s","s":%d,"op":0,"d":%s}' % (name.encode(), sequence, data)


class Sessions:
    """All sessions, and the accounting of identifies."""

    def __init__(self, settings: DiscordSettings) -> None:
        self._settings = settings
        self._sessions: dict[str, Session] = {}
        self._identified_at: deque[float] = deque()
        self._last_identify: dict[int, float] = {}

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._sessions.values()))

    def __len__(self) -> int:
        return len(self._sessions)

    def add(self, session: Session) -> None:
        """Keep a new session; the longest disconnected goes where there are too many."""
        if len(self._sessions) >= SESSIONS_MAX:
            idle = [s for s in self._sessions.values() if s.link is None]
            if idle:
                self.remove(min(idle, key=lambda s: s.disconnected_at or 0.0))
        self._sessions[session.id] = session

    def find(self, session_id: str) -> Session | None:
        """Find a session by its id."""
        return self._sessions.get(session_id)

    def remove(self, session: Session) -> None:
        """Forget a session; a later resume gets op 9."""
        self._sessions.pop(session.id, None)

    def expire(self, now: float) -> None:
        """Forget the sessions that have been without a connection for too long."""
        for session in self:
            gone = session.disconnected_at
            if gone is not None and now - gone > self._settings.session_ttl_s:
                self.remove(session)

    def count_identify(self, now: float, shard: int) -> bool:
        """Count an identify; False if it comes too soon or too often."""
        while self._identified_at and now - self._identified_at[0] >= DAY_S:
            self._identified_at.popleft()
        key = shard % self._settings.identify_max_concurrency
        last = self._last_identify.get(key)
        too_soon = last is not None and now - last < _IDENTIFY_SPACING_S
        if self._settings.identify_spacing and too_soon:
            return False
        if len(self._identified_at) >= self._settings.identify_limit:
            return False
        self._last_identify[key] = now
        self._identified_at.append(now)
        return True

    def start_limit(self, now: float) -> dict[str, int]:
        """Return the `session_start_limit` of /gateway/bot."""
        used = len(self._identified_at)
        first = self._identified_at[0] if used else now
        reset_s = max(0.0, DAY_S - (now - first)) if used else 0.0
        return {
            "total": self._settings.identify_limit,
            "remaining": max(0, self._settings.identify_limit - used),
            "reset_after": int(reset_s * 1000),
            "max_concurrency": self._settings.identify_max_concurrency,
        }
