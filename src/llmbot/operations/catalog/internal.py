"""Runbooks for the house: services, data, disk, locks, configuration, and what only people mend."""

from __future__ import annotations

from llmbot.operations.catalog.checks import at_once, only_told, probed
from llmbot.operations.ports import Act, Check, Part, Verb
from llmbot.operations.runbook import Go, Ready, Runbook, Situation, Step


async def _needs_met(situation: Situation) -> Ready:
    """The document's first step: the dependencies before the service."""
    states = {service.name: service for service in situation.plant.services()}
    failed = [states[s] for s in situation.subjects if s in states and states[s].state == "failed"]
    if not failed:
        return Ready(Go.NOTHING, "every service runs, or was started again by its owner")
    for service in failed:
        missing = [n for n in service.needs if n in states and states[n].state != "running"]
        if missing:
            return Ready(Go.WAIT, f"{service.name} needs {', '.join(missing)}")
    return Ready(Go.ACT, f"{', '.join(s.name for s in failed)} failed, what it needs runs")


def _restart(situation: Situation) -> tuple[Act, ...]:
    failed = [s.name for s in situation.plant.services() if s.state == "failed"]
    chosen = [name for name in failed if name in situation.subjects]
    return tuple(Act(Verb.RESTART_SERVICE, name) for name in chosen[:1])


async def _all_run(situation: Situation) -> Check:
    down = [s.name for s in situation.plant.services() if s.state != "running"]
    return Check("services", not down, f"down: {', '.join(down)}" if down else "all run")


async def _damaged(situation: Situation) -> Ready:
    damaged = situation.plant.damaged_documents()
    if not damaged:
        return Ready(Go.NOTHING, "what was damaged is mended: set aside and brought back")
    return Ready(Go.ACT, f"{len(damaged)} document(s) damaged")


def _recover(situation: Situation) -> tuple[Act, ...]:
    return tuple(Act(Verb.RECOVER_DOCUMENT, n) for n in situation.plant.damaged_documents())


async def _sound(situation: Situation) -> Check:
    for name in situation.plant.damaged_documents():
        return Check("documents", passed=False, detail=f"{name} is still damaged")
    return await situation.plant.probe(Part.DOCUMENTS, "")


def _unwritten(situation: Situation) -> str:
    """What a sink of the bot cannot write now."""
    troubles = (service.trouble for service in situation.plant.services())
    return "; ".join(trouble for trouble in troubles if "cannot be written" in trouble)


async def _room_needed(situation: Situation) -> Ready:
    """Removing files helps where room is missing, and no folder that refuses for another reason."""
    refused, host = _unwritten(situation), situation.plant.host()
    if refused and "space" not in refused and host.disk_free_bytes >= host.disk_least_bytes:
        return Ready(Go.NOTHING, f"what cannot be written is kept and tried again: {refused}")
    return await at_once(situation)


async def _room(situation: Situation) -> Check:
    host, refused = situation.plant.host(), _unwritten(situation)
    if host.disk_free_bytes < host.disk_least_bytes:
        return Check("disk", passed=False, detail=f"{host.disk_free_bytes // 1024**2} MiB free")
    if refused:
        return Check("disk", passed=False, detail=refused)
    return await situation.plant.probe(Part.DATABASE, "")


async def _stuck(situation: Situation) -> Ready:
    locks = situation.plant.locks()
    if not (locks.deadlocks or locks.held_too_long or locks.holder_gone):
        return Ready(Go.NOTHING, "the circle is broken: the youngest gave way and is fenced")
    return Ready(Go.ACT, "locks are stuck")


def _clean(situation: Situation) -> tuple[Act, ...]:
    return (Act(Verb.CLEAN_LOCKS),) if situation.plant.locks().holder_gone else ()


def _release(situation: Situation) -> tuple[Act, ...]:
    return tuple(Act(Verb.RELEASE_LOCK, n) for n in situation.plant.locks().held_too_long)


async def _free(situation: Situation) -> Check:
    locks = situation.plant.locks()
    stuck = (*locks.deadlocks, *locks.held_too_long, *locks.holder_gone)
    return Check("locks", not stuck, "; ".join(stuck)[:200] or "no circle, none held too long")


