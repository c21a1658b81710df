"""A heap whose entries can be moved and taken out by name."""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterator
from typing import Any, Generic, Protocol, TypeVar

__all__ = ["Comparable", "UpdatableHeap"]

_SLACK = 32
"""So many stale entries are left in peace whatever the size: rebuilding tiny heaps buys nothing."""


class Comparable(Protocol):
    """What can stand in an order."""

    def __lt__(self, other: Any, /) -> bool:
        """Whether this comes before the other."""
        ...


Id = TypeVar("Id", bound=Hashable)
Rank = TypeVar("Rank", bound=Comparable)


class UpdatableHeap(Generic[Id, Rank]):
    """Names in the order of their ranks, smallest first; equal ranks in the order they were set.

    Setting and taking out cost O(log n) amortised: an entry that was moved or taken out stays in
    the heap as a stale one until it surfaces, or until stale ones outnumber the live and the heap
    is rebuilt, so that memory stays proportional to what is alive.
    """

    __slots__ = ("_count", "_heap", "_live")

    def __init__(self) -> None:
        self._live: dict[Id, tuple[Rank, int]] = {}
        self._heap: list[tuple[Rank, int, Id]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._live)

    def __contains__(self, name: object) -> bool:
        return name in self._live

    def __iter__(self) -> Iterator[Id]:
        """The names, in no order."""
        return iter(self._live)

    def set(self, name: Id, rank: Rank) -> None:
        """Put a name at a rank, or move it there; it comes behind those of equal rank."""
        self._count += 1
        self._live[name] = (rank, self._count)
        heapq.heappush(self._heap, (rank, self._count, name))
        if len(self._heap) > 2 * len(self._live) + _SLACK:
            self._rebuild()

    def discard(self, name: Id) -> None:
        """Take a name out, where it is there."""
        if self._live.pop(name, None) is not None and (
            len(self._heap) > 2 * len(self._live) + _SLACK
        ):
            self._rebuild()

    def first(self) -> tuple[Id, Rank] | None:
        """The name with the smallest rank, and that rank."""
        heap = self._heap
        while heap:
            rank, count, name = heap[0]
            live = self._live.get(name)
            if live is not None and live[1] == count:
                return name, rank
            heapq.heappop(heap)
        return None

    def _rebuild(self) -> None:
        self._heap = [(rank, count, name) for name, (rank, count) in self._live.items()]
        heapq.heapify(self._heap)
