"""More than can be served: fair turns, shedding that tells, and what is given up."""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.support.conversation import talk
from tests.support.discord import MemoryDiscord
from tests.support.models import ScriptedModel
from tests.support.waiting import PATIENCE_S, until

from llmbot.conversation.jobs import Job, JobState, Priority
from llmbot.conversation.waiting.announcements import AnnouncementSettings
from llmbot.conversation.waiting.load import Load
from llmbot.kernel.clock import ManualClock, Random
from llmbot.kernel.events import EventBus, JobFailed, JobMoved, ReplyDelivered
from llmbot.operations.assess import SAMPLES_MIN, Assessor
from llmbot.operations.stats import Stats
from llmbot.resilience.concurrency import AdaptivePool, PoolSettings
from llmbot.resilience.degradation import Degradation, DegradationLadder
from llmbot.resilience.fair import FairQueue

SERVICE_S = 0.1
WORKERS = 4
ROOM = 400


@dataclass(slots=True)
class Shop:
    """Workers that serve a fair queue in simulated time; whoever finds no room is shed."""

    rng: Random
    queue: FairQueue[int, tuple[int, float, int]] = field(
        default_factory=lambda: FairQueue(capacity=ROOM + 1)
    )
    events: list[tuple[float, int, int | None]] = field(default_factory=list)
    idle: int = WORKERS
    number: int = 0
    served: Counter[int] = field(default_factory=Counter)
    shed: Counter[int] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)

    def plan(self, at: float, user: int | None) -> None:
        """A message of a user is to come; None is the end of an answer."""
        self.number += 1
        heapq.heappush(self.events, (at, self.number, user))

    def run(self, rates: dict[int, float], until: float) -> None:
        """Let users ask at their rates, a second, until a time in seconds."""
        for user, rate in rates.items():
            self.plan(self.rng.expovariate(rate), user)
        while self.events[0][0] < until:
            now, number, whose = heapq.heappop(self.events)
            if whose is None:
                self.idle += 1
            else:
                self.plan(now + self.rng.expovariate(rates[whose]), whose)
                self.arrive(whose, number, now)
            self.serve(now)

    def arrive(self, user: int, number: int, now: float) -> None:
        """Queue a message, each in a channel of its own; shed one where there is no room."""
        self.queue.push(Priority.USER, user, number, (user, now, number), order=number, now=now)
        if len(self.queue) > ROOM:
            victim = self.queue.oldest_of_heaviest()
            assert victim is not None
            self.queue.remove(victim[2], victim[2], now)
            self.shed[victim[0]] += 1

    def serve(self, now: float) -> None:
        """Give idle workers something to do."""
        while self.idle and (item := self.queue.pop_ready(now)) is not None:
            user, asked, number = item
            self.queue.done(number, now)
            self.idle -= 1
            self.served[user] += 1
            self.waits.append(now - asked if user else 0.0)
            self.plan(now + SERVICE_S, None)


def test_one_user_at_a_hundredfold_costs_the_others_nothing() -> None:
    """In ten simulated minutes at 112 % load 200 users keep every answer, and hardly wait.

    40 a second can be served; 200 users ask for 30, and one alone for 15.
    """
    shop = Shop(Random(1))
    shop.run({0: 15.0} | dict.fromkeys(range(1, 201), 0.15), until=600)
    others_served = shop.served.total() - shop.served[0]
    others_shed = shop.shed.total() - shop.shed[0]
    assert others_served > 17_000
    assert shop.shed[0] > 1000
    assert others_shed == 0
    assert sorted(shop.waits)[int(len(shop.waits) * 0.999)] < 1.0


def test_the_newest_are_served_soon_when_far_too_many_come() -> None:
    """At twenty times what can be served, whoever is served at all is served within seconds."""
    shop = Shop(Random(2))
    shop.run(dict.fromkeys(range(1, 8001), 0.1), until=120)
    waits = sorted(shop.waits)
    assert len(waits) > 4_500
    assert shop.shed.total() > 80_000
    assert waits[int(len(waits) * 0.99)] < 5.0


