"""Gemini's wire: our prompt as the body of a request, a chunk of the stream as pieces.

Source: the reference of models.streamGenerateContent (ai.google.dev/api/generate-content).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from llmbot.adapters.models.files import Files
from llmbot.adapters.models.gemini_errors import (
    blocked_prompt,
    ending_of,
    read_refusal,
    refusal_error,
)
from llmbot.adapters.models.server_sent_events import count, mapping, sequence
from llmbot.adapters.models.stream import Piece, Usage
from llmbot.conversation.ports import Prompt, Role, Turn
from llmbot.kernel.errors import ModelGarbledError, ModelRequestRefusedError

# ── the request ─────────────────────────────────────────────────────────────────────────────────

_NO_BEGINNING: Final = "(The conversation begins with your words.)"


def request_body(model: str, prompt: Prompt, files: Files) -> dict[str, object]:
    """The body of streamGenerateContent.

    Turns without text and files are left out, neighbours of one role become one turn, and a
    conversation that begins with the model gets a user's turn before it: the API wants turns to
    begin with the user and to hold something. The last turn, the question, always stands alone,
    so that what is asked is not mistaken for more of what was said.

    Raises:
        ModelRequestRefusedError: the user's last turn holds nothing to answer.
    """
    contents: list[dict[str, object]] = []
    last: tuple[Role, list[dict[str, object]]] | None = None
    for turn in prompt.turns:
        parts = _parts(turn, files)
        if not parts:
            continue
        if last is not None and last[0] is turn.role and turn is not prompt.turns[-1]:
            last[1].extend(parts)
            continue
        if last is None and turn.role is Role.MODEL:
            contents.append({"role": "user", "parts": [{"text": _NO_BEGINNING}]})
        last = (turn.role, parts)
        contents.append({"role": turn.role.value, "parts": parts})
    if last is None or last[0] is not Role.USER:
        raise ModelRequestRefusedError("There is nothing to answer.")
    generation: dict[str, object] = {"maxOutputTokens": prompt.output_tokens_max}
    thinking = _little_thinking(model) if prompt.little_thinking else None
    if thinking is not None:
        generation["thinkingConfig"] = thinking
    body: dict[str, object] = {"contents": contents, "generationConfig": generation}
    if prompt.system.strip():
        body["systemInstruction"] = {"parts": [{"text": prompt.system}]}
    return body


def _parts(turn: Turn, files: Files) -> list[dict[str, object]]:
    parts: list[dict[str, object]] = []
    if turn.text.strip():
        parts.append({"text": turn.text})
    parts.extend(
        {"inlineData": {"mimeType": blob.mime_type, "data": files.base64(blob.data)}}
        for blob in turn.blobs
        if blob.data
    )
    return parts


def _little_thinking(model: str) -> dict[str, object] | None:
    """The smallest thinking that a model allows (ai.google.dev/gemini-api/docs/thinking).

    Gemini 3 takes a level; only its Flash-Lite models surely take "minimal", and 3.8 Flash answers
    400 to it. Gemini 2.5 takes a budget in tokens (Pro no less than 128); older models and others
    do not think and refuse the field.
    """
    if model.startswith("gemini-2.5"):
        return {"thinkingBudget": 128 if "pro" in model else 0}
    if model.startswith(("gemini-3", "gemini-flash", "gemini-pro")):
        return {"thinkingLevel": "minimal" if "lite" in model else "low"}
    return None


# ── the answer ──────────────────────────────────────────────────────────────────────────────────


def pieces_of(chunk: object) -> Iterator[Piece]:
    """What one chunk of the stream says; words that came with an error are given before it.

    Thoughts are not shown. Only the first candidate counts: one is asked for.

    Raises:
        ModelBlockedError: question or answer was stopped by a policy.
        ModelGarbledError: no chunk of this protocol, or the model broke off.
        LlmbotError: the chunk is an error; see `gemini_errors.refusal_error`.
    """
    if not isinstance(chunk, dict):
        raise ModelGarbledError("The model's answer is no JSON object.")
    if "error" in chunk:
        raise refusal_error(read_refusal(None, chunk))
    candidate = _first_candidate(chunk)
    text = _shown_text(candidate)
    usage = _usage(chunk.get("usageMetadata"))
    reason = candidate.get("finishReason")
    if reason is None:
        if text or usage:
            yield Piece(text, usage=usage)
        block_reason = mapping(chunk.get("promptFeedback")).get("blockReason")
        if block_reason and block_reason != "BLOCK_REASON_UNSPECIFIED":
            raise blocked_prompt(str(block_reason))
        return
    if text:
        yield Piece(text)
    yield Piece(
        ending=ending_of(str(reason)), usage=usage, model=str(chunk.get("modelVersion", ""))
    )


def _first_candidate(chunk: Mapping[str, object]) -> Mapping[str, object]:
    for candidate in map(mapping, sequence(chunk.get("candidates"))):
        if not candidate.get("index"):
            return candidate
    return {}


def _shown_text(candidate: Mapping[str, object]) -> str:
    parts = sequence(mapping(candidate.get("content")).get("parts"))
    texts = [
        text
        for part in map(mapping, parts)
        if not part.get("thought") and isinstance(text := part.get("text"), str)
    ]
    return texts[0] if len(texts) == 1 else "".join(texts)


def _usage(value: object) -> Usage | None:
    if not isinstance(value, dict):
        return None
    return Usage(
        tokens_in=count(value.get("promptTokenCount")),
        tokens_out=count(value.get("candidatesTokenCount")),
        tokens_thought=count(value.get("thoughtsTokenCount")),
    )
