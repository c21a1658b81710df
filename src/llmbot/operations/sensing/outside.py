"""Sensors of what the bot leans on: the models and Discord."""

from __future__ import annotations

from collections.abc import Iterator

from llmbot.operations.ports import GatewayReading, Part
from llmbot.operations.sensing.conditions import Finding, Nature
from llmbot.operations.sensing.recent_events import ModelStanding
from llmbot.operations.sensing.sensors import Scene, Sensor
from llmbot.resilience.breaker_facts import BreakerState

_FAULTY = frozenset({"model_timeout", "model_stream_cut", "model_garbled"})
_WORDLESS = frozenset({"model_blocked", "model_empty"})


def _failing(scene: Scene, codes: frozenset[str]) -> Iterator[tuple[str, ModelStanding]]:
    """Models whose last call failed so: lately, or still held back for it.

    An answer that was under way when the others failed is no sign of health: what its own breaker
    holds back is unwell.
    """
    breakers, waits = scene.plant.breakers(), scene.plant.waits()
    for name, standing in scene.recent_events.models.items():
        if standing.code not in codes:
            continue
        names = [name] if standing.failing_since is None else [name, name.partition(":")[0]]
        own = (breakers[each] for each in names if each in breakers)
        held_open = name in waits or any(
            breaker.state is not BreakerState.CLOSED and not breaker.held for breaker in own
        )
        if standing.failing_since is None and not held_open:
            continue
        if held_open or scene.now_s - standing.failed_at <= scene.settings.model_quiet_s:
            yield name, standing


def _words(standing: ModelStanding) -> str:
    return f"{standing.failures} failed call(s) in a row, the last {standing.code}"


def quota_minute(scene: Scene) -> Iterator[Finding]:
    """Row 1: a model's quota for the minute is used up."""
    for name, standing in _failing(scene, frozenset({"model_rate_limited"})):
        if "the day's" not in standing.detail and "this tier" not in standing.detail:
            yield Finding(name, _words(standing))


def quota_day(scene: Scene) -> Iterator[Finding]:
    """Row 2: a model's quota for the day is gone, or it has none."""
    for name, standing in _failing(scene, frozenset({"model_rate_limited"})):
        if "the day's" in standing.detail or "this tier" in standing.detail:
            yield Finding(name, _words(standing))


def model_unavailable(scene: Scene) -> Iterator[Finding]:
    """Row 3: a model answers with server errors or not at all."""
    for name, standing in _failing(scene, frozenset({"model_unavailable"})):
        yield Finding(name, _words(standing))


def model_broken_off(scene: Scene) -> Iterator[Finding]:
    """Row 4: a model hangs, stalls, or cuts its stream."""
    for name, standing in _failing(scene, _FAULTY):
        yield Finding(name, f"{_words(standing)}: {standing.detail}")
    settings = scene.settings
    silent: dict[str, list[float]] = {}
    for call in scene.plant.calls():
        if call.usual_s is not None and call.quiet_s > max(
            settings.silent_s, settings.silent_factor * call.usual_s
        ):
            silent.setdefault(call.model, []).append(call.quiet_s)
    for model, times in silent.items():
        if len(times) >= settings.silent_least:
            words = f"{len(times)} calls say nothing, one for {max(times):.0f} s"
            yield Finding(model, words)


def model_credentials(scene: Scene) -> Iterator[Finding]:
    """Row 5: the provider refuses the key."""
    for name, standing in _failing(scene, frozenset({"model_credentials"})):
        yield Finding(name, _words(standing))


def model_missing(scene: Scene) -> Iterator[Finding]:
    """Row 5: the provider does not know the model."""
    for name, standing in _failing(scene, frozenset({"model_not_found"})):
        yield Finding(name, _words(standing))


def model_wordless(scene: Scene) -> Iterator[Finding]:
    """Row 6: a model blocks the question or ends without a word."""
    for name, standing in _failing(scene, _WORDLESS):
        yield Finding(name, _words(standing))


# ── Discord ─────────────────────────────────────────────────────────────────────────────────────


def gateway_away(scene: Scene) -> Iterator[Finding]:
    """Row 7: no session, or one whose heartbeats nobody acknowledges."""
    gateway = scene.plant.gateway()
    if scene.plant.draining() or gateway.state in {"ready", "fatal", "stopped"}:
        age = gateway.ack_age_s
        if gateway.state == "ready" and age is not None and age > scene.settings.ack_age_max_s:
            yield Finding("gateway", f"no heartbeat acknowledged for {age:.0f} s")
        return
    yield Finding("gateway", f"{gateway.state}: {gateway.last_error or 'no session'}")


