"""`/admin` on Discord: the API's own actions, for configured administrators, answered in private.

Only who is named in the settings may use it: the rights that a server gives do not count, because
the bot belongs to who runs it. What is done stands in the audit like everything else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from llmbot.console.action_desk import ActionDesk, Outcome
from llmbot.console.actions import ADMIN_ACTIONS, Asked
from llmbot.console.gate.roles import Caller, Role
from llmbot.console.views import Health, Views, all_parts, judge
from llmbot.conversation.messages import (
    CommandDefinition,
    CommandOption,
    CommandReply,
    CommandRequest,
)
from llmbot.kernel.errors import LlmbotError, RefusedError

__all__ = ["ADMIN", "Administrators", "DiscordAdmin"]

WAIT_S = 8.0
"""Less than the command has; an action that takes longer goes on and is told so."""

TEXT_MAX = 1900
REASON_MAX = 200
NAMES_SHOWN_MAX = 20

_LOOKS = ("status", "circuits", "queue")
_ACTS: Mapping[str, str] = {
    "maintenance on": "maintenance/enable",
    "maintenance off": "maintenance/disable",
    "circuit reset": "circuit/reset",
    "circuit trip": "circuit/trip",
    "queue process": "queue/process",
    "queue on": "queue/enable",
    "queue off": "queue/disable",
    "service restart": "service/restart",
    "reconnect": "discord/reconnect",
}
_SPECS = {spec.name: spec for spec in ADMIN_ACTIONS}

ADMIN = CommandDefinition(
    "admin",
    "For the bot's administrators: see how it is, and mend it",
    (
        CommandOption("action", "What to do", required=True, choices=(*_LOOKS, *_ACTS)),
        CommandOption("target", "Name of the circuit or service; `all` for every circuit"),
        CommandOption("reason", "Why, for the audit"),
    ),
)


class NotAdministratorError(RefusedError):
    """Who asked is not named in the settings."""

    code = "not_admin"


@dataclass(frozen=True, slots=True)
class Administrators:
    """Who may use it: users, and everybody with a role; ids of Discord."""

    user_ids: tuple[int, ...] = ()
    role_ids: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is anybody."""
        return bool(self.user_ids or self.role_ids)

    def has(self, request: CommandRequest) -> bool:
        """Whether who asked is one."""
        return request.user_id in self.user_ids or bool({*request.role_ids} & {*self.role_ids})


class DiscordAdmin:
    """Answers the command."""

    def __init__(self, views: Views, desk: ActionDesk, who: Callable[[], Administrators]) -> None:
        """`who` gives those who may use it now."""
        self._views = views
        self._desk = desk
        self._who = who

    async def admin(self, request: CommandRequest) -> CommandReply:
        """Show, or act and tell the state before and after.

        Raises:
            NotAdministratorError: who asked may not; nothing was done or told.
        """
        if not self._who().has(request):
            raise NotAdministratorError("This is for the administrators of this bot.")
        action = request.options.get("action", "")
        if action in _LOOKS:
            return CommandReply((await self._look(action))[:TEXT_MAX])
        if action not in _ACTS:
            return CommandReply(f"I know: {', '.join((*_LOOKS, *_ACTS))}.")
        return CommandReply((await self._act(_ACTS[action], request))[:TEXT_MAX])

    # ── looking ─────────────────────────────────────────────────────────────────────────────────

    async def _look(self, action: str) -> str:
        if action == "circuits":
            circuits = self._views.circuits().items()
            return "\n".join(
                f"{name}: **{facts.state}**, {facts.reason}" for name, facts in circuits
            )
        if action == "queue":
            queue = await self._views.queue()
            states = ", ".join(f"{count} {state}" for state, count in queue.by_state.items())
            return (
                f"**{queue.depth}** of {queue.capacity} ({states}), the oldest for "
                f"{queue.oldest_age_seconds} s; {queue.workers.busy} of {queue.workers.limit} "
                "workers busy"
            )
        return self._status()

    def _status(self) -> str:
        parts = all_parts(self._views)
        verdict = judge(self._views.life(), parts)
        unwell = [f"- {p.name}: {p.detail}" for p in parts if p.health is not Health.HEALTHY]
        degradation = self._views.degradation()
        views, mode = self._views, "on" if degradation.maintenance else "off"
        lines = [
            f"**{verdict.status}**, {views.mode}, {views.version}, up {int(views.uptime_s())} s",
            f"degradation {degradation.level}, maintenance {mode}",
            f"{degradation.queue_depth} messages in the queue",
            *unwell,
        ]
        return "\n".join(lines)

    # ── acting ──────────────────────────────────────────────────────────────────────────────────

    async def _act(self, name: str, request: CommandRequest) -> str:
        target = request.options.get("target", "").strip()
        if target == "all" and f"{name}/all" in _SPECS:
            name, target = f"{name}/all", ""
        spec = _SPECS[name]
        if spec.target and not target:
            known = ", ".join(self._desk.actions.known(spec.target)[:NAMES_SHOWN_MAX])
            return f"Give a target, the name of a {spec.target}: {known}."
        reason = request.options.get("reason", "").strip()[:REASON_MAX]
        asked = Asked(target if spec.target else "", {"reason": reason} if reason else {})
        caller = Caller(f"discord user {request.user_id}", Role.ADMIN, "discord")
        try:
            async with asyncio.timeout(WAIT_S):
                outcome = await self._desk.perform(spec, asked, caller)
        except TimeoutError:
            return (
                f"{name} takes longer than {WAIT_S:g} s and goes on; the audit tells how it ended."
            )
        except LlmbotError as error:
            return f"**Not done**: {error} {error.remedy}"
        return _told(outcome, target)


def _told(outcome: Outcome, target: str) -> str:
    before, after = outcome.done.before, outcome.done.after
    lines = [f"**Done**: {outcome.action} {target}".rstrip() + f", {outcome.duration_ms} ms"]
    lines += [f"- {key}: {before.get(key, '-')} → {value}" for key, value in after.items()]
    return "\n".join((*lines, f"audit {outcome.audit_id}"))
