"""The simulated Gemini REST API: generate, stream, count tokens, list models."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from llmbot.simulators.faults import FaultBoard
from llmbot.simulators.gemini import prompts, scripts, tokens, wire
from llmbot.simulators.gemini.catalogue import ALIASES, ServedModel, describe
from llmbot.simulators.gemini.errors import FieldViolation as Violation
from llmbot.simulators.gemini.errors import (
    GeminiError,
    api_key_invalid,
    api_key_missing,
    bad_payload,
    invalid_argument,
    model_not_found,
)
from llmbot.simulators.gemini.quotas import Quotas
from llmbot.simulators.gemini.record import Entry, Record
from llmbot.simulators.gemini.replies import reply_to
from llmbot.simulators.gemini.settings import GeminiSettings
from llmbot.simulators.gemini.strikes import Strikes

_METHODS = frozenset({"generateContent", "streamGenerateContent", "countTokens"})
_VERSIONS = "v1|v1beta"
_QUERY = frozenset({"alt", "$alt", "key", "prettyPrint", "fields", "quotaUser"})
_PAGE_SIZE, _PAGE_SIZE_MAX = 50, 1_000

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class SimulatedGemini:
    """One simulated provider; `attach` puts it on an application, `close` ends what it holds."""

    def __init__(
        self,
        board: FaultBoard,
        settings: GeminiSettings,
        rng: random.Random,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`rng` makes ids; the answers depend on `settings.seed`. `now` is the wall clock."""
        self.settings = settings
        self.record = Record(settings.log_limit, now)
        self.quotas = Quotas(settings.quotas, now)
        self.script = scripts.ScriptQueue()
        self._strikes = Strikes(board)
        self._rng = rng
        self._now = now
        self._models = {name: describe(name) for name in settings.models}
        self._closing = asyncio.Event()

    def attach(self, app: web.Application, prefix: str = "/gemini") -> None:
        """Add the API's routes below `prefix`, which clients use as their base address."""
        base = f"{prefix}/{{version:{_VERSIONS}}}/models"
        app.router.add_get(base, self._refusing(self._list_models))
        app.router.add_get(base + "/{name}", self._refusing(self._get_model))
        app.router.add_post(base + "/{call}", self._call)

    async def close(self) -> None:
        """Let go of every request that is being held."""
        self._closing.set()

    def reset(self) -> None:
        """Forget requests, scripts and used quota."""
        self.record.reset()
        self.quotas.reset()
        self.script.clear()

    def _refusing(self, handler: Handler) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                self._check_key(request)
                self._strikes.refuse_any("")
                return await handler(request)
            except GeminiError as error:
                return wire.json_response(error.code, error.encode())

        return answer

    async def _list_models(self, request: web.Request) -> web.StreamResponse:
        size = request.query.get("pageSize", str(_PAGE_SIZE))
        start = request.query.get("pageToken", "0")
        if not size.isdecimal() or int(size) > _PAGE_SIZE_MAX:
            raise invalid_argument(f"page_size must be between 0 and {_PAGE_SIZE_MAX}")
        if not start.isdecimal():
            raise invalid_argument("page_token is invalid.")
        served = [model for model in self._models.values() if self._is_served(model)]
        first, count = int(start), int(size) or _PAGE_SIZE
        body: dict[str, Any] = {"models": [m.body() for m in served[first : first + count]]}
        if first + count < len(served):
            body["nextPageToken"] = str(first + count)
        return web.json_response(body)

    async def _get_model(self, request: web.Request) -> web.StreamResponse:
        version = request.match_info["version"]
        model = self._model(request.match_info["name"], version, "getModel")
        return web.json_response(model.body())

    async def _call(self, request: web.Request) -> web.StreamResponse:
        version = request.match_info["version"]
        name, _, method = request.match_info["call"].rpartition(":")
        if method not in _METHODS:
            error = model_not_found(name, version, method)
            return wire.json_response(error.code, error.encode())
        size = request.content_length or 0
        entry = self.record.open(version, name, method, size)
        outcome = ""
        try:
            response = await self._answer(request, entry)
        except GeminiError as error:
            outcome = error.outcome
            as_list = entry.stream and not _wants_sse(request)
            response = wire.json_response(error.code, error.encode(as_list=as_list))
        except wire.ClientGoneError:
            response = web.Response(status=499)
        finally:
            self.record.close(entry, outcome or entry.outcome or "client_gone")
        return response

    async def _answer(self, request: web.Request, entry: Entry) -> web.StreamResponse:
        self._check_key(request)
        self._check_query(request)
        if (request.content_length or 0) > prompts.REQUEST_BYTES_MAX:
            raise _too_large()
        body = await request.read()
        entry.size = len(body)
        if entry.size > prompts.REQUEST_BYTES_MAX:
            raise _too_large()
        model = self._model(entry.model, entry.version, entry.method)
        if entry.method == "countTokens":
            return self._count(body, entry, model)
        checked, prompt = prompts.read_generate(body, model)
        self.record.keep(entry, checked)
        if (answer := self.script.take(entry.model)) is not None:
            entry.outcome = "scripted"
            sse = _wants_sse(request)
            return await scripts.play(
                request, answer, model.name, self._closing, stream=entry.stream, sse=sse
            )
        self._strikes.refuse(entry.model, entry.version, entry.method)
        if self._strikes.hangs(entry.model):
            entry.outcome = "gemini.hang"
            return await self._hang(request)
        self.quotas.spend(model.name, prompt.prompt_tokens)
        return await self._reply(request, entry, model, prompt)

    async def _reply(
        self, request: web.Request, entry: Entry, model: ServedModel, prompt: prompts.Prompt
    ) -> web.StreamResponse:
        reply = reply_to(
            prompt,
            model=model.name,
            seed=self.settings.seed,
            rng=self._rng,
            first_word_s=self.settings.first_word_s,
            chunk_s=self.settings.chunk_s,
        )
        self._strikes.alter(reply)
        if reply.outcome != "ok":
            entry.outcome = reply.outcome
        entry.text_chars = sum(map(len, reply.pieces))
        if entry.stream:
            response = await wire.send_stream(
                request, reply, self._closing, sse=_wants_sse(request)
            )
        else:
            response = await wire.send_whole(request, reply, self._closing)
        entry.outcome = reply.outcome
        return response

    async def _hang(self, request: web.Request) -> web.StreamResponse:
        try:
            await wire.hold(request, self._closing)
        except wire.ClientGoneError:
            return web.Response(status=499)
        wire.drop(request)
        return web.Response(status=499)

    def _count(self, body: bytes, entry: Entry, model: ServedModel) -> web.Response:
        self._strikes.refuse(entry.model, entry.version, entry.method)
        counts = prompts.read_count(body, model)
        entry.outcome = "ok"
        return web.json_response(
            {"totalTokens": sum(counts.values()), "promptTokensDetails": tokens.details(counts)}
        )

    def _check_key(self, request: web.Request) -> None:
        key = request.headers.get("x-goog-api-key") or request.query.get("key")
        if not key:
            raise api_key_missing()
        known = self.settings.api_keys
        if (known and key not in known) or (not known and key.startswith("invalid")):
            raise api_key_invalid()

    def _check_query(self, request: web.Request) -> None:
        unknown = [name for name in request.query if name not in _QUERY]
        if unknown:
            violations = [
                Violation(
                    "",
                    f'Invalid JSON payload received. Unknown name "{name}": Cannot bind query '
                    f"parameter. Field '{name}' could not be found in request message.",
                )
                for name in unknown
            ]
            raise bad_payload(violations)

    def _model(self, name: str, version: str, method: str) -> ServedModel:
        target = ALIASES.get(name, name) if version == "v1beta" else name
        model = self._models.get(target)
        if model is None or not self._is_served(model):
            raise model_not_found(name, version, method)
        return model

    def _is_served(self, model: ServedModel) -> bool:
        return model.served_on(datetime.fromtimestamp(self._now(), UTC).date())


def _wants_sse(request: web.Request) -> bool:
    return request.query.get("alt", request.query.get("$alt")) == "sse"


def _too_large() -> GeminiError:
    return invalid_argument(
        f"Request payload size exceeds the limit: {prompts.REQUEST_BYTES_MAX} bytes."
    )
