"""Sensors of the bot itself: queue, store, locks, services, memory, disk, loop, clock."""

from __future__ import annotations

from collections.abc import Iterator

from llmbot.operations.ports import GateReading, Part
from llmbot.operations.sensing.conditions import Finding, Nature, Sign
from llmbot.operations.sensing.sensors import Scene, Sensor

_NOTED_MAX = 100
_WELL = frozenset({"answered", "queued", "busy", "unknown"})
"""Outcomes of a command that say nothing against the bot."""


def _high(subject: str, value: float, bounds: tuple[float, float], words: str) -> Iterator[Finding]:
    """Alarm above the first bound, unsure above the second."""
    alarm, calm = bounds
    if value > alarm:
        yield Finding(subject, words)
    elif value > calm:
        yield Finding(subject, words, Sign.UNSURE)


def duplicates(scene: Scene) -> Iterator[Finding]:
    """Row 11: live messages come twice, again and again."""
    found = [
        happening
        for happening in scene.recent_events.recent("duplicate", scene.settings.within_s)
        if happening.subject == "live"
    ]
    if len(found) >= scene.settings.duplicates:
        yield Finding("messages", f"{len(found)} messages came again and were dropped")


def unclean_end(scene: Scene) -> Iterator[Finding]:
    """Row 12, an event: an earlier life of the process ended without a stop."""
    for happening in scene.recent_events.recent("recovered", scene.settings.within_s):
        if happening.subject == "unclean":
            yield Finding("process", happening.detail)


def messages_missed(scene: Scene) -> Iterator[Finding]:
    """Row 13, an event: the back-fill found messages that the gateway had not told."""
    for happening in scene.recent_events.recent("missed", scene.settings.within_s):
        yield Finding("gateway", happening.detail)
        return


def overload(scene: Scene) -> Iterator[Finding]:
    """Row 14: more messages wait than can be served in good time."""
    queue, settings = scene.plant.queue(), scene.settings
    if queue.held:
        return
    fresh = queue.waiting - queue.retrying
    share = queue.waiting / max(1, queue.capacity)
    found = list(_high("queue", share, settings.queue_share, f"{share:.0%} full"))
    if not found and fresh > 0:
        words = f"the oldest of {queue.waiting} waits for {queue.oldest_s:.0f} s"
        found = list(_high("queue", queue.oldest_s, settings.queue_age_s, words))
    if not found and fresh > 0 and queue.drain_s is not None:
        words = f"serving the {queue.waiting} that wait takes {queue.drain_s:.0f} s"
        found = list(_high("queue", queue.drain_s, settings.queue_drain_s, words))
    yield from found


def slow_responses(scene: Scene) -> Iterator[Finding]:
    """Row 15: answers take too long."""
    settings = scene.settings
    response = scene.plant.performance().response
    if response.count < settings.p95_calls_min or response.p95 <= settings.p95_ms[1]:
        return
    fresh = scene.plant.performance(settings.fresh_s).response
    worst = min(response.p95, fresh.p95) if fresh.count else response.p95
    words = f"p95 is {response.p95} ms over {response.count} answers"
    yield from _high("responses", worst, settings.p95_ms, words)


def memory(scene: Scene) -> Iterator[Finding]:
    """Row 16: resident memory is above its limit."""
    host = scene.plant.host()
    mib = 1024 * 1024
    share = host.resident_bytes / max(1, host.memory_limit_bytes)
    words = f"{host.resident_bytes // mib} MiB resident, limit {host.memory_limit_bytes // mib} MiB"
    yield from _high("process", share, scene.settings.memory_share, words)


def documents(scene: Scene) -> Iterator[Finding]:
    """Row 17: a document failed its validation."""
    for name, problem in scene.plant.damaged_documents().items():
        yield Finding(name, problem)


def documents_mended(scene: Scene) -> Iterator[Finding]:
    """Row 17, an event: damage was found, and mended where it was found.

    Wrong settings are row 26's: whoever edits them by hand has not damaged a disk.
    """
    refused = {
        h.subject for h in scene.recent_events.recent("config-refused", scene.settings.within_s)
    }
    for kind in ("data-invalid", "data-rebuilt"):
        for happening in scene.recent_events.recent(kind, scene.settings.within_s):
            if happening.subject not in refused:
                yield Finding(happening.subject, happening.detail)


