"""The loop as a whole: noticed, named, treated, checked, written up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.control_plane import Plane, plane
from tests.support.plant import MIB, RecordingHand, SetPlant, breaker, opened

from llmbot.app.settings.reload import SettingsRefused
from llmbot.kernel.clock import ManualClock, SystemClock
from llmbot.kernel.events import (
    BreakerChanged,
    DuplicateMessage,
    Event,
    GatewayChanged,
    ModelAnswered,
    ModelFailed,
    WorkRecovered,
)
from llmbot.operations.catalog.registry import RUNBOOKS
from llmbot.operations.causes import CAUSES
from llmbot.operations.executor import Mode
from llmbot.operations.guardrails import RailSettings
from llmbot.operations.incidents.report import as_json, as_markdown
from llmbot.operations.ports import CallReading, HostReading, Part, ServiceReading, Verb
from llmbot.storage.documents.facts import DataInvalid


def failed(model: str, code: str = "model_unavailable") -> ModelFailed:
    """A failed call."""
    return ModelFailed(1, "gemini", model, code, 1, 10, "no answer")


async def rounds(house: Plane, clock: ManualClock, count: int) -> None:
    """Some rounds of the loop, half a second apart, each treatment seen to its end."""
    for _ in range(count):
        await house.healing.round()
        busy = house.healing._busy
        while busy is not None and not busy.done():
            await SystemClock().sleep(0)
            if clock.sleepers:
                clock.advance(0.5)
        clock.advance(0.5)


def build(tmp_path: Path, plant: SetPlant) -> tuple[Plane, ManualClock, RecordingHand]:
    """A control plane that may act at once."""
    clock = ManualClock()
    hand = RecordingHand(clock)
    return plane(tmp_path, clock, hand, plant, settings=RailSettings()), clock, hand


def test_every_cause_has_a_runbook_and_every_procedure_is_there() -> None:
    """Each cause names a runbook that exists, and no row of the catalogue lacks a cause."""
    assert {cause.runbook for cause in CAUSES.values()} <= set(RUNBOOKS)
    assert {cause.row for cause in CAUSES.values()} >= set(range(1, 31))


async def test_nothing_is_done_while_all_is_well(tmp_path: Path) -> None:
    """A well bot has no incident, no act and no line in the journal."""
    house, clock, hand = build(tmp_path, SetPlant())
    await rounds(house, clock, 20)
    assert (house.incidents.all(), hand.performed) == ((), [])


async def test_an_outage_of_a_model_is_named_and_its_breaker_reset_when_it_is_back(
    tmp_path: Path,
) -> None:
    """The incident names the model's outage; the breaker is reset after a probe; then it closes."""
    plant = SetPlant(breaker_facts={"gemini:one": opened(breaker("gemini:one"))})
    plant.probes = lambda _, __: False
    house, clock, hand = build(tmp_path, plant)
    for _ in range(5):
        house.bus.publish(failed("one"))
    await rounds(house, clock, 6)
    incident = house.incidents.current
    assert incident is not None
    assert incident.first_cause == "model-unavailable"
    assert hand.performed == []

    def reset(_: object) -> None:
        plant.breaker_facts["gemini:one"] = breaker("gemini:one")
        house.bus.publish(BreakerChanged("gemini:one", "open", "closed", "reset"))

    hand.effect = reset
    plant.probes = lambda _, __: True
    await rounds(house, clock, 40)
    assert [act.verb for _, act in hand.performed] == [Verb.RESET_BREAKER]
    closed = house.incidents.all()[0]
    assert not closed.open
    assert closed.runbooks == {"gemini-recovery": "mended"}


async def test_a_report_made_again_from_the_journal_has_the_same_bytes(tmp_path: Path) -> None:
    """Markdown and JSON of an incident are the same in the next life."""
    plant = SetPlant(host_reading=HostReading(900 * MIB, 400 * MIB, 10_000 * MIB))
    house, clock, hand = build(tmp_path, plant)

    def mend(_: object) -> None:
        plant.host_reading = HostReading(100 * MIB, 400 * MIB, 10_000 * MIB)

    hand.effect = mend
    await rounds(house, clock, 30)
    incident = house.incidents.all()[0]
    assert not incident.open
    again, _, _ = build(tmp_path, plant)
    await again.journal.load()
    told = again.incidents.find(incident.id)
    assert told is not None
    assert as_markdown(told) == as_markdown(incident)
    assert as_json(told) == as_json(incident)
    for heading in (
        "## Incident Details",
        "## Root Cause Analysis",
        "## Recovery Actions Taken",
        "## Validation Results",
        "## Lessons Learned",
        "## Action Items",
    ):
        assert heading in as_markdown(incident)


