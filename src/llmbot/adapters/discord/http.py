"""discord.py's HTTP client with one retry layer that we own, for any server that speaks the API.

Why `request` is replaced: discord.py reads JSON only under one exact content type, never retries
503 or Linux's connection reset, sleeps for tens of seconds inside one call, and a caller that is
cancelled in its global wait stops every later request. Its session set-up, user agent, routes and
every method built upon `request` stay as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
from discord.gateway import DiscordClientWebSocketResponse
from discord.http import HTTPClient, Route
from yarl import URL

from llmbot.adapters.discord import errors
from llmbot.adapters.discord.limits import Bucket, RateLimits
from llmbot.adapters.discord.recent_exchanges import RecentExchanges
from llmbot.kernel.clock import Clock, Random
from llmbot.kernel.errors import DiscordRateLimitedError, DiscordUnavailableError

ATTEMPTS_MAX = 6
_ATTEMPT_S = 10.0
_CONNECT_S = 5.0
_BACKOFF_BASE_S = 0.25
_BACKOFF_CAP_S = 5.0
_DEFAULT_RETRY_AFTER_S = 1.0
_ANSWER_BYTES_MAX = 32 * 1024 * 1024
_FRAME_BYTES_MAX = 64 * 1024 * 1024
_CLOSE_S = 2.0
_CONNECTIONS_MAX = 100
_KEEP_ALIVE_S = 45.0
_DNS_S = 300
_SUCCESS = range(200, 300)
_EXEMPT_PATHS = ("/interactions/", "/webhooks/")
_DISCORD_DOMAINS = ("discord.com", "discord.gg", "discordapp.com")


def is_discords_own(url: str) -> bool:
    """Whether an address belongs to Discord itself."""
    host = URL(url).host or ""
    return any(host == domain or host.endswith("." + domain) for domain in _DISCORD_DOMAINS)


def normalized_base(api_base_url: str | None) -> str:
    """The REST base without a slash at its end; `/api/v10` is added where only a host is given."""
    if not api_base_url:
        return Route.BASE
    base = api_base_url.strip().rstrip("/")
    path = URL(base).path.rstrip("/")
    if path == "":
        return base + "/api/v10"
    return base + "/v10" if path == "/api" else base


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is final: a success or a refusal that no retry can change."""

    status: int
    body: Any
    route: str

    @property
    def ok(self) -> bool:
        """Whether Discord did what it was asked."""
        return self.status in _SUCCESS

    @property
    def code(self) -> int:
        """Discord's JSON error code; 0 where there is none."""
        code = self.body.get("code", 0) if isinstance(self.body, dict) else 0
        return code if isinstance(code, int) else 0

    def checked(self) -> Any:
        """The body of a success.

        Raises:
            LlmbotError: the refusal, classified by `discord_errors.classify`.
        """
        if self.ok:
            return self.body
        raise errors.classify(
            self.status, self.code, route=self.route, understood=isinstance(self.body, dict)
        )


@dataclass(slots=True)
class RestCounters:
    """What the REST side has been through since the start."""

    requests: int = 0
    retries: int = 0
    unavailable: int = 0
    unauthorized: int = 0


