"""The hand of the control plane: `operations.ports.Hand`, fulfilled by the operators' own actions.

What automation does is what an operator would do, checked in the same way: each action reads its
effect back before it answers.
"""

from __future__ import annotations

from collections.abc import Mapping

from llmbot.app.running import Running
from llmbot.console.action_desk import ActionDesk
from llmbot.console.actions import ADMIN_ACTIONS, Asked, Done
from llmbot.console.gate.roles import Caller, Role
from llmbot.kernel.errors import RefusedError
from llmbot.operations.ports import Act, Effect, Verb

ACTIONS: Mapping[Verb, str] = {
    Verb.RESET_BREAKER: "circuit/reset",
    Verb.RECONNECT: "discord/reconnect",
    Verb.REATTACH_HANDLERS: "handlers/restart",
    Verb.RESTART_SERVICE: "service/restart",
    Verb.RESTART_BOT: "restart",
    Verb.COLLECT: "gc",
    Verb.CLEAR_CACHES: "cache/clear",
    Verb.DEGRADE: "degradation/enable",
    Verb.RELEASE_DEGRADATION: "degradation/disable",
    Verb.RESTORE_WORKERS: "concurrency/restore",
    Verb.QUEUE_ALL: "queue/enable",
    Verb.SERVE_AT_ONCE: "queue/disable",
    Verb.HASTEN_QUEUE: "queue/process-priority",
    Verb.RESET_LIMITS: "ratelimit/reset",
    Verb.CLEAN_LOCKS: "mutex/cleanup",
    Verb.RELEASE_LOCK: "mutex/force-release",
    Verb.RECOVER_DOCUMENT: "datastore/recover",
    Verb.CLEAN_TEMP: "temp/cleanup",
    Verb.RESTART_CONTEXTS: "context/restart",
    Verb.RETRY_CHUNKS: "context/retry-failed",
}
"""What an operator would call for each act; fewer workers are a matter of their own."""

_OPTIONS: Mapping[Verb, str] = {Verb.DEGRADE: "level", Verb.RESET_LIMITS: "scope"}
"""Where the act's target is an option of the action."""

AUTOMATION = Caller("control plane", Role.ADMIN, "automation")
"""Who acts, as it stands in the audit."""

_SPECS = {spec.name: spec for spec in ADMIN_ACTIONS}
_WORDS_MAX = 300


class BotHand:
    """See `operations.ports.Hand`."""

    def __init__(self, bot: Running, desk: ActionDesk) -> None:
        """Act through the operators' `desk`, so that what is done stands in the audit."""
        self._controls = bot.conversation.controls
        self._desk = desk

    async def perform(self, act: Act, reason: str) -> Effect:
        """See `Hand.perform`."""
        if act.verb is Verb.REDUCE_WORKERS:
            return await self._reduce()
        name = ACTIONS.get(act.verb)
        if name is None:
            raise RefusedError(f"this bot has nothing that {act.verb} would work on")
        options: dict[str, object] = {"reason": reason}
        option = _OPTIONS.get(act.verb)
        if option is not None and act.target:
            options[option] = act.target
        asked = Asked(act.target if _SPECS[name].target else "", options)
        return effect_of((await self._desk.perform(_SPECS[name], asked, AUTOMATION)).done)

    async def _reduce(self) -> Effect:
        """Halve the workers once, however often it is done: twice would be a quarter."""
        before = self._controls.pool_facts()
        after = before if before.reduced else self._controls.reduce_concurrency()
        return Effect(f"{before.limit} workers", f"{after.limit} workers")


def effect_of(done: Done) -> Effect:
    """What changed, in a few words; what an action tells besides where nothing did."""
    changed = [name for name in done.after if done.before.get(name) != done.after[name]]
    before = {name: done.before.get(name) for name in changed}
    after = {name: done.after[name] for name in changed} or done.told or done.after
    return Effect(_words(before), _words(after))


def _words(state: Mapping[str, object]) -> str:
    text = ", ".join(f"{name} {value}" for name, value in state.items())
    return text[:_WORDS_MAX] or "as it was"