async def test_an_hour_of_outage_is_one_incident(tmp_path: Path) -> None:
    """Model and Discord away together for an hour: one incident, escalated, and no restart."""
    plant = SetPlant(breaker_facts={"gemini:one": opened(breaker("gemini:one"))})
    plant.probes = lambda _, __: False
    house, clock, hand = build(tmp_path, plant)
    away = plant.gateway_reading
    for minute in range(60):
        house.bus.publish(failed("one"))
        plant.gateway_reading = type(away)("waiting", None, 1, 0, 0, 0, "no route", "", *[0] * 5)
        await rounds(house, clock, 4)
        clock.advance(58)
        del minute
    assert len(house.incidents.all()) == 1
    incident = house.incidents.all()[0]
    assert set(incident.causes) == {"model-unavailable", "gateway-away"}
    assert hand.performed == []
    assert len(incident.timeline) < 30


async def test_the_root_is_named_before_its_consequences(tmp_path: Path) -> None:
    """Slow answers while the store refuses are a consequence, not a cause of their own."""
    plant = SetPlant(p95_ms=20_000, database_error="disk full")
    house, clock, _ = build(tmp_path, plant)
    await rounds(house, clock, 10)
    assert [cause.name for cause in house.healing.causes] == ["store-refuses"]
    assert house.healing.causes[0].consequences == ("slow-responses",)


async def test_a_passing_alarm_does_not_last(tmp_path: Path) -> None:
    """Memory above its limit for one look only is no condition."""
    plant = SetPlant(host_reading=HostReading(900 * MIB, 400 * MIB, 10_000 * MIB))
    house, clock, hand = build(tmp_path, plant)
    await rounds(house, clock, 1)
    plant.host_reading = HostReading(100 * MIB, 400 * MIB, 10_000 * MIB)
    await rounds(house, clock, 10)
    assert (house.incidents.all(), hand.performed) == ((), [])


async def test_a_sensor_that_fails_is_a_condition(tmp_path: Path) -> None:
    """One blind sensor is told as such and keeps no other from looking."""
    plant = SetPlant()
    house, clock, _ = build(tmp_path, plant)

    def broken() -> HostReading:
        raise OSError("no such process")

    plant_host = type(plant).host
    try:
        type(plant).host = lambda _: broken()  # type: ignore[method-assign,assignment] # fails for once
        house.healing.senses.look()
        clock.advance(3)
        house.healing.senses.look()
    finally:
        type(plant).host = plant_host  # type: ignore[method-assign] # as it was
    assert {"memory", "disk-full"} <= {
        name for name, reading in house.healing.senses.readings.items() if reading.failed
    }
    assert "sensor-failed" in {c.nature.name for c in house.healing.senses.active()}


async def test_a_failed_service_is_restarted_once_its_needs_run(tmp_path: Path) -> None:
    """What failed is restarted only when what it needs runs."""
    down = ServiceReading("workers", ("database",), "failed", "", "task died", 0)
    up = ServiceReading("workers", ("database",), "running", "", "", 1)
    database = ServiceReading("database", (), "failed", "", "gone", 0)
    plant = SetPlant(service_readings=[ServiceReading("database", (), "running", "", "", 0), down])
    house, clock, hand = build(tmp_path, plant)

    def restart(_: object) -> None:
        plant.service_readings = [ServiceReading("database", (), "running", "", "", 0), up]

    hand.effect = restart
    await rounds(house, clock, 20)
    assert [str(act) for _, act in hand.performed] == ["restart-service workers"]
    assert database.state == "failed"


async def test_duplicates_and_answers_are_told_apart(tmp_path: Path) -> None:
    """Three live duplicates are a condition; a model that answers again clears its own."""
    house, clock, _ = build(tmp_path, SetPlant())
    for number in range(3):
        house.bus.publish(DuplicateMessage(number, "live", "claim"))
    house.bus.publish(failed("two"))
    await rounds(house, clock, 2)
    assert {cause.name for cause in house.healing.causes} == {"duplicates", "model-unavailable"}
    house.bus.publish(ModelAnswered(2, "gemini", "two", "stop", 10, 20, 1, 1))
    await rounds(house, clock, 8)
    assert {cause.name for cause in house.healing.causes} == {"duplicates"}


