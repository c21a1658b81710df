"""The commands that the lists of actions and views make: the command line equals the API.

An action `queue/process` is `llmbot queue process`; a view is at the words that its entry names,
and that of a group is what the group shows by itself. Options are those of the action's body.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin
from urllib.parse import quote

import typer
from pydantic.fields import FieldInfo

from llmbot.console.actions import ADMIN_ACTIONS, TESTS, ActionSpec
from llmbot.console.cli.client import CommandError, Entry, NotRunningError
from llmbot.console.cli.incidents import AsJson, DataDir, finder
from llmbot.console.cli.names import names_of
from llmbot.console.view_list import VIEWS, ViewSpec

__all__ = ["GROUPS", "add_operations", "pairs_of", "words_of"]

_BY_HAND = frozenset({"restart", "datastore", "config"})
"""First words of actions that have commands of their own, which do more than ask."""

GROUPS: Mapping[str, str] = {
    "audit": "Who did what, when, and what became of it.",
    "cache": "Caches that can be rebuilt.",
    "circuits": "Circuit breakers; alone: how each stands.",
    "concurrency": "How many messages are answered at once.",
    "context": "Long texts that are read part by part.",
    "degradation": "What is given up under pressure; alone: how much, since when and why.",
    "discord": "The connection to Discord; alone: how it is.",
    "handlers": "The handlers of events and commands.",
    "maintenance": "Keep messages waiting while you work on something.",
    "memory": "The process's memory; alone: in use, limit, trend.",
    "metrics": "Figures of the models, of Discord and of the queue.",
    "mutex": "Named mutexes; alone: holders, waiters, contention.",
    "probe": "For process managers: exit code 0 or 1.",
    "queue": "The queue of messages; alone: depth, ages, rates.",
    "race-condition": "The record that keeps any message from a second reply.",
    "ratelimit": "Limits; alone: what is used of each.",
    "service": "The services of the bot; alone: how each is.",
    "temp": "Temporary files.",
    "test": "Exercise the real thing and say what was found.",
}
_RENAMED = {"circuit": "circuits"}
_PAUSE_S = 15.0
"""More than an action's own deadline, so that its answer and not ours says that it was too slow."""


def words_of(spec: ActionSpec) -> tuple[str, ...]:
    """The words after `llmbot` that ask for an action of `/api/admin`."""
    first, *rest = spec.name.split("/")
    return (_RENAMED.get(first, first), *rest)


def add_operations(cli: typer.Typer, entry: Entry) -> Mapping[str, typer.Typer]:
    """Add every action and view of the lists; the groups, for what else belongs into them."""
    groups: dict[str, typer.Typer] = {}
    views = {view.words: view for view in VIEWS}
    first_words = [w[0] for w in views if len(w) > 1] + [words_of(a)[0] for a in _generated()]
    for name, words in GROUPS.items():
        view = views.get((name,))
        group = typer.Typer(help=words, no_args_is_help=view is None)
        if view is not None:
            group.callback(invoke_without_command=True)(_look(entry, view, alone=True))
        groups[name] = group
        cli.add_typer(group, name=name)
    for view in VIEWS:
        if len(view.words) > 1:
            groups[view.words[0]].command(view.words[1], help=view.summary + ".")(
                _look(entry, view)
            )
        elif view.words[0] not in first_words:
            cli.command(view.words[0], help=view.summary + ".")(_look(entry, view))
    for spec in _generated():
        first, *rest = words_of(spec)
        place = groups[first] if rest else cli
        place.command("-".join(rest) or first, help=_help(spec))(_act(entry, "/api/admin", spec))
    for spec in TESTS:
        groups["test"].command(spec.name, help=_help(spec))(_act(entry, "/api/test", spec))
    return groups


def _generated() -> Sequence[ActionSpec]:
    """`circuit/reset/all` is `circuits reset all`: the word is a target like any other."""
    return [
        spec
        for spec in ADMIN_ACTIONS
        if spec.name.partition("/")[0] not in _BY_HAND and not spec.name.endswith("/all")
    ]


def _help(spec: ActionSpec) -> str:
    return f"{spec.summary}. {spec.harms}".strip()


# ── commands ────────────────────────────────────────────────────────────────────────────────────


def _look(entry: Entry, view: ViewSpec, *, alone: bool = False) -> Callable[..., None]:
    find = finder(entry)

    def look(**given: Any) -> None:
        context: typer.Context | None = given.get("context")
        if context is not None and context.invoked_subcommand is not None:
            return
        path = view.path.partition("{")[0] + quote(str(given.get("target", "")), safe="")
        # Not ready is an answer and no refusal.
        accept = (503,) if view.words == ("probe", "ready") else ()
        found = find(given["data_dir"]).ask("GET", path, accept=accept)
        _finish(found, as_json=given["as_json"])

    parameters = [_parameter("context", typer.Context)] if alone else []
    parameters += _target(entry, view.target)
    return _signed(look, parameters)


