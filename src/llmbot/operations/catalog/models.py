"""Runbooks for the models: Gemini recovery, API interaction, quotas, credentials."""

from __future__ import annotations

import asyncio

from llmbot.operations.catalog.checks import open_breakers
from llmbot.operations.ports import Act, Check, Part, Verb
from llmbot.operations.runbook import Go, Ready, Runbook, Situation, Step


async def _recovered(situation: Situation) -> Ready:
    """The document's order: first whether the API is healthy, then its circuit breaker."""
    held = open_breakers(situation)
    if not held:
        return Ready(Go.NOTHING, "no breaker is open: the chain goes on by itself")
    asked = tuple(s for s in situation.subjects if s in held) or situation.subjects[:1]
    checks = await asyncio.gather(*(situation.plant.probe(Part.MODEL, each) for each in asked))
    for name, check in zip(asked, checks, strict=True):
        if not check.passed:
            return Ready(Go.WAIT, f"{name} is still unwell: {check.detail}")
    return Ready(Go.ACT, f"{', '.join(asked)}: {checks[0].detail}")


async def _quota_back(situation: Situation) -> Ready:
    """A model whose provider named a wait is not asked before that is over.

    A quota of the day may come back at any time (a plan is raised), and the wait that is named
    with it is known to be wrong: those are asked again with growing pauses.
    """
    if situation.cause == "model-quota-day":
        return await _recovered(situation)
    named = {n: s for n, s in situation.plant.waits().items() if n in situation.subjects}
    if named:
        return Ready(Go.WAIT, f"held back for {max(named.values()):.0f} s as the provider named")
    return await _recovered(situation)


def _reset(situation: Situation) -> tuple[Act, ...]:
    return tuple(Act(Verb.RESET_BREAKER, name) for name in open_breakers(situation))


async def _answers(situation: Situation) -> Check:
    held = open_breakers(situation)
    if held:
        return Check("circuit", passed=False, detail=f"still open: {', '.join(held)}")
    subject = situation.subjects[0] if situation.subjects else ""
    return await situation.plant.probe(Part.MODEL, subject)


MODEL_RUNBOOKS = (
    Runbook(
        name="gemini-recovery",
        title="Gemini API recovery",
        rows=(3,),
        part=Part.MODEL,
        precheck=_recovered,
        steps=(Step("reset the circuit breakers of models that answer again", _reset),),
        validate=_answers,
        people=("Check the network and the provider's status page if it lasts.",),
    ),
    Runbook(
        name="api-interaction",
        title="API interaction failures",
        rows=(4, 6),
        part=Part.MODEL,
        precheck=_recovered,
        steps=(Step("reset the circuit breakers of models that answer again", _reset),),
        validate=_answers,
    ),
    Runbook(
        name="model-quota",
        title="A model's quota is used up",
        rows=(1, 2),
        part=Part.MODEL,
        precheck=_quota_back,
        steps=(Step("let the models whose quota is back be asked again", _reset),),
        validate=_answers,
        people=("Raise the quota or add models where this comes every day.",),
    ),
    Runbook(
        name="model-credentials",
        title="The provider refuses the key or the model",
        rows=(5,),
        part=Part.MODEL,
        # No act corrects a key; the live check finds out soon when a person has.
        precheck=_recovered,
        steps=(Step("let what is accepted again be asked again", _reset),),
        validate=_answers,
        people=("Correct the key or the model's name; `llmbot config test` tries both.",),
    ),
)