async def test_whoever_is_shed_is_told(tmp_path: Path) -> None:
    """Every message that finds no room gets a notice with the time, and the others an answer."""
    hold = asyncio.Event()
    model = ScriptedModel(lambda p: [hold, "One."] if "first" in p.turns[-1].text else ["Two."])
    async with talk(tmp_path / "db", model, workers=1) as t:
        t.bus.publish(_delivered(4000))  # from which the time is forecast
        t.queue.room = lambda: 5
        first = t.question("first", author=1)
        begun = t.bus.expect(JobMoved, lambda e: e.after == "generating")
        t.inbox.on_message(first, None)
        await begun
        flood = [t.question(f"flood {n}", author=2, channel=200 + n) for n in range(20)]
        others = [t.question(f"other {n}", author=10 + n) for n in range(3)]
        done = [asyncio.ensure_future(t.delivered(i.message_id)) for i in (*flood, *others)]
        for inbound in (*flood, *others):
            t.inbox.on_message(inbound, None)
        await t.inbox.drain()
        waiting = set(done)
        while len(waiting) > 5:
            _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert len(t.queue) == 5
        hold.set()
        outcomes = [d.outcome for d in await asyncio.gather(*done)]
        assert outcomes[20:] == ["answered"] * 3
        assert Counter(outcomes[:20]) == {"answered": 2, "noticed: overloaded": 18}
        assert "20 s" in t.reply(flood[0].message_id, 200)


async def test_a_question_that_is_taken_back_keeps_no_notice_of_overload(tmp_path: Path) -> None:
    """Who deletes a question while its notice is given, or in a gap before, keeps no notice."""
    go_on, sending, sent = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def held(call: str, channel_id: int) -> asyncio.Event | None:
        if (call, channel_id) != ("send", 200):
            return None
        sending.set()
        return sent

    async with talk(tmp_path / "db", ScriptedModel(lambda _: [go_on, "One."]), workers=1) as t:
        begun = t.bus.expect(JobMoved, lambda e: e.after == "generating")
        t.inbox.on_message(t.question("first", author=1), None)
        await begun
        heard, gone = (t.question("pushed out", author=2, channel=c) for c in (200, 201))
        t.inbox.on_message(gone, None)
        await until(lambda: t.queue.waiting(gone.message_id) is not None)
        job = t.queue.waiting(gone.message_id)
        assert job is not None
        job.unsure = True  # so that its channel is looked at, where it stands no more
        await t.discord.delete(201, gone.message_id)
        t.queue.room = lambda: 0
        t.discord.hold = held
        ended = [
            t.bus.expect(JobMoved, lambda e, of=of: e.message_id == of.message_id)  # type: ignore[misc] # a default
            for of in (heard, gone)
        ]
        t.inbox.on_message(heard, None)
        await sending.wait()
        t.inbox.on_message_deleted(200, heard.message_id)
        sent.set()
        assert [(await moved).after for moved in ended] == ["done", "done"]
        assert not t.discord.ours(200)
        assert not t.discord.ours(201)
        go_on.set()


async def test_what_was_promised_is_not_shed(tmp_path: Path) -> None:
    """Messages that waited for the end of maintenance are answered, however many they are."""
    async with talk(tmp_path / "db", workers=1) as t:
        await t.controls.maintenance("test", on=True)
        t.queue.room = lambda: 2
        kept = [t.question(f"kept {n}", author=n) for n in range(12)]
        done = [t.delivered(i.message_id) for i in kept]
        for inbound in kept:
            t.inbox.on_message(inbound, None)
        await t.inbox.drain()
        assert len(t.queue) == 12
        await t.controls.maintenance("test", on=False)
        assert {d.outcome for d in await asyncio.gather(*done)} == {"answered"}


