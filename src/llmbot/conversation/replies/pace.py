"""How replies are shown, and how often growing ones may be edited in a channel."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from llmbot.kernel.clock import Clock


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """How replies are shown."""

    streaming: bool = True
    settle_s: float = 0.01
    """Pause before the first words are sent: an answer that is whole by then needs one call."""
    typing_after_s: float = 0.4
    """How long a reply may stay silent before typing is shown."""
    silence_s: float = 2.5
    """After so long without a word since the question came, a notice stands in; 0 gives none."""


class Pace:
    """At most one streaming edit per channel and interval, whoever streams there.

    Discord grants about five writes in five seconds to a channel. Edits that only show growth must
    leave room for first words and final texts, which never wait here.
    """

    def __init__(self, clock: Clock, interval_s: float, *, channels_max: int = 2000) -> None:
        """Allow one edit every `interval_s` seconds in each of the `channels_max` last used."""
        self._clock = clock
        self._interval_s = interval_s
        self._channels_max = channels_max
        self._next: OrderedDict[int, float] = OrderedDict()

    def reserve(self, channel_id: int) -> float:
        """Take the channel's next turn; answers how many seconds to wait for it."""
        now = self._clock.monotonic()
        at = max(now, self._next.pop(channel_id, now))
        self._keep(channel_id, at + self._interval_s)
        return at - now

    def spoke(self, channel_id: int) -> None:
        """A message was written there just now: the next edit keeps its distance."""
        now = self._clock.monotonic()
        self._keep(channel_id, max(now, self._next.pop(channel_id, now)) + self._interval_s)

    def __len__(self) -> int:
        """How many channels are remembered."""
        return len(self._next)

    def _keep(self, channel_id: int, next_at: float) -> None:
        self._next[channel_id] = next_at
        if len(self._next) > self._channels_max:
            self._next.popitem(last=False)
