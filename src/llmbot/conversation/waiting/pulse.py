"""Which calls to models are under way, and since when each has said nothing: for a sensor to read.

A hang or a stall is seen here long before the call's deadline ends it. How the calls ended is kept
as their models' usual pace.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from llmbot.conversation.models.usual_pace import UsualPace
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import ModelTimeoutError

__all__ = ["Pulse", "Pulses"]


@dataclass(slots=True, eq=False)
class Pulse:
    """One call; `heard_s` is monotonic: when its last word came, or when it began."""

    model: str
    heard_s: float
    first_s: float | None = None
    pause_s: float = 0.0

    def heard(self, now_s: float) -> None:
        """A word came."""
        waited_s = now_s - self.heard_s
        if self.first_s is None:
            self.first_s = waited_s
        else:
            self.pause_s = max(self.pause_s, waited_s)
        self.heard_s = now_s


class Pulses:
    """The calls under way; as many as workers, so that no bound of their own is needed."""

    def __init__(self, clock: Clock) -> None:
        """No call is under way."""
        self._clock = clock
        self._calls: set[Pulse] = set()
        self.usual = UsualPace(clock)

    @contextmanager
    def call(self, model: str) -> Iterator[Pulse]:
        """A call to a model, for as long as the body runs; it notes each word in its pulse."""
        began_s = self._clock.monotonic()
        pulse = Pulse(model, began_s)
        self._calls.add(pulse)
        try:
            yield pulse
            if pulse.first_s is not None:
                self.usual.spoke(model, pulse.first_s, pulse.pause_s)
        except ModelTimeoutError:
            self.usual.fell_silent(model, began_s)
            raise
        finally:
            self._calls.discard(pulse)

    def quiet(self) -> tuple[tuple[str, float], ...]:
        """Each call's model, and the seconds for which it has said nothing."""
        now = self._clock.monotonic()
        return tuple((pulse.model, now - pulse.heard_s) for pulse in self._calls)