def _delivered(service_ms: int) -> ReplyDelivered:
    return ReplyDelivered(1, 2, 1, 0, "answered", service_ms, 0, 0, service_ms, 0)


def test_waits_are_forecast_from_what_was_measured() -> None:
    """The time of one answer and the number of workers tell how long those in line will wait."""
    clock = ManualClock()
    bus = EventBus(clock)
    waiting = 30
    pool = AdaptivePool(clock, PoolSettings(limit_start=4, limit_max=4))
    load = Load(bus, pool, lambda: waiting, lambda _: 10, lambda: None)  # type: ignore[arg-type,return-value] # models are not asked here
    assert load.wait_s(1) is None
    assert load.room(60, least=5) is None
    bus.publish(_delivered(2000))
    assert load.wait_s(1) == 5
    assert load.drain_s() == 15
    assert load.room(60, least=5) == 120
    assert load.room(1, least=5) == 5
    for _ in range(200):
        bus.publish(_delivered(1000))
    assert load.service_s is not None
    assert abs(load.service_s - 1) < 0.001


@dataclass(slots=True)
class Ward:
    """An assessor on a clock, with readings that a test sets."""

    clock: ManualClock = field(default_factory=ManualClock)
    unusable: tuple[str, ...] = ()
    queue: float = 0.0
    memory: float = 0.5
    bus: EventBus = field(init=False)
    ladder: DegradationLadder = field(init=False)
    assessor: Assessor = field(init=False)

    def __post_init__(self) -> None:
        self.bus = EventBus(self.clock)
        self.ladder = DegradationLadder(self.clock, self.bus)
        self.assessor = Assessor(
            self.ladder,
            Stats(self.clock, self.bus),
            lambda: (self.unusable, 3),
            lambda: self.queue,
            lambda: self.memory,
            self.clock,
        )

    def level(self) -> Degradation:
        """The level after another look."""
        self.assessor.look()
        return self.ladder.level


def test_each_reading_moves_the_ladder() -> None:
    """Breakers, error rate above 10 %, p95 above 10 s, memory and a queue above 80 % count."""
    ward = Ward()
    assert ward.level() is Degradation.NONE
    ward.unusable = ("gemini",)
    assert ward.level() is Degradation.LOW
    ward = Ward(queue=0.81)
    assert ward.level() is Degradation.LOW
    ward = Ward(memory=0.96)
    assert ward.level() is Degradation.MEDIUM
    ward = Ward()
    for _ in range(20):
        ward.bus.publish(_delivered(11_000))
    assert ward.level() is Degradation.LOW
    ward = Ward()
    for number in range(20):
        failed = JobFailed(1, "model_unavailable", "provider", 1, "wait", "")
        ward.bus.publish(failed if number % 5 == 0 else _delivered(100))
    assert ward.level() is Degradation.LOW


def test_a_few_messages_say_nothing() -> None:
    """One slow or failed answer of a handful gives nothing up."""
    ward = Ward()
    for _ in range(SAMPLES_MIN - 1):
        ward.bus.publish(_delivered(60_000))
    assert ward.level() is Degradation.NONE


def test_what_is_over_is_forgotten_within_minutes() -> None:
    """Readings are of the last minute; the ladder then comes down a step at a time."""
    ward = Ward()
    for _ in range(20):
        ward.bus.publish(_delivered(50_000))
    assert ward.level() is Degradation.HIGH
    levels = []
    for _ in range(90):
        ward.clock.advance(2)
        levels.append(ward.level())
    steps = [
        level for level, before in zip(levels, [None, *levels], strict=False) if level != before
    ]
    assert steps == [Degradation.HIGH, Degradation.MEDIUM, Degradation.LOW, Degradation.NONE]