async def test_calls_that_say_nothing_are_noticed_before_any_has_failed(tmp_path: Path) -> None:
    """Two calls quiet for three times the usual are a hang; slow ones as usual are none."""
    plant = SetPlant(call_readings=[CallReading("gemini:one", 4.0, 2.0)] * 2)
    house, clock, _ = build(tmp_path, plant)
    await rounds(house, clock, 2)
    assert not house.incidents.all()
    plant.call_readings = [CallReading("gemini:one", 4.0, 0.5)] * 2
    await rounds(house, clock, 2)
    assert [cause.name for cause in house.healing.causes] == ["model-broken-off"]


async def test_a_model_left_alone_is_a_condition_until_it_is_asked_again(tmp_path: Path) -> None:
    """A used-up day is over when the wait is ended that its provider named, not before."""
    plant = SetPlant(
        breaker_facts={"gemini:one": breaker("gemini:one")}, model_waits={"gemini:one": 60.0}
    )
    plant.probes = lambda _, __: False
    house, clock, hand = build(tmp_path, plant)
    house.bus.publish(ModelFailed(1, "gemini", "one", "model_rate_limited", 1, 10, "the day's"))
    await rounds(house, clock, 40)
    assert [cause.name for cause in house.healing.causes] == ["model-quota-day"]
    plant.probes = lambda _, __: True
    hand.effect = lambda _: plant.model_waits.clear()
    await rounds(house, clock, 60)
    assert [str(act) for _, act in hand.performed] == ["reset-breaker gemini:one"]
    assert not house.incidents.all()[0].open


async def test_trouble_anew_is_no_echo_of_trouble_that_is_over(tmp_path: Path) -> None:
    """What a cause explains is named on its own where it begins well after the cause was over."""
    plant = SetPlant()
    house, clock, _ = build(tmp_path, plant)
    well = plant.gateway_reading
    plant.gateway_reading = replace(well, last_error="refused (401)")
    await rounds(house, clock, 4)
    plant.gateway_reading = replace(well, rest_rate_limited=1)
    await rounds(house, clock, 4)
    assert not house.healing.causes
    clock.advance(10)
    await rounds(house, clock, 2)
    plant.gateway_reading = replace(well, rest_rate_limited=2)
    await rounds(house, clock, 2)
    assert [cause.name for cause in house.healing.causes] == ["discord-rest"]


async def test_who_comes_after_a_trouble_and_waits_all_the_same_is_trouble_anew(
    tmp_path: Path,
) -> None:
    """Late answers echo what is over, as long as those are served well who came since."""
    plant = SetPlant(p95_ms=8_000)
    plant.queue_reading = replace(plant.queue_reading, waiting=90, oldest_s=70.0)
    house, clock, _ = build(tmp_path, plant)
    await rounds(house, clock, 4)
    assert [cause.name for cause in house.healing.causes] == ["overload"]
    plant.queue_reading = SetPlant().queue_reading
    await rounds(house, clock, 8)
    assert not house.healing.causes
    plant.served_ms = 6_000
    await rounds(house, clock, 1)
    assert [cause.name for cause in house.healing.causes] == ["slow-responses"]


async def test_relief_is_taken_back_when_its_cause_is_over(tmp_path: Path) -> None:
    """A level of degradation held for memory's sake ends with the memory's trouble."""
    plant = SetPlant(host_reading=HostReading(900 * MIB, 400 * MIB, 10_000 * MIB))
    house, clock, hand = build(tmp_path, plant)
    await rounds(house, clock, 10)
    assert [act.verb for _, act in hand.performed][-1] is Verb.DEGRADE
    plant.host_reading = HostReading(100 * MIB, 400 * MIB, 10_000 * MIB)
    again, clock, hand = build(tmp_path, plant)
    await again.journal.load()
    await rounds(again, clock, 10)
    assert [act.verb for _, act in hand.performed] == [Verb.RELEASE_DEGRADATION]
    assert again.executor.standing.causes() == frozenset()


