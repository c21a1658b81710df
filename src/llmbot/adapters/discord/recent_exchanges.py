"""How the last REST calls to Discord ended, and how long they took."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from llmbot.kernel.clock import Clock

__all__ = ["RecentExchanges", "RestRecently"]

WINDOW_S = 300.0
EXCHANGES_MAX = 5000
UNAVAILABLE = "unavailable"

_CLASSES: Mapping[int, str] = {
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limited",
    HTTPStatus.UNAUTHORIZED: "invalid",
    HTTPStatus.FORBIDDEN: "invalid",
}


@dataclass(frozen=True, slots=True)
class RestRecently:
    """The requests of the last five minutes, each attempt for itself."""

    calls: int = 0
    errors_by_class: Mapping[str, int] = field(default_factory=dict)
    times_ms: tuple[int, ...] = ()
    """How long each took that was answered."""

    @property
    def errors(self) -> int:
        """Requests that Discord did not answer, or refused for all of us."""
        return sum(self.errors_by_class.values())

    @property
    def error_share(self) -> float:
        """Failed requests of all, 0 to 1."""
        return self.errors / self.calls if self.calls else 0.0


class RecentExchanges:
    """Remembers as many requests as a busy bot makes in the window, and no more."""

    def __init__(self, clock: Clock) -> None:
        """Nothing was asked yet."""
        self._clock = clock
        self._kept: deque[tuple[float, int, str]] = deque(maxlen=EXCHANGES_MAX)

    def answered(self, began: float, status: int) -> None:
        """One that began at this monotonic time was answered with this status."""
        code = UNAVAILABLE if status >= HTTPStatus.INTERNAL_SERVER_ERROR else _CLASSES.get(status)
        now = self._clock.monotonic()
        self._kept.append((now, round((now - began) * 1000), code or ""))

    def unanswered(self) -> None:
        """One got no answer."""
        self._kept.append((self._clock.monotonic(), -1, UNAVAILABLE))

    def read(self) -> RestRecently:
        """Those of the window."""
        border = self._clock.monotonic() - WINDOW_S
        kept = [each for each in self._kept if each[0] > border]
        return RestRecently(
            calls=len(kept),
            errors_by_class=Counter(code for _, _, code in kept if code),
            times_ms=tuple(took for _, took, _ in kept if took >= 0),
        )
