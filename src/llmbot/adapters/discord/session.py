"""The ladder back to the gateway: resume, resume, resume, identify; pauses; the identify budget.

Pure decisions with a clock and randomness handed in; `discord_gateway` carries them out. Sources:
Discord API reference, "Gateway": Resuming, Identify rate limit, session start limit object.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from llmbot.adapters.discord.errors import SESSION_LOST_CLOSES
from llmbot.adapters.discord.http import is_discords_own
from llmbot.conversation.messages import SessionCursor
from llmbot.kernel.clock import Clock, Random

_DAY_S = 86_400.0
_IDENTIFIES_A_DAY = 1000
_DOUBLINGS_MAX = 16
_IDENTIFY_FAILURES = 8
_IDENTIFY_CAP_FACTOR = 20


@dataclass(frozen=True, slots=True)
class LadderSettings:
    """Patience and pauses, in seconds."""

    connect_s: float = 6.0
    """For the handshake and hello."""
    resume_answer_s: float = 3.0
    """For the first sign that a resume is understood; then the bot identifies."""
    identify_answer_s: float = 20.0
    guilds_s: float = 2.0
    """For the servers that ready announced to arrive."""
    backoff_base_s: float = 0.5
    backoff_cap_s: float = 30.0
    stable_s: float = 10.0
    """A connection that lived this long was a good one: the next pause is the shortest."""
    refusals_max: int = 3
    fruitless_max: int = 5
    """Resumes in a row that were cut off before the first event."""
    invalid_session_s: tuple[float, float] = (1.0, 5.0)
    """The pause that Discord asks for before identifying after opcode 9."""
    identify_spacing_s: float = 5.0


class End(StrEnum):
    """How a connection ended."""

    UNREACHABLE = "unreachable"
    LOST = "lost"
    RECONNECT = "reconnect asked by Discord"
    ZOMBIE = "heartbeat not acknowledged"
    INVALID = "session invalid"
    INVALID_RESUMABLE = "session invalid, resumable"
    SILENT = "no answer to resume or identify"
    HUNG_UP = "closed by us"


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of a connection.

    `up_s` is how long the session was up on it, 0 if never; `progress` whether any event came.
    """

    end: End
    code: int | None = None
    up_s: float = 0.0
    progress: bool = False
    detail: str = ""

    def __str__(self) -> str:
        return (
            self.end.value
            + (f", code {self.code}" if self.code else "")
            + (f": {self.detail}" if self.detail else "")
        )


@dataclass(slots=True)
class Session:
    """A session that may be resumed."""

    id: str
    sequence: int
    resume_url: str

    @property
    def cursor(self) -> SessionCursor:
        """This place in the stream."""
        return SessionCursor(self.id, self.sequence, self.resume_url)


@dataclass(slots=True)
class IdentifyBudget:
    """How often the bot may still identify; Discord resets the token of who exceeds it."""

    clock: Clock
    spacing_s: float
    remaining: int = _IDENTIFIES_A_DAY
    _resets_at: float | None = None
    _last: float | None = None
    _concurrency: int = 1

    def learn(self, limit: Any) -> None:
        """Take the `session_start_limit` of /gateway/bot; lesser servers name none."""
        if not isinstance(limit, dict):
            return
        remaining, reset_ms = limit.get("remaining"), limit.get("reset_after")
        if isinstance(remaining, int):
            self.remaining = remaining
        if isinstance(reset_ms, (int, float)):
            self._resets_at = self.clock.monotonic() + reset_ms / 1000
        concurrency = limit.get("max_concurrency")
        self._concurrency = concurrency if isinstance(concurrency, int) else 1

    def wait_s(self) -> float:
        """Seconds until the next identify is allowed."""
        now = self.clock.monotonic()
        if self.remaining <= 0:
            if self._resets_at is not None and self._resets_at > now:
                return self._resets_at - now
            self.remaining = _IDENTIFIES_A_DAY
        if self._last is None or self._concurrency > 1:
            return 0.0
        return max(0.0, self._last + self.spacing_s - now)

    def take(self) -> None:
        """Count an identify."""
        now = self.clock.monotonic()
        self.remaining -= 1
        self._last = now
        if self._resets_at is None or self._resets_at <= now:
            self._resets_at = now + _DAY_S


