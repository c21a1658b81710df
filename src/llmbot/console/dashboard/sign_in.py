"""How a browser gets in: by signing in with a token, and from elsewhere only through a door.

A session is a random value in a cookie that scripts cannot read and other sites cannot send; what
is kept of it here is a digest. What a session changes needs its form token too, which only our own
pages know.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie

from starlette.responses import RedirectResponse, Response
from starlette.types import Scope

from llmbot.console.api.problem import problem
from llmbot.console.gate.roles import Caller
from llmbot.kernel.clock import Clock

__all__ = ["COOKIE", "SIGN_IN", "SIGN_OUT", "Entrance", "Session"]

COOKIE = "llmbot_session"
SIGN_IN = "/dashboard/sign-in"
SIGN_OUT = "/dashboard/sign-out"
SESSION_S = 12 * 3600.0
SESSIONS_MAX = 100
COOKIE_CHARS_MAX = 4096

DOOR_POLICY = (
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)

_OPEN_PREFIX = "/dashboard/assets/"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_SESSION_KEY = "llmbot.session"

_DOOR = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>llmbot</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
</head><body>
<h1>llmbot: operator page</h1>
<p>You came here by a link on another page, which may not lead further by itself.</p>
<p><a href="/">Open the operator page</a></p>
</body></html>
"""


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that has signed in; `until` in monotonic seconds."""

    caller: Caller
    form_token: str
    until: float


class Entrance:
    """Knows the sessions; asked by the gate before any handler runs."""

    def __init__(self, clock: Clock) -> None:
        """Nobody has signed in yet."""
        self._clock = clock
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()

    # ── asked by the gate ───────────────────────────────────────────────────────────────────────

    def door(self, scope: Scope) -> Response | None:
        """What a person sees who follows a foreign link to the page: no data, a link of our own.

        None for everything but the page itself as the whole content of a browser's tab.
        """
        headers = _headers(scope)
        is_tab = headers.get(b"sec-fetch-mode") == b"navigate"
        is_tab = is_tab and headers.get(b"sec-fetch-dest") == b"document"
        if scope["method"] != "GET" or scope["path"] != "/" or not is_tab:
            return None
        policy = {"Content-Security-Policy": DOOR_POLICY}
        return Response(_DOOR, status_code=403, media_type="text/html", headers=policy)

    def is_open(self, scope: Scope) -> bool:
        """Whether a path needs no token: the way in, and the files that it is drawn with."""
        path: str = scope["path"]
        return path == SIGN_IN or path.startswith(_OPEN_PREFIX)

    def admit(self, scope: Scope) -> Response | Caller | None:
        """Who has signed in; a refusal where a session lets in only in part, None without one."""
        session = self._find(scope)
        if session is None:
            if scope["method"] == "GET" and scope["path"] == "/":
                return RedirectResponse(SIGN_IN, status_code=303)
            return None
        given = _headers(scope).get(b"x-form-token", b"")
        known = hmac.compare_digest(given, session.form_token.encode())
        # The form that signs out carries its token in its body, where its handler looks at it.
        if scope["method"] not in _SAFE_METHODS and not known and scope["path"] != SIGN_OUT:
            words = "A signed-in page must send its form token with what changes something."
            return problem(403, "form_token_wrong", words, "Reload the page and try again.")
        scope[_SESSION_KEY] = session
        return session.caller

    # ── asked by the page's routes ──────────────────────────────────────────────────────────────

    @staticmethod
    def session_of(scope: Scope) -> Session | None:
        """The session that let a request in; None where none was needed."""
        found = scope.get(_SESSION_KEY)
        return found if isinstance(found, Session) else None

    def sign_in(self, bearer: Caller, *, secure: bool) -> str:
        """Begin a session with the role of the token's bearer; the cookie to set."""
        value = secrets.token_urlsafe(32)
        until = self._clock.monotonic() + SESSION_S
        self._sessions[_digest(value)] = Session(
            Caller(bearer.name, bearer.role, "page"), secrets.token_urlsafe(24), until
        )
        while len(self._sessions) > SESSIONS_MAX:
            self._sessions.popitem(last=False)
        return _cookie(value, round(SESSION_S), secure=secure)

    def sign_out(self, scope: Scope) -> str:
        """End the session of a request, if it has one; the cookie that forgets it."""
        self._sessions.pop(_digest(_cookie_value(scope)), None)
        return _cookie("", 0, secure=False)

    def _find(self, scope: Scope) -> Session | None:
        key = _digest(_cookie_value(scope))
        session = self._sessions.get(key)
        if session is not None and session.until <= self._clock.monotonic():
            del self._sessions[key]
            return None
        return session


def _headers(scope: Scope) -> dict[bytes, bytes]:
    return dict(scope["headers"])


def _cookie_value(scope: Scope) -> str:
    text = _headers(scope).get(b"cookie", b"")[:COOKIE_CHARS_MAX].decode("latin-1")
    try:
        morsel = SimpleCookie(text).get(COOKIE)
    except CookieError:
        return ""
    return "" if morsel is None else morsel.value


def _cookie(value: str, seconds: int, *, secure: bool) -> str:
    parts = [f"{COOKIE}={value}", "Path=/", f"Max-Age={seconds}", "HttpOnly", "SameSite=Strict"]
    return "; ".join([*parts, "Secure"] if secure else parts)


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode("utf-8", "surrogateescape")).digest()
