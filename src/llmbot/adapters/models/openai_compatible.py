"""Every provider that speaks OpenAI's chat completions, behind the `Model` port.

OpenAI, OpenRouter, Ollama, llama.cpp, vLLM and others, told apart by base address and name. The
openai SDK (an optional extra, imported at the first use) addresses, authenticates, sends and raises
its errors; the events are read here, because the SDK takes a cut stream for a whole one, a body
that is no stream for an empty one, and lets a bare `JSONDecodeError` out. It retries nothing, and
speaks through our own client (see `model_transport`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from http import HTTPStatus
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

import httpx2

from llmbot.adapters.models.files import Files
from llmbot.adapters.models.openai_wire import (
    DONE,
    Refusal,
    pieces_of,
    read_refusal,
    refusal_error,
    request_body,
)
from llmbot.adapters.models.server_sent_events import parsed, payloads_of
from llmbot.adapters.models.stream import Piece, lawful
from llmbot.adapters.models.transport import (
    Call,
    calling,
    close_response,
    is_header_value,
    new_http_client,
    timed_out,
    transport_error,
)
from llmbot.conversation.ports import Finish, Model, ModelDeadlines, Prompt, Words
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import (
    LlmbotError,
    ModelCredentialsError,
    ModelGarbledError,
    ModelUnavailableError,
    SettingsError,
)

if TYPE_CHECKING:
    import openai

_LISTED_MODELS_MAX: Final = 1_000
_NO_KEY: Final = "none"
"""Sent where no key is set: local servers want none, and the SDK would look for one of its own."""


class OpenAiCompatibleModels:
    """All models behind one address and key; owns one client for the process."""

    def __init__(
        self,
        *,
        provider: str,
        api_key: str,
        base_url: str,
        clock: Clock,
        connections_max: int = 256,
    ) -> None:
        """Connect to nothing yet.

        Args:
            provider: short name for logs and metrics: openai, openrouter, ollama and so on.
            api_key: may be empty for a server that wants none.
            base_url: up to and including the version (…/v1), which is added to a bare host.
            clock: tells the date by which a `Retry-After` date is read.
            connections_max: calls at one time; one more waits up to the connect deadline.

        Raises:
            SettingsError: the openai package is not installed.
        """
        if not _is_installed("openai"):
            raise SettingsError(
                f"The provider {provider} needs the openai package:"
                " install llmbot with the extra `openai` (pip install 'llmbot[openai]')."
            )
        self.provider = provider
        self._api_key = api_key.strip() or _NO_KEY
        self._base_url = _with_version(base_url)
        self._clock = clock
        self._connections_max = connections_max
        self._client: openai.AsyncOpenAI | None = None
        self._http: httpx2.AsyncClient | None = None
        self._opening = asyncio.Lock()
        self._closed = False
        self._host = urlsplit(self._base_url).hostname or ""
        self._with_usage = True

    def __repr__(self) -> str:
        """Without the key."""
        return f"OpenAiCompatibleModels(provider={self.provider!r}, base_url={self._base_url!r})"

    def model(self, name: str) -> Model:
        """The model of this name; nothing is asked yet."""
        return OpenAiCompatibleModel(self, name)

    async def list_models(self, *, deadline_s: float = 10.0) -> list[str]:
        """Names of the models; proves that address and key are good.

        Raises:
            ModelCredentialsError, ModelUnavailableError and the others of `Model.stream`.
        """
        names: list[str] = []
        try:
            async with asyncio.timeout(deadline_s):
                client = await self.client()
                async for model in await client.models.list():
                    names.append(model.id)
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
        """Close every connection; streams that still run end with an error, and so do new ones."""
        self._closed = True
        async with self._opening:
            http, self._http, self._client = self._http, None, None
        if http is not None:
            await http.aclose()

    def reopen(self) -> None:
        """Serve again after `close`; nothing is connected yet."""
        self._closed = False

    async def client(self) -> openai.AsyncOpenAI:
        """The SDK's client, made at the first call.

        Raises:
            ModelCredentialsError: the key has characters that no key has.
            ModelUnavailableError: `close` was called.
        """
        if self._client is None:
            async with self._opening:
                if self._closed:
                    raise ModelUnavailableError(f"The client of {self.provider} is closed.")
                if self._client is None:
                    if not is_header_value(self._api_key):
                        raise ModelCredentialsError(f"The key for {self.provider} is no key.")
                    self._http = self._http or new_http_client(
                        self._base_url, connections_max=self._connections_max
                    )
                    self._client = await asyncio.to_thread(self._new_client, self._http)
        return self._client

    def _new_client(self, http: httpx2.AsyncClient) -> openai.AsyncOpenAI:
        import openai  # noqa: PLC0415 - an optional extra, and half a second

        return openai.AsyncOpenAI(
            api_key=self._api_key, base_url=self._base_url, max_retries=0, http_client=http
        )

    def new_call(self, deadlines: ModelDeadlines) -> Call:
        """A call that keeps the deadline of connecting."""
        return Call(deadlines.connect_s, Files(self._clock))

    def body_for(self, model: str, prompt: Prompt, files: Files) -> dict[str, object]:
        """The request as this provider is known to take it."""
        is_openai = self._host.endswith("openai.com")
        return request_body(
            model,
            prompt,
            files,
            limit_field="max_completion_tokens" if is_openai else "max_tokens",
            with_usage=self._with_usage,
        )

    def gave_up_usage(self, error: Exception, body: dict[str, object]) -> bool:
        """Whether the server refused nothing but the wish for usage; it is not wished for again.

        The one case in which a call is sent twice, once for the life of the process: servers older
        than `stream_options` refuse every request that names it.
        """
        import openai  # noqa: PLC0415 - imported by now, or nothing was called

        refused = openai.BadRequestError | openai.UnprocessableEntityError
        if not isinstance(error, refused) or "stream_options" not in body:
            return False
        refusal = read_refusal(error.status_code, error.body)
        if "stream_options" not in refusal.param + refusal.text:
            return False
        self._with_usage = False
        del body["stream_options"]
        return True

    def classified(self, error: Exception, response: httpx2.Response | None = None) -> LlmbotError:
        """Which of our errors an exception of the SDK or the transport is.

        `response` tells the status where the body of a refusal could not be read.
        """
        import openai  # noqa: PLC0415 - imported by now, or nothing was called

        now_wall_s = self._clock.wall()
        if isinstance(error, openai.APIStatusError):
            refusal = read_refusal(error.status_code, error.body)
            return refusal_error(refusal, error.response.headers, now_wall_s=now_wall_s)
        if response is not None and response.status_code != HTTPStatus.OK:
            refusal = Refusal(response.status_code)
            return refusal_error(refusal, response.headers, now_wall_s=now_wall_s)
        if isinstance(error, openai.APIConnectionError) and error.__cause__ is not None:
            return transport_error(error.__cause__)
        return transport_error(error)


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ValueError:  # somebody has put None in its place to forbid it
        return False


def _with_version(base_url: str) -> str:
    parts = urlsplit(base_url.strip())
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") or "/v1"))


class OpenAiCompatibleModel:
    """One model of an OpenAI-compatible provider; see `conversation.ports.Model` for the laws."""

    __slots__ = ("_models", "_name")

    def __init__(self, models: OpenAiCompatibleModels, name: str) -> None:
        self._models = models
        self._name = name

    @property
    def provider(self) -> str:
        """See `Model.provider`."""
        return self._models.provider

    @property
    def name(self) -> str:
        """See `Model.name`."""
        return self._name

    def stream(self, prompt: Prompt, deadlines: ModelDeadlines) -> AsyncGenerator[Words | Finish]:
        """See `Model.stream`."""
        return lawful(self._pieces(prompt, deadlines), model=self._name, deadlines=deadlines)

    async def _pieces(self, prompt: Prompt, deadlines: ModelDeadlines) -> AsyncGenerator[Piece]:
        call = self._models.new_call(deadlines)
        body = self._models.body_for(self._name, prompt, call.files)
        try:
            response = await self._open(call, body)
            async with contextlib.aclosing(payloads_of(response)) as payloads:
                async for payload in payloads:
                    if payload != DONE:
                        for piece in pieces_of(parsed(payload)):
                            yield piece
        except LlmbotError:
            raise
        except Exception as error:  # noqa: BLE001 - the port promises typed errors alone
            raise self._models.classified(error, call.response) from None
        finally:
            await close_response(call.response)

    async def _open(self, call: Call, body: dict[str, Any]) -> httpx2.Response:
        client = await self._models.client()
        create = client.chat.completions.with_streaming_response.create
        with calling(call):
            try:
                await create(**body).__aenter__()  # left by closing the call's response
            except Exception as error:
                if not self._models.gave_up_usage(error, body):
                    raise
                call.response = None
                await create(**body).__aenter__()
        if call.response is None:
            raise ModelGarbledError("The model's answer came past the transport.")
        return call.response
