"""Runs of runbooks: journaled by step, validated, rolled back, resumed after a kill."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.support.control_plane import Plane, plane
from tests.support.plant import MIB, RecordingHand, SetPlant, breaker, opened

from llmbot.kernel.clock import ManualClock, SystemClock
from llmbot.kernel.errors import StoreUnavailableError
from llmbot.operations.catalog.registry import RUNBOOKS
from llmbot.operations.executor import Mode, Order, Outcome
from llmbot.operations.guardrails import RailSettings
from llmbot.operations.journal import Entry
from llmbot.operations.ports import Act, Check, Effect, HostReading, Part, Verb
from llmbot.operations.runbook import BY_HAND, Go, Ready, Runbook, Situation, Step

FREE = RailSettings(
    runs_max=10_000, runs_per_cause_max=10_000, cool_down_success_s=0, cool_down_failure_s=0
)


async def _act(_: Situation) -> Ready:
    return Ready(Go.ACT, "a test says so")


async def _well(_: Situation) -> Check:
    return Check("look", passed=True, detail="well")


async def _unwell(_: Situation) -> Check:
    return Check("look", passed=False, detail="unwell")


RELIEF = Runbook(
    name="relief",
    title="Two steps that have an opposite",
    rows=(14,),
    part=Part.QUEUE,
    precheck=_act,
    steps=(
        Step("queue", lambda _: (Act(Verb.QUEUE_ALL),)),
        Step("halve", lambda _: (Act(Verb.REDUCE_WORKERS),)),
    ),
    validate=_well,
    settle_s=0.0,
)


class Switches:
    """What the hand switches; killed before or after the n-th act."""

    def __init__(self, dies_at: int | None = None, *, after: bool = False) -> None:
        self.on: set[Verb] = set()
        self.acts = 0
        self.dies_at = dies_at
        self.after = after

    async def perform(self, act: Act, reason: str) -> Effect:
        """See `Hand`."""
        del reason
        self.acts += 1
        if self.acts == self.dies_at and not self.after:
            raise KilledError
        before = ", ".join(sorted(self.on))
        opposite = {
            Verb.SERVE_AT_ONCE: Verb.QUEUE_ALL,
            Verb.RESTORE_WORKERS: Verb.REDUCE_WORKERS,
        }
        if act.verb in opposite:
            self.on.discard(opposite[act.verb])
        else:
            self.on.add(act.verb)
        if self.acts == self.dies_at:
            raise KilledError
        return Effect(before, ", ".join(sorted(self.on)))


class KilledError(BaseException):
    """Stands for signal 9: nothing of ours may catch it."""


def order(book: Runbook, *, by: str = "automation", dry: bool = False) -> Order:
    """An order for a book."""
    return Order(book, "overload", ("queue",), "", by=by, dry=dry)


async def run(house: Plane, what: Order) -> Outcome:
    """Run it; the outcome."""
    result = await house.executor.run(what, unwell=frozenset(), confirmed=lambda: True)
    return result.outcome


async def test_a_run_that_mends_takes_its_relief_back(tmp_path: Path) -> None:
    """After a validated run of the queue's runbook nothing stays switched on."""
    hand = Switches()
    house = plane(tmp_path, ManualClock(), hand, SetPlant(), settings=FREE)
    assert await run(house, order(RELIEF)) is Outcome.MENDED
    assert hand.on == set()


async def test_a_dry_run_tells_and_does_nothing(tmp_path: Path) -> None:
    """A dry run names its acts and leaves hand and journal untouched."""
    hand = RecordingHand(ManualClock())
    house = plane(tmp_path, ManualClock(), hand, SetPlant(), settings=FREE)
    result = await house.executor.run(
        order(RELIEF, dry=True), unwell=frozenset(), confirmed=lambda: True
    )
    assert result.outcome is Outcome.TOLD
    assert result.acts == ("queue-all", "reduce-workers")
    assert hand.performed == []
    assert house.incidents.all() == ()
    assert house.executor.open_runs() == {}


