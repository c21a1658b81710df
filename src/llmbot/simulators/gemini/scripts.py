"""Scripted answers: exact wires that a test queues and the next requests get.

`POST /_sim/gemini/script` takes `{"answers": [...]}`; each answer is an object of

    model           only for this model (else for any)
    status          HTTP status, 200 by default
    headers         further headers
    body            the whole body: a JSON value, or a string sent as it is
    chunks          or a stream: strings, or objects of `text`, `json` or `raw` and `after_s`
    finish_reason   on the last `text` chunk, "STOP" by default, null for none
    ending          "end", "cut", "reset" or "stall"
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from llmbot.simulators.gemini import wire
from llmbot.simulators.gemini.jsonbody import BadBodyError, Fields

_QUEUE_MAX = 1_000
_CHUNKS_MAX = 10_000
_SECONDS_MAX = 600.0
_ENDINGS = ("end", "cut", "reset", "stall")


@dataclass(frozen=True, slots=True)
class ScriptedChunk:
    """One chunk, `after_s` seconds after what came before; `kind` is text, json or raw."""

    kind: str
    value: Any
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ScriptedAnswer:
    """One queued answer; see the module's words."""

    model: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    chunks: tuple[ScriptedChunk, ...] = ()
    finish_reason: str | None = "STOP"
    ending: str = "end"


class ScriptQueue:
    """The scripted answers that wait for a request, first come first served."""

    def __init__(self) -> None:
        self._answers: deque[ScriptedAnswer] = deque()

    def __len__(self) -> int:
        return len(self._answers)

    def extend(self, answers: list[ScriptedAnswer]) -> None:
        """Queue answers behind those that wait.

        Raises:
            BadBodyError: the queue would hold more than 1000.
        """
        if len(self._answers) + len(answers) > _QUEUE_MAX:
            raise BadBodyError("answers", f"at most {_QUEUE_MAX} may wait")
        self._answers.extend(answers)

    def clear(self) -> None:
        """Drop them all."""
        self._answers.clear()

    def take(self, model: str) -> ScriptedAnswer | None:
        """The first that is meant for this model, or None."""
        for answer in self._answers:
            if answer.model in ("", model):
                self._answers.remove(answer)
                return answer
        return None


def read_script(body: object) -> list[ScriptedAnswer]:
    """The answers of a script.

    Raises:
        BadBodyError: naming the field that cannot be read.
    """
    fields = Fields.of(body)
    answers = [_answer(item) for item in fields.objects("answers", most=_QUEUE_MAX)]
    fields.done()
    return answers


def _answer(fields: Fields) -> ScriptedAnswer:
    raw = fields.take("body")
    body = raw.encode() if isinstance(raw, str) else None if raw is None else orjson.dumps(raw)
    chunks = fields.take("chunks", [])
    if not isinstance(chunks, list) or len(chunks) > _CHUNKS_MAX:
        raise BadBodyError(fields.path("chunks"), "must be a list of at most 10000")
    if body is not None and chunks:
        raise BadBodyError(fields.path("body"), "cannot stand beside chunks")
    finish = fields.take("finish_reason", "STOP")
    if finish is not None and not isinstance(finish, str):
        raise BadBodyError(fields.path("finish_reason"), "must be a string or null")
    headers = fields.take("headers", {})
    if not isinstance(headers, dict):
        raise BadBodyError(fields.path("headers"), "must be an object of strings")
    answer = ScriptedAnswer(
        model=fields.string("model", ""),
        status=int(fields.number("status", 200, least=200, most=599)),
        headers={str(name): str(value) for name, value in headers.items()},
        body=body,
        chunks=tuple(
            _chunk(item, f"{fields.path('chunks')}[{n}]") for n, item in enumerate(chunks)
        ),
        finish_reason=finish,
        ending=fields.choice("ending", _ENDINGS, "end"),
    )
    fields.done()
    return answer


def _chunk(item: object, path: str) -> ScriptedChunk:
    if isinstance(item, str):
        return ScriptedChunk("text", item)
    fields = Fields.of(item, path)
    after_s = fields.number("after_s", 0.0, least=0, most=_SECONDS_MAX)
    for kind in ("text", "json", "raw"):
        value = fields.take(kind)
        if value is not None:
            fields.done()
            if kind != "json" and not isinstance(value, str):
                raise BadBodyError(f"{path}.{kind}", "must be a string")
            return ScriptedChunk(kind, value, after_s)
    raise BadBodyError(path, "needs one of text, json or raw")


async def play(
    request: web.Request,
    answer: ScriptedAnswer,
    model: str,
    closing: asyncio.Event,
    *,
    stream: bool,
    sse: bool,
) -> web.StreamResponse:
    """Send a scripted answer.

    Raises:
        ClientGoneError: the client left.
    """
    if not answer.chunks:
        body = b"{}" if answer.body is None else answer.body
        headers = {"Content-Type": "application/json; charset=UTF-8", **answer.headers}
        if answer.ending == "end":
            return web.Response(status=answer.status, body=body, headers=headers)
        frames = [(0.0, body[: len(body) // 2])]
        headers["Content-Length"] = str(len(body))
    else:
        frames = _frames(answer, model, stream=stream, sse=sse)
        content_type = "text/event-stream" if stream and sse else "application/json; charset=UTF-8"
        headers = {"Content-Type": content_type, **answer.headers}
    return await wire.send_frames(
        request, frames, closing, status=answer.status, headers=headers, ending=answer.ending
    )


def _frames(
    answer: ScriptedAnswer, model: str, *, stream: bool, sse: bool
) -> list[tuple[float, bytes]]:
    if not stream:
        text = "".join(str(chunk.value) for chunk in answer.chunks if chunk.kind == "text")
        wait = sum(chunk.after_s for chunk in answer.chunks)
        return [(wait, orjson.dumps(_candidate(text, model, answer.finish_reason)))]
    last = max((n for n, c in enumerate(answer.chunks) if c.kind == "text"), default=-1)
    frames: list[tuple[float, bytes]] = []
    for number, chunk in enumerate(answer.chunks):
        if chunk.kind == "raw":
            frames.append((chunk.after_s, str(chunk.value).encode()))
            continue
        value = chunk.value
        if chunk.kind == "text":
            value = _candidate(value, model, answer.finish_reason if number == last else None)
        data = orjson.dumps(value)
        framed = b"data: %b\r\n\r\n" % data if sse else (b",\r\n" if number else b"[") + data
        frames.append((chunk.after_s, framed))
    if not sse:
        frames.append((0.0, b"\n]"))
    return frames


def _candidate(text: str, model: str, finish: str | None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": [{"text": text}], "role": "model"}}
    if finish is not None:
        candidate["finishReason"] = finish
    candidate["index"] = 0
    return {"candidates": [candidate], "modelVersion": model, "responseId": "scripted"}
