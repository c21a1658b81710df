"""The tests that go outside: one model call, one message to Discord, one whole conversation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from llmbot.app.running import Running
from llmbot.app.settings.translate import generation_settings
from llmbot.app.synthetic.messages import stages_of
from llmbot.console.actions import ActionError, Asked, Done
from llmbot.conversation.generation import Generation
from llmbot.conversation.jobs import JobState
from llmbot.conversation.messages import ChannelMessage, Inbound, Source
from llmbot.conversation.ports import Prompt, Role, Turn
from llmbot.kernel.errors import BreakerOpenError, LlmbotError
from llmbot.kernel.events import ModelAnswered
from llmbot.kernel.ids import part_nonce
from llmbot.resilience.retry import RetryPolicy

__all__ = ["outside_tests"]

Handler = Callable[[Asked], Awaitable[Done]]

PROVIDER = "gemini"
ANSWER_TOKENS_MAX = 256
ANSWER_SHOWN_MAX = 300
E2E_DEADLINE_S = 45.0
SEEN_DEADLINE_S = 5.0
QUESTION = "This is a test of the whole way. Please answer in one short sentence."


def outside_tests(bot: Running) -> Mapping[str, Handler]:
    """The tests by name."""
    tests = _Outside(bot)
    return {
        "test/gemini": tests.gemini,
        "test/discord-message": tests.discord_message,
        "test/e2e": tests.whole_way,
    }


class _Nobody:
    """Shows the words of a test to nobody (`conversation.generation.Show`)."""

    def words(self, text: str) -> None:
        """They come again, whole, with the answer."""

    def restart(self) -> None:
        """Nothing was shown."""


class _Outside:
    def __init__(self, bot: Running) -> None:
        self._bot = bot
        chain = [c for c in bot.edges.chain.candidates if c.model.provider == PROVIDER]
        self._generation = Generation(
            chain,
            RetryPolicy(random=bot.house.rng),
            bot.house.bus,
            bot.house.clock,
            generation_settings(bot.house.settings),
        )

    # ── the model ───────────────────────────────────────────────────────────────────────────────

    async def gemini(self, asked: Asked) -> Done:
        if not self._generation.chain:
            raise ActionError(
                "Gemini is not configured.", code="unconfigured", remedy="Set GOOGLE_API_KEY."
            )
        prompt = Prompt(
            "This is a test by the operator. Answer briefly.",
            (Turn(Role.USER, str(asked.options.get("prompt", "Answer with one word: pong"))),),
            output_tokens_max=ANSWER_TOKENS_MAX,
            little_thinking=True,
        )
        test_id = self._bot.operations.synthetic.new_id()
        answered = self._bot.house.bus.expect(ModelAnswered, lambda e: e.message_id == test_id)
        try:
            answer = await self._generation.answer(test_id, prompt, _Nobody())
            event = answered.result() if answered.done() else None
        finally:
            answered.cancel()
        return Done(
            told={
                "provider": answer.provider,
                "model": answer.model,
                "latencyMs": 0 if event is None else event.duration_ms,
                "firstWordsMs": 0 if event is None else event.first_words_ms,
                "tokens": {
                    "in": answer.tokens_in,
                    "out": 0 if event is None else event.tokens_out,
                },
                "reply": answer.text[:ANSWER_SHOWN_MAX],
            }
        )

    # ── Discord ─────────────────────────────────────────────────────────────────────────────────

    async def discord_message(self, asked: Asked) -> Done:
        text = str(asked.options.get("message", "test"))
        channel_id = self._channel()
        sent_id, stages = await self._send(channel_id, text)
        began = self._bot.house.clock.monotonic()
        found = await self._bot.conversation.discord.message(channel_id, sent_id)
        stages["readBackMs"] = self._since(began)
        if found is None or found.content.split() != text.split():
            raise ActionError(
                "The message does not stand in the channel as it was sent.",
                code="not_read_back",
                remedy="See that the bot may read the test channel's history.",
                facts={"messageId": str(sent_id), "stages": stages},
            )
        return Done(
            told={"messageId": str(sent_id), "channelId": str(channel_id), "stages": stages}
        )

    def _channel(self) -> int:
        breaker = self._bot.mechanisms.breakers.find("discord")
        # Open beyond its pause it lets a call probe, which this is then.
        if breaker is not None and breaker.retry_after() != 0:
            raise BreakerOpenError("circuit breaker discord is open", breaker="discord")
        channel_id = self._bot.house.settings.discord.test_channel_id
        if not channel_id:
            raise ActionError(
                "No test channel is set.",
                code="unconfigured",
                remedy="Set TEST_CHANNEL_ID to a channel that the bot may write and read.",
            )
        return channel_id

    async def _send(self, channel_id: int, text: str) -> tuple[int, dict[str, int]]:
        began = self._bot.house.clock.monotonic()
        nonce = part_nonce(self._bot.operations.synthetic.new_id(), 0)
        sent = await self._bot.conversation.discord.send(channel_id, text, nonce=nonce)
        return sent.id, {"sendMs": self._since(began)}

    def _since(self, began: float) -> int:
        return round((self._bot.house.clock.monotonic() - began) * 1000)

    # ── the whole way ───────────────────────────────────────────────────────────────────────────

    async def whole_way(self, asked: Asked) -> Done:
        """A message in the test channel, seen by the gateway, answered by a model, read back."""
        channel_id = self._channel()
        text = str(asked.options.get("message", QUESTION))
        clock = self._bot.house.clock
        question_id, stages = await self._send(channel_id, text)
        began = clock.monotonic()
        await self._seen(question_id)
        stages["gatewayMs"] = self._since(began)
        inbound = Inbound(
            message_id=question_id,
            channel_id=channel_id,
            guild_id=None,
            author_id=question_id,
            author_name="operator",
            content=text,
            source=Source.OPERATOR,
            mentions_us=True,
        )
        job = await self._bot.operations.synthetic.answered(inbound, E2E_DEADLINE_S)
        stages |= stages_of(job)
        began = clock.monotonic()
        parts = await self._replies(channel_id, question_id)
        stages["readBackMs"] = self._since(began)
        told: dict[str, object] = {
            "messageId": str(question_id),
            "replyIds": [str(part.id) for part in parts],
            "replyCharacters": sum(len(part.content) for part in parts),
            "stages": stages,
        }
        if job.state is not JobState.DONE:
            raise ActionError(
                f"The message ended as {job.state} and not with an answer.",
                code="no_answer",
                remedy="See GET /api/health/circuits and /api/health/external/gemini.",
                facts=told,
            )
        if not parts or len(parts) != len(job.parts):
            raise ActionError(
                "The reply does not stand in the channel as it was delivered.",
                code="not_read_back",
                remedy="See that the bot may read the test channel's history.",
                facts=told,
            )
        return Done(told=told)

    async def _seen(self, message_id: int) -> None:
        seen = self._bot.switchboard.expect_seen(message_id)
        try:
            async with asyncio.timeout(SEEN_DEADLINE_S):
                await asyncio.shield(seen)
        except TimeoutError:
            raise ActionError(
                f"The gateway told nothing of the message within {SEEN_DEADLINE_S:g} s.",
                code="not_seen",
                remedy="POST /api/admin/discord/reconnect, and see the bot's intents.",
            ) from None
        finally:
            seen.cancel()

    async def _replies(self, channel_id: int, question_id: int) -> list[ChannelMessage]:
        try:
            page = await self._bot.conversation.discord.history(
                channel_id, after=question_id, limit=100
            )
        except LlmbotError as error:
            raise ActionError(
                f"The reply could not be read back: {error}", code=error.code, remedy=error.remedy
            ) from error
        return [m for m in page if m.author_is_us and m.reply_to == question_id and m.content]
