"""What stands before a model, and how the chain goes down."""

from __future__ import annotations

from pathlib import Path

from tests.support.conversation import talk
from tests.support.models import ScriptedModel

from llmbot.conversation.trouble import TroubleSettings
from llmbot.kernel.errors import (
    ModelCredentialsError,
    ModelNotFoundError,
    ModelRateLimitedError,
    ModelUnavailableError,
)
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
