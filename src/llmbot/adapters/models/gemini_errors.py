"""What Gemini's refusals mean: statuses, error bodies, finish reasons, each as one of our errors.

Sources: the Gemini API's troubleshooting guide (ai.google.dev/gemini-api/docs/troubleshooting), the
error model of Google APIs (google.rpc.Status with ErrorInfo, QuotaFailure and RetryInfo), and the
reference of GenerateContentResponse. The provider's own text is read but never repeated: it may
quote the key or the user.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from llmbot.adapters.models.stream import Ending
from llmbot.adapters.models.transport import duration_s, longest, wait_in_words_s
from llmbot.kernel.errors import (
    LlmbotError,
    ModelBlockedError,
    ModelCredentialsError,
    ModelGarbledError,
    ModelNotFoundError,
    ModelRateLimitedError,
    ModelRequestRefusedError,
    ModelUnavailableError,
)

TEXT_MAX: Final = 4_000
"""Characters that are kept of a provider's error text, to be searched for a wait or a limit."""

_STATUS_CODES: Final[Mapping[str, int]] = {
    # google.rpc.Code to HTTP, for errors inside a stream that name no number
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "DATA_LOSS": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_TRANSIENT_CODES: Final = frozenset({408, 409, 425, 499})
_KEY_REASONS: Final = frozenset({"API_KEY_INVALID", "API_KEY_EXPIRED", "API_KEY_SERVICE_BLOCKED"})
_KEY_WORDS: Final = re.compile(r"api key (?:not valid|expired|not found)|api_key_", re.IGNORECASE)
_LIMIT_ZERO: Final = re.compile(r"limit:\s*0(?![\d.])")


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error body, read: `error` of google.rpc.Status, whatever of it is there."""

    code: int
    status: str = ""
    text: str = ""
    details: tuple[Mapping[str, object], ...] = ()

    def details_of(self, kind: str) -> Iterator[Mapping[str, object]]:
        """The details of one type, such as RetryInfo."""
        for detail in self.details:
            if str(detail.get("@type", "")).rpartition(".")[2] == kind:
                yield detail


def read_refusal(code: int | None, body: object) -> Refusal:
    """Read an error body of any shape; the HTTP status wins over the body's own number."""
    if isinstance(body, list) and body:
        body = body[0]
    inner = body.get("error", body) if isinstance(body, Mapping) else None
    if not isinstance(inner, Mapping):
        return Refusal(code or 0)
    status = inner.get("status")
    status = status if isinstance(status, str) and status in _STATUS_CODES else ""
    number = inner.get("code")
    if not code:
        code = number if isinstance(number, int) else _STATUS_CODES.get(status, 0)
    details = inner.get("details")
    return Refusal(
        code=code,
        status=status,
        text=str(inner.get("message") or "")[:TEXT_MAX],
        details=tuple(d for d in details if isinstance(d, Mapping))
        if isinstance(details, list)
        else (),
    )


def refusal_error(refusal: Refusal, *, header_wait_s: float | None = None) -> LlmbotError:
    """The error that a refused call is; `header_wait_s` is what `Retry-After` named, if it did.

    409, 425 and 499 are passing states of the service; a redirect means that something else
    answers there for now (a captive portal, a moved proxy) and is not followed.
    """
    code, named = refusal.code, _named(refusal)
    if code == HTTPStatus.TOO_MANY_REQUESTS:
        return _rate_limited(refusal, header_wait_s)
    if code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN} or _about_the_key(refusal):
        return ModelCredentialsError(f"The model's provider refused the key ({named}).")
    if code == HTTPStatus.NOT_FOUND:
        return ModelNotFoundError(f"The provider does not know this model ({named}).")
    is_client_error = 400 <= code < 500  # noqa: PLR2004 - the range of HTTP client errors
    if is_client_error and code not in _TRANSIENT_CODES:
        return ModelRequestRefusedError(f"The provider will never accept this request ({named}).")
    return ModelUnavailableError(
        f"The model's provider is unavailable or overloaded ({named}).",
        retry_after_s=wait_s(refusal, header_wait_s),
    )


def _named(refusal: Refusal) -> str:
    return f"{refusal.code or 'no status'} {refusal.status}".strip()


def _about_the_key(refusal: Refusal) -> bool:
    """Whether a 400 is the operator's: the key, or a project that may not call (country, billing).

    A bad key arrives as 400 INVALID_ARGUMENT with the reason API_KEY_INVALID, behind some proxies
    in words alone. 402 is billing, wherever it comes from.
    """
    if refusal.code == HTTPStatus.PAYMENT_REQUIRED:
        return True
    if refusal.code != HTTPStatus.BAD_REQUEST:
        return False
    if refusal.status == "FAILED_PRECONDITION":
        return True
    reasons = {str(d.get("reason", "")) for d in refusal.details_of("ErrorInfo")}
    return bool(reasons & _KEY_REASONS) or _KEY_WORDS.search(refusal.text) is not None