async def test_who_answers_slowly_without_a_backlog_is_not_made_to_wait(tmp_path: Path) -> None:
    """Forced queueing would add the seconds that it is meant to save: it needs a backlog."""
    plant = SetPlant(p95_ms=8_000)
    house, clock, hand = build(tmp_path, plant)
    await rounds(house, clock, 20)
    assert [cause.name for cause in house.healing.causes] == ["slow-responses"]
    assert {act.verb for _, act in hand.performed} == {Verb.HASTEN_QUEUE}
    plant.queue_reading = replace(plant.queue_reading, waiting=50, oldest_s=15.0)
    again, clock, hand = build(tmp_path / "again", plant)
    await rounds(again, clock, 20)
    assert Verb.QUEUE_ALL in {act.verb for _, act in hand.performed}


async def test_a_start_that_blocks_the_loop_is_no_alarm(tmp_path: Path) -> None:
    """Starting and stopping block the loop; while the bot serves, the same is a condition."""
    plant = SetPlant(is_draining=True)
    house, _, _ = build(tmp_path, plant)
    await house.healing.round(lag_s=2.0)
    assert not house.incidents.all()
    plant.is_draining = False
    await house.healing.round(lag_s=2.0)
    assert [cause.name for cause in house.healing.causes] == ["loop-blocked"]


async def test_slow_calls_to_discord_are_named_beside_short_memory(tmp_path: Path) -> None:
    """Memory explains slow answers, but not calls to Discord that get no answer: both are roots."""
    plant = SetPlant(p95_ms=9000, host_reading=HostReading(900 * MIB, 400 * MIB, 10_000 * MIB))
    plant.gateway_reading = replace(plant.gateway_reading, rest_quiet_s=5.5)
    house, clock, _ = build(tmp_path, plant)
    await rounds(house, clock, 8)
    found = {cause.name: cause.consequences for cause in house.healing.causes}
    assert set(found) == {"memory", "discord-rest"}
    assert "slow-responses" in found["discord-rest"]


async def test_a_loop_that_stood_still_is_no_slowness_of_discord(tmp_path: Path) -> None:
    """What could not be heard while the loop was blocked was not late."""
    plant = SetPlant()
    plant.gateway_reading = replace(plant.gateway_reading, rest_quiet_s=8.5)
    house, _, __ = build(tmp_path, plant)
    await house.healing.round(lag_s=8.0)
    assert {cause.name for cause in house.healing.causes} == {"loop-blocked"}


async def test_a_process_that_stood_still_is_the_root_of_what_came_late(tmp_path: Path) -> None:
    """After a gap what ran out in it raises no alarm; what fails anew is named beside the gap."""
    plant = SetPlant()
    house, clock, _ = build(tmp_path, plant)
    await rounds(house, clock, 2)
    clock.advance(5.0)
    house.bus.publish(failed("one", "model_timeout"))
    house.bus.publish(GatewayChanged("resuming", "1006"))
    plant.gateway_reading = replace(plant.gateway_reading, rest_retries=3, rest_quiet_s=7.0)
    plant.call_readings = [CallReading("gemini:one", 9.0, 1.0), CallReading("gemini:one", 9.0, 1.0)]
    await house.healing.round(lag_s=5.0)
    plant.call_readings = []
    clock.advance(0.5)
    house.bus.publish(failed("two", "model_timeout"))
    plant.gateway_reading = replace(plant.gateway_reading, rest_retries=6, rest_quiet_s=0.0)
    await rounds(house, clock, 3)
    assert {cause.name for cause in house.healing.causes} == {"loop-blocked"}
    plant.gateway_reading = replace(plant.gateway_reading, rest_retries=9)
    await rounds(house, clock, 1)
    assert {cause.name for cause in house.healing.causes} == {"loop-blocked", "discord-rest"}
    (incident,) = house.incidents.all()
    assert (incident.first_cause, house.rails.storm) == ("loop-blocked", False)


async def test_documents_that_cannot_be_written_are_a_condition(tmp_path: Path) -> None:
    """A disk with room that refuses documents or the journal is named all the same."""
    plant = SetPlant()
    trouble = ServiceReading("documents", (), "running", "No space. 3 document(s) wait.", "", 0)
    plant.service_readings.append(trouble)
    house, clock, _ = build(tmp_path, plant)
    await rounds(house, clock, 4)
    (cause,) = house.healing.causes
    assert (cause.name, cause.subjects) == ("disk-full", ("documents",))


async def test_no_sensor_crowds_out_another(tmp_path: Path) -> None:
    """Hundreds of damaged documents do not keep the gateway's loss from being seen."""
    plant = SetPlant(damaged={f"{number}.json": "cut" for number in range(300)})
    house, clock, _ = build(tmp_path, plant)
    await rounds(house, clock, 2)
    plant.gateway_reading = replace(plant.gateway_reading, state="connecting")
    await rounds(house, clock, 6)
    assert {cause.name for cause in house.healing.causes} == {"data-damaged", "gateway-away"}