async def test_a_run_that_does_not_help_is_rolled_back(tmp_path: Path) -> None:
    """Where the validation does not pass, what was done is taken back in reverse."""
    hand = Switches()
    house = plane(tmp_path, ManualClock(), hand, SetPlant(), settings=FREE)
    book = Runbook("x", "x", (14,), Part.QUEUE, _act, _unwell, RELIEF.steps, settle_s=0.0)
    assert await run(house, order(book)) is Outcome.ROLLED_BACK
    assert hand.on == set()


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("act", range(1, 5))
async def test_a_kill_at_any_act_is_rolled_back_by_the_next_life(
    tmp_path: Path, act: int, *, after: bool
) -> None:
    """Whichever act a kill strikes, the next life ends the run and leaves nothing switched on."""
    clock = ManualClock()
    hand = Switches(act, after=after)
    first = plane(tmp_path, clock, hand, SetPlant(), settings=FREE)
    with pytest.raises(KilledError):
        await run(first, order(RELIEF))
    second = plane(tmp_path, clock, hand, SetPlant(), settings=FREE)
    await second.journal.load()
    assert await second.executor.recover() == 1
    assert hand.on == set()
    third = plane(tmp_path, clock, hand, SetPlant(), settings=FREE)
    await third.journal.load()
    assert third.executor.open_runs() == {}


async def test_a_kill_at_any_line_of_the_journal_leaves_no_run_open(tmp_path: Path) -> None:
    """Cut anywhere, the journal is read again, and no run stays open after the recovery."""
    clock = ManualClock()
    hand = Switches()
    house = plane(tmp_path / "whole", clock, hand, SetPlant(), settings=FREE)
    await run(house, order(RELIEF))
    whole = (tmp_path / "whole" / "journal-000001.log").read_bytes()
    for cut in range(0, len(whole), 97):
        folder = tmp_path / f"cut-{cut}"
        folder.mkdir()
        (folder / "journal-000001.log").write_bytes(whole[:cut])
        hand.on = {Verb.QUEUE_ALL, Verb.REDUCE_WORKERS}
        later = plane(folder, clock, hand, SetPlant(), settings=FREE)
        await later.journal.load()
        begun = whole[:cut].count(b'"step.begun"')
        await later.executor.recover()
        assert later.executor.open_runs() == {}
        assert later.journal.broken == ""
        if begun == 2 and later.journal.torn <= 1 and b'"run.ended"' not in whole[:cut]:
            assert hand.on <= {Verb.QUEUE_ALL, Verb.REDUCE_WORKERS}


async def test_the_kill_switch_is_obeyed_before_every_step(tmp_path: Path) -> None:
    """A switch thrown during the first step lets no second one begin."""
    clock = ManualClock()
    hand = RecordingHand(clock)
    house = plane(tmp_path, clock, hand, SetPlant(), settings=FREE)

    def throw(_: Act) -> None:
        house.rails.killed = "a test throws it"

    hand.effect = throw
    assert await run(house, order(RELIEF)) is Outcome.ABORTED
    assert [act.verb for _, act in hand.performed] == [Verb.QUEUE_ALL]
    assert await run(house, order(RELIEF, by="operator")) is Outcome.REFUSED


async def test_an_irreversible_step_waits_for_a_person_and_expires_as_no(tmp_path: Path) -> None:
    """Without an approval the bot is not restarted; one given or used too late counts for no."""
    clock = ManualClock()
    hand = RecordingHand(clock)
    plant = SetPlant(host_reading=HostReading(900 * MIB, 400 * MIB, 10_000 * MIB))
    house = plane(tmp_path, clock, hand, plant, settings=FREE)
    memory = RUNBOOKS["memory"]
    what = Order(memory, "memory", ("process",), "")
    assert await run(house, what) is Outcome.AWAITS_APPROVAL
    assert Verb.RESTART_BOT not in {act.verb for _, act in hand.performed}
    clock.advance(FREE.approval_s + 1)
    assert await house.approvals.give("memory", "operator") == ()
    assert await run(house, what) is Outcome.AWAITS_APPROVAL
    assert await house.approvals.give("memory", "operator") == ("memory: restart-bot",)

    def mend(_: Act) -> None:
        if hand.performed[-1][1].verb is Verb.RESTART_BOT:
            plant.host_reading = HostReading(100 * MIB, 400 * MIB, 10_000 * MIB)

    hand.effect = mend
    clock.advance(FREE.approval_s + 1)
    assert await run(house, what) is Outcome.AWAITS_APPROVAL
    assert await house.approvals.give("memory", "operator") == ("memory: restart-bot",)
    assert await run(house, what) is Outcome.MENDED
    assert hand.performed[-1][1].verb is Verb.RESTART_BOT


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.PROPOSE])
async def test_observe_and_propose_do_not_act(tmp_path: Path, mode: Mode) -> None:
    """Where automation may only observe or propose, nothing is done without a person."""
    hand = RecordingHand(ManualClock())
    house = plane(tmp_path, ManualClock(), hand, SetPlant(), settings=FREE, mode=mode)
    assert await run(house, order(RELIEF)) in {Outcome.REFUSED, Outcome.AWAITS_APPROVAL}
    assert hand.performed == []


