"""The guard rails, one by one; `test_alarm_storms.py` holds all of them together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmbot.kernel.clock import ManualClock, Random
from llmbot.operations.guardrails import Rails, RailSettings
from llmbot.operations.journal import Entry
from llmbot.operations.ports import Act, Part, Verb

HOUR_S = 3600.0
CAUSES = ("overload", "memory", "service-failed", "locks", "model-unavailable")
SETTINGS = RailSettings()


@pytest.mark.parametrize("seed", range(20))
def test_three_causes_together_begin_a_storm_that_ends_in_calm(seed: int) -> None:
    """Three causes of their own within the window are a storm; calm ends it, and not before."""
    rng = Random(seed)
    clock = ManualClock()
    rails = Rails(clock, SETTINGS, clock.monotonic() - 1000)
    for name in rng.sample(CAUSES[1:], 3):  # the first is the consequence of others
        assert not rails.storm
        rails.alarm(name)
        clock.advance(rng.uniform(0, SETTINGS.storm_within_s / 3))
    assert rails.storm
    refusals = {r.rail for r in rails.permit("x", "y", automatic=True, draining=False)}
    assert "storm" in refusals
    clock.advance(SETTINGS.storm_calm_s)
    assert not rails.storm


@pytest.mark.parametrize(
    "names",
    [
        ("task-died", "service-failed", "model-unavailable"),
        ("gateway-dropped", "locks-broken", "gateway-away"),
        ("model-broken-off", "context-failed", "model-unavailable"),
        ("unclean-end", "messages-missed", "model-unavailable", "promise-broken"),
    ],
)
def test_two_faults_with_many_names_are_no_storm(names: tuple[str, ...]) -> None:
    """What has one root or strikes one part counts once: its remedy must not wait for calm."""
    clock = ManualClock()
    rails = Rails(clock, SETTINGS, clock.monotonic() - 1000)
    for name in names:
        assert not rails.alarm(name)
        clock.advance(0.5)
    assert rails.alarm("duplicates" if "locks-broken" not in names else "memory")


def test_flapping_is_remembered_by_the_next_life() -> None:
    """What came and went before a restart counts after it."""
    clock = ManualClock()
    clock.advance(1000)
    rails = Rails(clock, SETTINGS, clock.monotonic() - SETTINGS.quiet_start_s)
    for ago in range(SETTINGS.flaps_max):
        said = {"incident": "i", "cause": "memory"}
        rails.hear(Entry(1, clock.wall() - 100 - ago, "incident.cause", said, ""))
    refusals = {r.rail for r in rails.permit("memory", "memory", automatic=True, draining=False)}
    assert refusals == {"flapping"}


def test_a_flapping_sensor_is_told_and_not_treated() -> None:
    """A cause that comes and goes again and again gets no run."""
    clock = ManualClock()
    rails = Rails(clock, SETTINGS, clock.monotonic() - 1000)
    for _ in range(SETTINGS.flaps_max):
        rails.alarm("memory")
        clock.advance(20)
    refusals = {r.rail for r in rails.permit("memory", "memory", automatic=True, draining=False)}
    assert "flapping" in refusals


def test_caps_survive_a_restart() -> None:
    """Rails that read the journal of an earlier life refuse what that life had used up."""
    clock = ManualClock()
    rails = Rails(clock, SETTINGS, clock.monotonic() - 1000)
    for number in range(SETTINGS.runs_max):
        data = {"run": f"r{number}", "runbook": f"b{number}", "cause": f"c{number}"}
        rails.hear(Entry(1, clock.wall(), "run.started", data, ""))
        ended = {**data, "outcome": "mended"}
        rails.hear(Entry(2, clock.wall(), "run.ended", ended, ""))
    refusals = {r.rail for r in rails.permit("new", "new", automatic=True, draining=False)}
    assert refusals == {"cap"}
    clock.advance(HOUR_S + 1)
    assert rails.permit("new", "new", automatic=True, draining=False) == ()


def test_a_runbook_that_failed_twice_waits_for_a_person() -> None:
    """Set aside after two failures in a row, a runbook acts again once a person returned it."""
    clock = ManualClock()
    settings = replace(SETTINGS, cool_down_failure_s=0.0)
    rails = Rails(clock, settings, clock.monotonic() - 1000)
    for number in range(2):
        data = {"run": f"r{number}", "runbook": "memory", "cause": "memory"}
        rails.hear(Entry(1, clock.wall(), "run.started", data, ""))
        rails.hear(Entry(2, clock.wall(), "run.ended", {**data, "outcome": "failed"}, ""))
        clock.advance(10)
    refused = rails.permit("memory", "memory", automatic=True, draining=False)
    assert [refusal.rail for refusal in refused] == ["set aside"]
    rails.hear(Entry(3, clock.wall(), "book.returned", {"runbook": "memory"}, ""))
    assert rails.permit("memory", "memory", automatic=True, draining=False) == ()


def test_a_remedy_does_not_need_what_failed() -> None:
    """An act that needs a part which is unwell is refused."""
    rails = Rails(ManualClock(), SETTINGS, 0.0)
    refused = rails.check_acts(
        (Act(Verb.QUEUE_ALL),),
        part=Part.QUEUE,
        unwell=frozenset({Part.DATABASE}),
        documents=0,
        confirmed=True,
        automatic=True,
    )
    assert [refusal.rail for refusal in refused] == ["needs what failed"]


def test_one_run_changes_one_subsystem_and_few_documents() -> None:
    """More than one part, or more than a twentieth of the documents, is refused."""
    rails = Rails(ManualClock(), SETTINGS, 0.0)
    acts = (Act(Verb.COLLECT), *(Act(Verb.RECOVER_DOCUMENT, f"d{n}") for n in range(6)))
    refused = rails.check_acts(
        acts,
        part=Part.MEMORY,
        unwell=frozenset(),
        documents=100,
        confirmed=True,
        automatic=True,
    )
    assert {refusal.rail for refusal in refused} == {"subsystems", "share of documents"}