def _rate_limited(refusal: Refusal, header_wait_s: float | None) -> ModelRateLimitedError:
    violations = [
        violation
        for detail in refusal.details_of("QuotaFailure")
        for violation in _mappings(detail.get("violations"))
    ]
    per_day = any("PerDay" in str(v.get("quotaId", "")) for v in violations)
    not_in_tier = _LIMIT_ZERO.search(refusal.text) is not None or any(
        str(v.get("quotaValue", "")) == "0" for v in violations
    )
    which = "none in this tier" if not_in_tier else "the day's" if per_day else "for now"
    return ModelRateLimitedError(
        f"The model's quota is used up ({which}).",
        retry_after_s=wait_s(refusal, header_wait_s),
        per_day=per_day,
        not_in_tier=not_in_tier,
        requests_max=_requests_max(violations, "PerDay" if per_day else "PerMinute"),
    )


def _requests_max(violations: list[Mapping[str, object]], span: str) -> int | None:
    """The least quota of requests that was named for this span; those of tokens are no such."""
    named = [
        int(value)
        for v in violations
        if "Requests" in (quota := str(v.get("quotaId", ""))) and span in quota
        if (value := str(v.get("quotaValue", ""))).isdecimal()
    ]
    return min(named, default=None)


def _mappings(value: object) -> list[Mapping[str, object]]:
    return [v for v in value if isinstance(v, Mapping)] if isinstance(value, list) else []


def wait_s(refusal: Refusal, header_wait_s: float | None = None) -> float | None:
    """The longest wait that was named: in RetryInfo, in the text, or in the header; in seconds."""
    return longest(
        *(_protobuf_duration_s(d.get("retryDelay")) for d in refusal.details_of("RetryInfo")),
        wait_in_words_s(refusal.text),
        header_wait_s,
    )


def _protobuf_duration_s(value: object) -> float | None:
    """Seconds of a protobuf Duration, as its JSON text ("36.5s") or as seconds and nanos."""
    if not isinstance(value, Mapping):
        return duration_s(value)
    try:
        seconds = float(str(value.get("seconds", 0))) + float(str(value.get("nanos", 0))) / 1e9
    except ValueError:
        return None
    return max(0.0, seconds)


# ── how an answer ended ─────────────────────────────────────────────────────────────────────────

_ENDINGS: Final[Mapping[str, Ending]] = {
    "STOP": Ending.STOP,
    "MAX_TOKENS": Ending.LENGTH,
    "CONTINUATION": Ending.LENGTH,  # the limit of one request; going on would be a hidden request
}
_BLOCKED: Final = frozenset({
    "SAFETY",
    "RECITATION",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "LANGUAGE",  # a language the model does not serve: it will refuse it again
    "ESCALATION",
    "MODEL_ARMOR",
    "JAILBREAK",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
})  # fmt: skip
_BROKEN: Final = frozenset({
    # The model lost its way; the next try or the next model may well answer.
    "OTHER",
    "FINISH_REASON_UNSPECIFIED",
    "MALFORMED_FUNCTION_CALL",
    "MALFORMED_RESPONSE",
    "UNEXPECTED_TOOL_CALL",
    "TOO_MANY_TOOL_CALLS",
    "MISSING_THOUGHT_SIGNATURE",
    "NO_IMAGE",
    "IMAGE_OTHER",
})  # fmt: skip


def ending_of(finish_reason: str) -> Ending:
    """What a candidate's finishReason means.

    Raises:
        ModelBlockedError: a policy stopped the answer.
        ModelGarbledError: the model broke off; another try may help.
        ModelCredentialsError: the account was limited for breaking the provider's policy.
    """
    if finish_reason in _BLOCKED:
        raise ModelBlockedError(f"The model's rules stopped the answer ({finish_reason}).")
    if finish_reason in _BROKEN:
        raise ModelGarbledError(f"The model broke off its answer ({finish_reason}).")
    if finish_reason == "PUP_LIMITED_DISABLED":
        raise ModelCredentialsError("The provider has limited this account (PUP_LIMITED_DISABLED).")
    return _ENDINGS.get(finish_reason, Ending.UNKNOWN)


def blocked_prompt(block_reason: str) -> ModelBlockedError:
    """The error of a question that was stopped; the reason is named if it is a known word."""
    reason = block_reason if block_reason in _BLOCKED | _BROKEN else "another reason"
    return ModelBlockedError(f"The model's rules stopped the question ({reason}).")
