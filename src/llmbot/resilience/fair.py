"""Fair turns: who is served next when more wait than can be served.

Three rules, each independent of the others:

1.  *Order.* Items with the same order key are handed out one at a time and strictly by their order
    number; a head that is not due yet, or is in flight, holds back its own key and nobody else's.
2.  *Class.* Operators before users before background work; background work that has been ready for
    `aging_s` seconds counts as a user's, so that it cannot starve. A line of items inherits the
    best class among them: an urgent item is not stuck behind a leisurely one of the same key.
3.  *Turns.* Within a class users take turns, one item each (round robin, as in deficit round robin
    with items of equal cost): a user with a thousand items waiting delays another by one item.

Pure and in memory: no clock, no tasks, no storage; times are the caller's, in monotonic seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Generic, TypeVar

from llmbot.kernel.errors import DefectError, OverloadedError
from llmbot.resilience.heap import UpdatableHeap

__all__ = ["FairQueue", "Priority"]

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Priority(IntEnum):
    """The classes of service, best first."""

    OPERATOR = 0
    USER = 1
    BACKGROUND = 2


@dataclass(slots=True)
class _Entry(Generic[K, T]):
    """One item and what decides about its turn."""

    priority: Priority
    user: Hashable
    order_key: K
    order: int
    item: T
    ready_at: float
    """From when on it could have been served: pushed, and due."""
    due: float


@dataclass(slots=True)
class _Line(Generic[K, T]):
    """The items of one order key, and where the line stands now."""

    order_key: K
    entries: dict[int, _Entry[K, T]] = field(default_factory=dict)
    orders: UpdatableHeap[int, int] = field(default_factory=UpdatableHeap)
    by_class: list[int] = field(default_factory=lambda: [0] * len(Priority))
    in_flight: _Entry[K, T] | None = None
    turn: tuple[Priority, Hashable] | None = None
    """The class and user whose turn brings this line up; None while it has none."""

    def head(self) -> _Entry[K, T] | None:
        first = self.orders.first()
        return None if first is None else self.entries[first[0]]

    def best_class(self) -> Priority:
        return next(p for p in Priority if self.by_class[p])


class FairQueue(Generic[K, T]):
    """Items waiting for their turn; every operation is O(log n) amortised unless it says else."""

    def __init__(self, *, capacity: int, aging_s: float = 60.0) -> None:
        """Hold at most `capacity` waiting items; background work ages after `aging_s` seconds."""
        if capacity < 1 or aging_s < 0:
            raise ValueError("capacity must be at least 1 and aging_s not negative")
        self.capacity = capacity
        self._aging_s = aging_s
        self._size = 0
        self._lines: dict[K, _Line[K, T]] = {}
        self._in_flight = 0
        # Class → users in the order of their turns → their lines that are ready.
        self._rings: tuple[OrderedDict[Hashable, OrderedDict[K, None]], ...] = tuple(
            OrderedDict() for _ in Priority
        )
        self._timers: UpdatableHeap[K, float] = UpdatableHeap()
        self._aging: UpdatableHeap[K, float] = UpdatableHeap()
        # For shedding: by class, all items by age, and users by how much they have waiting.
        self._oldest: tuple[UpdatableHeap[tuple[K, int], int], ...] = tuple(
            UpdatableHeap() for _ in Priority
        )
        self._of_user: tuple[dict[Hashable, UpdatableHeap[tuple[K, int], int]], ...] = tuple(
            {} for _ in Priority
        )
        self._heaviest: tuple[UpdatableHeap[Hashable, tuple[int, int]], ...] = tuple(
            UpdatableHeap() for _ in Priority
        )

    # ── what is there ───────────────────────────────────────────────────────────────────────────

    def __len__(self) -> int:
        """How many wait; items in flight do not count."""
        return self._size

    def __iter__(self) -> Iterator[T]:
        """The waiting items, oldest first; O(n log n), for people to look at."""
        entries = [e for line in self._lines.values() for e in line.entries.values()]
        return (e.item for e in sorted(entries, key=lambda e: e.order))

    @property
    def in_flight(self) -> int:
        """How many were handed out and are not done."""
        return self._in_flight

    @property
    def full(self) -> bool:
        """Whether `push` would refuse."""
        return self._size >= self.capacity

    def counts(self) -> dict[Priority, int]:
        """How many wait in each class."""
        return {p: len(self._oldest[p]) for p in Priority}

    def waiting_of(self, user: Hashable) -> int:
        """How many items of this user wait."""
        return sum(len(users[user]) for users in self._of_user if user in users)

    def turns_before(self, user: Hashable, priority: Priority = Priority.USER) -> int:
        """How many items are handed out before one that this user would push now; O(users).

        A forecast for an honest "about n before you": it takes all waiting items as due.
        """
        mine = len(self._of_user[priority].get(user, ()))
        before = sum(len(self._oldest[p]) for p in Priority if p < priority) + mine
        for other, items in self._of_user[priority].items():
            if other != user:
                before += min(len(items), mine + 1)
        return before

    def is_waiting(self, order_key: K, order: int) -> bool:
        """Whether this item waits; one in flight does not."""
        line = self._lines.get(order_key)
        return line is not None and order in line.entries

    def in_flight_of(self, order_key: K) -> T | None:
        """The item in flight for this key."""
        line = self._lines.get(order_key)
        return None if line is None or line.in_flight is None else line.in_flight.item

    def first_of(self, order_key: K) -> T | None:
        """The first of the waiting items of this key."""
        line = self._lines.get(order_key)
        head = None if line is None else line.head()
        return None if head is None else head.item

    def behind(self, order_key: K, order: int) -> list[T]:
        """The waiting items of a key behind this one, in their order; O(n log n) of its items."""
        line = self._lines.get(order_key)
        entries = () if line is None else line.entries.values()
        return [e.item for e in sorted(entries, key=lambda e: e.order) if e.order > order]

    # ── in and out ──────────────────────────────────────────────────────────────────────────────

    def push(
        self,
        priority: Priority,
        user: Hashable,
        order_key: K,
        item: T,
        *,
        order: int,
        now: float,
        due: float | None = None,
    ) -> None:
        """Let an item wait for its turn; not before the monotonic time `due`, where one is given.

        Raises:
            OverloadedError: `capacity` items wait already.
            ValueError: an item with this order key and order waits already.
        """
        if self.is_waiting(order_key, order):
            raise ValueError(f"order {order} waits already")
        if self.full:
            raise OverloadedError(f"{self._size} items wait already")
        ready_at = now if due is None else max(now, due)
        self._add(
            _Entry(priority, user, order_key, order, item, ready_at, now if due is None else due),
            now,
        )

    def pop_ready(self, now: float, *, worst: Priority = Priority.BACKGROUND) -> T | None:
        """The item whose turn it is; its order key is in flight until `done` or `put_back`.

        None where only items of a class below `worst` are ready.
        """
        self._wake(now)
        for ring in self._rings[: worst + 1]:
            if ring:
                user = next(iter(ring))
                line = self._lines[next(iter(ring[user]))]
                entry = line.head()
                if entry is None:
                    raise DefectError("a line without items had a turn")
                self._drop(line, entry)
                line.in_flight = entry
                self._in_flight += 1
                self._settle(line, now)
                if user in ring:
                    ring.move_to_end(user)
                return entry.item
        return None

    def done(self, order_key: K, now: float) -> T | None:
        """The item in flight for this key has ended; its next one may have its turn.

        Returns that item, or None where none was in flight.
        """
        line = self._lines.get(order_key)
        if line is None or line.in_flight is None:
            return None
        item = line.in_flight.item
        line.in_flight = None
        self._in_flight -= 1
        self._settle(line, now)
        return item

    def step_aside(self, order_key: K, aside: K, now: float) -> None:
        """The item in flight for a key goes on under an unused key, so that others may follow.

        From then on `done` and `put_back` know it by `aside`.
        """
        line = self._lines[order_key]
        if line.in_flight is not None:
            line.in_flight.order_key = aside
            self._lines[aside] = _Line(aside, in_flight=line.in_flight)
            line.in_flight = None
            self._settle(line, now)

    def put_back(self, order_key: K, now: float, *, due: float) -> bool:
        """The item in flight for this key waits again, at its old place, not before `due`.

        It was accepted once and is never refused for want of room. False where none was in flight.

        Raises:
            ValueError: another item with its order was pushed meanwhile.
        """
        line = self._lines.get(order_key)
        if line is None or line.in_flight is None:
            return False
        entry = line.in_flight
        if entry.order in line.entries:
            raise ValueError(f"order {entry.order} waits already")
        line.in_flight = None
        self._in_flight -= 1
        entry.due = due
        entry.ready_at = max(now, due)
        self._add(entry, now)
        return True

    def remove(self, order_key: K, order: int, now: float) -> T | None:
        """Take a waiting item out, wherever it stands; None where it does not wait."""
        line = self._lines.get(order_key)
        entry = None if line is None else line.entries.get(order)
        if line is None or entry is None:
            return None
        self._drop(line, entry)
        self._settle(line, now)
        return entry.item

    # ── time ────────────────────────────────────────────────────────────────────────────────────

    def next_due(self, now: float) -> float | None:
        """From when on `pop_ready` gives an item: `now`, a later time, or None until `done`."""
        if any(self._rings):
            return now
        first = self._timers.first()
        return None if first is None else max(now, first[1])

    def hasten(self, now: float, priority: Priority | None = None) -> int:
        """Make all items, or those of one class, due now; returns how many had waited; O(n)."""
        hastened = 0
        for line in list(self._lines.values()):
            for entry in line.entries.values():
                if entry.due > now and priority in (None, entry.priority):
                    entry.due = entry.ready_at = now
                    hastened += 1
            self._settle(line, now)
        return hastened

    def bring_forward(self, order_key: K, order: int, now: float) -> bool:
        """Make one waiting item due now; False where it does not wait."""
        line = self._lines.get(order_key)
        entry = None if line is None else line.entries.get(order)
        if line is None or entry is None:
            return False
        if entry.due > now:
            entry.due = entry.ready_at = now
            self._settle(line, now)
        return True

    # ── shedding ────────────────────────────────────────────────────────────────────────────────

    def oldest_of_heaviest(self) -> T | None:
        """The oldest waiting item of who has most of them in the lowest class that has any.

        It stays until removed. Whoever floods the queue pays for it, and nobody else.
        """
        for priority in reversed(Priority):
            user = self._heaviest[priority].first()
            if user is not None:
                first = self._of_user[priority][user[0]].first()
                if first is not None:
                    (order_key, order), _ = first
                    return self._lines[order_key].entries[order].item
        return None

    # ── inside ──────────────────────────────────────────────────────────────────────────────────

    def _add(self, entry: _Entry[K, T], now: float) -> None:
        line = self._lines.setdefault(entry.order_key, _Line(entry.order_key))
        line.entries[entry.order] = entry
        line.orders.set(entry.order, entry.order)
        line.by_class[entry.priority] += 1
        self._size += 1
        name = (entry.order_key, entry.order)
        self._oldest[entry.priority].set(name, entry.order)
        mine = self._of_user[entry.priority].setdefault(entry.user, UpdatableHeap())
        mine.set(name, entry.order)
        self._weigh(entry.priority, entry.user)
        self._settle(line, now)

    def _drop(self, line: _Line[K, T], entry: _Entry[K, T]) -> None:
        del line.entries[entry.order]
        line.orders.discard(entry.order)
        line.by_class[entry.priority] -= 1
        self._size -= 1
        name = (entry.order_key, entry.order)
        self._oldest[entry.priority].discard(name)
        self._of_user[entry.priority][entry.user].discard(name)
        self._weigh(entry.priority, entry.user)

    def _weigh(self, priority: Priority, user: Hashable) -> None:
        mine = self._of_user[priority][user]
        oldest = mine.first()
        if oldest is None:
            del self._of_user[priority][user]
            self._heaviest[priority].discard(user)
        else:
            self._heaviest[priority].set(user, (-len(mine), oldest[1]))

    def _wake(self, now: float) -> None:
        for heap in (self._timers, self._aging):
            while (first := heap.first()) is not None and first[1] <= now:
                heap.discard(first[0])
                self._settle(self._lines[first[0]], now)

    def _settle(self, line: _Line[K, T], now: float) -> None:
        """Put a line where it belongs now: to a turn, to a timer, or nowhere."""
        head = line.head()
        turn: tuple[Priority, Hashable] | None = None
        self._timers.discard(line.order_key)
        self._aging.discard(line.order_key)
        if head is None:
            if line.in_flight is None:
                self._lines.pop(line.order_key, None)
        elif line.in_flight is None:
            if head.due > now:
                self._timers.set(line.order_key, head.due)
            else:
                turn = (line.best_class(), head.user)
                if turn[0] is Priority.BACKGROUND:
                    ages_at = head.ready_at + self._aging_s
                    if ages_at <= now:
                        turn = (Priority.USER, head.user)
                    else:
                        self._aging.set(line.order_key, ages_at)
        # A line whose turn is unchanged keeps its place among the others.
        if turn != line.turn:
            self._leave(line)
            line.turn = turn
            if turn is not None:
                lines = self._rings[turn[0]].setdefault(turn[1], OrderedDict())
                lines[line.order_key] = None

    def _leave(self, line: _Line[K, T]) -> None:
        if line.turn is not None:
            priority, user = line.turn
            lines = self._rings[priority][user]
            del lines[line.order_key]
            if not lines:
                del self._rings[priority][user]