async def test_an_answer_that_waits_for_discord_is_not_shed(tmp_path: Path) -> None:
    """Overload takes who comes, not the message whose answer is there and could not be sent yet."""
    async with talk(tmp_path / "db", running=False) as t:
        shed: list[int] = []
        t.queue.shed = lambda job: shed.append(job.message_id)
        t.queue.room = lambda: 1
        await t.inbox.accept(t.question("first"), None)
        first = await t.queue.next()
        first.answer = "the whole answer"
        t.queue.move(first, JobState.WAITING, "discord_unavailable")
        t.queue.release(first)
        later = [t.question("later") for _ in range(3)]
        for inbound in later:
            await t.inbox.accept(inbound, None)
        assert first.message_id not in shed
        assert shed == [inbound.message_id for inbound in later[1:]]


async def test_who_was_told_to_be_in_line_keeps_the_place(tmp_path: Path) -> None:
    """A newcomer costs nobody with as few messages a place that was promised, but the loud one."""
    hold = asyncio.Event()
    model = ScriptedModel(lambda p: [hold, "One."] if "first" in p.turns[-1].text else ["Two."])
    announcements = AnnouncementSettings(silence_s=0.01)
    async with talk(tmp_path / "db", model, workers=1, announcements=announcements) as t:
        t.bus.publish(_delivered(4000))
        t.queue.room = lambda: 3
        asked = [t.question("first", author=1, channel=1)]
        asked += [t.question(f"told {n}", author=n, channel=n) for n in (2, 3)]
        asked += [t.question(f"loud {n}", author=4, channel=40 + n) for n in (1, 2)]
        done = {i.message_id: asyncio.ensure_future(t.delivered(i.message_id)) for i in asked}
        for inbound in asked[:3]:
            t.inbox.on_message(inbound, None)
        await until(lambda: t.reply(asked[1].message_id, 2) and t.reply(asked[2].message_id, 3))
        for inbound in asked[3:]:
            t.inbox.on_message(inbound, None)
        late = t.question("late", author=5, channel=5)
        done[late.message_id] = asyncio.ensure_future(t.delivered(late.message_id))
        await t.inbox.drain()
        t.inbox.on_message(late, None)
        await t.inbox.drain()
        hold.set()
        outcomes = {m: (await waiting).outcome for m, waiting in done.items()}
        assert [outcomes[i.message_id] for i in asked[:3]] == ["answered"] * 3
        assert Counter(outcomes.values())["noticed: overloaded"] == 2


async def test_what_an_earlier_life_took_up_is_not_shed_after_a_search(tmp_path: Path) -> None:
    """A message that waited before the process died keeps its promise though a search held it."""
    async with talk(tmp_path / "db", running=False) as t:
        shed: list[int] = []
        t.queue.shed = lambda job: shed.append(job.message_id)
        t.queue.room = lambda: 0
        asked = t.question("before the kill")
        await t.store.claim(asked, Priority.USER, None)
        job = await t.store.job(asked.message_id)
        assert job is not None
        t.queue.adopt(job)
        t.inbox.gap.resume(0.0)
        assert t.inbox.gap.held(asked.message_id) is job
        t.inbox.gap.over()
        assert t.queue.waiting(asked.message_id) is job
        assert shed == []


async def test_nobody_overtakes_a_message_that_is_being_shed(tmp_path: Path) -> None:
    """Until its notice stands it may yet be answered: later ones of its author wait for that."""
    hold, told = asyncio.Event(), asyncio.Event()
    model = ScriptedModel(lambda p: [hold, "One."] if "first" in p.turns[-1].text else ["Two."])
    discord = MemoryDiscord(hold=lambda call, at: told if (call, at) == ("send", 200) else None)
    async with talk(tmp_path / "db", model, workers=1, discord=discord) as t:
        t.bus.publish(_delivered(4000))
        t.queue.room = lambda: 2
        asked = [t.question("first", author=1)]
        asked += [t.question(text, author=2, channel=200) for text in ("shed", "later")]
        asked += [t.question("other", author=3)]
        done = [asyncio.ensure_future(t.delivered(i.message_id)) for i in asked]
        for inbound in asked:
            begun = t.bus.expect(JobMoved, lambda e: e.after == "generating")
            await t.inbox.accept(inbound, None)
            if inbound is asked[0]:
                await begun
        hold.set()
        assert (await done[3]).outcome == "answered"
        assert not any("later" in prompt.turns[-1].text for prompt in model.prompts)
        told.set()
        assert [(await each).outcome for each in done[1:3]] == ["noticed: overloaded", "answered"]


