"""The model adapters against the simulators, with every fault those know."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from tests.support.waiting import PATIENCE_S

from llmbot.adapters.models.gemini import GeminiModels
from llmbot.adapters.models.openai_compatible import OpenAiCompatibleModels
from llmbot.conversation.ports import (
    Blob,
    Finish,
    FinishReason,
    ModelDeadlines,
    Prompt,
    Role,
    Turn,
    Words,
)
from llmbot.kernel.clock import SystemClock
from llmbot.kernel.errors import (
    LlmbotError,
    ModelBlockedError,
    ModelCredentialsError,
    ModelEmptyError,
    ModelGarbledError,
    ModelNotFoundError,
    ModelRateLimitedError,
    ModelStreamCutError,
    ModelTimeoutError,
    ModelUnavailableError,
)
from llmbot.simulators.faults import KNOWN_FAULTS
from llmbot.simulators.server import Simulators, SimulatorSettings

if TYPE_CHECKING:
    from tests.contract.conftest import Models

SHORT = ModelDeadlines(first_words_s=0.2, between_words_s=0.2)
LONG = ModelDeadlines(first_words_s=PATIENCE_S, between_words_s=PATIENCE_S)
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01"
OUTCOMES: list[tuple[str, str, dict[str, float], type[LlmbotError] | None]] = [
    ("gemini", "quota_minute", {"retry_s": 12}, ModelRateLimitedError),
    ("gemini", "quota_day", {}, ModelRateLimitedError),
    ("gemini", "error", {"status": 500}, ModelUnavailableError),
    ("gemini", "hang", {}, ModelTimeoutError),
    ("gemini", "stall", {}, ModelTimeoutError),
    ("gemini", "slow", {"seconds": 30}, ModelTimeoutError),
    ("gemini", "cut", {}, ModelStreamCutError),
    ("gemini", "no_finish", {}, ModelStreamCutError),
    ("gemini", "garbage", {}, ModelGarbledError),
    ("gemini", "bad_key", {}, ModelCredentialsError),
    ("gemini", "no_model", {}, ModelNotFoundError),
    ("gemini", "safety", {}, ModelBlockedError),
    ("gemini", "blocked", {}, ModelBlockedError),
    ("gemini", "empty", {}, ModelEmptyError),
    ("gemini", "max_tokens", {}, None),
    ("gemini", "max_tokens", {"empty": 1}, None),
    ("openai", "error", {"status": 502}, ModelUnavailableError),
    ("openai", "quota", {"retry_s": 12}, ModelRateLimitedError),
    ("openai", "quota", {"used_up": 1}, ModelRateLimitedError),
    ("openai", "hang", {}, ModelTimeoutError),
    ("openai", "cut", {}, ModelStreamCutError),
    ("openai", "cut", {"clean": 1}, ModelStreamCutError),
    ("openai", "garbage", {}, ModelGarbledError),
]


@dataclass(frozen=True, slots=True)
class Side:
    """One provider of the running simulators, and the adapter that speaks to it."""

    provider: str
    model: str
    models: Models
    simulators: Simulators

    def switch_on(self, fault: str, **params: float) -> None:
        self.simulators.board.switch_on(f"{self.provider}.{fault}", times=1, params=params)

    async def ask(
        self, text: str, deadlines: ModelDeadlines = LONG, *, blobs: tuple[Blob, ...] = ()
    ) -> tuple[str, Finish]:
        prompt = Prompt("You are kind.", (Turn(Role.USER, text, blobs),))
        words, finish = "", None
        async for item in self.models.model(self.model).stream(prompt, deadlines):
            assert finish is None
            if isinstance(item, Words):
                words += item.text
            else:
                finish = item
        assert finish is not None
        return words, finish


@pytest.fixture(params=["gemini", "openai"])
async def side(request: pytest.FixtureRequest) -> AsyncIterator[Side]:
    """Simulators that answer without delay, and one adapter."""
    running = Simulators(SimulatorSettings(first_word_s=0, chunk_s=0))
    await running.start()
    models: Models
    if request.param == "gemini":
        base, model = f"{running.address}/gemini", "gemini-3.8-flash"
        models = GeminiModels(api_key="a-key", base_url=base, clock=SystemClock())
    else:
        base, model = f"{running.address}/openai/v1", "gpt-5-mini"
        models = OpenAiCompatibleModels(
            provider="openai", api_key="a-key", base_url=base, clock=SystemClock()
        )
    await models.client()
    yield Side(request.param, model, models, running)
    await models.close()
    await running.stop()


async def test_every_character(side: Side) -> None:
    """What the model says arrives whole, whatever its script, with reason and usage."""
    text = "Grüße 👩‍👩‍👧‍👦 from 東京\u2028and `code`\n\n```py\nprint('x')\n```" * 40
    words, finish = await side.ask(f"[[echo]]{text}")
    assert words == text
    assert finish.reason is FinishReason.STOP
    assert finish.tokens_in > 0
    assert finish.tokens_out > 0


async def test_thinking_and_files(side: Side) -> None:
    """Thoughts stay hidden, and a picture is accepted."""
    blobs = (Blob("image/png", PNG, "a.png"),)
    words, _ = await side.ask("[[thinking]] [[echo]]Seen.", blobs=blobs)
    assert words == "Seen."


async def test_the_models_that_exist(side: Side) -> None:
    """The list of models holds the one that is asked."""
    assert side.model in await side.models.list_models()


def test_no_fault_is_forgotten() -> None:
    """Every fault that the simulators know of a model is tried here."""
    known = {name for name in KNOWN_FAULTS if name.startswith(("gemini.", "openai."))}
    assert known == {f"{provider}.{fault}" for provider, fault, _, _ in OUTCOMES}


@pytest.mark.parametrize(("side", "fault", "params", "expected"), OUTCOMES, indirect=["side"])
async def test_every_fault(
    side: Side, fault: str, params: dict[str, float], expected: type[LlmbotError] | None
) -> None:
    """Every fault is the error that the port promises for it, and the next call is served."""
    side.switch_on(fault, **params)
    if expected is None:
        words, finish = await side.ask("[[length:900]] Tell me.")
        assert (bool(words), finish.reason) == ("empty" not in params, FinishReason.LENGTH)
    else:
        with pytest.raises(expected) as caught:
            await side.ask(
                "[[length:900]] Tell me.", SHORT if expected is ModelTimeoutError else LONG
            )
        if isinstance(caught.value, ModelRateLimitedError):
            assert caught.value.per_day is (fault == "quota_day" or "used_up" in params)
            assert caught.value.retry_after_s == params.get("retry_s", caught.value.retry_after_s)
    assert (await side.ask("[[echo]]again"))[0] == "again"
