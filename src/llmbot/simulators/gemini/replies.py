"""A reply as it will go over the wire: its pieces, its end and its bookkeeping."""

from __future__ import annotations

import base64
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from llmbot.simulators.gemini import tokens
from llmbot.simulators.gemini.answers import Answer, compose
from llmbot.simulators.gemini.prompts import Prompt
from llmbot.simulators.gemini.structured import as_json

_FIRST_PIECE_CHARS = 24
_PIECE_CHARS = 180
_PIECES_MAX = 400
_FINISH_REASONS = frozenset(
    {
        "STOP",
        "MAX_TOKENS",
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "OTHER",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "MALFORMED_FUNCTION_CALL",
    }
)
_SIGNATURE_BYTES = 48
_THOUGHT_TOKENS_FACTOR = 2  # thinking is longer than its published summary


@dataclass(slots=True)
class Reply:
    """One answer; faults alter it before it is sent.

    `finish` None leaves the finish reason out. `ending` is how the stream ends: "end" in good
    order, "cut" by dropping the connection, "stall" by sending nothing more. `garbage_at` is the
    number of the chunk before which a broken one is sent.
    """

    model: str
    response_id: str
    prompt_counts: Mapping[str, int]
    pieces: list[str]
    thoughts: list[str] = field(default_factory=list)
    thought_tokens: int = 0
    signature: str = ""
    finish: str | None = "STOP"
    blocked: str = ""
    first_wait_s: float = 0.0
    chunk_wait_s: float = 0.0
    ending: str = "end"
    garbage_at: int | None = None
    outcome: str = "ok"

    def chunks(self) -> list[dict[str, Any]]:
        """The bodies of a stream, in order."""
        if self.blocked:
            return [self._blocked_body()]
        bodies = [
            self._chunk([{"text": thought, "thought": True}], 0, None) for thought in self.thoughts
        ]
        counted = 0
        for piece in self.pieces:
            counted += tokens.count_text(piece)
            bodies.append(self._chunk([{"text": piece}], counted, None))
        if self.finish is None:
            return bodies
        if self.signature and self.pieces and self.finish in {"STOP", "MAX_TOKENS"}:
            closing = [{"text": "", "thoughtSignature": self.signature}]
            bodies.append(self._chunk(closing, counted, self.finish))
        elif bodies and self.pieces and self.finish == "STOP":
            bodies[-1]["candidates"][0]["finishReason"] = self.finish
        else:
            bodies.append(self._chunk([], counted, self.finish))
        return bodies

    def whole(self) -> dict[str, Any]:
        """The body of an answer that is not streamed."""
        if self.blocked:
            return self._blocked_body()
        parts: list[dict[str, Any]] = []
        if self.thoughts:
            parts.append({"text": "\n\n".join(self.thoughts), "thought": True})
        text = "".join(self.pieces)
        if text:
            part: dict[str, Any] = {"text": text}
            if self.signature:
                part["thoughtSignature"] = self.signature
            parts.append(part)
        return self._chunk(parts, tokens.count_text(text), self.finish)

    def _chunk(
        self, parts: list[dict[str, Any]], counted: int, finish: str | None
    ) -> dict[str, Any]:
        content: dict[str, Any] = {"parts": parts, "role": "model"} if parts else {"role": "model"}
        candidate: dict[str, Any] = {"content": content}
        if finish is not None:
            candidate["finishReason"] = finish
            if finish == "SAFETY":
                candidate["safetyRatings"] = _RATINGS
        candidate["index"] = 0
        return {
            "candidates": [candidate],
            "usageMetadata": self._usage(counted),
            "modelVersion": self.model,
            "responseId": self.response_id,
        }

    def _usage(self, counted: int) -> dict[str, Any]:
        prompt = sum(self.prompt_counts.values())
        usage: dict[str, Any] = {"promptTokenCount": prompt}
        if counted:
            usage["candidatesTokenCount"] = counted
        usage["totalTokenCount"] = prompt + counted + self.thought_tokens
        usage["promptTokensDetails"] = tokens.details(self.prompt_counts)
        if self.thought_tokens:
            usage["thoughtsTokenCount"] = self.thought_tokens
        return usage

    def _blocked_body(self) -> dict[str, Any]:
        return {
            "promptFeedback": {"blockReason": self.blocked},
            "usageMetadata": self._usage(0),
            "modelVersion": self.model,
            "responseId": self.response_id,
        }