@dataclass(slots=True)
class Ladder:
    """What to try next, and after which pause."""

    clock: Clock
    rng: Random
    settings: LadderSettings
    api_is_discords: bool
    session: Session | None = None
    refused_total: int = 0
    unreachable: int = 0
    """Tries in a row that found nobody."""
    _failures: int = 0
    _in_vain: int = 0
    """Identifies since the last good connection; one that reached nobody is none."""
    _refusals: int = 0
    _fruitless: int = 0
    _invalid: bool = False

    def resumes(self) -> bool:
        """Whether the next step is a resume; a session refused too often is given up."""
        refused = self._refusals >= self.settings.refusals_max
        if refused or self._fruitless >= self.settings.fruitless_max:
            self.session = None
        if self.session is None:
            self._refusals = self._fruitless = 0
        return self.session is not None

    def resume_address(self, gateway_url: str | None) -> str:
        """Where to resume: the address that ready named, in turns with the usual one.

        An address of Discord's from another server, or the reverse, is not followed: the token
        goes only to whoever we logged in to.
        """
        told = self.session.resume_url if self.session is not None else ""
        own = is_discords_own(told) == self.api_is_discords if told else False
        if gateway_url and (not own or self.unreachable % 2):
            return gateway_url
        return told

    def up(self) -> None:
        """The session is ready or resumed."""
        self._refusals = self._fruitless = self.unreachable = 0

    def down(self, ending: Ending, *, resuming: bool) -> None:
        """A connection ended; `resuming` if that was while a resume had no answer."""
        stable = ending.up_s >= self.settings.stable_s
        first_refused = resuming and ending.end is End.INVALID and self._failures == 0
        good = stable or first_refused
        self._failures = 0 if good else min(_DOUBLINGS_MAX, self._failures + 1)
        identified = not resuming and ending.end is not End.UNREACHABLE
        self._in_vain = 0 if good else self._in_vain + identified
        self.unreachable = self.unreachable + 1 if ending.end is End.UNREACHABLE else 0
        # After a refused resume the identify is not delayed: its own pace is in the budget.
        self._invalid = ending.end is End.INVALID and not resuming
        lost = ending.end is End.INVALID or ending.code in SESSION_LOST_CLOSES
        if resuming and ending.end not in (End.UNREACHABLE, End.HUNG_UP):
            self._count_failed_resume(ending)
        if lost or (resuming and ending.end is End.SILENT):
            self.session = None

    def _count_failed_resume(self, ending: Ending) -> None:
        """Tell a refusal from bad luck on the way: only the first says much of the session."""
        if ending.progress:
            self._refusals = self._fruitless = 0
        elif ending.code is not None or ending.end in (End.INVALID_RESUMABLE, End.INVALID):
            self._refusals += 1
            self.refused_total += 1
        else:
            self._fruitless += 1

    def pause_s(self) -> float:
        """Seconds before the next try: full jitter, growing while connections do not last."""
        cap, doublings = self.settings.backoff_cap_s, self._failures
        identifies_next = self.session is None or self._refusals >= self.settings.refusals_max
        if identifies_next and self._in_vain >= _IDENTIFY_FAILURES:
            # Identifies that lead nowhere would use up the day's budget in hours.
            cap *= _IDENTIFY_CAP_FACTOR
        elif self._refusals:
            # Who refuses a resume is there, and after a few refusals the session is given up.
            doublings = min(doublings, self._refusals)
        ceiling = self.settings.backoff_base_s * 2**doublings
        pause = self.rng.uniform(0.0, min(cap, ceiling))
        asked = self.rng.uniform(*self.settings.invalid_session_s) if self._invalid else 0.0
        return max(pause, asked)