def gateway_dropped(scene: Scene) -> Iterator[Finding]:
    """Row 7, an event: the session broke and was won back."""
    if scene.plant.draining():
        return
    for happening in scene.recent_events.recent("gateway", scene.settings.within_s):
        if happening.subject not in {"ready", "stopped", "logging_in", "fatal"}:
            yield Finding("gateway", f"{happening.subject}: {happening.detail}")
            return


def discord_refuses(scene: Scene) -> Iterator[Finding]:
    """Row 8: Discord refuses the token or the intents; no retry can help."""
    gateway = scene.plant.gateway()
    refused = "(401)" in gateway.last_error
    if gateway.state == "fatal" or refused:
        yield Finding("token", gateway.last_error or "Discord refused the bot")


class RestCounters:
    """Row 9: turns the growth of Discord's counters into happenings."""

    def __init__(self) -> None:
        """Nothing was read yet."""
        self._last: GatewayReading | None = None

    def look(self, scene: Scene) -> Iterator[Finding]:
        """Note what grew since the last look; find what grew lately, and calls without answer."""
        now, last = scene.plant.gateway(), self._last
        self._last = now
        if last is not None:
            self._note(scene, "rest-limited", now.rest_rate_limited - last.rest_rate_limited)
            self._note(scene, "rest-failed", now.rest_unavailable - last.rest_unavailable)
            self._note(scene, "rest-failed", now.rest_retries - last.rest_retries)
            self._note(scene, "unparsable", now.unparsable - last.unparsable)
        # While our own loop stood still, nobody could see an answer.
        if now.rest_quiet_s - scene.lag_s > scene.settings.rest_quiet_s:
            self._note(scene, "rest-slow", 1)
        for kind, words in (
            ("rest-limited", "Discord asked for a wait (429)"),
            ("rest-failed", "calls to Discord failed and were tried again"),
            ("rest-slow", f"calls had no answer for {scene.settings.rest_quiet_s:g} s"),
            ("unparsable", "the gateway sent what cannot be parsed"),
        ):
            found = sum(1 for _ in scene.recent_events.recent(kind, scene.settings.within_s))
            if found:
                yield Finding(kind, f"{words} in {found} of the last looks")

    @staticmethod
    def _note(scene: Scene, kind: str, grown: int) -> None:
        if grown > 0:
            scene.recent_events.note(kind, "discord", str(grown))


def discord_breaker(scene: Scene) -> Iterator[Finding]:
    """Row 9: the breaker before Discord is open, and nobody holds it open by hand."""
    breaker = scene.plant.breakers().get("discord")
    if breaker is not None and breaker.state is not BreakerState.CLOSED and not breaker.held:
        yield Finding("discord", f"breaker {breaker.state}: {breaker.reason}")


def set_aside(scene: Scene) -> Iterator[Finding]:
    """Row 10: the bot may not speak in a channel."""
    for happening in scene.recent_events.recent("set-aside", scene.settings.within_s):
        yield Finding(happening.subject, f"set aside: {happening.detail}")


def outside_sensors() -> tuple[Sensor, ...]:
    """All of them; the counters' sensor has a memory, so that each bot gets its own."""
    model = Part.MODEL
    discord = Part.DISCORD
    return (
        Sensor(Nature("model-quota-minute", 1, model), quota_minute),
        Sensor(Nature("model-quota-day", 2, model), quota_day),
        Sensor(Nature("model-unavailable", 3, model, timed=True), model_unavailable),
        Sensor(Nature("model-broken-off", 4, model, timed=True), model_broken_off),
        Sensor(Nature("model-credentials", 5, model), model_credentials),
        Sensor(Nature("model-missing", 5, model), model_missing),
        Sensor(Nature("model-wordless", 6, model), model_wordless),
        Sensor(Nature("gateway-away", 7, discord, raise_after_s=1.0, timed=True), gateway_away),
        Sensor(Nature("gateway-dropped", 7, discord, timed=True), gateway_dropped),
        Sensor(Nature("discord-refuses", 8, discord), discord_refuses),
        Sensor(Nature("discord-rest", 9, discord, timed=True), RestCounters().look),
        Sensor(Nature("discord-breaker", 9, discord), discord_breaker),
        Sensor(Nature("channel-set-aside", 10, discord), set_aside),
    )