async def test_a_clock_that_jumps_makes_no_incident_longer(tmp_path: Path) -> None:
    """Neither escalation nor duration nor the span of the impact follow the wall clock."""
    plant = SetPlant()
    house, clock, _ = build(tmp_path, plant)
    for jump_s in (3600.0, -7200.0):
        clock.now_wall += jump_s
        house.bus.publish(failed("one"))
        await rounds(house, clock, 4)
        clock.now_wall -= jump_s
        await rounds(house, clock, 60)
    for incident in house.incidents.all():
        report = as_json(incident)
        assert report["status"] == "closed"
        assert 0 < report["durationSeconds"] < 60
        assert not incident.lasting
    assert plant.spans
    assert all(since < until for since, until in plant.spans)


async def test_what_keeps_an_incident_open_is_told_once(tmp_path: Path) -> None:
    """An incident without causes that does not close says which check does not pass."""
    plant = SetPlant()
    house, clock, _ = build(tmp_path, plant)
    plant.probes = lambda part, _: part is not Part.DISCORD
    house.bus.publish(failed("one"))
    await rounds(house, clock, 50)
    (incident,) = house.incidents.all()
    assert incident.open
    told = [line.what for line in incident.timeline if line.what.startswith("Not closed yet")]
    assert len(told) == 1
    assert "external" in told[0]


@pytest.mark.parametrize(
    ("part", "happens"),
    [
        (Part.CONFIG, SettingsRefused("no number", ())),
        (Part.DOCUMENTS, DataInvalid("users/7.json", "cut", "quarantine/7")),
    ],
)
async def test_what_needed_no_act_is_confirmed_by_other_eyes_too(
    tmp_path: Path, part: Part, happens: Event
) -> None:
    """Where the bot had nothing to do, the runbook's own look still ends the incident."""
    plant = SetPlant()
    house, clock, _ = build(tmp_path, plant)
    plant.probes = lambda asked, _: asked is not part
    house.bus.publish(happens)
    await rounds(house, clock, 40)
    (incident,) = house.incidents.all()
    assert incident.open
    plant.probes = lambda _, __: True
    await rounds(house, clock, 10)
    (closed,) = house.incidents.all()
    assert not closed.open
    assert f"- [x] Confirmed ({part}): well" in as_markdown(closed)
    assert [check["passed"] for check in closed.checks if check["name"] == str(part)] == [True]


async def test_an_incident_escalates_once_for_lasting_whatever_restarts(tmp_path: Path) -> None:
    """A bot that is restarted again and again does not make a P2 a P0 by counting anew."""
    clock = ManualClock()
    for _ in range(4):
        house = plane(tmp_path, clock, RecordingHand(clock), SetPlant())
        await house.journal.load()
        for _ in range(3):
            clock.advance(400)
            house.bus.publish(failed("one", "model_rate_limited"))
            await rounds(house, clock, 1)
    (incident,) = house.incidents.all()
    assert (incident.severity, incident.lasting) == ("P1", True)


async def test_a_service_that_does_not_start_is_named_while_the_chat_is_off(tmp_path: Path) -> None:
    """Recovery mode is no reason to see nothing: the failed service is the incident's cause."""
    plant = SetPlant(is_draining=True)
    broken = ServiceReading("workers", ("database",), "failed", "", "no room", 0)
    plant.service_readings = [plant.service_readings[0], broken]
    house, clock, hand = build(tmp_path, plant)
    await rounds(house, clock, 4)
    (incident,) = house.incidents.all()
    assert (incident.first_cause, incident.open) == ("service-failed", True)
    assert hand.performed == []


async def test_a_broken_run_is_ended_when_it_can_be_and_blinds_nobody_before(
    tmp_path: Path,
) -> None:
    """An earlier life's run waits for the services; what is wrong is seen meanwhile."""
    plant = SetPlant(is_draining=True, database_error="no space")
    house, clock, _ = build(tmp_path, plant)
    facts = {"runbook": "disk", "cause": "store-refuses", "subjects": [], "incident": ""}
    await house.journal.add("run.started", run="run-1", by="automation", **facts)
    await rounds(house, clock, 4)
    assert {cause.name for cause in house.healing.causes} == {"store-refuses"}
    assert set(house.executor.open_runs()) == {"run-1"}
    plant.is_draining, plant.database_error = False, ""
    await rounds(house, clock, 2)
    assert house.executor.open_runs() == {}


