"""Calls under way are seen for as long as they are; who hung with a provider does not wait on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from tests.support.waiting import PATIENCE_S

from llmbot.conversation.waiting.pulse import Pulses
from llmbot.kernel.clock import ManualClock
from llmbot.kernel.errors import ModelOvertakenError, ModelTimeoutError

USUAL_S = 4.0
"""What a fast model is given when it is in a hurry."""


async def test_a_call_is_seen_while_it_runs_and_since_its_last_word() -> None:
    """A call is quiet since it began or spoke last, and gone however it ends."""
    clock = ManualClock()
    pulses = Pulses(clock)
    with suppress(TimeoutError):
        async with pulses.call("gemini:one") as pulse:
            clock.advance(3)
            assert pulses.quiet() == (("gemini:one", 3.0),)
            pulse.heard(clock.monotonic())
            assert pulses.quiet() == (("gemini:one", 0.0),)
            raise TimeoutError
    assert pulses.quiet() == ()


class Provider:
    """Calls to one provider's models, which answer, hang, or are given up."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.pulses = Pulses(self.clock)

    async def answers(self, model: str = "gemini:one", times: int = 1) -> None:
        """Calls that speak at once."""
        for _ in range(times):
            self.clock.advance(0.1)
            async with self.pulses.call(model) as pulse:
                pulse.heard(self.clock.monotonic())

    async def is_given_up(self) -> None:
        """A call that says nothing until its deadline."""
        with suppress(ModelTimeoutError):
            async with self.pulses.call("gemini:one"):
                self.clock.advance(USUAL_S)
                raise ModelTimeoutError

    @asynccontextmanager
    async def silence(
        self, model: str, *, after_a_word: bool = False
    ) -> AsyncIterator[asyncio.Task[None]]:
        """A call that says nothing (more), under way for as long as the body runs."""
        begun = asyncio.Event()

        async def call() -> None:
            async with self.pulses.call(model) as pulse:
                if after_a_word:
                    pulse.heard(self.clock.monotonic())
                begun.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(call())
        await begun.wait()
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait([task])


@pytest.mark.parametrize("stalled", [False, True])
async def test_who_hung_with_a_provider_is_given_up_when_it_speaks_again(stalled: bool) -> None:
    """Its own model need not be known: what it asked was lost with all the others."""
    provider = Provider()
    await provider.answers(times=4)
    async with provider.silence("gemini:two", after_a_word=stalled) as hung:
        await provider.is_given_up()
        await provider.answers()
        with pytest.raises(ModelOvertakenError):
            await asyncio.wait_for(hung, PATIENCE_S)


async def test_who_speaks_on_has_all_the_time_again() -> None:
    """A stream that was under way in the hang and goes on was not lost with it."""
    provider = Provider()
    await provider.answers(times=4)
    async with provider.pulses.call("gemini:two") as pulse:
        await provider.is_given_up()
        pulse.heard(provider.clock.monotonic())
        await provider.answers()
        assert pulse.patience.when() is not None
        pulse.heard(provider.clock.monotonic())
        assert pulse.patience.when() is None


@pytest.mark.parametrize("why", ["nothing hung", "another provider", "began later", "just began"])
async def test_a_call_that_only_thinks_is_heard_out(why: str) -> None:
    """Without a hang others may be faster; one that is young has the usual time yet."""
    provider = Provider()
    await provider.answers(times=4)
    if why != "nothing hung":
        await provider.is_given_up()
    if why == "began later":
        await provider.answers()
    async with provider.silence("openai:two" if why == "another provider" else "gemini:two") as one:
        provider.clock.advance(0.0 if why == "just began" else USUAL_S)
        await provider.answers()
        done, _ = await asyncio.wait([one], timeout=0.05)
        assert done == set()