def _room_of_contexts(situation: Situation) -> tuple[Act, ...]:
    """Only where there is none: a restart breaks off the calls under way."""
    return (Act(Verb.RESTART_CONTEXTS),) if situation.plant.host().temp_problem else ()


HOUSE_RUNBOOKS = (
    Runbook(
        name="service-start",
        title="Service initialisation failures",
        rows=(12, 22, 23),
        part=Part.SERVICES,
        precheck=_needs_met,
        steps=(Step("restart the failed service and what needs it", _restart, deadline_s=60.0),),
        validate=_all_run,
        settle_s=20.0,
        people=("Look at its last error; `llmbot restart` starts all anew.",),
    ),
    Runbook(
        name="datastore",
        title="Data store corruption recovery",
        rows=(17,),
        part=Part.DOCUMENTS,
        precheck=_damaged,
        steps=(Step("set aside, bring back the newest sound version", _recover),),
        validate=_sound,
    ),
    Runbook(
        name="disk",
        title="The disk is full, read-only or slow",
        rows=(18,),
        part=Part.DISK,
        precheck=_room_needed,
        steps=(Step("remove temporary files", lambda _: (Act(Verb.CLEAN_TEMP),)),),
        validate=_room,
        people=("Free space or make the data directory writable; what waits is kept.",),
    ),
    Runbook(
        name="mutex",
        title="Mutex deadlock recovery",
        rows=(19,),
        part=Part.LOCKS,
        precheck=_stuck,
        steps=(
            Step("free the locks whose holder is gone", _clean),
            Step("take locks that are held for ever from their holders", _release),
        ),
        validate=_free,
    ),
    Runbook(
        name="large-context",
        title="Large context handler recovery",
        rows=(25,),
        part=Part.CONTEXT,
        precheck=at_once,
        steps=(
            Step("make the room anew", _room_of_contexts),
            Step("try failed chunks again", lambda _: (Act(Verb.RETRY_CHUNKS),)),
        ),
        validate=probed(Part.CONTEXT),
    ),
    Runbook(
        name="configuration",
        title="Configuration recovery",
        rows=(26,),
        part=Part.CONFIG,
        precheck=only_told("the last good configuration stays in force; no template replaces it"),
        validate=probed(Part.CONFIG),
        people=("Correct the settings; `llmbot config validate` names each problem.",),
    ),
    Runbook(
        name="loop",
        title="The event loop was blocked",
        rows=(20,),
        part=Part.LOOP,
        precheck=only_told("it turns again; what blocked it is a defect or a starved machine"),
        validate=probed(Part.LOOP),
        people=("Report it with the log lines around it.",),
    ),
    Runbook(
        name="clock",
        title="The wall clock jumped",
        rows=(27,),
        part=Part.CLOCK,
        precheck=only_told("timers run on the monotonic clock and are not touched by it"),
        validate=probed(Part.CLOCK),
    ),
    Runbook(
        name="storm",
        title="Many alarms at once",
        rows=(28,),
        part=Part.SENSORS,
        precheck=only_told("collecting, not acting, until it has been calm for a while"),
        validate=probed(Part.SENSORS),
        people=("Look for what the alarms have in common.",),
    ),
    Runbook(
        name="hostile-input",
        title="Hostile input",
        rows=(29,),
        part=Part.CONTEXT,
        precheck=only_told("refused unopened; what users send never starts or steers a runbook"),
        validate=probed(Part.CONTEXT),
    ),
    Runbook(
        name="secrets",
        title="A secret was on its way to a log, an incident or a metric",
        rows=(30,),
        part=Part.CONFIG,
        precheck=only_told("it was taken out before it was written"),
        validate=probed(Part.CONFIG),
        people=("Find who wrote it by the log lines around it; renew the secret if in doubt.",),
    ),
    Runbook(
        name="sensors",
        title="A sensor cannot look",
        rows=(0,),
        part=Part.SENSORS,
        precheck=only_told("no act is taken on what cannot be seen"),
        validate=probed(Part.SENSORS),
        people=("Report it.",),
    ),
    Runbook(
        name="validation",
        title="Recovery validation checklist",
        rows=(),
        part=Part.SERVICES,
        precheck=only_told("it only looks"),
        validate=_all_run,
    ),
)