def disk(scene: Scene) -> Iterator[Finding]:
    """Row 18: the disk is nearly full, or refuses documents or the journal."""
    host = scene.plant.host()
    free, least = host.disk_free_bytes, host.disk_least_bytes
    words = f"{free // 1024**2} MiB free"
    if free < least:
        yield Finding("disk", words)
    elif free < scene.settings.disk_least_times * least:
        yield Finding("disk", words, Sign.UNSURE)
    for service in scene.plant.services():
        if service.trouble and (
            service.name == "documents" or "cannot be written" in service.trouble
        ):
            yield Finding(service.name, service.trouble)


class Writes:
    """Row 18: the database refuses writes, or they wait and none gets through."""

    def __init__(self) -> None:
        """Nothing was read yet."""
        self._commits = -1
        self._moved_s = 0.0

    def look(self, scene: Scene) -> Iterator[Finding]:
        """Find what it refused last, else how long writes have been waiting."""
        facts = scene.plant.database()
        if facts.commits != self._commits or not facts.queued:
            self._commits, self._moved_s = facts.commits, scene.now_s
        stuck_s = scene.now_s - self._moved_s
        if facts.last_error:
            yield Finding("database", facts.last_error)
        elif stuck_s > scene.settings.stuck_write_s:
            yield Finding("database", f"no write got through for {stuck_s:.0f} s")


def locks(scene: Scene) -> Iterator[Finding]:
    """Row 19: a circle of waits, or a lock that is held for ever."""
    reading = scene.plant.locks()
    for circle in reading.deadlocks:
        yield Finding("circle", circle)
    for name in reading.held_too_long:
        yield Finding(name, "held for longer than its lease while others wait")
    for name in reading.holder_gone:
        yield Finding(name, "its holder is gone")


def locks_broken(scene: Scene) -> Iterator[Finding]:
    """Row 19, an event: a circle was broken, or a lock taken away."""
    for kind in ("deadlock", "lock-broken"):
        for happening in scene.recent_events.recent(kind, scene.settings.within_s):
            yield Finding(happening.subject[:80], happening.detail)


def loop_blocked(scene: Scene) -> Iterator[Finding]:
    """Row 20: the event loop came late to this very look; the watch outside it saw where it was."""
    if scene.plant.draining():
        return  # a start loads libraries, and a stop writes down: both block, and both pass
    words = f"the event loop was blocked for {scene.lag_s:.1f} s"
    seen = next(scene.recent_events.recent("loop-blocked", scene.settings.within_s), None)
    if seen is not None and seen.subject:
        words = f"{words}, seen at {seen.subject}"
    yield from _high("loop", scene.lag_s, scene.settings.lag_s, words)


def poison(scene: Scene) -> Iterator[Finding]:
    """Row 21: a message was given up."""
    found = list(scene.recent_events.recent("dead", scene.settings.within_s))
    if found:
        words = f"{len(found)} message(s) given up, the last: {found[0].detail}"
        yield Finding("dead letters", words)


def services(scene: Scene) -> Iterator[Finding]:
    """Row 22: a service has failed; those stopped for its sake are its consequence.

    Also while the bot starts: what does not start keeps it there, with the chat off.
    """
    for service in scene.plant.services():
        if service.state == "failed":
            yield Finding(service.name, service.last_error or "failed")


def tasks(scene: Scene) -> Iterator[Finding]:
    """Row 23, an event: a background task died and was started again."""
    for happening in scene.recent_events.recent("task-died", scene.settings.within_s):
        yield Finding(happening.subject, happening.detail)


def commands(scene: Scene) -> Iterator[Finding]:
    """Row 24: a command failed."""
    for happening in scene.recent_events.recent("command", scene.settings.within_s):
        if happening.detail not in _WELL:
            yield Finding(happening.subject, happening.detail)


def contexts(scene: Scene) -> Iterator[Finding]:
    """Row 25: large contexts find no room for their parts, or could not read some of them."""
    problem = scene.plant.host().temp_problem
    if problem:
        yield Finding("TEMP_DIR", problem)
    for happening in scene.recent_events.recent("context-failed", scene.settings.within_s):
        yield Finding(happening.subject, happening.detail)
        return


def configuration(scene: Scene) -> Iterator[Finding]:
    """Row 26, an event: wrong settings were offered; the last good ones are in force."""
    for happening in scene.recent_events.recent("config-refused", scene.settings.within_s):
        yield Finding(happening.subject, happening.detail)
        return


