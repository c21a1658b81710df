"""Discord's error answers: status, numeric code, words, and the nested tree of a refused form.

Codes and words are those of Discord's published list of JSON error codes.
"""

from __future__ import annotations

from typing import Any

ErrorTree = dict[str, Any]


class ApiError(Exception):
    """A REST call is refused with this answer."""

    def __init__(
        self,
        status: int,
        code: int,
        message: str,
        *,
        errors: ErrorTree | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.errors = errors
        self.retry_after_s = retry_after_s

    def body(self) -> dict[str, Any]:
        """Return the JSON body of the answer."""
        body: dict[str, Any] = {"message": self.message, "code": self.code}
        if self.errors is not None:
            body["errors"] = self.errors
        if self.retry_after_s is not None:
            body |= {"retry_after": round(self.retry_after_s, 3), "global": False}
        return body


def leaf(code: str, message: str) -> ErrorTree:
    """Return the end of an error tree: what is wrong with one field."""
    return {"_errors": [{"code": code, "message": message}]}


def invalid_form(errors: ErrorTree) -> ApiError:
    """A body of the wrong shape, with the tree that says where."""
    return ApiError(400, 50035, "Invalid Form Body", errors=errors)


def unauthorized() -> ApiError:
    """No token, or a wrong one."""
    return ApiError(401, 0, "401: Unauthorized")


def not_found() -> ApiError:
    """No such address."""
    return ApiError(404, 0, "404: Not Found")


def unknown(what: str) -> ApiError:
    """An id that names nothing, e.g. `unknown("Channel")`."""
    return ApiError(404, _UNKNOWN[what], f"Unknown {what.lower() if ' ' in what else what}")


_UNKNOWN = {
    "Application": 10002,
    "Channel": 10003,
    "Guild": 10004,
    "Member": 10007,
    "Message": 10008,
    "Role": 10011,
    "User": 10013,
    "Webhook": 10015,
    "Interaction": 10062,
    "Application Command": 10063,
}


def missing_access() -> ApiError:
    """The bot may not see the channel."""
    return ApiError(403, 50001, "Missing Access")


def missing_permissions() -> ApiError:
    """The bot sees the channel but may not do this there."""
    return ApiError(403, 50013, "Missing Permissions")


def empty_message() -> ApiError:
    """Neither content nor embeds nor files nor components."""
    return ApiError(400, 50006, "Cannot send an empty message")
