"""Every cache, queue and store that the bot holds in memory: how large it is, and what may go."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from llmbot.app.running import Running

__all__ = ["InMemory", "estimate", "stores_of"]

_SAMPLE = 50
_DEPTH_MAX = 6


@dataclass(frozen=True, slots=True)
class InMemory:
    """One of them; `clear` empties it and is None where it cannot be rebuilt."""

    entries: Callable[[], int]
    bytes: Callable[[], int]
    clear: Callable[[], object] | None = None


def stores_of(bot: Running) -> Mapping[str, InMemory]:
    """All of them by name."""
    recent, claims = bot.conversation.recent, bot.mechanisms.claims
    queue, limiter = bot.mechanisms.queue, bot.mechanisms.limits.limiter
    bus, context, stats = bot.house.bus, bot.conversation.context, bot.mechanisms.stats
    return {
        "recentMessages": InMemory(
            lambda: recent.channels,
            lambda: recent.characters,
            recent.forget,
        ),
        "processedMessages": InMemory(
            lambda: claims.remembered, lambda: claims.remembered * _ID_BYTES
        ),
        "queue": InMemory(lambda: len(queue), lambda: estimate(queue.sample(_SAMPLE), len(queue))),
        "rateLimits": InMemory(lambda: len(limiter), lambda: len(limiter) * _SCOPE_BYTES),
        "cachedAnswers": InMemory(
            lambda: len(bot.conversation.cache),
            lambda: bot.conversation.cache.bytes,
            bot.conversation.cache.clear,
        ),
        "events": InMemory(
            lambda: len(bus.history),
            lambda: estimate(bus.history, len(bus.history)),
        ),
        "clearedChannels": InMemory(
            lambda: context.remembered,
            lambda: context.remembered * _ID_BYTES,
            context.forget_cleared,
        ),
        "statistics": InMemory(lambda: stats.samples, lambda: stats.samples * _SAMPLE_BYTES),
    }


_ID_BYTES = 130
"""An id in an ordered dictionary: the number, its entry, its links; measured on CPython 3.11."""

_SCOPE_BYTES = 700
"""A scope with the times of a few calls."""

_SAMPLE_BYTES = 200
"""The times of one reply."""


def estimate(entries: Iterable[object], count: int) -> int:
    """Bytes of so many entries, from the first few of them."""
    sample = [_size(entry, _DEPTH_MAX) for entry in islice(iter(entries), _SAMPLE)]
    return round(sum(sample) / len(sample) * count) if sample else 0


def _size(thing: Any, depth: int) -> int:
    """A thing with what it holds, as far as it goes; classes and functions are shared by all."""
    size = sys.getsizeof(thing)
    if depth == 0 or isinstance(thing, str | bytes | int | float | type):
        return size
    if isinstance(thing, Mapping):
        return size + sum(_size(part, depth - 1) for pair in thing.items() for part in pair)
    if isinstance(thing, list | tuple | set | frozenset):
        return size + sum(_size(part, depth - 1) for part in thing)
    names = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    held = [getattr(thing, name, None) for name in names]
    return size + sum(_size(part, depth - 1) for part in (*held, *getattr(thing, "__dict__", {})))