async def test_a_hand_that_fails_ends_the_run_and_is_told(tmp_path: Path) -> None:
    """An act that cannot be done is no success: what was done before is taken back."""

    class Failing(Switches):
        async def perform(self, act: Act, reason: str) -> Effect:
            if act.verb is Verb.REDUCE_WORKERS:
                raise StoreUnavailableError
            return await super().perform(act, reason)

    hand = Failing()
    house = plane(tmp_path, ManualClock(), hand, SetPlant(), settings=FREE)
    assert await run(house, order(RELIEF)) is Outcome.ROLLED_BACK
    assert hand.on == set()


async def test_gemini_recovery_acts_only_when_the_api_is_healthy(tmp_path: Path) -> None:
    """The breaker is reset after a probe that passed, and never before."""
    hand = RecordingHand(ManualClock())
    plant = SetPlant(breaker_facts={"gemini:one": opened(breaker("gemini:one"))})
    plant.probes = lambda _, __: False
    house = plane(tmp_path, ManualClock(), hand, plant, settings=FREE)
    what = Order(RUNBOOKS["gemini-recovery"], "model-unavailable", ("gemini:one",), "")
    assert await run(house, what) is Outcome.WAITS
    assert hand.performed == []
    plant.probes = lambda _, __: True
    hand.effect = lambda _: plant.breaker_facts.update({"gemini:one": breaker("gemini:one")})
    assert await run(house, what) is Outcome.MENDED
    assert [act for _, act in hand.performed] == [Act(Verb.RESET_BREAKER, "gemini:one")]


async def test_a_thrown_kill_switch_lets_the_next_life_take_nothing_back(tmp_path: Path) -> None:
    """The switch outlives a kill: the broken run is ended as aborted, and nothing is done."""
    clock = ManualClock()
    hand = Switches(2, after=True)
    first = plane(tmp_path, clock, hand, SetPlant(), settings=FREE)
    with pytest.raises(KilledError):
        await run(first, order(RELIEF))
    await first.journal.add("rails.killed", reason="hands off", by="operator")
    second = plane(tmp_path, clock, hand, SetPlant(), settings=FREE)
    await second.journal.load()
    assert await second.executor.recover() == 1
    assert hand.acts == 2
    third = plane(tmp_path, clock, hand, SetPlant(), settings=FREE)
    await third.journal.load()
    assert third.executor.open_runs() == {}
    await third.executor.release("overload")
    assert hand.acts == 2
    await third.journal.add("rails.killed", reason="", by="operator")
    await third.executor.release("overload")
    assert hand.on == set()


@pytest.mark.parametrize("helped", [True, False])
async def test_a_restart_counts_as_mended_only_where_a_look_says_so(
    tmp_path: Path, *, helped: bool
) -> None:
    """A bot that was restarted for its memory's sake looks at its memory before it says so."""
    clock = ManualClock()
    much = HostReading(900 * MIB, 400 * MIB, 10_000 * MIB)
    few = HostReading(100 * MIB, 400 * MIB, 10_000 * MIB)

    class Restarts(RecordingHand):
        async def perform(self, act: Act, reason: str) -> Effect:
            if act.verb is Verb.RESTART_BOT:
                raise KilledError
            return await super().perform(act, reason)

    first = plane(tmp_path, clock, Restarts(clock), SetPlant(host_reading=much), settings=FREE)
    what = Order(RUNBOOKS["memory"], "memory", ("process",), "")
    await run(first, what)
    await first.approvals.give("memory", "operator")
    with pytest.raises(KilledError):
        await run(first, what)
    plant = SetPlant(host_reading=few if helped else much)
    second = plane(tmp_path, clock, RecordingHand(clock), plant, settings=FREE)
    ends: list[Entry] = []
    second.journal.subscribe(
        lambda entry: ends.append(entry) if entry.kind == "run.ended" else None
    )
    await second.journal.load()
    recovery = asyncio.create_task(second.executor.recover())
    while not recovery.done():
        clock.advance(1)
        await SystemClock().sleep(0.01)
    assert ends[-1].text("outcome") == ("mended" if helped else "failed")
    assert ("100 MiB" if helped else "900 MiB") in ends[-1].text("check")


