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
  speak. The SDK addresses, authenticates, sends and raises its errors; the response is then read
  here, from the same connection: the SDK would copy the configuration, build a pydantic model of
  every chunk, accept broken UTF-8, fail on a comment line, and leave its nested generators to the
  garbage collector. Measured over 100 chunks: 40 µs of processor time a chunk instead of 220 µs.
- **Files** go into the request a slice at a time: see `model_files`.
- **Importing** google-genai takes a second and 44 MiB: it happens at the first use, in a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

import httpx2

from llmbot.adapters.models.files import Files
from llmbot.adapters.models.gemini_errors import Refusal, read_refusal, refusal_error
from llmbot.adapters.models.gemini_wire import pieces_of, request_body
from llmbot.adapters.models.server_sent_events import parsed, payloads_of
from llmbot.adapters.models.stream import Piece, lawful
from llmbot.adapters.models.transport import (
    Call,
    calling,
    close_response,
    is_header_value,
    new_http_client,
    retry_after_s,
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
)

if TYPE_CHECKING:
    from google import genai

PROVIDER: Final = "gemini"
GOOGLE_BASE_URL: Final = "https://generativelanguage.googleapis.com"
API_VERSION: Final = "v1beta"
_API_VERSIONS: Final = ("v1", "v1beta", "v1alpha")
_LISTED_MODELS_MAX: Final = 1_000


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
        self._closed = False

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
        """Close every connection; streams that still run end with an error, and so do new ones."""
        self._closed = True
        async with self._opening:
            http, self._http, self._client = self._http, None, None
        if http is not None:
            await http.aclose()

    def reopen(self) -> None:
        """Serve again after `close`; nothing is connected yet."""
        self._closed = False

    async def client(self) -> genai.Client:
        """The SDK's client, made at the first call.

        Raises:
            ModelCredentialsError: the key has characters that no key has.
            ModelUnavailableError: `close` was called.
        """
        if self._client is None:
            async with self._opening:
                if self._closed:
                    raise ModelUnavailableError("The client of Gemini is closed.")
                if self._client is None:
                    if not is_header_value(self._api_key):
                        raise ModelCredentialsError("The key for Gemini is empty or no key at all.")
                    self._http = self._http or new_http_client(
                        self._base_url, connections_max=self._connections_max
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

    def new_call(self, deadlines: ModelDeadlines) -> Call:
        """A call that keeps the deadline of connecting."""
        return Call(deadlines.connect_s, Files(self._clock))

    def classified(self, error: Exception, response: httpx2.Response | None = None) -> LlmbotError:
        """Which of our errors an exception of the SDK or the transport is.

        `response` tells the status where the body of a refusal could not be read.
        """
        from google.genai import errors  # noqa: PLC0415 - imported by now, or nothing was called

        if isinstance(error, errors.APIError):
            refusal = read_refusal(error.code, error.details)
            response = error.response if isinstance(error.response, httpx2.Response) else response
        elif response is not None and response.status_code != HTTPStatus.OK:
            refusal = Refusal(response.status_code)
        else:
            return transport_error(error)
        headers = response.headers if response is not None else None
        wait_s = retry_after_s(headers, now_wall_s=self._clock.wall())
        return refusal_error(refusal, header_wait_s=wait_s)


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
        call = self._models.new_call(deadlines)
        try:
            response = await self._open(call, request_body(self._name, prompt, call.files))
            async with contextlib.aclosing(payloads_of(response)) as payloads:
                async for payload in payloads:
                    for piece in pieces_of(parsed(payload)):
                        yield piece
        except LlmbotError:
            raise
        except Exception as error:  # noqa: BLE001 - the port promises typed errors alone
            raise self._models.classified(error, call.response) from None
        finally:
            await close_response(call.response)

    async def _open(self, call: Call, body: dict[str, object]) -> httpx2.Response:
        client = await self._models.client()
        with calling(call):
            # What this returns is the SDK's reader of the response; it is never started.
            await client._api_client.async_request_streamed(  # noqa: SLF001 - see the module
                "post", f"models/{self._name}:streamGenerateContent?alt=sse", body
            )
        if call.response is None:
            raise ModelGarbledError("The model's answer came past the transport.")
        return call.response
