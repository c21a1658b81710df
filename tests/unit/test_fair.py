from __future__ import annotations

import pytest

from llmbot.kernel.errors import OverloadedError
from llmbot.resilience.fair import FairQueue, Priority

Key = tuple[int, int]
OPERATOR, USER, BACKGROUND = Priority


class Bench:
    """A queue of texts whose order numbers count up."""

    def __init__(self, capacity: int = 100_000) -> None:
        self.queue: FairQueue[Key, str] = FairQueue(capacity=capacity, aging_s=60)
        self.orders = 0

    def push(
        self,
        text: str,
        user: int = 1,
        channel: int = 1,
        *,
        priority: Priority = USER,
        now: float = 0.0,
        due: float | None = None,
    ) -> int:
        """Let a text wait; returns its order number."""
        self.orders += 1
        key = (channel, user)
        self.queue.push(priority, user, key, text, order=self.orders, now=now, due=due)
        return self.orders

    def drain(self, now: float = 0.0) -> list[str]:
        """Serve one after the other, each done before the next, until nothing is ready."""
        served = []
        while (item := self.queue.pop_ready(now)) is not None:
            served.append(item)
            for channel in range(10):
                for user in range(300):
                    if self.queue.done((channel, user), now) is not None:
                        break
                else:
                    continue
                break
        return served


def test_a_user_who_floods_delays_another_by_one_item() -> None:
    """With a thousand items of one user waiting, another's single item is second."""
    bench = Bench()
    for number in range(1000):
        bench.push(f"flood {number}", user=1, channel=number)
    bench.push("single", user=2)
    assert bench.queue.turns_before(user=2) == 3
    assert bench.queue.turns_before(user=3) == 2
    first, second = bench.queue.pop_ready(0), bench.queue.pop_ready(0)
    assert (first, second) == ("flood 0", "single")


def test_users_take_turns() -> None:
    """Of three users with several channels each, everyone has a turn before anyone has two."""
    bench = Bench()
    for user, count in ((1, 3), (2, 2), (3, 1)):
        for channel in range(count):
            bench.push(f"{user}{channel}", user, channel)
    assert bench.drain() == ["10", "20", "30", "11", "21", "12"]


def test_one_key_is_served_one_at_a_time_and_in_order() -> None:
    """The next item of a conversation comes only when the one before is done."""
    bench = Bench()
    bench.push("first")
    bench.push("second")
    assert bench.queue.pop_ready(0) == "first"
    assert bench.queue.pop_ready(0) is None
    assert bench.queue.next_due(0) is None
    assert bench.queue.done((1, 1), 0) == "first"
    assert bench.queue.pop_ready(0) == "second"


def test_who_steps_aside_holds_nobody_up() -> None:
    """An item that goes on aside lets the next of its key be served, and comes back by itself."""
    bench = Bench()
    bench.push("long")
    bench.push("next")
    assert bench.queue.pop_ready(0) == "long"
    bench.queue.step_aside((1, 1), (-1, 1), 0)
    assert bench.queue.pop_ready(0) == "next"
    assert bench.queue.in_flight == 2
    assert bench.queue.put_back((-1, 1), 0, due=5)
    assert bench.queue.pop_ready(5) == "long"
    assert bench.queue.done((-1, 1), 5) == "long"
    assert bench.queue.done((1, 1), 5) == "next"
    assert bench.queue.in_flight == 0


def test_an_older_item_that_comes_late_goes_first() -> None:
    """Order numbers decide within a key, not the time of arrival."""
    queue: FairQueue[Key, str] = FairQueue(capacity=9)
    for order in (5, 3, 4):
        queue.push(USER, 1, (1, 1), str(order), order=order, now=0)
    served = []
    while (item := queue.pop_ready(0)) is not None:
        served.append(item)
        queue.done((1, 1), 0)
    assert served == ["3", "4", "5"]


def test_a_head_that_is_not_due_holds_back_its_own_key_alone() -> None:
    """An item that waits for its time lets other conversations pass and its own ones not."""
    bench = Bench()
    bench.push("later", channel=1, due=10)
    bench.push("behind", channel=1)
    bench.push("other", channel=2)
    assert bench.queue.pop_ready(0) == "other"
    assert bench.queue.pop_ready(9) is None
    assert bench.queue.next_due(9) == 10
    assert bench.queue.pop_ready(10) == "later"


def test_a_failed_item_is_put_back_at_its_old_place() -> None:
    """An item that is to be tried again comes before the later ones of its key, when it is due."""
    bench = Bench(capacity=2)
    bench.push("first")
    bench.push("second")
    assert bench.queue.pop_ready(0) == "first"
    bench.push("third")
    assert bench.queue.put_back((1, 1), 0, due=5)
    assert not bench.queue.put_back((1, 1), 0, due=5)
    assert bench.queue.pop_ready(4) is None
    assert bench.drain(5) == ["first", "second", "third"]


def test_operators_go_first_and_background_work_last() -> None:
    """Classes are served in their order, whatever came first."""
    bench = Bench()
    bench.push("background", user=1, priority=BACKGROUND)
    bench.push("user", user=2)
    bench.push("operator", user=3, priority=OPERATOR)
    assert bench.drain() == ["operator", "user", "background"]


def test_background_work_does_not_starve() -> None:
    """After a minute of being ready, background work takes turns with the users."""
    bench = Bench()
    bench.push("background", user=1, channel=1, priority=BACKGROUND)
    for channel in range(5):
        bench.push(f"user {channel}", user=2, channel=channel)
    assert bench.queue.pop_ready(59) == "user 0"
    assert bench.queue.pop_ready(60) == "user 1"
    assert bench.queue.pop_ready(60) == "background"


