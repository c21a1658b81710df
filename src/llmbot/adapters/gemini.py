"""Gemini behind the `Model` port: google-genai, hardened.

What was decided, and why:

- **Transport**: an `httpx2.AsyncClient` of our own is handed in. Left alone, google-genai takes
  aiohttp as soon as it is importable (discord.py needs it), where a time-out means the whole
  stream and a lost connection sleeps 1 to 10 s and sends again.
- **API version**: v1beta. `*-latest` names exist only there, `v1` came to `systemInstruction` and
  `thinkingConfig` late, and whoever rebuilds the protocol rebuilds v1beta first. A base address
  that ends in a version keeps its own.
- **No hidden requests**: one attempt, no redirects, no automatic function calls, no continuation.
- **The seam**: `async_request_streamed` of the SDK's API client, through which all of its modules
  speak. It keeps the SDK's addresses, headers, line decoder and errors, and leaves out what a chat
  does not need: copying the configuration, tools, and a pydantic model for every chunk. Measured
  over 100 chunks: 21 µs of processor time a chunk instead of 192 µs.
- **Importing** google-genai takes a second and 44 MiB: it happens at the first use, in a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

import httpx2
import orjson

from llmbot.adapters.gemini_errors import (
    blocked_prompt,
    ending_of,
    read_refusal,
    refusal_error,
)
from llmbot.adapters.model_stream import (
    Piece,
    Usage,
    close_response,
    lawful,
    new_http_client,
    retry_after_s,
    timed_out,
    transport_error,
)
from llmbot.conversation.ports import Finish, Model, ModelDeadlines, Prompt, Role, Turn, Words
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import (
    LlmbotError,
    ModelCredentialsError,
    ModelGarbledError,
    ModelRequestRefusedError,
)

if TYPE_CHECKING:
    from google import genai

PROVIDER: Final = "gemini"
GOOGLE_BASE_URL: Final = "https://generativelanguage.googleapis.com"
API_VERSION: Final = "v1beta"
_API_VERSIONS: Final = ("v1", "v1beta", "v1alpha")
_LISTED_MODELS_MAX: Final = 1_000


@dataclass(slots=True)
class _Call:
    """One request on its way through the SDK, so that its connection stays in our hands."""

    connect_s: float
    response: httpx2.Response | None = None


_CALL: Final[ContextVar[_Call | None]] = ContextVar("gemini_call", default=None)
"""The call that the current task makes; the SDK has no other way to reach its request."""


async def _on_request(request: httpx2.Request) -> None:
    """Put the call's own connect time-out in place of the SDK's "none at all"."""
    call = _CALL.get()
    if call is not None:
        request.extensions["timeout"] = {
            "connect": call.connect_s,
            "pool": call.connect_s,
            "read": None,
            "write": None,
        }


async def _on_response(response: httpx2.Response) -> None:
    call = _CALL.get()
    if call is not None:
        call.response = response


class GeminiModels:
    """All models behind one address and key; owns one client for the process."""

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str | None,
        clock: Clock,
        connections_max: int = 256,
    ) -> None:
        """Connect to nothing yet.

        Args:
            api_key: sent as a header, never as part of an address.
            base_url: any server that speaks the protocol, path prefix allowed; None for Google's.
            clock: tells the date by which a `Retry-After` date is read.
            connections_max: calls at one time; one more waits up to the connect deadline.
        """
        self._api_key = api_key.strip()
        self._base_url, self._api_version = _split_version(base_url or GOOGLE_BASE_URL)
        self._clock = clock
        self._connections_max = connections_max
        self._client: genai.Client | None = None
        self._http: httpx2.AsyncClient | None = None
        self._opening = asyncio.Lock()

    def __repr__(self) -> str:
        """Without the key."""
        return f"GeminiModels(base_url={self._base_url!r}, api_version={self._api_version!r})"

    def model(self, name: str) -> Model:
        """The model of this name; nothing is asked yet."""
        return GeminiModel(self, name.removeprefix("models/"))

    async def list_models(self, *, deadline_s: float = 10.0) -> list[str]:
        """Names of the models that can answer with text; proves that address and key are good.

        Raises:
            ModelCredentialsError, ModelUnavailableError and the others of `Model.stream`.
        """
        names: list[str] = []
        try:
            async with asyncio.timeout(deadline_s):
                client = await self.client()
                pager = await client.aio.models.list(config={"page_size": _LISTED_MODELS_MAX})
                async for model in pager:
                    actions = model.supported_actions
                    if model.name and (not actions or "generateContent" in actions):
                        names.append(model.name.removeprefix("models/"))
                    if len(names) >= _LISTED_MODELS_MAX:
                        break
        except LlmbotError:
            raise
        except TimeoutError:
            raise timed_out("whole_answer") from None
        except Exception as error:  # noqa: BLE001 - start-up relies on typed errors alone
            raise self.classified(error) from None
        return names

    async def close(self) -> None:
        """Close every connection; streams that still run end with an error."""
        async with self._opening:
            http, self._http, self._client = self._http, None, None
        if http is not None:
            await http.aclose()

    async def client(self) -> genai.Client:
        """The SDK's client, made at the first call.

        Raises:
            ModelCredentialsError: the key has characters that no key has.
        """
        if self._client is None:
            async with self._opening:
                if self._client is None:
                    if not self._api_key or not self._api_key.isascii():
                        raise ModelCredentialsError("The key for Gemini is empty or no key at all.")
                    self._http = self._http or new_http_client(
                        self._base_url,
                        connect_s=ModelDeadlines().connect_s,
                        connections_max=self._connections_max,
                        on_request=_on_request,
                        on_response=_on_response,
                    )
                    self._client = await asyncio.to_thread(self._new_client, self._http)
        return self._client

    def _new_client(self, http: httpx2.AsyncClient) -> genai.Client:
        from google import genai  # noqa: PLC0415 - takes a second and 44 MiB; see the module
        from google.genai import types  # noqa: PLC0415 - the same

        return genai.Client(
            api_key=self._api_key,
            vertexai=False,
            http_options=types.HttpOptions(
                base_url=self._base_url,
                api_version=self._api_version,
                retry_options=types.HttpRetryOptions(attempts=1),
                httpx_async_client=http,
                # Never used; without it the SDK loads the certificates for one of its own.
                httpx_client=httpx2.Client(transport=httpx2.MockTransport(_no_sync_calls)),
            ),
        )

    def classified(self, error: Exception) -> LlmbotError:
        """Which of our errors an exception of the SDK or the transport is."""
        from google.genai import errors  # noqa: PLC0415 - imported by now, or nothing was called

        if not isinstance(error, errors.APIError):
            return transport_error(error)
        headers = getattr(error.response, "headers", None)
        wait_s = retry_after_s(
            headers.get("retry-after") if headers is not None else None,
            now_wall_s=self._clock.wall(),
        )
        return refusal_error(read_refusal(error.code, error.details), header_wait_s=wait_s)


def _no_sync_calls(_request: httpx2.Request) -> httpx2.Response:
    raise httpx2.UnsupportedProtocol("llmbot speaks to Gemini asynchronously only")


def _split_version(base_url: str) -> tuple[str, str]:
    """The address without a version at its end, and the version."""
    parts = urlsplit(base_url.strip())
    path = parts.path.rstrip("/")
    head, _, last = path.rpartition("/")
    if last in _API_VERSIONS:
        return urlunsplit(parts._replace(path=head)), last
    return urlunsplit(parts._replace(path=path)), API_VERSION


class GeminiModel:
    """One Gemini model; see `conversation.ports.Model` for the laws."""

    __slots__ = ("_models", "_name")

    def __init__(self, models: GeminiModels, name: str) -> None:
        self._models = models
        self._name = name

    @property
    def provider(self) -> str:
        """See `Model.provider`."""
        return PROVIDER

    @property
    def name(self) -> str:
        """See `Model.name`."""
        return self._name

    def stream(self, prompt: Prompt, deadlines: ModelDeadlines) -> AsyncGenerator[Words | Finish]:
        """See `Model.stream`."""
        return lawful(self._pieces(prompt, deadlines), model=self._name, deadlines=deadlines)

    async def _pieces(self, prompt: Prompt, deadlines: ModelDeadlines) -> AsyncGenerator[Piece]:
        call = _Call(connect_s=deadlines.connect_s)
        chunks: AsyncIterator[Any] | None = None
        try:
            chunks = await self._open(call, request_body(self._name, prompt))
            async for chunk in chunks:
                for piece in pieces_of(orjson.loads(chunk.body)):
                    yield piece
        except LlmbotError:
            raise
        except Exception as error:  # noqa: BLE001 - the port promises typed errors alone
            raise self._models.classified(error) from None
        finally:
            await close_response(call.response)
            await _unwind(chunks)

    async def _open(self, call: _Call, body: dict[str, object]) -> AsyncIterator[Any]:
        client = await self._models.client()
        token = _CALL.set(call)
        try:
            chunks: AsyncIterator[Any] = await client._api_client.async_request_streamed(  # noqa: SLF001 - the seam; see the module
                "post", f"models/{self._name}:streamGenerateContent?alt=sse", body
            )
            return chunks
        finally:
            _CALL.reset(token)


async def _unwind(chunks: AsyncIterator[Any] | None) -> None:
    """Run the SDK's nested generators to their ends, now that the connection is closed.

    Left suspended they would be finished by the garbage collector in tasks that nobody owns.
    """
    if chunks is None:
        return
    with contextlib.suppress(Exception):
        async for _ in chunks:
            pass


# ── the request ─────────────────────────────────────────────────────────────────────────────────

_NO_BEGINNING: Final = "(The conversation begins with your words.)"


def request_body(model: str, prompt: Prompt) -> dict[str, object]:
    """The body of streamGenerateContent.

    Turns without text and files are left out, neighbours of one role become one turn, and a
    conversation that begins with the model gets a user's turn before it: the API wants turns to
    alternate, to begin with the user and to hold something.

    Raises:
        ModelRequestRefusedError: the user's last turn holds nothing to answer.
    """
    contents: list[dict[str, object]] = []
    last: tuple[Role, list[dict[str, object]]] | None = None
    for turn in prompt.turns:
        parts = _parts(turn)
        if not parts:
            continue
        if last is not None and last[0] is turn.role:
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


def _parts(turn: Turn) -> list[dict[str, object]]:
    parts: list[dict[str, object]] = []
    if turn.text.strip():
        parts.append({"text": turn.text})
    parts.extend(
        {"inlineData": {"mimeType": blob.mime_type, "data": b64encode(blob.data).decode("ascii")}}
        for blob in turn.blobs
        if blob.data
    )
    return parts


def _little_thinking(model: str) -> dict[str, object] | None:
    """The smallest thinking that a model allows (ai.google.dev/gemini-api/docs/thinking).

    Gemini 3 takes a level (the Pro models no lower than "low"), 2.5 a budget in tokens (Pro no
    less than 128); older models and others do not think and refuse the field.
    """
    if model.startswith("gemini-2.5"):
        return {"thinkingBudget": 128 if "pro" in model else 0}
    if model.startswith(("gemini-3", "gemini-flash", "gemini-pro")):
        return {"thinkingLevel": "low" if "pro" in model else "minimal"}
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
        block_reason = _mapping(chunk.get("promptFeedback")).get("blockReason")
        if block_reason and block_reason != "BLOCK_REASON_UNSPECIFIED":
            raise blocked_prompt(str(block_reason))
        return
    if text:
        yield Piece(text)
    yield Piece(
        ending=ending_of(str(reason)), usage=usage, model=str(chunk.get("modelVersion", ""))
    )


def _mapping(value: object) -> Mapping[str, Any]:
    """The value as an object; an absent one is empty, anything else is not understood."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ModelGarbledError("The model's answer has a field of the wrong kind.")
    return value


def _first_candidate(chunk: Mapping[str, Any]) -> Mapping[str, Any]:
    candidates = chunk.get("candidates") or []
    if not isinstance(candidates, list):
        raise ModelGarbledError("The model's answer has a field of the wrong kind.")
    for candidate in candidates:
        found = _mapping(candidate)
        if not found.get("index"):
            return found
    return {}


def _shown_text(candidate: Mapping[str, Any]) -> str:
    parts = _mapping(candidate.get("content")).get("parts") or []
    if not isinstance(parts, list):
        raise ModelGarbledError("The model's answer has a field of the wrong kind.")
    texts = [
        text
        for part in map(_mapping, parts)
        if not part.get("thought") and isinstance(text := part.get("text"), str)
    ]
    return texts[0] if len(texts) == 1 else "".join(texts)


def _usage(value: object) -> Usage | None:
    if not isinstance(value, dict):
        return None
    return Usage(
        tokens_in=_count(value.get("promptTokenCount")),
        tokens_out=_count(value.get("candidatesTokenCount")),
        tokens_thought=_count(value.get("thoughtsTokenCount")),
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0