class DiscordHttp(HTTPClient):
    """Speaks to Discord's REST API; every call has a deadline and a bounded number of attempts."""

    def __init__(
        self,
        loop: Any,
        *,
        base_url: str,
        clock: Clock,
        rng: Random,
    ) -> None:
        super().__init__(loop)
        self.base_url = base_url
        self.counters = RestCounters()
        self.recent = RecentExchanges(clock)
        self.limits = RateLimits(clock, always_global=is_discords_own(base_url))
        self.websocket: aiohttp.ClientWebSocketResponse | None = None
        self.token_refused = False
        self._clock = clock
        self._rng = rng
        self._session: aiohttp.ClientSession | None = None
        self._asked: dict[object, float] = {}

    def quiet_s(self) -> float:
        """For how long the oldest call under way has had no answer, in seconds."""
        return self._clock.monotonic() - min(self._asked.values()) if self._asked else 0.0

    async def open(self, token: str) -> None:
        """Make the session; does not speak to Discord yet."""
        await self.close()
        self.token = token
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=_CONNECTIONS_MAX, keepalive_timeout=_KEEP_ALIVE_S, ttl_dns_cache=_DNS_S
            ),
            ws_response_class=DiscordClientWebSocketResponse,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close every connection; calls in flight end with `DiscordUnavailableError`."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def ws_connect(self, url: str, *, compress: int = 0) -> aiohttp.ClientWebSocketResponse:
        """Open a WebSocket; kept as `websocket`, to be closed if its handshake fails."""
        self.websocket = await self._live_session().ws_connect(
            url,
            max_msg_size=_FRAME_BYTES_MAX,
            timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_S),
            autoclose=False,
            headers={"User-Agent": self.user_agent},
            compress=compress,
        )
        return self.websocket

    async def request(self, route: Route, **kwargs: Any) -> Any:
        """discord.py's entry: every method of its HTTP client comes through here.

        Raises:
            LlmbotError: see `call` and `Reply.checked`.
        """
        json, params = kwargs.pop("json", None), kwargs.pop("params", None)
        if kwargs:
            raise TypeError(f"not supported here: {', '.join(kwargs)}")
        return (await self.call(route, json=json, params=params)).checked()

    async def call(
        self,
        route: Route,
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        deadline_s: float = 15.0,
        attempts_max: int = ATTEMPTS_MAX,
        repeatable: bool = True,
    ) -> Reply:
        """Ask, and ask again as long as that may help.

        Args:
            route: discord.py's route; its template never holds ids or tokens.
            json: the body.
            params: the query.
            deadline_s: seconds after which the call ends in any case.
            attempts_max: how often to ask where Discord is unavailable.
            repeatable: whether doing it twice does no harm; else it is only repeated where
                Discord cannot have done it (no connection, 429).

        Raises:
            DiscordUnavailableError: no attempt was answered, or only with 5xx.
            DiscordRateLimitedError: Discord names a wait beyond the deadline.
        """
        ends = self._clock.monotonic() + deadline_s
        name = f"{route.method} {route.path}"
        # The route was made with discord.py's process-wide base; ours belongs to this client.
        url = URL(self.base_url + route.url.removeprefix(Route.BASE), encoded=True)
        last: DiscordUnavailableError | None = None
        body = None if json is None else orjson.dumps(json)
        try:
            async with asyncio.timeout(deadline_s):
                for attempt in range(attempts_max):
                    if attempt:
                        self.counters.retries += 1
                        await self._back_off(attempt, ends, last)
                    try:
                        return await self._attempt(route, url, body, params, ends)
                    except _RetryError as failure:
                        last = failure.error
                        if not repeatable and failure.may_have_happened:
                            break
        except TimeoutError:
            self.recent.unanswered()
            last = last or DiscordUnavailableError(f"{name}: no answer in {deadline_s:g} s")
        self.counters.unavailable += 1
        raise last or DiscordUnavailableError(f"{name}: no answer")

    async def _back_off(
        self, attempt: int, ends: float, last: DiscordUnavailableError | None
    ) -> None:
        ceiling = min(_BACKOFF_CAP_S, _BACKOFF_BASE_S * 2**attempt)
        wait = self._rng.uniform(0.0, ceiling)
        if self._clock.monotonic() + wait >= ends and last is not None:
            raise last
        await self._clock.sleep(wait)

    async def _attempt(
        self,
        route: Route,
        url: URL,
        body: bytes | None,
        params: Mapping[str, Any] | None,
        ends: float,
    ) -> Reply:
        """One answer, waiting out 429s on the way."""
        name = f"{route.method} {route.path}"
        exempt = route.path.startswith(_EXEMPT_PATHS)
        while True:
            bucket = await self.limits.enter(name, route.major_parameters, ends=ends, exempt=exempt)
            try:
                status, headers, raw = await self._exchange(route, url, body, params)
                self.limits.learn(name, route.major_parameters, bucket, status, headers)
                parsed = _parse(raw)
                if status != errors.RATE_LIMITED or _code(parsed) == errors.OLD_MESSAGE_EDITS:
                    return self._judged(Reply(status, parsed, name), headers)
                self._hold(bucket, parsed, headers, name, ends)
            finally:
                self.limits.leave(bucket)

    async def _exchange(
        self, route: Route, url: URL, body: bytes | None, params: Mapping[str, Any] | None
    ) -> tuple[int, Mapping[str, str], bytes]:
        headers = {"User-Agent": self.user_agent, "Authorization": f"Bot {self.token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        self.counters.requests += 1
        call = object()
        self._asked[call] = began = self._clock.monotonic()
        try:
            async with self._live_session().request(
                route.method,
                url,
                data=body,
                params=params,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=_ATTEMPT_S, sock_connect=_CONNECT_S),
            ) as response:
                if (response.content_length or 0) > _ANSWER_BYTES_MAX:
                    raise aiohttp.ClientPayloadError("answer too large")
                raw = await response.read()
                self.recent.answered(began, response.status)
                return response.status, response.headers, raw
        except (aiohttp.ClientError, OSError) as failure:
            # OSError holds builtin TimeoutError and every reset, also those aiohttp lets through.
            self.recent.unanswered()
            raise _RetryError(
                DiscordUnavailableError(f"{route.method} {route.path}: {type(failure).__name__}"),
                may_have_happened=not isinstance(failure, aiohttp.ClientConnectorError),
            ) from None  # aiohttp's errors can hold addresses with interaction tokens
        finally:
            del self._asked[call]

    def _judged(self, reply: Reply, headers: Mapping[str, str]) -> Reply:
        if reply.status >= errors.SERVER_ERROR:
            failure = errors.classify(reply.status, reply.code, route=reply.route, understood=True)
            assert isinstance(failure, DiscordUnavailableError)  # noqa: S101 - tells the type checker what 5xx means
            raise _RetryError(failure, may_have_happened=True)
        if reply.status in (errors.UNAUTHORIZED, errors.FORBIDDEN) or (
            reply.status == errors.RATE_LIMITED and headers.get("X-RateLimit-Scope") != "shared"
        ):
            self.limits.count_invalid()
        if reply.status == errors.UNAUTHORIZED and not reply.route.split(" ")[1].startswith(
            _EXEMPT_PATHS
        ):
            self.counters.unauthorized += 1
            self.token_refused = True
        elif reply.ok:
            self.token_refused = False
        return reply

    def _hold(
        self, bucket: Bucket, parsed: Any, headers: Mapping[str, str], name: str, ends: float
    ) -> None:
        """Note the wait that a 429 names; `enter` sleeps it out.

        Raises:
            DiscordRateLimitedError: it is longer than the deadline leaves.
        """
        if headers.get("X-RateLimit-Scope") != "shared":
            self.limits.count_invalid()
        told = parsed.get("retry_after") if isinstance(parsed, dict) else None
        wait_s = _seconds(told if told is not None else headers.get("Retry-After"))
        everywhere = (isinstance(parsed, dict) and parsed.get("global") is True) or (
            headers.get("X-RateLimit-Global", "").lower() == "true"
        )
        self.limits.hold(bucket, wait_s, everywhere=everywhere)
        if self._clock.monotonic() + wait_s > ends:
            raise DiscordRateLimitedError(
                f"{name}: Discord asks for a wait of {wait_s:g} s", retry_after_s=wait_s
            )

    def _live_session(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            raise DiscordUnavailableError("the connection to Discord is closed")
        return self._session


class _RetryError(Exception):
    """An attempt failed in a way that another may not."""

    def __init__(self, error: DiscordUnavailableError, *, may_have_happened: bool) -> None:
        super().__init__(str(error))
        self.error = error
        self.may_have_happened = may_have_happened


def _parse(raw: bytes) -> Any:
    """The body as JSON whatever its content type claims; None where it is none."""
    if not raw:
        return None
    try:
        return orjson.loads(raw)
    except ValueError:
        return None


def _code(parsed: Any) -> int:
    code = parsed.get("code", 0) if isinstance(parsed, dict) else 0
    return code if isinstance(code, int) else 0


def _seconds(told: Any) -> float:
    try:
        return min(3600.0, max(0.05, float(told)))
    except (TypeError, ValueError):
        return _DEFAULT_RETRY_AFTER_S
