"""The simulated OpenAI-compatible API: chat completions, whole or streamed, and models."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from llmbot.simulators.faults import FaultBoard
from llmbot.simulators.gemini import tokens, wire
from llmbot.simulators.gemini.answers import compose
from llmbot.simulators.gemini.record import Entry, Record
from llmbot.simulators.gemini.replies import cut_to_tokens, split
from llmbot.simulators.gemini.strikes import Strikes
from llmbot.simulators.openai import errors
from llmbot.simulators.openai.errors import OpenAIError
from llmbot.simulators.openai.prompts import ChatPrompt, read_chat

DEFAULT_OPENAI_MODELS = ("gpt-5-mini", "gpt-5-nano", "llama-3.3-70b-instruct", "qwen3:8b")
_BODY_BYTES_MAX = 32 * 1024 * 1024
_RETRY_S = 20.0
_FRAMES_BEFORE_CUT = 2
_GARBAGE = b'data: {"id": "chatcmpl-1", "choices": [{"delta": {"content": "half a chu\n\n'
_DONE = b"data: [DONE]\n\n"
_JSON = {"Content-Type": "application/json"}
_SSE = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
_FINISH_OF = {"MAX_TOKENS": "length", "SAFETY": "content_filter"}


@dataclass(frozen=True, slots=True)
class OpenAISettings:
    """`first_word_s` and `chunk_s` are seconds; `api_keys` empty accepts what is not "invalid…"."""

    seed: int = 0
    first_word_s: float = 0.4
    chunk_s: float = 0.1
    models: tuple[str, ...] = DEFAULT_OPENAI_MODELS
    api_keys: frozenset[str] = frozenset()
    log_limit: int = 256


@dataclass(frozen=True, slots=True)
class _Completion:
    """One answer: its pieces, how it ends and what every chunk of it repeats."""

    prompt: ChatPrompt
    pieces: list[str]
    finish: str
    head: dict[str, Any]

    def usage(self) -> dict[str, int]:
        counted = tokens.count_text("".join(self.pieces))
        return {
            "prompt_tokens": self.prompt.prompt_tokens,
            "completion_tokens": counted,
            "total_tokens": self.prompt.prompt_tokens + counted,
        }

    def whole(self) -> dict[str, Any]:
        message = {"role": "assistant", "content": "".join(self.pieces), "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish}
        head = {**self.head, "object": "chat.completion"}
        return {**head, "choices": [choice], "usage": self.usage()}

    def frames(self) -> list[bytes]:
        frames = [self._frame({"role": "assistant", "content": ""}, None)]
        frames += [self._frame({"content": piece}, None) for piece in self.pieces]
        frames.append(self._frame({}, self.finish))
        if self.prompt.include_usage:
            frames.append(_framed({**self.head, "choices": [], "usage": self.usage()}))
        return [*frames, _DONE]

    def _frame(self, delta: dict[str, Any], finish: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _framed({**self.head, "choices": [choice]})


class SimulatedOpenAI:
    """One simulated provider; `attach` puts it on an application, `close` ends what it holds."""

    def __init__(
        self,
        board: FaultBoard,
        settings: OpenAISettings,
        rng: random.Random,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`rng` makes ids; the answers depend on `settings.seed`. `now` is the wall clock."""
        self.settings = settings
        self.record = Record(settings.log_limit, now)
        self._strikes = Strikes(board)
        self._rng = rng
        self._now = now
        self._closing = asyncio.Event()

    def attach(self, app: web.Application, prefix: str = "/openai/v1") -> None:
        """Add the API's routes below `prefix`, which clients use as their base address."""
        app.router.add_get(prefix + "/models", self._list_models)
        app.router.add_get(prefix + "/models/{model:.+}", self._get_model)
        app.router.add_post(prefix + "/chat/completions", self._chat)

    async def close(self) -> None:
        """Let go of every request that is being held."""
        self._closing.set()

    async def _list_models(self, request: web.Request) -> web.StreamResponse:
        try:
            self._check_key(request)
        except OpenAIError as error:
            return _refusal(error)
        models = [self._model_body(model) for model in self.settings.models]
        return web.json_response({"object": "list", "data": models})

    async def _get_model(self, request: web.Request) -> web.StreamResponse:
        model = request.match_info["model"]
        try:
            self._check_key(request)
            self._check_model(model)
        except OpenAIError as error:
            return _refusal(error)
        return web.json_response(self._model_body(model))

    def _model_body(self, model: str) -> dict[str, Any]:
        return {"id": model, "object": "model", "created": 1_760_000_000, "owned_by": "simulated"}

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        size = request.content_length or 0
        entry = self.record.open("v1", "", "chat.completions", size)
        outcome = ""
        try:
            response = await self._answer(request, entry)
        except OpenAIError as error:
            outcome = error.outcome
            response = _refusal(error)
        except wire.ClientGoneError:
            response = web.Response(status=499)
        finally:
            self.record.close(entry, outcome or entry.outcome or "client_gone")
        return response

    async def _answer(self, request: web.Request, entry: Entry) -> web.StreamResponse:
        self._check_key(request)
        if (request.content_length or 0) > _BODY_BYTES_MAX:
            raise OpenAIError(413, "Request body is too large.", code="request_too_large")
        body = await request.read()
        prompt = read_chat(body)
        entry.size, entry.model, entry.stream = len(body), prompt.model, prompt.stream
        rest = {key: value for key, value in prompt.raw.items() if key != "messages"}
        self.record.keep(entry, {"contents": prompt.raw["messages"], "generationConfig": rest})
        self._check_model(prompt.model)
        self._refuse(prompt.model)
        if self._strikes.of("openai.hang", prompt.model):
            entry.outcome = "openai.hang"
            await wire.hold(request, self._closing)
            wire.drop(request)
            raise wire.ClientGoneError
        completion = self._complete(prompt)
        entry.text_chars = sum(map(len, completion.pieces))
        if not prompt.stream:
            return await self._send_whole(request, entry, completion)
        return await self._send_stream(request, entry, completion)

    def _complete(self, prompt: ChatPrompt) -> _Completion:
        question = prompt.question
        text, finish = compose(self.settings.seed, question).text, "stop"
        for stop in prompt.stops:
            text = text.partition(stop)[0] if stop else text
        if prompt.token_limit is not None and tokens.count_text(text) > prompt.token_limit:
            text, finish = cut_to_tokens(text, prompt.token_limit), "length"
        if question.finish:
            finish = _FINISH_OF.get(question.finish, "stop")
        if "empty" in question.flags:
            text = ""
        head = {
            "id": f"chatcmpl-{self._rng.randbytes(12).hex()}",
            "object": "chat.completion.chunk",
            "created": int(self._now()),
            "model": prompt.model,
            "system_fingerprint": "fp_simulated",
        }
        return _Completion(prompt, split(text, question.numbers.get("chunks")), finish, head)

    async def _send_whole(
        self, request: web.Request, entry: Entry, completion: _Completion
    ) -> web.StreamResponse:
        body = orjson.dumps(completion.whole())
        waits = self.settings.first_word_s + self.settings.chunk_s * len(completion.pieces)
        await wire.pause(request, waits + completion.prompt.question.wait_s)
        entry.outcome = "ok"
        if self._strikes.of("openai.garbage", entry.model):
            entry.outcome = "openai.garbage"
            return web.Response(body=body[: len(body) // 2], headers=_JSON)
        if self._strikes.of("openai.cut", entry.model):
            entry.outcome = "openai.cut"
            headers = {**_JSON, "Content-Length": str(len(body))}
            frames = [(0.0, body[: len(body) // 2])]
            return await wire.send_frames(
                request, frames, self._closing, headers=headers, ending="cut"
            )
        return web.Response(body=body, headers=_JSON)

    async def _send_stream(
        self, request: web.Request, entry: Entry, completion: _Completion
    ) -> web.StreamResponse:
        frames, ending, outcome = completion.frames(), "end", "ok"
        if self._strikes.of("openai.garbage", entry.model):
            frames.insert(_FRAMES_BEFORE_CUT, _GARBAGE)
            outcome = "openai.garbage"
        if fault := self._strikes.of("openai.cut", entry.model):
            frames = frames[:_FRAMES_BEFORE_CUT]
            ending = "end" if fault.number("clean", 0) else "cut"
            outcome = "openai.cut"
        settings = self.settings
        waits = [0.0, settings.first_word_s + completion.prompt.question.wait_s]
        waits += [settings.chunk_s] * max(len(frames) - 4, 0) + [0.0, 0.0]
        paced = list(zip(waits, frames, strict=False))
        if outcome != "ok":
            entry.outcome = outcome
        response = await wire.send_frames(
            request, paced, self._closing, headers=_SSE, ending=ending
        )
        entry.outcome = outcome
        return response

    def _refuse(self, model: str) -> None:
        if fault := self._strikes.of("openai.error", model):
            raise errors.server_error(int(fault.number("status", 503)))
        if fault := self._strikes.of("openai.quota", model):
            if fault.number("used_up", 0):
                raise errors.quota_used_up()
            raise errors.rate_limited(model, fault.number("retry_s", _RETRY_S))

    def _check_key(self, request: web.Request) -> None:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise errors.key_missing()
        known = self.settings.api_keys
        if (known and key not in known) or (not known and key.startswith("invalid")):
            raise errors.key_invalid(key)

    def _check_model(self, model: str) -> None:
        if model not in self.settings.models:
            raise errors.model_missing(model)


def _framed(body: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(body)


def _refusal(error: OpenAIError) -> web.Response:
    return web.Response(
        status=error.status, body=error.encode(), headers={**_JSON, **error.headers}
    )
