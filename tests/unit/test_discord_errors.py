"""What Discord's answers mean."""

from __future__ import annotations

import pytest

from llmbot.adapters.discord.errors import classify, fatal_close
from llmbot.kernel.errors import (
    CredentialsError,
    DiscordForbiddenError,
    DiscordNotFoundError,
    DiscordRateLimitedError,
    DiscordRequestRefusedError,
    DiscordUnavailableError,
    IntentsError,
    LlmbotError,
    StartupError,
)


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (403, 50001, DiscordForbiddenError),
        (403, 50013, DiscordForbiddenError),
        (403, 50007, DiscordForbiddenError),
        (400, 160002, DiscordForbiddenError),
        (400, 50083, DiscordForbiddenError),
        (403, 0, DiscordForbiddenError),
        (404, 10003, DiscordNotFoundError),
        (404, 10008, DiscordNotFoundError),
        (404, 10015, DiscordNotFoundError),
        (404, 10062, DiscordNotFoundError),
        (401, 50027, DiscordNotFoundError),
        (400, 50035, DiscordRequestRefusedError),
        (400, 50006, DiscordRequestRefusedError),
        (400, 40060, DiscordRequestRefusedError),
        (400, 200000, DiscordRequestRefusedError),
        (429, 30046, DiscordRequestRefusedError),
        (413, 40005, DiscordRequestRefusedError),
        (429, 0, DiscordRateLimitedError),
        (401, 0, DiscordUnavailableError),
        (500, 0, DiscordUnavailableError),
        (503, 0, DiscordUnavailableError),
        (524, 0, DiscordUnavailableError),
    ],
)
def test_answers_are_classified(status: int, code: int, error: type[LlmbotError]) -> None:
    """Status and code together say whether a retry, another channel or nothing helps."""
    found = classify(status, code, route="POST /x", understood=True)
    assert type(found) is error
    assert str(status) in str(found)


def test_refusal_by_a_proxy_is_no_missing_permission() -> None:
    """A 403 that is not Discord's own JSON says nothing of the channel."""
    found = classify(403, 0, route="POST /x", understood=False)
    assert isinstance(found, DiscordUnavailableError)


def test_named_wait_is_kept() -> None:
    """The wait that Discord named goes along."""
    found = classify(429, 0, route="POST /x", understood=True, retry_after_s=3.5)
    assert isinstance(found, DiscordRateLimitedError)
    assert found.retry_after_s == 3.5


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (4004, CredentialsError),
        (4010, StartupError),
        (4011, StartupError),
        (4012, StartupError),
        (4013, IntentsError),
        (4014, IntentsError),
    ],
)
def test_fatal_closes_carry_a_remedy(code: int, error: type[StartupError]) -> None:
    """The codes after which a retry can never help say what to do."""
    found = fatal_close(code)
    assert type(found) is error
    assert found.remedy


@pytest.mark.parametrize("code", [None, 1000, 1001, 1006, 4000, 4003, 4007, 4008, 4009])
def test_other_closes_are_not_fatal(code: int | None) -> None:
    """After every other close the bot comes back."""
    assert fatal_close(code) is None
