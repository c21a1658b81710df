"""Refusals of an OpenAI-compatible service: `{"error": {message, type, param, code}}`."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

_SERVER_MESSAGE = {
    500: "The server had an error while processing your request. Sorry about that!",
    502: "Bad gateway.",
    503: "The engine is currently overloaded, please try again later.",
    504: "Gateway timeout.",
}


class OpenAIError(Exception):
    """A refusal with its status, body and headers; `outcome` names it in the statistics."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        outcome: str = "invalid_request",
    ) -> None:
        """`kind` is the body's `type`."""
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self.outcome = outcome
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}

    def encode(self) -> bytes:
        """The body as bytes."""
        return orjson.dumps(self.body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def key_missing() -> OpenAIError:
    """401 without a bearer token."""
    return OpenAIError(
        401,
        "You didn't provide an API key. You need to provide your API key in an Authorization "
        "header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
        outcome="no_key",
    )


def key_invalid(key: str) -> OpenAIError:
    """401 for a key that nobody has; only its ends are repeated."""
    shown = f"{key[:4]}{'*' * 8}{key[-4:]}"
    return OpenAIError(
        401,
        f"Incorrect API key provided: {shown}. You can find your API key at "
        "https://platform.openai.com/account/api-keys.",
        code="invalid_api_key",
        outcome="bad_key",
    )


def model_missing(model: str) -> OpenAIError:
    """404 for a model that is not served."""
    return OpenAIError(
        404,
        f"The model `{model}` does not exist or you do not have access to it.",
        code="model_not_found",
        outcome="no_model",
    )


def server_error(status: int) -> OpenAIError:
    """A server-side error: 500, 502, 503 or 504."""
    message = _SERVER_MESSAGE.get(status, _SERVER_MESSAGE[500])
    return OpenAIError(status, message, kind="server_error", outcome="openai.error")


def rate_limited(model: str, retry_s: float) -> OpenAIError:
    """429 for a while: the wait stands in the headers and in the text."""
    return OpenAIError(
        429,
        f"Rate limit reached for {model} in organization org-simulated on requests per min (RPM): "
        f"Limit 3, Used 3, Requested 1. Please try again in {retry_s:g}s. Visit "
        "https://platform.openai.com/account/rate-limits to learn more.",
        kind="requests",
        code="rate_limit_exceeded",
        headers={
            "retry-after": str(max(1, round(retry_s))),
            "retry-after-ms": str(round(retry_s * 1000)),
            "x-ratelimit-limit-requests": "3",
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": f"{retry_s:g}s",
        },
        outcome="openai.quota",
    )


def quota_used_up() -> OpenAIError:
    """429 that no wait helps: the account has no money left."""
    return OpenAIError(
        429,
        "You exceeded your current quota, please check your plan and billing details. For more "
        "information on this error, read the docs: "
        "https://platform.openai.com/docs/guides/error-codes/api-errors.",
        kind="insufficient_quota",
        code="insufficient_quota",
        outcome="openai.quota",
    )
