"""What Gemini's error bodies and finish reasons mean."""

from __future__ import annotations

from typing import Any

import pytest

from llmbot.adapters.models.gemini_errors import (
    blocked_prompt,
    ending_of,
    read_refusal,
    refusal_error,
)
from llmbot.adapters.models.stream import Ending
from llmbot.kernel.errors import (
    LlmbotError,
    ModelBlockedError,
    ModelCredentialsError,
    ModelGarbledError,
    ModelNotFoundError,
    ModelRateLimitedError,
    ModelRequestRefusedError,
    ModelUnavailableError,
    TransientError,
)

TYPE = "type.googleapis.com/google.rpc."


def quota(
    quota_id: str, text: str = "", value: str | None = "20", delay: object = "36s"
) -> dict[str, Any]:
    """A 429 as the service sends it."""
    violation = {
        "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests",
        "quotaId": quota_id,
        "quotaDimensions": {"location": "global", "model": "gemini-3.8-flash"},
    }
    if value is not None:
        violation["quotaValue"] = value
    details = [
        {"@type": TYPE + "Help", "links": [{"description": "Learn more", "url": "https://x"}]},
        {"@type": TYPE + "QuotaFailure", "violations": [violation]},
        {"@type": TYPE + "RetryInfo", "retryDelay": delay},
    ]
    message = f"You exceeded your current quota. {text}"
    return error(429, "RESOURCE_EXHAUSTED", message, *details)


def error(code: int | None, status: str, message: str, *details: object) -> dict[str, Any]:
    """An error body."""
    named = {} if code is None else {"code": code}
    return {"error": {**named, "message": message, "status": status, "details": list(details)}}


def rate_limited(body: object, header_wait_s: float | None = None) -> ModelRateLimitedError:
    """The error of a body that is one of quota."""
    found = refusal_error(read_refusal(429, body), header_wait_s=header_wait_s)
    assert isinstance(found, ModelRateLimitedError)
    return found


MINUTE = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
DAY = "GenerateRequestsPerDayPerProjectPerModel-FreeTier"


def test_quota_of_a_minute() -> None:
    """A quota of a minute is neither the day's nor missing from the tier."""
    found = rate_limited(quota(MINUTE))
    assert (found.retry_after_s, found.per_day, found.not_in_tier) == (36.0, False, False)


def test_quota_of_a_day() -> None:
    """A quota of a day is told as such, though it names a wait of seconds."""
    found = rate_limited(quota(DAY))
    assert (found.retry_after_s, found.per_day, found.not_in_tier) == (36.0, True, False)


@pytest.mark.parametrize(
    "body",
    [
        quota(DAY, value="0"),
        quota(DAY, "Quota exceeded for metric: free_tier, limit: 0, model: pro", value=None),
        error(429, "RESOURCE_EXHAUSTED", "* Quota exceeded, limit: 0\nPlease retry in 5s."),
    ],
)
def test_no_quota_in_this_tier(body: object) -> None:
    """A limit of zero says that waiting is in vain."""
    assert rate_limited(body).not_in_tier


def test_the_quota_in_requests_is_told() -> None:
    """A limit of requests that the refusal names is passed on; one of tokens is no such."""
    assert rate_limited(quota(DAY, value="20")).requests_max == 20
    assert rate_limited(quota(MINUTE, value="10")).requests_max == 10
    assert (
        rate_limited(quota(MINUTE.replace("Requests", "Tokens"), value="250000")).requests_max
        is None
    )
    assert rate_limited(quota(MINUTE, value=None)).requests_max is None


def test_a_limit_that_begins_with_zero() -> None:
    """Only zero is zero."""
    assert not rate_limited(quota(MINUTE, "limit: 0.5", value="05")).not_in_tier


@pytest.mark.parametrize(
    ("delay", "text", "header", "expected"),
    [
        ("36s", "", None, 36.0),
        ("36.5s", "", None, 36.5),
        ("0.000000001s", "", None, 1e-9),
        ({"seconds": 3, "nanos": 500_000_000}, "", None, 3.5),
        ({"seconds": "x"}, "", None, None),
        ("", "Please retry in 12.3s.", None, 12.3),
        (None, "Please retry in 890.5ms.", None, 0.8905),
        (None, "Please retry in 1h2m3.25s.", None, 3723.25),
        (None, "Please retry in due time.", None, None),
        ("36s", "Please retry in 36.9s.", None, 36.9),
        ("36s", "", 40.0, 40.0),
        (None, "", 7.0, 7.0),
        ("soon", "", None, None),
        (12, "", None, None),
    ],
)
def test_waits(delay: object, text: str, header: float | None, expected: float | None) -> None:
    """The wait is the longest of RetryInfo, the text and the header; None where none was named."""
    found = rate_limited(quota(MINUTE, text, delay=delay), header)
    assert found.retry_after_s == (pytest.approx(expected) if expected is not None else None)