def _act(entry: Entry, prefix: str, spec: ActionSpec) -> Callable[..., None]:
    find = finder(entry)
    fields = spec.options.model_fields

    def act(**given: Any) -> None:
        target = quote(str(given.get("target", "")), safe="/")
        body = _body(fields, given)
        # In JSON a refusal is printed as it came, so that a script reads its code.
        accept = tuple(range(400, 600)) if given["as_json"] else ()
        found = find(given["data_dir"]).ask(
            "POST",
            f"{prefix}/{spec.name}/{target}".rstrip("/"),
            body,
            accept=accept,
            deadline_s=spec.deadline_s + _PAUSE_S,
        )
        _finish(found, as_json=given["as_json"])

    parameters = _target(entry, spec.target)
    parameters += [_option(name, field) for name, field in fields.items()]
    return _signed(act, parameters)


def _finish(found: Mapping[str, Any], *, as_json: bool) -> None:
    from llmbot.console.cli.show import is_well, show, show_json  # noqa: PLC0415 - rich is slow

    (show_json if as_json else show)(found)
    raise typer.Exit(0 if is_well(found) else 1)


def _body(fields: Mapping[str, FieldInfo], given: Mapping[str, Any]) -> dict[str, object]:
    body: dict[str, object] = {}
    for name, field in fields.items():
        value = given[name]
        if value is None or value is False or value == []:
            continue
        body[field.alias or name] = pairs_of(value) if isinstance(value, list) else value
    return body


def pairs_of(values: Sequence[str]) -> dict[str, str]:
    """What was given as NAME=VALUE.

    Raises:
        CommandError: something else was given.
    """
    found: dict[str, str] = {}
    for pair in values:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise CommandError(f"{pair} has another form than NAME=VALUE.")
        found[key] = value
    return found


# ── parameters ──────────────────────────────────────────────────────────────────────────────────


def _signed(
    command: Callable[..., None], parameters: Sequence[inspect.Parameter]
) -> Callable[..., None]:
    """Give a command the signature from which typer makes its parameters."""
    whole = [
        *parameters,
        _parameter("as_json", AsJson, default=False),
        _parameter("data_dir", DataDir, default=None),
    ]
    command.__signature__ = inspect.Signature(whole)  # type: ignore[attr-defined] # as inspect has it
    return command


def _parameter(
    name: str, annotation: Any, default: Any = inspect.Parameter.empty
) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def _target(entry: Entry, target: str) -> list[inspect.Parameter]:
    if not target:
        return []

    def names(incomplete: str) -> list[str]:
        try:
            known = names_of(target, finder(entry)(None))
        except (CommandError, NotRunningError):
            return []
        return [name for name in known if name.startswith(incomplete)]

    argument = typer.Argument(metavar=target.upper(), autocompletion=names)
    return [_parameter("target", Annotated[str, argument])]


def _option(name: str, field: FieldInfo) -> inspect.Parameter:
    """The option for one field of a body; what is not given is not sent."""
    kind = _plain(field.annotation)
    said = field.description or _SAID.get(name, "")
    help_ = f"{said[:1].upper()}{said[1:]}."
    option = f"--{name.replace('_', '-')}"
    if kind is bool:
        return _parameter(name, Annotated[bool, typer.Option(option, help=help_)], default=False)
    return _parameter(
        name,
        Annotated[kind | None, typer.Option(option, help=help_)],
        default=None,
    )


_SAID: Mapping[str, str] = {
    "level": "which level to hold; else medium",
    "seconds": "for how long; else until it is reset",
    "at": "RFC 3339: as it was then; else the newest valid",
    "message": "what is said",
    "prompt": "what the model is asked",
    "command": "which command; else ping",
    "user_id": "as whom",
    "channel_id": "in which channel",
    "options": "an option of the command, as NAME=VALUE",
    "may_manage": "with the right to manage the server",
}


def _plain(annotation: Any) -> Any:
    """A field's type as the command line takes it."""
    for part in (annotation, *get_args(annotation)):
        if part in (str, float, bool):
            return part
        if get_origin(part) is Literal:
            return part
        if get_origin(part) is dict:
            return list[str]
        if get_origin(part) is Annotated:
            return _plain(get_args(part)[0])
    return str