async def test_an_authors_notices_of_overload_stand_in_their_order(tmp_path: Path) -> None:
    """After a kill answers may be edited into them: the second waits until the first stands."""
    told = asyncio.Event()
    discord = MemoryDiscord(hold=lambda call, _: told if call == "send" else None)
    async with talk(tmp_path / "db", running=False, discord=discord) as t:
        asked = [t.question(f"number {number}") for number in range(3)]
        done = [asyncio.ensure_future(t.delivered(i.message_id)) for i in asked]
        jobs = [Job(i, Priority.USER, JobState.WAITING, 0.0, 0.0) for i in asked]
        for number in (0, 2, 1):
            t.workers.shed(jobs[number])
        assert t.workers.leaving == 3
        assert all(t.workers.has(i.message_id) for i in asked)
        told.set()
        await asyncio.gather(*done)
        assert [m.reply_to for m in discord.ours(100)] == [i.message_id for i in asked]
        await until(lambda: t.workers.leaving == 0)


async def test_nobody_is_told_of_overload_once_the_bot_stops(tmp_path: Path) -> None:
    """What is pushed out while the last calls end waits for the next life, and leaves no task."""
    told, telling = asyncio.Event(), asyncio.Event()

    def hold(call: str, _: int) -> asyncio.Event | None:
        if call == "send":
            telling.set()
        return told if call == "send" else None

    async with talk(tmp_path / "db", running=False, discord=MemoryDiscord(hold=hold)) as t:
        first, late = (
            Job(t.question("hello", author=a), Priority.USER, JobState.WAITING, 0.0, 0.0)
            for a in (1, 2)
        )
        t.workers.shed(first)
        await telling.wait()
        draining = asyncio.create_task(t.workers.drain(PATIENCE_S))
        asyncio.get_running_loop().call_soon(t.workers.shed, late)  # after the drain's first step
        asyncio.get_running_loop().call_soon(told.set)
        assert await draining == 0
        assert [m.reply_to for m in t.discord.ours(100)] == [first.message_id]
        assert t.workers.leaving == 0


@pytest.mark.slow
async def test_one_loud_user_costs_nobody_an_answer_on_the_real_queue(tmp_path: Path) -> None:
    """While one person asks a thousand times, 200 others lose none of their thousand answers."""
    begin = asyncio.Event()
    model = ScriptedModel(lambda _: [begin, "Here it is."])
    async with talk(tmp_path / "db", model, workers=4) as t:
        t.queue.room = lambda: 300
        outcomes: dict[int, str] = {}
        t.bus.subscribe(lambda p: _keep(p.event, outcomes))
        others: list[int] = []
        for turn in range(5):
            for user in range(1, 201):
                inbound = t.question(f"{turn} of {user}", author=user, channel=user)
                others.append(inbound.message_id)
                t.inbox.on_message(inbound, None)
                t.inbox.on_message(t.question("loud", author=999, channel=300 + user), None)
            await t.inbox.drain()
            begin.set()
            await until(lambda: len(t.queue) <= 100)
        await until(lambda: outcomes.keys() >= set(others))
        assert Counter(outcomes[message_id] for message_id in others) == {"answered": 1000}
        assert Counter(outcomes.values())["noticed: overloaded"] > 0


def _keep(event: object, outcomes: dict[int, str]) -> None:
    if isinstance(event, ReplyDelivered):
        outcomes[event.message_id] = event.outcome
