"""How the bot is, in the few facts that commands and presence show."""

from __future__ import annotations

from llmbot.app.parts import Bot
from llmbot.app.supervisor import ServiceState
from llmbot.conversation.commands.handlers import BotState


def bot_state(bot: Bot) -> BotState:
    """Read it off the parts; nothing here is a constant."""
    gateway = bot.edges.discord.facts()
    facts = bot.supervisor.facts()
    troubles = [f"{f.name}: {f.trouble or f.last_error}" for f in facts if f.trouble]
    failed = [f"{f.name} has failed" for f in facts if f.state is ServiceState.FAILED]
    queue = bot.mechanisms.queue.facts()
    status = "unhealthy" if failed else "degraded" if troubles else "healthy"
    first = bot.conversation.generation.chain[0].model.name
    return BotState(
        status=status,
        reason="; ".join(failed + troubles),
        uptime_s=bot.house.clock.monotonic() - bot.house.started,
        gateway_ms=None if gateway.latency_ms is None else round(gateway.latency_ms),
        waiting=queue.waiting,
        working=bot.conversation.workers.busy,
        model=first,
    )
