"""Who may call the operator API; asked before any handler runs.

A page in the operator's browser must not be able to call it: a name that was re-bound to this
machine shows in `Host`, a page of another site in `Origin` or `Sec-Fetch-Site`. A form can carry
JSON without asking first, and bodies are read as JSON whatever they call themselves, so that this
check is what stands between a web page and the bot. Where others can reach the API, a token too.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from math import ceil
from typing import Protocol
from urllib.parse import urlsplit

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llmbot.console.api.problem import SECURITY_HEADERS, problem
from llmbot.console.gate.bodies import read_body
from llmbot.console.gate.permits import needed_role
from llmbot.console.gate.roles import LOOPBACK, Caller, Role
from llmbot.console.gate.throttle import Throttle
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import SettingsError

LIVENESS = "/api/health/live"
"""The one path that needs no token: a process manager has none."""

CLIENTS_MAX = 1000
NAMES_MAX = 64
SLOW_DOWN_S = (0.25, 0.5, 1.0, 2.0)
"""Waits after the first, second … wrong token of one address; the last for all that follow."""

_HOST = re.compile(
    r"(?P<name>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::(?P<port>\d{1,5}))?"
)
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_OUR_OWN_PAGES = frozenset({b"same-origin", b"none"})
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_SECURITY = tuple((name.lower().encode(), told.encode()) for name, told in SECURITY_HEADERS.items())
_WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not bound to


@dataclass(frozen=True, slots=True)
class GateSettings:
    """What the gate goes by; bytes and seconds."""

    host: str = "127.0.0.1"
    token: str = field(default="", repr=False)
    operator_token: str = field(default="", repr=False)
    viewer_token: str = field(default="", repr=False)
    trusted_hosts: tuple[str, ...] = ()
    body_bytes_max: int = 64 * 1024
    body_deadline_s: float = 10.0
    requests_per_second: float = 500.0
    """Of one client; far above what a page or a script asks for."""
    requests_burst: int = 1000
    status_age_max_s: float = 0.2
    """How old the answer to a view may be that many ask for; see `api/fresh.py`."""

    def __post_init__(self) -> None:
        """Refuse to be open to the network, or to a role without an administrator above it.

        Raises:
            SettingsError: bound beyond this machine without a token, or only lesser tokens.
        """
        if not self.token and (self.operator_token or self.viewer_token):
            raise SettingsError(
                "ADMIN_TOKEN must be set beside OPERATOR_TOKEN and VIEWER_TOKEN: without it "
                "nobody could stop or restart the bot."
            )
        if not self.token and not is_loopback(self.host):
            raise SettingsError(
                f"ADMIN_TOKEN must be set, since HTTP_HOST is {self.host} and others could reach "
                "the operator API; or set HTTP_HOST=127.0.0.1."
            )

    @property
    def tokens(self) -> tuple[tuple[str, Caller], ...]:
        """Every token that is set, with whom it makes of its bearer."""
        found = (
            (self.token, Caller("admin token", Role.ADMIN)),
            (self.operator_token, Caller("operator token", Role.OPERATOR)),
            (self.viewer_token, Caller("viewer token", Role.VIEWER)),
        )
        return tuple((token, caller) for token, caller in found if token)


def is_loopback(host: str) -> bool:
    """Whether an address to bind to can be reached from this machine alone."""
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Guesses:
    """Compares tokens in constant time, and slows down who guesses."""

    def __init__(self, tokens: Sequence[tuple[str, Caller]], clock: Clock) -> None:
        """`tokens` are the right ones, with whom each makes of its bearer."""
        self._known = tuple((_digest(token), caller) for token, caller in tokens)
        self._clock = clock
        self._failures: OrderedDict[str, int] = OrderedDict()

    async def whose(self, client: str, token: str) -> Caller | None:
        """Who bears a token; None for a wrong one, told after a wait that grows."""
        digest, found = _digest(token), None
        # Digests are compared, and all of them each time, so that neither the length of a token
        # nor which of them it was shows in the time it takes.
        for known, caller in self._known:
            if hmac.compare_digest(digest, known):
                found = caller
        if found is None:
            await self._clock.sleep(self._next_wait(client))
        else:
            self._failures.pop(client, None)
        return found

    def _next_wait(self, client: str) -> float:
        count = self._failures.pop(client, 0) + 1
        self._failures[client] = count
        while len(self._failures) > CLIENTS_MAX:
            self._failures.popitem(last=False)
        return SLOW_DOWN_S[min(count, len(SLOW_DOWN_S)) - 1]


Denied = Callable[[Caller, str, str], Awaitable[str | None]]
"""Takes caller, path and words; gives the id of what was recorded."""


class Entrance(Protocol):
    """How browsers get in beside the token; see `dashboard.entrance`."""

    def door(self, scope: Scope) -> Response | None:
        """What a person sees who follows a foreign link to the page."""
        ...

    def is_open(self, scope: Scope) -> bool:
        """Whether a path needs no token."""
        ...

    def admit(self, scope: Scope) -> Response | Caller | None:
        """Who has signed in; the refusal, or the way to the sign-in; None where nobody has."""
        ...


class Gate:
    """The ASGI middleware around the whole API."""

    def __init__(
        self,
        app: ASGIApp,
        settings: GateSettings,
        clock: Clock,
        guesses: Guesses | None = None,
        entrance: Entrance | None = None,
        denied: Denied | None = None,
    ) -> None:
        """Stand before `app`; `guesses` are shared with whoever else takes tokens.

        `denied` is told who asked for what another role may do.
        """
        self._denied = denied
        self._app = app
        self._settings = settings
        self._guesses = guesses or Guesses(settings.tokens, clock)
        self._entrance = entrance
        self._throttle = Throttle(
            clock, per_second=settings.requests_per_second, burst=settings.requests_burst
        )
        # The same few names come thousands of times.
        self._host_allowed = lru_cache(NAMES_MAX)(self._is_ours)
        self.refused = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let pass, or refuse."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            self.refused += 1
            await send({"type": "websocket.close", "code": 1008})
            return
        refusal = self._foreign(scope) or self._too_many(scope) or await self._unknown(scope)
        body = b""
        if refusal is None and _has_body(scope):
            length, settings = _single(scope, b"content-length") or "0", self._settings
            body, refusal = await read_body(
                receive, length, settings.body_bytes_max, settings.body_deadline_s
            )
            receive = _replay(body, receive)
        if refusal is not None:
            self.refused += 1
            await refusal(scope, receive, _secured(send))
            return
        await self._app(_as_json(scope, body), receive, _secured(send))

    # ── from which page ─────────────────────────────────────────────────────────────────────────

    def _foreign(self, scope: Scope) -> Response | None:
        host = _single(scope, b"host")
        if host is None or not self._host_allowed(host, scope.get("server")):
            return problem(
                403,
                "foreign_host",
                "The name under which the operator API was called is not one of its own.",
                "Call it by localhost, or add the name to HTTP_TRUSTED_HOSTS.",
            )
        origins = _values(scope, b"origin")
        if origins and (len(origins) > 1 or not _same_place(origins[0], host)):
            return problem(
                403,
                "foreign_origin",
                "A page of another origin may not call the operator API.",
                "Call it from the command line, or from its own page.",
            )
        if any(site not in _OUR_OWN_PAGES for site in _values(scope, b"sec-fetch-site")):
            door = None if self._entrance is None or origins else self._entrance.door(scope)
            return door or problem(
                403,
                "foreign_page",
                "A page of another site may not call the operator API.",
                "Type the address into the browser, or call it from the command line.",
            )
        return None

    def _is_ours(self, host: str, server: tuple[str, int] | None) -> bool:
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match["name"].strip("[]").lower()
        port = int(match["port"]) if match["port"] else None
        if host.lower() in self._settings.trusted_hosts or name in self._settings.trusted_hosts:
            return True
        address, bound_port = server or ("", None)
        if port is not None and port != bound_port:
            return False
        if name in _LOOPBACK_NAMES or name == self._settings.host.strip("[]").lower():
            return True
        # Bound to every address: the one that was called is ours, and no name can pose as it.
        return self._settings.host in _WILDCARDS and name == address

    # ── who ─────────────────────────────────────────────────────────────────────────────────────

    async def _unknown(self, scope: Scope) -> Response | None:
        """Refuse whom no token names, or whose role is too low; note who the caller is."""
        caller: Caller | None = LOOPBACK
        if self._settings.token and scope["path"] != LIVENESS:
            given = _single(scope, b"authorization") or ""
            if self._entrance is not None and not given:
                if self._entrance.is_open(scope):
                    return None
                admitted = self._entrance.admit(scope)
                if isinstance(admitted, Response):
                    return admitted
                caller = admitted
            else:
                caller = await self._borne(scope, given)
            if caller is None:
                return _no_token(given=bool(given))
            needed = needed_role(scope["method"], scope["path"])
            if caller.role < needed:
                words = f"This needs the role {needed.label}; the {caller.name} has less."
                more: dict[str, str | None] = {}
                if self._denied is not None and scope["method"] not in _READING:
                    more["auditId"] = await self._denied(caller, scope["path"], words)
                remedy = "Use a token of that role."
                return problem(403, "role_missing", words, remedy, None, **more)
        scope.setdefault("state", {})["caller"] = caller
        return None

    async def _borne(self, scope: Scope, given: str) -> Caller | None:
        """Whom a token makes of its bearer; who brings none is not slowed down."""
        kind, _, token = given.partition(" ")
        if not given:
            return None
        found = await self._guesses.whose(_client(scope), token.strip())
        return found if kind.lower() == "bearer" else None

    def _too_many(self, scope: Scope) -> Response | None:
        if scope["path"] == LIVENESS:
            return None
        wait_s = self._throttle.wait_s(_client(scope))
        if not wait_s:
            return None
        return problem(
            429,
            "too_many_requests",
            f"At most {self._settings.requests_per_second:g} requests a second are answered.",
            "Ask less often.",
            {"Retry-After": str(ceil(wait_s))},
        )


def _client(scope: Scope) -> str:
    return str((scope.get("client") or ("unknown", 0))[0])


def _no_token(*, given: bool) -> Response:
    return problem(
        401,
        "token_wrong" if given else "token_missing",
        "The token is not the right one." if given else "This API needs a token.",
        "Send the value of ADMIN_TOKEN as Authorization: Bearer …",
        {"WWW-Authenticate": 'Bearer realm="llmbot"'},
    )


def _values(scope: Scope, name: bytes) -> list[bytes]:
    return [value.strip() for key, value in scope["headers"] if key == name]


def _single(scope: Scope, name: bytes) -> str | None:
    """The value of a header that may stand there once; None where it stands there otherwise."""
    values = _values(scope, name)
    return values[0].decode("latin-1") if len(values) == 1 else None


def _same_place(origin: bytes, host: str) -> bool:
    try:
        parts = urlsplit(origin.decode("latin-1"))
    except ValueError:  # brackets around what is no address; told by some versions of Python
        return False
    return parts.scheme in {"http", "https"} and parts.netloc.lower() == host.lower()


def _has_body(scope: Scope) -> bool:
    """Whether a body comes (RFC 9112, section 6.3); without one nothing has to be waited for."""
    return any(name in _FRAMING for name, _ in scope["headers"])


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _as_json(scope: Scope, body: bytes) -> Scope:
    """The same call with its body called JSON, whatever it was called before."""
    if not body:
        return scope
    headers = [pair for pair in scope["headers"] if pair[0] != b"content-type"]
    return {**scope, "headers": [*headers, (b"content-type", b"application/json")]}


def _replay(body: bytes, receive: Receive) -> Receive:
    """Hand the body over once, then whatever comes: the news that the caller is gone."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


def _secured(send: Send) -> Send:
    async def secured(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = message.get("headers", ())
            there = {name for name, _ in headers}
            ours = [pair for pair in _SECURITY if pair[0] not in there]
            message = {**message, "headers": [*headers, *ours]}
        await send(message)

    return secured
