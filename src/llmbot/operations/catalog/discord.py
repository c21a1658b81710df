"""Runbooks for Discord: recovery of the connection, circuit, commands, duplicates, permissions."""

from __future__ import annotations

from llmbot.operations.catalog.checks import only_told, open_breakers, probed
from llmbot.operations.ports import Act, Check, Part, Verb
from llmbot.operations.runbook import Go, Ready, Runbook, Situation, Step

_STUCK_ACK_S = 65.0


async def _stuck(situation: Situation) -> Ready:
    gateway = situation.plant.gateway()
    if gateway.state == "ready" and (gateway.ack_age_s or 0.0) <= _STUCK_ACK_S:
        return Ready(Go.NOTHING, "the session was won back by the connection itself")
    check = await situation.plant.probe(Part.DISCORD, "rest")
    if not check.passed:
        return Ready(Go.WAIT, f"Discord cannot be reached: {check.detail}")
    if gateway.state != "ready":
        # The connection tries by its own ladder; a second hand would only spend identifies.
        return Ready(Go.WAIT, f"Discord answers; the connection is {gateway.state} and tries")
    return Ready(Go.ACT, "Discord answers, but the session is dead")


def _reconnect(_: Situation) -> tuple[Act, ...]:
    return (Act(Verb.RECONNECT),)


async def _ready(situation: Situation) -> Check:
    state = situation.plant.gateway().state
    if state != "ready":
        return Check("gateway", passed=False, detail=state)
    return await situation.plant.probe(Part.DISCORD, "rest")


async def _discord_back(situation: Situation) -> Ready:
    if not open_breakers(situation):
        return Ready(Go.NOTHING, "the breaker has closed by itself")
    check = await situation.plant.probe(Part.DISCORD, "rest")
    return Ready(Go.ACT if check.passed else Go.WAIT, check.detail)


def _reset(situation: Situation) -> tuple[Act, ...]:
    return tuple(Act(Verb.RESET_BREAKER, name) for name in open_breakers(situation))


async def _closed(situation: Situation) -> Check:
    held = open_breakers(situation)
    return Check("circuit", not held, "closed" if not held else f"open: {', '.join(held)}")


async def _commands_lost(situation: Situation) -> Ready:
    if situation.plant.gateway().state != "ready":
        return Ready(Go.WAIT, "the gateway is away; commands come through it")
    return Ready(Go.NOTHING, "the user was told; the handlers are attached")


def _reattach(_: Situation) -> tuple[Act, ...]:
    return (Act(Verb.REATTACH_HANDLERS),)


DISCORD_RUNBOOKS = (
    Runbook(
        name="discord-recovery",
        title="Discord connection recovery",
        rows=(7,),
        part=Part.DISCORD,
        precheck=_stuck,
        steps=(Step("reconnect, resuming the session where Discord allows it", _reconnect),),
        validate=_ready,
        settle_s=20.0,
    ),
    Runbook(
        name="discord-credentials",
        title="Discord refuses the token or the intents",
        rows=(8,),
        part=Part.DISCORD,
        precheck=only_told("no act helps: a person must set a new token or switch intents on"),
        validate=_ready,
        people=("Set a valid DISCORD_TOKEN or switch on the intents, then `llmbot restart`.",),
    ),
    Runbook(
        name="discord-rest",
        title="Calls to Discord fail or are held back",
        rows=(9,),
        part=Part.DISCORD,
        precheck=only_told("calls wait as told and are sent again with the same nonce"),
        validate=probed(Part.DISCORD),
    ),
    Runbook(
        name="circuit-breaker",
        title="Circuit breaker recovery",
        rows=(9,),
        part=Part.MODEL,
        precheck=_discord_back,
        steps=(Step("reset the circuit breaker", _reset),),
        validate=_closed,
    ),
    Runbook(
        name="channel-permission",
        title="The bot may not speak in a channel",
        rows=(10,),
        part=Part.DISCORD,
        precheck=only_told("not retried: the channel is set aside and tried again after a while"),
        validate=probed(Part.DISCORD),
        people=("Give the bot its permissions in the channel that is named.",),
    ),
    Runbook(
        name="backfill",
        title="Messages were sent while the bot could not hear",
        rows=(13,),
        part=Part.DISCORD,
        precheck=only_told("they are looked for and claimed like any other, each once"),
        validate=probed(Part.QUEUE),
    ),
    Runbook(
        name="duplicates",
        title="Event handler race conditions: duplicate messages",
        rows=(11,),
        part=Part.QUEUE,
        precheck=only_told("the durable claim drops each duplicate; clearing it would do harm"),
        validate=probed(Part.DATABASE),
    ),
    Runbook(
        name="commands",
        title="Command handler failures",
        rows=(24,),
        part=Part.DISCORD,
        precheck=_commands_lost,
        steps=(Step("re-attach the handlers", _reattach),),
        validate=_ready,
    ),
)
