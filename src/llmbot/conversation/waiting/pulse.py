"""Which calls to models are under way, and since when each has said nothing: for a sensor to read.

A hang or a stall is seen here long before the call's deadline ends it. How the calls ended is kept
as their models' usual pace. When a provider that hung answers again, the calls that hang since then
are given up: their answers were lost with it, and their deadlines were for models that think.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from llmbot.conversation.models.usual_pace import UsualPace
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import ModelOvertakenError, ModelTimeoutError

__all__ = ["Pulse", "Pulses"]


@dataclass(slots=True, eq=False)
class Pulse:
    """One call; `began_s` and `heard_s`, when its last word came or it began, are monotonic."""

    model: str
    began_s: float
    heard_s: float
    first_s: float | None = None
    pause_s: float = 0.0
    patience: asyncio.Timeout = field(default_factory=lambda: asyncio.timeout(None))

    @property
    def provider(self) -> str:
        """Whom it asks."""
        return self.model.partition(":")[0]

    def heard(self, now_s: float) -> None:
        """A word came."""
        waited_s = now_s - self.heard_s
        self.heard_s = now_s
        if self.patience.when() is not None and not self.patience.expired():
            self.patience.reschedule(None)
        if self.first_s is None:
            self.first_s = waited_s
        else:
            self.pause_s = max(self.pause_s, waited_s)


class Pulses:
    """The calls under way; as many as workers, so that no bound of their own is needed."""

    def __init__(self, clock: Clock) -> None:
        """No call is under way."""
        self._clock = clock
        self._calls: set[Pulse] = set()
        self._hung: dict[str, float] = {}
        """Providers of which a call was given up as silent, and none begun since was answered."""
        self.usual = UsualPace(clock)

    @asynccontextmanager
    async def call(self, model: str) -> AsyncIterator[Pulse]:
        """A call to a model, for as long as the body runs; it notes each word in its pulse.

        Raises:
            ModelOvertakenError: it hung with others, and the provider answers again.
        """
        began_s = self._clock.monotonic()
        pulse = Pulse(model, began_s, began_s)
        self._calls.add(pulse)
        try:
            async with pulse.patience:
                yield pulse
            if pulse.first_s is not None:
                self.usual.spoke(model, pulse.first_s, pulse.pause_s)
                self._answered(pulse)
        except ModelTimeoutError:
            self.usual.fell_silent(model, began_s)
            self._hung[pulse.provider] = self._clock.monotonic()
            raise
        except TimeoutError:
            if pulse.patience.expired():
                raise ModelOvertakenError from None
            raise
        finally:
            self._calls.discard(pulse)

    def quiet(self) -> tuple[tuple[str, float], ...]:
        """Each call's model, and the seconds for which it has said nothing."""
        now = self._clock.monotonic()
        return tuple((pulse.model, now - pulse.heard_s) for pulse in self._calls)

    def _answered(self, pulse: Pulse) -> None:
        """A call ended well; where it began in a hang, the hang is over."""
        hung_s = self._hung.get(pulse.provider)
        if hung_s is None or pulse.began_s < hung_s:
            return
        del self._hung[pulse.provider]
        for other in self._calls:
            if other.began_s < pulse.began_s and other.provider == pulse.provider:
                self._hurry(other, pulse.model)

    def _hurry(self, pulse: Pulse, model: str) -> None:
        """Let a call have the time that its model usually needs, or else the one that answers.

        It is counted from its last word; the next one gives it all its time again.
        """
        usual = self.usual.patience(pulse.model) or self.usual.patience(model)
        if usual is None or pulse.patience.expired():
            return
        patience_s = usual[0] if pulse.first_s is None else usual[1]
        left_s = max(0.0, pulse.heard_s + patience_s - self._clock.monotonic())
        pulse.patience.reschedule(asyncio.get_running_loop().time() + left_s)
