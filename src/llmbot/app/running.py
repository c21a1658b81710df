"""A running bot with its control plane: what views read and actions act upon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llmbot.app.externals import Externals
from llmbot.app.lifecycle.supervisor import Supervisor
from llmbot.app.parts import Bot, Conversation, Edges, House, Mechanisms
from llmbot.app.sensors import QueueGlance, Sensors
from llmbot.app.synthetic.messages import SyntheticMessages
from llmbot.conversation.commands.handlers import Commands
from llmbot.conversation.intake.switchboard import Switchboard
from llmbot.operations.audit.trail import AuditTrail
from llmbot.operations.metrics import Metrics
from llmbot.operations.sensing.recent_calls import RecentCalls
from llmbot.resilience.mutex import Mutexes

__all__ = ["Operations", "Running", "running"]


@dataclass(frozen=True, slots=True)
class Operations:
    """What senses, counts, records and tests the bot."""

    sensors: Sensors
    glance: QueueGlance
    recent_calls: RecentCalls
    externals: Externals
    metrics: Metrics
    mutexes: Mutexes
    audit: AuditTrail
    synthetic: SyntheticMessages


@dataclass(frozen=True, slots=True)
class Running:
    """The parts of `Bot` and its operations, side by side."""

    house: House
    mechanisms: Mechanisms
    edges: Edges
    conversation: Conversation
    supervisor: Supervisor
    switchboard: Switchboard
    make_commands: Callable[[], Commands]
    operations: Operations


def running(bot: Bot, operations: Operations) -> Running:
    """Both as one."""
    return Running(
        bot.house,
        bot.mechanisms,
        bot.edges,
        bot.conversation,
        bot.supervisor,
        bot.switchboard,
        bot.make_commands,
        operations,
    )
