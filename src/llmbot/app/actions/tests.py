"""The tests of `/api/test`: each exercises the real thing and says what it found."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping

from llmbot.app.actions.tests_outside import outside_tests
from llmbot.app.limits import SCRATCH_LIMIT
from llmbot.app.running import Running
from llmbot.app.synthetic.messages import ECHO_CHANNEL, GUILD, LOAD_CHANNEL
from llmbot.console.actions import ActionError, Asked, Done, UnknownTargetError
from llmbot.conversation.commands.definitions import DEFINITIONS
from llmbot.conversation.messages import CommandReply, CommandRequest, InteractionRef
from llmbot.kernel.clock import ManualClock
from llmbot.kernel.events import CommandExecuted
from llmbot.resilience.limiter import Limiter
from llmbot.resilience.limits import RateLimits, Scope, Wait

__all__ = ["test_actions"]

Handler = Callable[[Asked], Awaitable[Done]]

SCRATCH = "scratch"
_ID_MASK = (1 << 52) - 1


def test_actions(bot: Running) -> Mapping[str, Handler]:
    """The tests by name."""
    tests = _Tests(bot)
    return {
        "test/echo": lambda asked: tests.echo(asked, ECHO_CHANNEL),
        "test/load": lambda asked: tests.echo(asked, LOAD_CHANNEL),
        "test/command": tests.command,
        "test/rate-limit": tests.rate_limit,
        **outside_tests(bot),
    }


class _Tests:
    def __init__(self, bot: Running) -> None:
        self._bot = bot

    # ── the pipeline ────────────────────────────────────────────────────────────────────────────

    async def echo(self, asked: Asked, channel_id: int) -> Done:
        text = str(asked.options.get("message", "test"))
        replied = await self._bot.operations.synthetic.say(text, channel_id)
        told = {
            "echo": replied.reply,
            "matches": replied.reply.split() == text.split(),
            "stages": replied.stages,
            "counted": channel_id == LOAD_CHANNEL,
        }
        return Done(told=told)

    # ── commands ────────────────────────────────────────────────────────────────────────────────

    async def command(self, asked: Asked) -> Done:
        name = str(asked.options.get("command", "ping"))
        known = [definition.name for definition in DEFINITIONS]
        if name not in known:
            raise UnknownTargetError("command", known)
        request = self._request(name, asked)
        executed = self._bot.house.bus.expect(CommandExecuted, lambda event: event.command == name)
        reply: CommandReply | None = None
        said = ""

        async def run() -> None:
            nonlocal reply
            reply = await self._bot.switchboard.on_command(request)

        try:
            if name == "chat":  # its answer comes by the queue
                said = await self._bot.operations.synthetic.told(request.interaction.id, run)
            else:
                await run()
            outcome = executed.result().outcome if executed.done() else "unknown"
        finally:
            executed.cancel()
        text = said if reply is None else reply.text
        told: dict[str, object] = {
            "command": name,
            "outcome": outcome,
            "reply": text,
            "private": reply is not None and reply.private,
        }
        if outcome not in {"answered", "queued"} or not text:
            words = f"The command ended as {outcome}."
            raise ActionError(words, code="command_failed", remedy="See the log.", facts=told)
        return Done(told=told)

    def _request(self, name: str, asked: Asked) -> CommandRequest:
        user = str(asked.options.get("user_id", "test"))
        digest = hashlib.sha256(user.encode("utf-8", "surrogatepass")).digest()
        user_id = int.from_bytes(digest[:8], "big") & _ID_MASK
        given = asked.options.get("options")
        options = dict(given) if isinstance(given, Mapping) else {}
        return CommandRequest(
            name=name,
            user_id=user_id,
            user_name="operator",
            channel_id=ECHO_CHANNEL,
            guild_id=GUILD,
            options={"message": "test", **{str(k): str(v) for k, v in options.items()}},
            # No token: what answers it is the loopback, which asks for none.
            interaction=InteractionRef(self._bot.operations.synthetic.new_id(), 1, ""),
            may_manage=bool(asked.options.get("may_manage", False)),
        )

    # ── limits ──────────────────────────────────────────────────────────────────────────────────

    async def rate_limit(self, asked: Asked) -> Done:
        """The real limiter by a reset, and its arithmetic by the passing of a minute."""
        del asked
        limiter, scope = self._bot.mechanisms.limits.limiter, Scope(SCRATCH, "operator-test")
        limiter.reset(str(scope))
        try:
            live = _shown(limiter, scope, lambda _: limiter.reset(str(scope)))
        finally:
            limiter.reset(str(scope))
        clock = ManualClock()
        timed = _shown(
            Limiter(clock, {SCRATCH: RateLimits(per_minute=SCRATCH_LIMIT)}), scope, clock.advance
        )
        told = {"scope": str(scope), "limit": SCRATCH_LIMIT, "byReset": live, "byTime": timed}
        if not (_as_it_should(live) and _as_it_should(timed)):
            raise ActionError(
                "The limiter does not keep its limit.",
                code="limiter_wrong",
                remedy="Please report it with this answer.",
                facts=told,
            )
        return Done(told=told)


def _shown(limiter: Limiter, scope: Scope, free: Callable[[float], object]) -> dict[str, object]:
    """Admit up to the limit, be refused, free, and be admitted again."""
    answers = [limiter.admit(scope) for _ in range(SCRATCH_LIMIT + 1)]
    admitted = sum(not isinstance(answer, Wait) for answer in answers)
    last = answers[-1]
    wait_s = last.seconds if isinstance(last, Wait) else 0.0
    free(wait_s)
    again = limiter.admit(scope)
    return {
        "admitted": admitted,
        "refusedNext": isinstance(last, Wait),
        "waitMs": round(wait_s * 1000),
        "freedAgain": not isinstance(again, Wait),
    }


def _as_it_should(shown: Mapping[str, object]) -> bool:
    return (
        shown["admitted"] == SCRATCH_LIMIT
        and shown["refusedNext"] is True
        and shown["freedAgain"] is True
    )