def test_an_urgent_item_is_not_stuck_behind_a_leisurely_one() -> None:
    """A key is served in the best class among its items, so that order does not cost urgency."""
    bench = Bench()
    bench.push("leisurely", user=1, channel=1, priority=BACKGROUND)
    bench.push("user", user=2, channel=2)
    bench.push("urgent", user=1, channel=1, priority=OPERATOR)
    assert bench.drain() == ["leisurely", "urgent", "user"]


def test_hastening_makes_waiting_items_due() -> None:
    """All items, or those of one class, can be made due now; how many were is told."""
    bench = Bench()
    bench.push("a", user=1, due=50)
    bench.push("b", user=2, due=60, priority=OPERATOR)
    bench.push("c", user=3)
    assert bench.queue.hasten(1, OPERATOR) == 1
    assert bench.queue.hasten(1) == 1
    assert bench.queue.hasten(1) == 0
    assert sorted(bench.drain(1)) == ["a", "b", "c"]


def test_the_oldest_of_the_lowest_class_is_shed_first() -> None:
    """What gives way to others is the oldest background item, else the oldest user's."""
    bench = Bench()
    bench.push("user", user=1)
    bench.push("operator", user=2, priority=OPERATOR)
    order = bench.push("background", user=3, priority=BACKGROUND)
    assert bench.queue.oldest_of_heaviest() == "background"
    assert bench.queue.remove((1, 3), order, 0) == "background"
    assert bench.queue.oldest_of_heaviest() == "user"


def test_whoever_floods_the_queue_pays_for_it() -> None:
    """Shedding of the heaviest takes the oldest item of the user with the most items waiting."""
    bench = Bench()
    bench.push("small", user=1)
    for number in range(3):
        bench.push(f"heavy {number}", user=2)
    assert bench.queue.oldest_of_heaviest() == "heavy 0"


def test_the_queue_is_bounded() -> None:
    """Past its capacity an item is refused, and one that is waiting already is a mistake."""
    bench = Bench(capacity=2)
    bench.push("a")
    bench.push("b")
    assert bench.queue.full
    with pytest.raises(OverloadedError):
        bench.push("c")
    bench.queue.remove((1, 1), 2, 0)
    with pytest.raises(ValueError, match="already"):
        bench.queue.push(USER, 1, (1, 1), "a", order=1, now=0)


def test_what_waits_can_be_seen() -> None:
    """Counts by class, and the items by age, are there for people to look at."""
    bench = Bench()
    bench.push("a", user=1)
    bench.push("b", user=2, priority=BACKGROUND)
    bench.push("c", user=1, channel=2)
    bench.queue.pop_ready(0)
    assert (len(bench.queue), bench.queue.in_flight) == (2, 1)
    assert bench.queue.counts() == {OPERATOR: 0, USER: 1, BACKGROUND: 1}
    assert list(bench.queue) == ["b", "c"]
    assert bench.queue.is_waiting((2, 1), 3)
    assert not bench.queue.is_waiting((1, 1), 1)


def test_what_is_not_there_is_not_removed_or_done() -> None:
    """Removing, ending or putting back what is not there changes nothing and says so."""
    bench = Bench()
    assert bench.queue.remove((1, 1), 1, 0) is None
    assert bench.queue.done((1, 1), 0) is None
    assert not bench.queue.put_back((1, 1), 0, due=0)


def test_two_hundred_users_are_not_delayed_by_one_at_a_hundredfold() -> None:
    """While one user sends a hundred times as much, each other's item waits at most one round."""
    bench = Bench()
    for user in range(201):
        for channel in range(100 if user == 0 else 1):
            bench.push(f"{user}", user=user, channel=channel)
    served = [bench.queue.pop_ready(0) for _ in range(201)]
    assert len(set(served)) == 201


def test_a_held_queue_hands_out_operators_items_alone() -> None:
    """Asked for nothing below a class, it leaves the rest in their places."""
    bench = Bench()
    bench.push("user", user=1)
    bench.push("operator", user=2, priority=OPERATOR)
    assert bench.queue.pop_ready(0, worst=OPERATOR) == "operator"
    assert bench.queue.pop_ready(0, worst=OPERATOR) is None
    assert bench.queue.pop_ready(0) == "user"


def test_one_item_can_be_brought_forward() -> None:
    """One waiting item is made due now; the others keep their times."""
    bench = Bench()
    first = bench.push("a", user=1, due=50)
    bench.push("b", user=2, due=60)
    assert bench.queue.bring_forward((1, 1), first, 1)
    assert not bench.queue.bring_forward((1, 1), first + 100, 1)
    assert bench.drain(1) == ["a"]


def test_a_line_shows_its_order() -> None:
    """Of one key the item in flight, the first that waits, and those behind any other are known."""
    bench = Bench()
    orders = [bench.push(name) for name in "abc"]
    assert bench.queue.in_flight_of((1, 1)) is None
    assert bench.queue.first_of((1, 1)) == "a"
    bench.queue.pop_ready(0)
    assert bench.queue.in_flight_of((1, 1)) == "a"
    assert bench.queue.first_of((1, 1)) == "b"
    assert bench.queue.behind((1, 1), orders[0]) == ["b", "c"]
    assert bench.queue.behind((1, 1), orders[2]) == []
    assert bench.queue.behind((9, 9), 0) == []