def test_unavailable_names_its_wait() -> None:
    """An overloaded model may name a wait as well."""
    body = error(
        503, "UNAVAILABLE", "Overloaded.", {"@type": TYPE + "RetryInfo", "retryDelay": "2s"}
    )
    found = refusal_error(read_refusal(503, body))
    assert isinstance(found, ModelUnavailableError)
    assert found.retry_after_s == 2.0


KEY_INFO = {"@type": TYPE + "ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}
TEXT = "API key not valid. Please pass a valid API key."


@pytest.mark.parametrize(
    "body",
    [
        error(400, "INVALID_ARGUMENT", TEXT, KEY_INFO),
        error(400, "INVALID_ARGUMENT", "", KEY_INFO),
        error(400, "INVALID_ARGUMENT", TEXT),
        error(400, "INVALID_ARGUMENT", "API key expired. Please renew the API key."),
        error(400, "FAILED_PRECONDITION", "User location is not supported for the API use."),
    ],
)
def test_400_that_is_the_operators(body: object) -> None:
    """A bad key, or a project that may not call, arrives as 400 and is a matter of credentials."""
    assert isinstance(refusal_error(read_refusal(400, body)), ModelCredentialsError)


def test_402() -> None:
    """A project without money is the operator's matter."""
    assert isinstance(refusal_error(read_refusal(402, b"")), ModelCredentialsError)


def test_400_that_is_the_requests() -> None:
    """Any other 400 is a request that will never be accepted."""
    body = error(400, "INVALID_ARGUMENT", "Request contains an invalid argument: my api key idea")
    assert isinstance(refusal_error(read_refusal(400, body)), ModelRequestRefusedError)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("UNAVAILABLE", ModelUnavailableError),
        ("DEADLINE_EXCEEDED", ModelUnavailableError),
        ("INTERNAL", ModelUnavailableError),
        ("RESOURCE_EXHAUSTED", ModelRateLimitedError),
        ("NOT_FOUND", ModelNotFoundError),
        ("PERMISSION_DENIED", ModelCredentialsError),
        ("UNAUTHENTICATED", ModelCredentialsError),
        ("INVALID_ARGUMENT", ModelRequestRefusedError),
        ("FROM_2031", ModelUnavailableError),
    ],
)
def test_status_without_a_number(status: str, expected: type[LlmbotError]) -> None:
    """Inside a stream the word counts where no number is given."""
    assert type(refusal_error(read_refusal(None, error(None, status, "x")))) is expected


@pytest.mark.parametrize(
    "body",
    [
        None,
        "",
        [],
        {},
        5,
        {"error": None},
        {"error": []},
        [error(429, "", "x")],
        {"error": {"details": "x", "message": 5, "status": {}, "code": "429"}},
        {"error": {"details": [1, None]}},
    ],
)
def test_bodies_of_any_shape(body: object) -> None:
    """No body, whatever its shape, keeps a refusal from being understood by its status."""
    assert isinstance(refusal_error(read_refusal(429, body)), ModelRateLimitedError)
    assert isinstance(refusal_error(read_refusal(None, body)), TransientError)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("STOP", Ending.STOP),
        ("MAX_TOKENS", Ending.LENGTH),
        ("CONTINUATION", Ending.LENGTH),
        ("FROM_2031", Ending.UNKNOWN),
    ],
)
def test_endings(reason: str, expected: Ending) -> None:
    """A finish reason that is no error is an ending, known or not."""
    assert ending_of(reason) is expected


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        ("SAFETY RECITATION BLOCKLIST PROHIBITED_CONTENT SPII LANGUAGE", ModelBlockedError),
        (
            "OTHER MALFORMED_FUNCTION_CALL MALFORMED_RESPONSE UNEXPECTED_TOOL_CALL",
            ModelGarbledError,
        ),
        ("PUP_LIMITED_DISABLED", ModelCredentialsError),
    ],
)
def test_endings_that_are_errors(reasons: str, expected: type[LlmbotError]) -> None:
    """Policies block, a model that lost its way is garbled, a limited account is the operator's."""
    for reason in reasons.split():
        with pytest.raises(expected):
            ending_of(reason)


def test_blocked_prompt_names_known_reasons_alone() -> None:
    """The reason of a blocked question is named if it is one of the API's own words."""
    assert "SAFETY" in str(blocked_prompt("SAFETY"))
    assert "secret" not in str(blocked_prompt("secret"))