class Gates:
    """Rows 29 and 30: turns the growth of the gates' counters into happenings."""

    def __init__(self) -> None:
        """Nothing was read yet."""
        self._last: GateReading | None = None

    def hostile(self, scene: Scene) -> Iterator[Finding]:
        """Row 29, an event: files came that are not looked into, again and again."""
        now, last = scene.plant.gates(), self._last
        self._last = now
        if last is not None:
            for _ in range(min(now.files_refused - last.files_refused, _NOTED_MAX)):
                scene.recent_events.note("file-refused", "files", "")
            if now.secrets_redacted > last.secrets_redacted:
                scene.recent_events.note("secret", "sinks", "")
        found = sum(1 for _ in scene.recent_events.recent("file-refused", scene.settings.within_s))
        if found >= scene.settings.files_refused:
            yield Finding("files", f"{found} files were refused unopened")

    def secrets(self, scene: Scene) -> Iterator[Finding]:
        """Row 30, an event: something that looks like a secret was on its way to a sink."""
        if any(scene.recent_events.recent("secret", scene.settings.within_s)):
            total = scene.plant.gates().secrets_redacted
            yield Finding("sinks", f"{total} secret(s) were taken out before they were written")


def promises(scene: Scene) -> Iterator[Finding]:
    """No row: users get no answers, or late ones, whatever the reason."""
    if scene.burn is None:
        return
    for each in scene.burn.burning(held=scene.plant.queue().held):
        words = (
            f"{each.share:.0%} of {each.messages} in {each.window_s / 60:.0f} min were not "
            f"{each.promise}: {each.rate:.0f} times what the promise allows"
        )
        yield Finding(each.promise, words)


def storm(scene: Scene) -> Iterator[Finding]:
    """Row 28: many alarms came at once."""
    if scene.storm:
        yield Finding("alarms", "so many came at once that nothing is done automatically")


def clock_jump(scene: Scene) -> Iterator[Finding]:
    """Row 27, an event: the wall clock jumped."""
    if abs(scene.jump_s) >= scene.settings.clock_jump_s:
        yield Finding("clock", f"the wall clock jumped by {scene.jump_s:+.1f} s")


def inside_sensors() -> tuple[Sensor, ...]:
    """All of them; some have a memory, so that each bot gets its own."""
    gates = Gates()
    return (
        Sensor(Nature("duplicates", 11, Part.QUEUE), duplicates),
        Sensor(Nature("unclean-end", 12, Part.SERVICES), unclean_end),
        Sensor(Nature("messages-missed", 13, Part.DISCORD, timed=True), messages_missed),
        Sensor(Nature("overload", 14, Part.QUEUE, raise_after_s=1.0, timed=True), overload),
        Sensor(
            Nature(
                "slow-responses", 15, Part.QUEUE, raise_after_s=2.0, clear_after_s=3.0, timed=True
            ),
            slow_responses,
        ),
        Sensor(Nature("memory", 16, Part.MEMORY, raise_after_s=1.5), memory),
        Sensor(Nature("data-damaged", 17, Part.DOCUMENTS), documents),
        Sensor(Nature("data-mended", 17, Part.DOCUMENTS), documents_mended),
        Sensor(Nature("disk-full", 18, Part.DISK, raise_after_s=1.0), disk),
        Sensor(
            Nature("store-refuses", 18, Part.DATABASE, raise_after_s=0.5, timed=True), Writes().look
        ),
        Sensor(Nature("locks", 19, Part.LOCKS, raise_after_s=0.5, timed=True), locks),
        Sensor(Nature("locks-broken", 19, Part.LOCKS, timed=True), locks_broken),
        Sensor(Nature("loop-blocked", 20, Part.LOOP, clear_after_s=3.0), loop_blocked),
        Sensor(Nature("dead-letters", 21, Part.QUEUE), poison),
        Sensor(Nature("service-failed", 22, Part.SERVICES, raise_after_s=0.5), services),
        Sensor(Nature("task-died", 23, Part.SERVICES), tasks),
        Sensor(Nature("command-failed", 24, Part.QUEUE, timed=True), commands),
        Sensor(Nature("context-failed", 25, Part.CONTEXT), contexts),
        Sensor(Nature("config-refused", 26, Part.CONFIG), configuration),
        Sensor(Nature("clock-jump", 27, Part.CLOCK), clock_jump),
        Sensor(Nature("promise-broken", 0, Part.QUEUE, raise_after_s=1.0, timed=True), promises),
        Sensor(Nature("storm", 28, Part.SENSORS), storm),
        Sensor(Nature("hostile-input", 29, Part.CONTEXT), gates.hostile),
        Sensor(Nature("secret-redacted", 30, Part.CONFIG), gates.secrets),
    )