_RATINGS = [
    {"category": "HARM_CATEGORY_HARASSMENT", "probability": "NEGLIGIBLE"},
    {"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": True},
]


def reply_to(
    prompt: Prompt,
    *,
    model: str,
    seed: int,
    rng: random.Random,
    first_word_s: float,
    chunk_s: float,
) -> Reply:
    """The reply the model gives where nothing goes wrong.

    `rng` makes the response id and the signature, which differ from call to call; the text
    depends on `seed` and the question alone.
    """
    question = prompt.question
    answer = compose(seed, question)
    forced = "thinking" in question.flags
    thinking = prompt.thinking or forced
    text, finish = _stopped(_formatted(answer, prompt), prompt), "STOP"
    thought_tokens = 0
    if thinking:
        thought_tokens = _THOUGHT_TOKENS_FACTOR * tokens.count_text(" ".join(answer.thoughts))
    budget = prompt.generation.get("maxOutputTokens")
    if budget is not None and thought_tokens + tokens.count_text(text) > budget:
        thought_tokens = min(thought_tokens, budget)
        text, finish = cut_to_tokens(text, budget - thought_tokens), "MAX_TOKENS"
    if question.finish in _FINISH_REASONS:
        finish = question.finish
    if "empty" in question.flags:
        text = ""
    signed = thinking and text and model.startswith("gemini-3")
    return Reply(
        model=model,
        response_id=base64.urlsafe_b64encode(rng.randbytes(16)).decode().rstrip("="),
        prompt_counts=prompt.token_counts,
        pieces=split(text, question.numbers.get("chunks")),
        thoughts=list(answer.thoughts) if prompt.include_thoughts or forced else [],
        thought_tokens=thought_tokens,
        signature=base64.b64encode(rng.randbytes(_SIGNATURE_BYTES)).decode() if signed else "",
        finish=finish,
        first_wait_s=first_word_s + question.wait_s,
        chunk_wait_s=chunk_s,
    )


def split(text: str, count: int | None) -> list[str]:
    """The text in pieces as a stream sends them: in exactly `count`, or of natural size.

    The pieces together are the text; none is empty. `count` above the text's length gives one
    piece a character.
    """
    if not text:
        return []
    if count is not None:
        count = min(count, len(text))
        edges = [len(text) * index // count for index in range(count + 1)]
        return [text[a:b] for a, b in pairwise(edges)]
    size = max(_PIECE_CHARS, len(text) // _PIECES_MAX)
    pieces, start = [], 0
    while start < len(text):
        wanted = start + (size if start else _FIRST_PIECE_CHARS)
        blank = text.rfind(" ", start + 1, wanted)
        end = blank if blank > start and wanted < len(text) else min(wanted, len(text))
        pieces.append(text[start:end])
        start = end
    return pieces


def _formatted(answer: Answer, prompt: Prompt) -> str:
    if prompt.generation.get("responseMimeType") == "application/json":
        wanted = prompt.generation.get(
            "responseJsonSchema", prompt.generation.get("responseSchema")
        )
        return as_json(answer.text, wanted)
    return answer.text


def _stopped(text: str, prompt: Prompt) -> str:
    for stop in prompt.generation.get("stopSequences") or ():
        if stop:
            text = text.partition(stop)[0]
    return text


def cut_to_tokens(text: str, tokens_left: int) -> str:
    """The longest beginning that is worth at most that many tokens."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if tokens.count_text(text[:middle]) <= tokens_left:
            low = middle
        else:
            high = middle - 1
    return text[:low]
