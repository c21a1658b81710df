"""The fair queue against a model that looks at everything and remembers nothing cleverly."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from llmbot.kernel.errors import OverloadedError
from llmbot.resilience.fair import FairQueue, Priority

CAPACITY = 12
AGING_S = 10.0

Key = tuple[int, int]


@dataclass
class Waiting:
    """One item as the model sees it."""

    priority: Priority
    user: int
    key: Key
    order: int
    due: float
    ready_at: float


class FairQueueModel(RuleBasedStateMachine):
    """Every schedule of pushes, turns, ends, hastenings and removals obeys the three rules."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.orders = 0
        self.queue: FairQueue[Key, int] = FairQueue(capacity=CAPACITY, aging_s=AGING_S)
        self.waiting: dict[int, Waiting] = {}
        self.in_flight: dict[Key, Waiting] = {}
        # When each line's present turn began to wait, by (class, user): for the law of turns.
        self.passed_over: dict[tuple[Priority, int], dict[int, int]] = {}

    def head(self, key: Key) -> Waiting | None:
        """The first of a line."""
        return min(
            (w for w in self.waiting.values() if w.key == key), key=lambda w: w.order, default=None
        )

    def eligible(self) -> list[tuple[Priority, Waiting]]:
        """The heads that may be handed out now, with the class they count as."""
        found = []
        for key in {w.key for w in self.waiting.values()} - set(self.in_flight):
            head = self.head(key)
            assert head is not None
            if head.due <= self.now:
                best = min(w.priority for w in self.waiting.values() if w.key == key)
                if best is Priority.BACKGROUND and head.ready_at + AGING_S <= self.now:
                    best = Priority.USER
                found.append((best, head))
        return found

    @rule(
        priority=st.sampled_from(Priority),
        user=st.integers(0, 3),
        channel=st.integers(0, 2),
        delay=st.sampled_from([None, 0.0, 1.0, 5.0]),
    )
    def push(self, priority: Priority, user: int, channel: int, delay: float | None) -> None:
        self.orders += 1
        due = None if delay is None else self.now + delay
        key = (channel, user)
        if len(self.waiting) >= CAPACITY:
            with pytest.raises(OverloadedError):
                self.queue.push(
                    priority, user, key, self.orders, order=self.orders, now=self.now, due=due
                )
            return
        self.queue.push(priority, user, key, self.orders, order=self.orders, now=self.now, due=due)
        due = self.now if due is None else due
        self.waiting[self.orders] = Waiting(
            priority, user, key, self.orders, due, max(due, self.now)
        )

    @rule()
    def pop(self) -> None:
        eligible = self.eligible()
        got = self.queue.pop_ready(self.now)
        if not eligible:
            assert got is None
            return
        assert got is not None
        best = min(cls for cls, _ in eligible)
        served = next((w for cls, w in eligible if cls is best and w.order == got), None)
        assert served is not None, "not a due head of the best class"
        del self.waiting[got]
        self.in_flight[served.key] = served
        # A user who has been eligible without a break sees each other user served at most once.
        now_eligible = {w.user for cls, w in eligible if cls is best}
        for user in now_eligible - {served.user}:
            seen = self.passed_over.setdefault((best, user), {})
            seen[served.user] = seen.get(served.user, 0) + 1
            assert seen[served.user] <= 1, f"user {served.user} had two turns before {user}"
        self.passed_over.pop((best, served.user), None)

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.in_flight)))
        assert self.queue.done(key, self.now) == self.in_flight.pop(key).order

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data(), delay=st.sampled_from([0.0, 2.0]))
    def put_back(self, data: st.DataObject, delay: float) -> None:
        key = data.draw(st.sampled_from(sorted(self.in_flight)))
        assert self.queue.put_back(key, self.now, due=self.now + delay)
        entry = self.in_flight.pop(key)
        entry.due = entry.ready_at = self.now + delay
        self.waiting[entry.order] = entry

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from(sorted(self.waiting)))
        entry = self.waiting.pop(order)
        assert self.queue.remove(entry.key, order, self.now) == order
        assert self.queue.remove(entry.key, order, self.now) is None

    @rule(priority=st.sampled_from([None, *Priority]))
    def hasten(self, priority: Priority | None) -> None:
        late = [
            w for w in self.waiting.values() if w.due > self.now and priority in (None, w.priority)
        ]
        for entry in late:
            entry.due = entry.ready_at = self.now
        assert self.queue.hasten(self.now, priority) == len(late)

    @rule(seconds=st.sampled_from([0.5, 1.0, 4.0, 10.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def it_knows_what_waits(self) -> None:
        assert len(self.queue) == len(self.waiting)
        assert list(self.queue) == sorted(self.waiting)
        assert self.queue.in_flight == len(self.in_flight)
        assert self.queue.counts() == {
            p: sum(w.priority is p for w in self.waiting.values()) for p in Priority
        }

    @invariant()
    def turns_of_those_who_left_are_forgotten(self) -> None:
        eligible = {(cls, w.user) for cls, w in self.eligible()}
        for place in set(self.passed_over) - eligible:
            del self.passed_over[place]

    @invariant()
    def it_tells_when_the_next_is_due(self) -> None:
        expected = None
        if self.eligible():
            expected = self.now
        else:
            heads = (self.head(k) for k in {w.key for w in self.waiting.values()})
            expected = min(
                (h.due for h in heads if h is not None and h.key not in self.in_flight),
                default=None,
            )
        assert self.queue.next_due(self.now) == expected

    @invariant()
    def it_sheds_the_oldest_of_the_lowest_class(self) -> None:
        if not self.waiting:
            assert self.queue.oldest_of_heaviest() is None
            return
        lowest = max(w.priority for w in self.waiting.values())
        candidates = [w for w in self.waiting.values() if w.priority is lowest]
        users = [w.user for w in candidates]
        heaviest = max(users.count(u) for u in users)
        assert self.queue.oldest_of_heaviest() == min(
            w.order for w in candidates if users.count(w.user) == heaviest
        )


FairQueueModel.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestFairQueueModel = FairQueueModel.TestCase