async def test_a_roll_back_that_fails_is_not_told_as_one(tmp_path: Path) -> None:
    """What could not be taken back leaves the run failed, for people to see."""

    class Stuck(Switches):
        async def perform(self, act: Act, reason: str) -> Effect:
            if act.verb in {Verb.SERVE_AT_ONCE, Verb.RESTORE_WORKERS}:
                raise StoreUnavailableError
            return await super().perform(act, reason)

    house = plane(tmp_path, ManualClock(), Stuck(), SetPlant(), settings=FREE)
    book = Runbook("x", "x", (14,), Part.QUEUE, _act, _unwell, RELIEF.steps, settle_s=0.0)
    assert await run(house, order(book)) is Outcome.FAILED


async def test_a_plan_that_grows_under_way_is_held_by_the_rails(tmp_path: Path) -> None:
    """Documents that turn up damaged after the permission are not brought back beyond a share."""
    hand = RecordingHand(ManualClock())
    plant = SetPlant(damaged={"one.json": "cut"})
    house = plane(tmp_path, ManualClock(), hand, plant, settings=FREE)
    many = {f"{number}.json": "cut" for number in range(50)}

    async def all_at_once(_: Situation) -> Ready:
        return Ready(Go.ACT, "damaged")

    def collect(_: Situation) -> tuple[Act, ...]:
        if house.rails.running:
            plant.damaged = many
        return tuple(Act(Verb.RECOVER_DOCUMENT, name) for name in plant.damaged)

    book = Runbook("x", "x", (17,), Part.DOCUMENTS, all_at_once, _well, (Step("mend", collect),))
    assert await run(house, order(book)) is Outcome.FAILED
    assert hand.performed == []


async def test_a_given_approval_is_used_at_once(tmp_path: Path) -> None:
    """Who says yes within the cool-down, or after the cap was reached, need not wait for them."""
    clock = ManualClock()
    hand = RecordingHand(clock)
    plant = SetPlant(host_reading=HostReading(900 * MIB, 400 * MIB, 10_000 * MIB))
    house = plane(tmp_path, clock, hand, plant, settings=RailSettings(runs_per_cause_max=1))
    what = Order(RUNBOOKS["memory"], "memory", ("process",), "")
    assert await run(house, what) is Outcome.AWAITS_APPROVAL
    clock.advance(5)
    assert await run(house, what) is Outcome.REFUSED
    await house.approvals.give("memory", "operator")

    def mend(act: Act) -> None:
        if act.verb is Verb.RESTART_BOT:
            plant.host_reading = HostReading(100 * MIB, 400 * MIB, 10_000 * MIB)

    hand.effect = mend
    clock.advance(5)
    assert await run(house, what) is Outcome.MENDED
    assert hand.performed[-1][1].verb is Verb.RESTART_BOT
    clock.advance(5)
    assert await run(house, what) is Outcome.REFUSED


async def test_a_dry_run_by_hand_claims_no_condition(tmp_path: Path) -> None:
    """While all is well, a runbook that a person tries says who asked, and not that it is bad."""
    house = plane(tmp_path, ManualClock(), RecordingHand(ManualClock()), SetPlant())
    what = Order(RUNBOOKS["memory"], BY_HAND, (), "", by="operator", dry=True)
    result = await house.executor.run(what, unwell=frozenset(), confirmed=lambda: True)
    assert (result.outcome, result.reason) == (Outcome.TOLD, "a person asks for it")


async def test_a_clock_that_is_set_back_keeps_no_approval_alive(tmp_path: Path) -> None:
    """An approval holds for ten minutes of any clock: set back by an hour, it is a no."""
    clock = ManualClock()
    house = plane(tmp_path, clock, RecordingHand(clock), SetPlant(), settings=FREE)
    await house.approvals.ask("memory: restart-bot", "memory")
    await house.approvals.give("memory", "operator")
    assert house.approvals.has("memory: restart-bot")
    clock.now_wall -= 3600
    clock.advance(900)
    assert not house.approvals.has("memory: restart-bot")
    assert house.approvals.open() == ()
