"""Looking for real: one small thing is asked of the part that is meant (`Plant.probe`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any

import httpx2

from llmbot.adapters.discord.login import probe_headers
from llmbot.adapters.models.transport import new_http_client
from llmbot.app.actions.tests_outside import outside_tests
from llmbot.app.running import Running
from llmbot.app.synthetic.messages import ECHO_CHANNEL
from llmbot.app.telemetry.logs import LOG_NAME, tail
from llmbot.console.actions import Asked
from llmbot.conversation.generation import Candidate
from llmbot.conversation.ports import Finish, ModelDeadlines, Prompt, Role, Turn
from llmbot.kernel.errors import LlmbotError, ModelEmptyError, ModelStreamCutError
from llmbot.operations import temp_files
from llmbot.operations.ports import Check, Part
from llmbot.operations.sensing.sensors import Reading, SensorSettings
from llmbot.resilience.deadline import Deadline

__all__ = ["PROBE_S", "Probes", "model_name"]

PROBE_S = 8.0
_OK = 200
_TRIES = 3
_PAUSE_S = 0.5
_SPAN_S = 0.4
"""Of a measurement of the loop or the clocks."""
_LATE_S = SensorSettings().lag_s[0]
_APART_S = 0.1
_SECRET_MIN = 6
"""Shorter ones are plain words, too."""
_LOG_BYTES = 256 * 1024
_LOOK_AGAIN_S = 0.1

_DEADLINES = ModelDeadlines(
    connect_s=3.0, first_words_s=5.0, between_words_s=3.0, whole_answer_s=PROBE_S
)
_PROBE = Prompt(
    system="Answer with one word.",
    turns=(Turn(Role.USER, "Say ok."),),
    output_tokens_max=16,
    little_thinking=True,
)


class Probes:
    """One look at a part, within `PROBE_S` seconds."""

    def __init__(self, bot: Running) -> None:
        """Look at `bot`."""
        self._bot = bot
        self._looks: dict[Part, Callable[[str], Any]] = {
            Part.MODEL: self._ask_model,
            Part.DISCORD: self._ask_discord,
            Part.DATABASE: self._write_and_read,
            Part.QUEUE: self._whole,
            Part.DOCUMENTS: self._documents_sound,
            Part.CONTEXT: self._room_for_contexts,
            Part.LOOP: self._loop_turns,
            Part.CLOCK: self._clocks_agree,
            Part.CONFIG: self._settings_hold,
            Part.SENSORS: self._sensors_look,
        }
        self.readings: Mapping[str, Reading] = {}
        """What the sensors say, renewed by each of their looks."""

    def has(self, part: Part) -> bool:
        """Whether the part can be asked."""
        return part in self._looks

    async def look(self, part: Part, subject: str) -> Check:
        """See `Plant.probe`."""
        look = self._looks.get(part)
        if look is None:
            return Check(str(part), passed=False, detail="nothing asks this part")
        try:
            async with Deadline.after(self._bot.house.clock, PROBE_S).limit():
                return Check(str(part), passed=True, detail=await look(subject))
        except (LlmbotError, OSError) as error:
            return Check(str(part), passed=False, detail=str(error) or type(error).__name__)
        except TimeoutError:
            return Check(str(part), passed=False, detail=f"no answer within {PROBE_S:g} s")

    async def _ask_model(self, subject: str) -> str:
        """Ask the model that is meant, or the first of the chain that its breaker lets through."""
        chain = self._bot.conversation.generation.chain
        chosen = next((each for each in chain if model_name(each) == subject), None) or chain[0]
        clock = self._bot.house.clock
        began = clock.monotonic()
        for tries_left in reversed(range(_TRIES)):
            try:
                await self._hear_out(chosen)
                break
            except ModelStreamCutError:
                # The connection broke: that says nothing of the model yet.
                if not tries_left:
                    raise
                await clock.sleep(_PAUSE_S)
        took_ms = round((clock.monotonic() - began) * 1000)
        return f"{model_name(chosen)} answered in {took_ms} ms"

    async def _hear_out(self, chosen: Candidate) -> None:
        try:
            async with aclosing(chosen.model.stream(_PROBE, _DEADLINES)) as items:
                async for item in items:
                    if isinstance(item, Finish):
                        return
        except ModelEmptyError:
            return  # it answers, if with nothing to say; that is not what is asked here

    async def _ask_discord(self, _: str) -> str:
        """Past the bot's own limits and breaker: whether Discord knows this bot now."""
        settings = self._bot.house.settings.discord
        headers = probe_headers(settings.token.get_secret_value())
        base = settings.api_base_url
        try:
            async with new_http_client(base, connections_max=1) as client:
                answer = await client.get(f"{base}/users/@me", headers=headers)
        except httpx2.HTTPError as error:
            raise OSError(f"Discord: {type(error).__name__}") from None
        if answer.status_code != _OK:
            raise OSError(f"Discord answers {answer.status_code}")
        state = self._bot.edges.discord.facts().state
        return f"REST answers, the gateway is {state}"

    async def _write_and_read(self, _: str) -> str:
        store, clock = self._bot.mechanisms.store, self._bot.house.clock
        wanted = f"{clock.wall():.3f}"
        began = clock.monotonic()
        await store.set_meta("probe", wanted)
        if await store.meta("probe") != wanted:
            raise OSError("what was written was not read back")
        return f"a test write was read back in {round((clock.monotonic() - began) * 1000)} ms"

    async def _whole(self, _: str) -> str:
        """A real message through claim, queue, workers and pipeline; its echo is read back."""
        for service in self._bot.supervisor.facts():
            if str(service.state) != "running" or service.trouble:
                raise OSError(f"{service.name}: {service.trouble or service.state}")
        replied = await self._bot.operations.synthetic.say("are you well", ECHO_CHANNEL)
        return f"a message was answered in {replied.stages['totalMs']} ms"

    async def whole_way(self) -> Check:
        """A message in the test channel: told by the gateway, answered by a model, read back.

        Where no test channel is set, one through the pipeline alone.
        """
        if not self._bot.house.settings.discord.test_channel_id:
            found = await self.look(Part.QUEUE, "")
            return Check("end to end", found.passed, f"{found.detail}; no test channel is set")
        try:
            done = await outside_tests(self._bot)["test/e2e"](Asked())
        except (LlmbotError, OSError) as error:
            return Check("end to end", passed=False, detail=str(error) or type(error).__name__)
        stages = done.told.get("stages")
        total = stages.get("totalMs") if isinstance(stages, dict) else None
        words = f"a message in the test channel was answered in {total} ms and read back"
        return Check("end to end", passed=True, detail=words)

    async def _room_for_contexts(self, _: str) -> str:
        folder = self._bot.house.settings.storage.temp_dir
        await asyncio.to_thread(temp_files.prepare, folder)
        return "TEMP_DIR can be written"

    async def _loop_turns(self, _: str) -> str:
        """Ask the thread that watches the loop; the loop's own lateness raised the alarm."""
        watch = self._bot.operations.sensors.loop
        if not watch.running:
            raise OSError("nothing watches the loop")
        await self._bot.house.clock.sleep(_SPAN_S)
        late_s = watch.worst_s(_SPAN_S)
        if late_s > _LATE_S:
            raise OSError(f"a sign of life took {late_s:.2f} s")
        return f"a sign of life for another thread took {1000 * late_s:.0f} ms at most"

    async def _clocks_agree(self, _: str) -> str:
        """Time a short sleep by both clocks: neither runs ahead of the other now."""
        clock = self._bot.house.clock
        wall, monotonic = clock.wall(), clock.monotonic()
        await clock.sleep(_SPAN_S)
        by_wall, by_timer = clock.wall() - wall, clock.monotonic() - monotonic
        if by_timer < _SPAN_S:
            raise OSError(f"a timer of {_SPAN_S:g} s ended after {by_timer:.2f} s")
        if abs(by_wall - by_timer) > _APART_S:
            raise OSError(f"{by_timer:.2f} s were {by_wall:.2f} s by the wall clock")
        return f"{by_timer:.2f} s were {by_wall:.2f} s by the wall clock"

    async def _settings_hold(self, _: str) -> str:
        """Read the settings from the disk again, and the end of the log."""
        reloader, settings = self._bot.mechanisms.documents.reloader, self._bot.house.settings
        if await reloader.reread() != reloader.in_force:
            raise OSError("the settings on the disk are not those in force")
        log = await asyncio.to_thread(tail, settings.storage.log_dir / LOG_NAME, _LOG_BYTES)
        if any(secret in log for secret in settings.secrets if len(secret) >= _SECRET_MIN):
            raise OSError("a secret stands in the log")
        return "the settings on the disk are those in force; no secret stands in the log"

    async def _sensors_look(self, _: str) -> str:
        """Wait until every sensor has looked once more."""
        before, clock = dict(self.readings), self._bot.house.clock
        while any(self.readings[name] is reading for name, reading in before.items()):
            await clock.sleep(_LOOK_AGAIN_S)
        blind = [name for name, reading in self.readings.items() if reading.failed]
        if blind:
            raise OSError(f"cannot look: {', '.join(blind[:5])}")
        return f"{len(before)} sensors have looked anew"

    async def _documents_sound(self, subject: str) -> str:
        admin = self._bot.mechanisms.documents.admin
        if subject and subject in await admin.names():
            check = await admin.validate(subject)
            if not check.ok:
                raise OSError(f"{check.name}: {check.problem}")
            return f"{subject} is sound"
        found = await admin.validate_all()
        bad = [name for name, check in found.documents.items() if not check.ok]
        if bad:
            raise OSError(f"damaged: {', '.join(bad[:5])}")
        return f"{len(found.documents)} document(s) are sound"


def model_name(candidate: Candidate) -> str:
    """As breakers and statistics call it."""
    return f"{candidate.model.provider}:{candidate.model.name}"
