"""Refusals of the Gemini API, with the bodies that the live service sends.

Shapes read from bodies quoted in public issue threads (see docs of `google.rpc.Status` and its
details); clients are judged by whether they read `details`, so these are kept exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

_TYPE = "type.googleapis.com/google.rpc."
_STATUS_OF_CODE = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_MESSAGE_OF_CODE = {
    500: "An internal error has occurred. Please retry or report in "
    "https://developers.generativeai.google/guide/troubleshooting",
    502: "The service is currently unavailable.",
    503: "The model is overloaded. Please try again later.",
    504: "Deadline expired before operation could complete.",
}
_HELP = {
    "@type": _TYPE + "Help",
    "links": [
        {
            "description": "Learn more about Gemini API quotas",
            "url": "https://ai.google.dev/gemini-api/docs/rate-limits",
        }
    ],
}


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One thing wrong with the payload; `field` is empty for the root message."""

    field: str
    description: str

    def body(self) -> dict[str, str]:
        """The violation as `google.rpc.BadRequest` carries it."""
        body = {"field": self.field} if self.field else {}
        return {**body, "description": self.description}


class GeminiError(Exception):
    """A refusal with its HTTP status and JSON body; `outcome` names it in the statistics."""

    def __init__(
        self,
        code: int,
        message: str,
        *,
        details: list[dict[str, Any]] | None = None,
        outcome: str = "",
    ) -> None:
        """Build the body `{"error": {code, message, status, details}}`."""
        super().__init__(message)
        self.code = code
        self.outcome = outcome or _STATUS_OF_CODE.get(code, "UNKNOWN").lower()
        error: dict[str, Any] = {
            "code": code,
            "message": message,
            "status": _STATUS_OF_CODE.get(code, "UNKNOWN"),
        }
        if details:
            error["details"] = details
        self.body: dict[str, Any] = {"error": error}

    def encode(self, *, as_list: bool = False) -> bytes:
        """The body as bytes, indented as the service does; a JSON-array stream wraps it."""
        body = [self.body] if as_list else self.body
        return orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def invalid_argument(message: str) -> GeminiError:
    """400 with a message and no details, as the model's own checks answer."""
    return GeminiError(400, message)


def bad_payload(violations: list[FieldViolation]) -> GeminiError:
    """400 from the JSON reader, which lists everything it could not place."""
    return GeminiError(
        400,
        "\n".join(violation.description for violation in violations),
        details=[
            {
                "@type": _TYPE + "BadRequest",
                "fieldViolations": [violation.body() for violation in violations],
            }
        ],
    )


def api_key_invalid(outcome: str = "bad_key") -> GeminiError:
    """A key that no project has: 400, not 401."""
    message = "API key not valid. Please pass a valid API key."
    return GeminiError(
        400,
        message,
        details=[
            {
                "@type": _TYPE + "ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
                "metadata": {"service": "generativelanguage.googleapis.com"},
            },
            {"@type": _TYPE + "LocalizedMessage", "locale": "en-US", "message": message},
        ],
        outcome=outcome,
    )


def api_key_missing() -> GeminiError:
    """No key at all: 403."""
    return GeminiError(
        403,
        "Method doesn't allow unregistered callers (callers without established identity). "
        "Please use API Key or other form of API consumer identity to call this API.",
        outcome="no_key",
    )


def model_not_found(
    model: str, version: str, method: str, outcome: str = "no_model"
) -> GeminiError:
    """404 for a model that is not served, or not for this method."""
    return GeminiError(
        404,
        f"models/{model} is not found for API version {version}, or is not supported for {method}. "
        "Call ListModels to see the list of available models and their supported methods.",
        outcome=outcome,
    )


def unavailable(code: int, outcome: str) -> GeminiError:
    """A server-side error: 500, 502, 503 or 504."""
    message = _MESSAGE_OF_CODE.get(code, "An internal error has occurred.")
    return GeminiError(code, message, outcome=outcome)


def quota_exceeded(
    model: str, *, quota_id: str, limit: int, retry_s: float, outcome: str
) -> GeminiError:
    """429 as a project of the free tier meets it.

    Args:
        model: whose quota is used up.
        quota_id: e.g. `GenerateRequestsPerMinutePerProjectPerModel-FreeTier`.
        limit: what the quota grants.
        retry_s: seconds named in `RetryInfo`; the live API names some even for a daily quota.
        outcome: the name in the statistics.
    """
    tokens = "InputTokens" in quota_id
    metric = "generativelanguage.googleapis.com/generate_content_free_tier_" + (
        "input_token_count" if tokens else "requests"
    )
    retry = f"{retry_s:.9f}".rstrip("0").rstrip(".")
    return GeminiError(
        429,
        "You exceeded your current quota, please check your plan and billing details. For more "
        "information on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits. "
        "To monitor your current usage, head to: https://ai.dev/rate-limit. \n"
        f"* Quota exceeded for metric: {metric}, limit: {limit}, model: {model}\n"
        f"Please retry in {retry}s.",
        details=[
            _HELP,
            {
                "@type": _TYPE + "QuotaFailure",
                "violations": [
                    {
                        "quotaMetric": metric,
                        "quotaId": quota_id,
                        "quotaDimensions": {"location": "global", "model": model},
                        "quotaValue": str(limit),
                    }
                ],
            },
            {"@type": _TYPE + "RetryInfo", "retryDelay": f"{int(retry_s)}s"},
        ],
        outcome=outcome,
    )
