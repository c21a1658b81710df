"""The wire of chat completions: our prompt as a request, a chunk as pieces, refusals as errors.

Sources: OpenAI's API reference (chat completions, error codes, rate-limit headers) and what its
followers (OpenRouter, Ollama, llama.cpp, vLLM, Mistral) do differently; what only one of them does
is said beside it. The provider's own text is read but never repeated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from llmbot.adapters.models.files import Files
from llmbot.adapters.models.server_sent_events import count, mapping, sequence
from llmbot.adapters.models.stream import Ending, Piece, Usage
from llmbot.adapters.models.transport import (
    duration_s,
    longest,
    retry_after_s,
    wait_in_words_s,
)
from llmbot.conversation.ports import Blob, Prompt, Role, Turn
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

# ── the request ─────────────────────────────────────────────────────────────────────────────────

_NO_BEGINNING: Final = "(The conversation begins with your words.)"
_THINKING_MODELS: Final = re.compile(r"(?:^|/)(?:o\d|gpt-[5-9])")


def request_body(
    model: str, prompt: Prompt, files: Files, *, limit_field: str, with_usage: bool
) -> dict[str, object]:
    """The body of a streamed chat completion.

    Turns without text and files are left out, neighbours of one role become one message, and the
    first after the instructions is a user's: the chat templates of local models insist on it.

    Args:
        model: the provider's name of it.
        prompt: what is asked.
        files: takes the large ones on their way.
        limit_field: `max_tokens`, which every follower knows, or `max_completion_tokens`, which
            OpenAI's thinking models want in its place.
        with_usage: ask for the figures of usage in a last chunk.

    Raises:
        ModelRequestRefusedError: the user's last turn holds nothing to answer.
    """
    messages: list[dict[str, object]] = []
    if prompt.system.strip():
        messages.append({"role": "system", "content": prompt.system})
    merged = _merged(prompt.turns, files)
    if not merged or merged[-1][0] is not Role.USER:
        raise ModelRequestRefusedError("There is nothing to answer.")
    if merged[0][0] is Role.MODEL:
        messages.append({"role": "user", "content": _NO_BEGINNING})
    for role, parts in merged:
        name = "user" if role is Role.USER else "assistant"
        messages.append({"role": name, "content": _content(parts)})
    body: dict[str, object] = {
        "model": model,
        "messages": messages,
        "stream": True,
        limit_field: prompt.output_tokens_max,
    }
    if with_usage:
        body["stream_options"] = {"include_usage": True}
    if prompt.little_thinking and _THINKING_MODELS.search(model):
        body["reasoning_effort"] = "low"
    return body


def _merged(turns: tuple[Turn, ...], files: Files) -> list[tuple[Role, list[dict[str, object]]]]:
    merged: list[tuple[Role, list[dict[str, object]]]] = []
    for turn in turns:
        parts = [_text(turn.text)] if turn.text.strip() else []
        parts.extend(_file(blob, files) for blob in turn.blobs if blob.data)
        if not parts:
            continue
        if merged and merged[-1][0] is turn.role:
            merged[-1][1].extend(parts)
        else:
            merged.append((turn.role, parts))
    return merged


def _content(parts: list[dict[str, object]]) -> object:
    """Plain text where there is nothing else: several followers know no list of parts."""
    if all(part["type"] == "text" for part in parts):
        return "\n\n".join(str(part["text"]) for part in parts)
    return parts


def _text(text: str) -> dict[str, object]:
    return {"type": "text", "text": text}


def _file(blob: Blob, files: Files) -> dict[str, object]:
    """A picture as a data address, a text as text, anything else as a file."""
    if blob.mime_type.startswith("text/"):
        return _text(f"[{blob.name}]\n{blob.data.decode('utf-8', errors='replace')}")
    address = f"data:{blob.mime_type};base64,{files.base64(blob.data)}"
    if blob.mime_type.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": address}}
    return {"type": "file", "file": {"filename": blob.name, "file_data": address}}


# ── the answer ──────────────────────────────────────────────────────────────────────────────────

DONE: Final = b"[DONE]"

_ENDINGS: Final[Mapping[str, Ending]] = {
    "stop": Ending.STOP,
    "eos": Ending.STOP,  # Together
    "end_turn": Ending.STOP,  # proxies before Anthropic
    "length": Ending.LENGTH,
    "max_tokens": Ending.LENGTH,
    "model_length": Ending.LENGTH,  # Mistral: the model's own limit
}
_BLOCKED: Final = frozenset({"content_filter", "safety", "refusal"})
_BROKEN: Final = frozenset({"error", "tool_calls", "function_call", "abort"})
"""The model broke off, or called a tool that nobody offered; another try may help."""


def pieces_of(chunk: object) -> Iterator[Piece]:
    """What one chunk of the stream says; words that came with an error are given before it.

    Reasoning is not shown. Only the first choice counts: one is asked for.

    Raises:
        ModelBlockedError: a policy stopped the answer, or the model declined in its own field.
        ModelGarbledError: no chunk of this protocol, or the model broke off.
        LlmbotError: the chunk is an error; see `refusal_error`.
    """
    if not isinstance(chunk, dict):
        raise ModelGarbledError("The model's answer is no JSON object.")
    if chunk.get("error"):
        raise refusal_error(read_refusal(None, chunk), None, now_wall_s=0.0)
    usage, model = _usage(chunk.get("usage")), str(chunk.get("model") or "")
    choice = _first_choice(chunk)
    if choice is not None and "delta" not in choice:
        raise ModelGarbledError("The model's answer is no stream of chunks.")
    delta = mapping(choice.get("delta")) if choice else {}
    text = _shown_text(delta.get("content"))
    reason = choice.get("finish_reason") if choice else None
    if reason is None and (text or usage):
        yield Piece(text, usage=usage, model=model)
    if reason is not None and text:
        yield Piece(text)
    if delta.get("refusal"):
        raise ModelBlockedError("The model declined to answer.")
    if reason is not None:
        yield Piece(ending=_ending_of(str(reason)), usage=usage, model=model)


def _first_choice(chunk: Mapping[str, object]) -> Mapping[str, object] | None:
    for choice in map(mapping, sequence(chunk.get("choices"))):
        if not choice.get("index"):
            return choice
    return None


def _shown_text(content: object) -> str:
    """Text, or the text parts of a list (Mistral's thinking models send one)."""
    if isinstance(content, str):
        return content
    return "".join(
        text
        for part in map(mapping, sequence(content))
        if part.get("type") == "text" and isinstance(text := part.get("text"), str)
    )


def _ending_of(reason: str) -> Ending:
    if reason in _BLOCKED:
        raise ModelBlockedError(f"The model's rules stopped the answer ({reason}).")
    if reason in _BROKEN:
        raise ModelGarbledError(f"The model broke off its answer ({reason}).")
    return _ENDINGS.get(reason, Ending.UNKNOWN)


def _usage(value: object) -> Usage | None:
    if not isinstance(value, dict):
        return None
    details = value.get("completion_tokens_details")
    thought = count(details.get("reasoning_tokens")) if isinstance(details, dict) else 0
    # OpenAI counts what was thought among the completion's tokens; our facts keep them apart.
    return Usage(
        tokens_in=count(value.get("prompt_tokens")),
        tokens_out=max(0, count(value.get("completion_tokens")) - thought),
        tokens_thought=thought,
    )


# ── refusals ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error body, read: status, the words in `code` and `type`, the text, and what it blames."""

    code: int
    words: frozenset[str] = frozenset()
    text: str = ""
    param: str = ""
    flagged: bool = False


_WORDS_TO_CODE: Final[Mapping[str, int]] = {
    # for errors inside a stream, which name no status
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "insufficient_quota": 429,
    "invalid_api_key": 401,
    "authentication_error": 401,
    "permission_error": 403,
    "model_not_found": 404,
    "not_found_error": 404,
    "invalid_request_error": 400,
    "context_length_exceeded": 400,
}
_TRANSIENT_CODES: Final = frozenset({408, 409, 425, 499})
_NO_MONEY: Final = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_error"})
_POLICY: Final = frozenset({"content_filter", "content_policy_violation", "moderation_blocked"})
_PER_DAY: Final = re.compile(r"per[- _]day|\b(?:RPD|TPD)\b|daily", re.IGNORECASE)


def read_refusal(code: int | None, body: object) -> Refusal:
    """Read an error body of any shape; the HTTP status wins over the body's own number."""
    inner = body.get("error", body) if isinstance(body, Mapping) else None
    if not isinstance(inner, Mapping):
        return Refusal(code or 0, text=inner[:TEXT_MAX] if isinstance(inner, str) else "")
    words = frozenset(str(inner[key]) for key in ("code", "type") if inner.get(key))
    if not code:
        own = inner.get("code")
        known = [_WORDS_TO_CODE[word] for word in words if word in _WORDS_TO_CODE]
        code = own if isinstance(own, int) else max(known, default=0)
    metadata = inner.get("metadata")
    return Refusal(
        code=code,
        words=words,
        text=str(inner.get("message") or "")[:TEXT_MAX],
        param=str(inner.get("param") or ""),
        flagged=isinstance(metadata, Mapping) and "flagged_input" in metadata,  # OpenRouter, 403
    )


def refusal_error(
    refusal: Refusal, headers: Mapping[str, str] | None, *, now_wall_s: float
) -> LlmbotError:
    """The error that a refused call is; the wait is the longest that headers or text named."""
    code = refusal.code
    named = f"{code or 'no status'}"
    if refusal.flagged or refusal.words & _POLICY:
        return ModelBlockedError(f"The model's rules stopped the question ({named}).")
    if code in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.PAYMENT_REQUIRED}:
        return _rate_limited(refusal, headers, now_wall_s)
    if (
        code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
        or "invalid_api_key" in refusal.words
    ):
        return ModelCredentialsError(f"The model's provider refused the key ({named}).")
    if code == HTTPStatus.NOT_FOUND or "model_not_found" in refusal.words:
        return ModelNotFoundError(f"The provider does not know this model ({named}).")
    is_client_error = 400 <= code < 500  # noqa: PLR2004 - the range of HTTP client errors
    if is_client_error and code not in _TRANSIENT_CODES:
        return ModelRequestRefusedError(f"The provider will never accept this request ({named}).")
    return ModelUnavailableError(
        f"The model's provider is unavailable or overloaded ({named}).",
        retry_after_s=_wait_s(refusal, headers, now_wall_s),
    )


def _rate_limited(
    refusal: Refusal, headers: Mapping[str, str] | None, now_wall_s: float
) -> ModelRateLimitedError:
    """429, and 402 for an account without money: that lasts, so it counts as the day's quota."""
    no_money = refusal.code == HTTPStatus.PAYMENT_REQUIRED or bool(refusal.words & _NO_MONEY)
    per_day = no_money or _PER_DAY.search(refusal.text) is not None
    return ModelRateLimitedError(
        f"The model's quota is used up ({'credit or the day' if per_day else 'for now'}).",
        retry_after_s=_wait_s(refusal, headers, now_wall_s),
        per_day=per_day,
    )


def _wait_s(refusal: Refusal, headers: Mapping[str, str] | None, now_wall_s: float) -> float | None:
    """`Retry-After` or the words; else when the limit that is used up is reset."""
    named = longest(retry_after_s(headers, now_wall_s=now_wall_s), wait_in_words_s(refusal.text))
    if named is not None or not headers:
        return named
    return longest(
        *(
            duration_s(headers.get(f"x-ratelimit-reset-{what}"))
            for what in ("requests", "tokens")
            if headers.get(f"x-ratelimit-remaining-{what}") == "0"
        )
    )
