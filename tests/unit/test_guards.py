"""What stands before a model, and how the chain goes down."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.support.conversation import talk
from tests.support.models import Piece, ScriptedModel
from tests.support.waiting import PATIENCE_S

from llmbot.conversation.ports import Prompt
from llmbot.conversation.trouble import TroubleSettings
from llmbot.kernel.errors import (
    DiscordForbiddenError,
    LlmbotError,
    ModelBlockedError,
    ModelCredentialsError,
    ModelEmptyError,
    ModelNotFoundError,
    ModelRateLimitedError,
    ModelRequestRefusedError,
    ModelStreamCutError,
    ModelUnavailableError,
)
from llmbot.kernel.events import ChannelSetAside, ModelFailed
from llmbot.resilience.breaker_facts import BreakerState


async def test_a_quota_holds_just_that_model_for_the_named_time(tmp_path: Path) -> None:
    """After a named wait the model is not asked again before it; the next one serves meanwhile."""
    first = ScriptedModel(lambda _: [ModelRateLimitedError(retry_after_s=60)], name="one")
    second = ScriptedModel(name="two")
    async with talk(tmp_path / "db", first, second) as t:
        for _ in range(5):
            await t.ask("hello")
        assert len(first.prompts) == 1
        assert len(second.prompts) == 5
        assert t.breakers.get("scripted").state is BreakerState.CLOSED


async def test_a_model_that_is_gone_is_passed_over(tmp_path: Path) -> None:
    """404 for a model, or a refused key, is no reason to stop before the next."""
    gone = ScriptedModel(lambda _: [ModelNotFoundError()], name="gone")
    locked = ScriptedModel(lambda _: [ModelCredentialsError()], name="locked", provider="other")
    last = ScriptedModel(name="last")
    async with talk(tmp_path / "db", gone, locked, last) as t:
        delivered = await t.ask("hello")
        assert t.reply(delivered.message_id).startswith("You said: hello")


async def test_where_no_model_will_ever_serve_the_user_is_told(tmp_path: Path) -> None:
    """A bad key for every model ends in one honest notice, not in waiting."""
    model = ScriptedModel(lambda _: [ModelCredentialsError()])
    async with talk(tmp_path / "db", model) as t:
        delivered = await t.ask("hello")
        assert delivered.outcome == "noticed: model_credentials"
        assert len(model.prompts) == 1


async def test_an_outage_is_not_amplified(tmp_path: Path) -> None:
    """Once the breaker is open, messages cost no calls but the probes."""
    model = ScriptedModel(lambda _: [ModelUnavailableError()])
    settings = TroubleSettings(wait_s=0.0)
    async with talk(tmp_path / "db", model, trouble=settings) as t:
        for _ in range(40):
            await t.ask("hello")
        assert t.breakers.get("scripted").state is not BreakerState.CLOSED
        assert len(model.prompts) <= 6


def _say(error: LlmbotError, _: Prompt) -> list[Piece]:
    """A script that fails with this error each time."""
    return [error]


async def test_a_question_that_is_refused_says_nothing_about_the_provider(tmp_path: Path) -> None:
    """Refusals of bad requests, blocks and empty answers open no breaker, however many come."""
    refusals: list[LlmbotError] = [
        ModelRequestRefusedError(),
        ModelBlockedError(),
        ModelEmptyError(),
    ]
    for number, refusal in enumerate(refusals):
        model = ScriptedModel(partial(_say, refusal))
        async with talk(tmp_path / str(number), model) as t:
            for _ in range(8):
                await t.ask("hello")
            assert {breaker.state for breaker in t.breakers.all()} == {BreakerState.CLOSED}


async def test_a_model_that_is_gone_is_asked_once(tmp_path: Path) -> None:
    """No further message pays for a model that its provider does not know."""
    gone = ScriptedModel(lambda _: [ModelNotFoundError()], name="gone")
    second = ScriptedModel(name="two")
    async with talk(tmp_path / "db", gone, second) as t:
        for _ in range(3):
            await t.ask("hello")
        assert len(gone.prompts) == 1
        assert len(second.prompts) == 3


async def test_a_refused_key_costs_one_call_for_all_models_of_a_provider(tmp_path: Path) -> None:
    """Where the key is bad, the provider's other models are not asked in vain."""
    models = [ScriptedModel(lambda _: [ModelCredentialsError()], name=name) for name in ("a", "b")]
    other = ScriptedModel(name="c", provider="other")
    async with talk(tmp_path / "db", *models, other) as t:
        for _ in range(2):
            await t.ask("hello")
        assert [len(model.prompts) for model in (*models, other)] == [1, 0, 2]


async def test_a_cut_stream_is_asked_for_again_where_it_was_cut(tmp_path: Path) -> None:
    """A broken connection is no reason to leave the preferred model; the second cut one is."""
    answers: Iterator[list[Piece]] = iter([["Half an ", ModelStreamCutError()], ["Whole."]])
    first = ScriptedModel(lambda _: next(answers), name="one")
    second = ScriptedModel(name="two")
    async with talk(tmp_path / "db", first, second, attempts=2) as t:
        delivered = await t.ask("hello")
        assert t.reply(delivered.message_id) == "Whole."
        assert second.prompts == []
    first = ScriptedModel(lambda _: ["Half an ", ModelStreamCutError()], name="one")
    async with talk(tmp_path / "db2", first, second, attempts=2) as t:
        delivered = await t.ask("hello")
        assert t.reply(delivered.message_id).startswith("You said: hello")
        assert len(first.prompts) == 2


async def test_one_message_is_tried_anew_so_often_in_all(tmp_path: Path) -> None:
    """However many models there are, the tries beyond the first round are those of one message."""
    models = [
        ScriptedModel(lambda _: ["Half an ", ModelStreamCutError()], name=name, provider=name)
        for name in ("a", "b", "c", "d")
    ]
    settings = TroubleSettings(wait_s=0.0)
    async with talk(tmp_path / "db", *models, attempts=3, trouble=settings) as t:
        await t.ask("hello")
        assert sum(len(model.prompts) for model in models) == 6


async def test_a_refused_key_of_all_models_is_told_at_once(tmp_path: Path) -> None:
    """Where every model of a provider would refuse the key, nobody is told to wait for it."""
    models = [ScriptedModel(lambda _: [ModelCredentialsError()], name=name) for name in ("a", "b")]
    async with talk(tmp_path / "db", *models) as t:
        delivered = await t.ask("hello")
        assert delivered.outcome == "noticed: model_credentials"


async def test_who_may_not_speak_does_not_blame_the_model(tmp_path: Path) -> None:
    """Where Discord refuses the words of an answer, no further model is asked, and none failed."""
    refused = asyncio.Event()

    def forbid(call: str) -> LlmbotError | None:
        if call != "send":
            return None
        refused.set()
        return DiscordForbiddenError()

    first = ScriptedModel(lambda _: ["Some words, ", refused, "and more of them."], name="one")
    second = ScriptedModel(name="two")
    async with talk(tmp_path / "db", first, second) as t:
        failures = list[object]()
        t.bus.subscribe(
            lambda p: failures.append(p.event) if isinstance(p.event, ModelFailed) else None
        )
        t.discord.fault = forbid
        aside = t.bus.expect(ChannelSetAside, lambda _: True)
        t.inbox.on_message(t.question("may you speak"), None)
        await asyncio.wait_for(aside, PATIENCE_S)
        assert (len(first.prompts), len(second.prompts)) == (1, 0)
        assert failures == []
        assert t.breakers.get("scripted:one").facts().failures == 0