async def test_who_waited_for_a_killed_bot_makes_no_slowness_of_its_own(tmp_path: Path) -> None:
    """The late answers of a new life are the kill's consequence and get no remedy of their own."""
    plant = SetPlant(p95_ms=20_000)
    house, clock, hand = build(tmp_path, plant)
    house.bus.publish(WorkRecovered(4, 0, unclean=True))
    await rounds(house, clock, 60)
    (incident,) = house.incidents.all()
    assert list(incident.causes) == ["unclean-end"]
    assert incident.causes["unclean-end"].consequences == ["slow-responses"]
    assert hand.performed == []


async def test_a_late_answer_hides_no_model_that_its_breaker_holds_back(tmp_path: Path) -> None:
    """What was said before the quota was gone ends after it: the model is unwell all the same."""
    plant = SetPlant(breaker_facts={"gemini:one": opened(breaker("gemini:one"))})
    plant.probes = lambda part, _: part is not Part.MODEL
    house, clock, _ = build(tmp_path, plant)
    house.bus.publish(failed("one", "model_rate_limited"))
    house.bus.publish(ModelAnswered(2, "gemini", "one", "stop", 10, 20, 1, 1))
    await rounds(house, clock, 40)
    assert {cause.name for cause in house.healing.causes} == {"model-quota-minute"}
    plant.breaker_facts = {"gemini:one": breaker("gemini:one")}
    await rounds(house, clock, 8)
    assert house.healing.causes == ()


@pytest.mark.parametrize(
    ("free_mib", "total_mib", "full"),
    [(30, 40, False), (2, 40, True), (90, 100_000, True), (210, 100_000, False)],
)
async def test_a_small_disk_is_not_full_from_the_first_day_on(
    tmp_path: Path, free_mib: int, total_mib: int, full: bool
) -> None:
    """Too little room is 100 MiB, or a 16th of a disk that has not much more in all."""
    host = HostReading(100 * MIB, 400 * MIB, free_mib * MIB, disk_total_bytes=total_mib * MIB)
    house, clock, _ = build(tmp_path, SetPlant(host_reading=host))
    await rounds(house, clock, 4)
    assert [cause.name for cause in house.healing.causes] == ["disk-full"] * full


async def test_no_files_are_removed_for_a_folder_that_refuses(tmp_path: Path) -> None:
    """A sink that cannot be written although there is room is told, and nothing is done."""
    plant = SetPlant()
    house, clock, hand = build(tmp_path, plant)
    words = "the audit cannot be written: Not a directory; 2 record(s) wait"
    plant.service_readings.append(ServiceReading("healing", (), "running", words, "", 0))
    await rounds(house, clock, 40)
    (incident,) = house.incidents.all()
    assert (incident.first_cause, incident.open, hand.performed) == ("disk-full", True, [])
    assert incident.runbooks == {"disk": "nothing to do"}
    del plant.service_readings[-1]
    await rounds(house, clock, 20)
    (incident,) = house.incidents.all()
    assert not incident.open


async def test_a_yes_ends_with_the_trouble_that_it_was_for(tmp_path: Path) -> None:
    """Who said yes to a proposal whose cause then went by itself is asked anew later."""
    plant, clock = SetPlant(), ManualClock()
    well = plant.service_readings[1]
    ill = replace(well, state="failed", last_error="no port")
    hand = RecordingHand(clock, lambda _: plant.service_readings.__setitem__(1, well))
    house = plane(tmp_path, clock, hand, plant, mode=Mode.PROPOSE)
    plant.service_readings[1] = ill
    await rounds(house, clock, 6)
    assert [each.what for each in house.approvals.open()] == ["service-start"]
    await house.approvals.give("service-start", "a person")
    plant.service_readings[1] = well
    await rounds(house, clock, 12)
    assert (house.approvals.open(), hand.performed) == ((), [])
    plant.service_readings[1] = ill
    await rounds(house, clock, 12)
    assert [each.given_by for each in house.approvals.open()] == [""]
    assert hand.performed == []
    await house.approvals.give("service-start", "a person")
    await rounds(house, clock, 30)
    assert [act.verb for _, act in hand.performed] == [Verb.RESTART_SERVICE]
