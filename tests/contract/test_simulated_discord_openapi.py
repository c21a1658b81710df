"""What the simulated Discord accepts and answers is what Discord's published document says.

The document is found by `DISCORD_OPENAPI`, else beside the repository in `shared/spec`.
"""

from __future__ import annotations

import copy
import io
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import discord
import orjson
import pytest
from discord import app_commands
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from tests.contract.simulated_discord import (
    Bot,
    Exchange,
    Running,
    logged_in,
    running,
    wired,
)

from llmbot.simulators.discord import (
    rest_channels,
    rest_commands,
    rest_guilds,
    rest_interactions,
    rest_messages,
)

BESIDE = Path(__file__).parents[3] / "shared" / "spec" / "discord-openapi.json"
ROUTES = (
    *rest_channels.ROUTES,
    *rest_commands.ROUTES,
    *rest_guilds.ROUTES,
    *rest_interactions.ROUTES,
    *rest_messages.ROUTES,
)
_NAMED = re.compile(r"\{[^}]+\}")


class Document:
    """The published document: which operation serves a call, and what fits its schemas."""

    def __init__(self, content: dict[str, Any]) -> None:
        self._paths = content["paths"]
        self._answers = _registry(_with_words_as_codes(content))
        self._requests = _registry(_with_numeric_ids(content))
        self._patterns = sorted(
            ((re.compile(_NAMED.sub("([^/]+)", path) + "$"), path) for path in self._paths),
            key=lambda pair: len(_NAMED.findall(pair[1])),
        )

    def operation(self, method: str, path: str) -> tuple[str, dict[str, Any]] | None:
        """Return path template and operation that serve a call; fixed words go first."""
        for pattern, template in self._patterns:
            operation = self._paths[template].get(method.lower())
            if operation is not None and pattern.match(path):
                return template, operation
        return None

    def request_problems(self, operation: dict[str, Any], body: Any) -> list[str]:
        """Return what is wrong with a request's JSON."""
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        return _problems(self._requests, schema, body)

    def answer_problems(self, operation: dict[str, Any], status: int, body: Any) -> list[str]:
        """Return what is wrong with an answer's JSON, or with its status."""
        responses = operation["responses"]
        answer = responses.get(str(status)) or responses.get(f"{status // 100}XX")
        if answer is None:
            return [f"status {status} is not documented"]
        if "$ref" in answer:
            answer = (
                self._answers.resolver("urn:discord")
                .lookup("urn:discord" + answer["$ref"])
                .contents
            )
        if "content" not in answer:
            return [] if body is None else ["a body where none is documented"]
        return _problems(self._answers, answer["content"]["application/json"]["schema"], body)

    def message_problems(self, body: Any) -> list[str]:
        """Return what is wrong with the body of a new message."""
        schema = {"$ref": "#/components/schemas/MessageCreateRequest"}
        return _problems(self._requests, schema, body)


def _registry(content: dict[str, Any]) -> Registry[Any]:
    resource = Resource.from_contents(content, default_specification=DRAFT202012)
    made: Registry[Any] = Registry().with_resource("urn:discord", resource)
    return made


def _problems(registry: Registry[Any], schema: dict[str, Any], body: Any) -> list[str]:
    rooted = orjson.loads(
        orjson.dumps(schema).replace(b'"#/components', b'"urn:discord#/components')
    )
    validator = Draft202012Validator(rooted, registry=registry)
    return [f"{error.json_path}: {error.message:.200}" for error in validator.iter_errors(body)]


def _with_numeric_ids(content: dict[str, Any]) -> dict[str, Any]:
    """Let ids in requests be numbers too: Discord's reference says so, and clients send them."""
    relaxed = copy.deepcopy(content)
    relaxed["components"]["schemas"]["SnowflakeType"] = {"type": ["string", "integer"]}
    return relaxed


def _with_words_as_codes(content: dict[str, Any]) -> dict[str, Any]:
    """Let the codes at the ends of an error tree be words, e.g. BASE_TYPE_MAX_LENGTH.

    The document says integers; Discord's reference and the service itself have words there.
    """
    relaxed = copy.deepcopy(content)
    errors = relaxed["components"]["schemas"]["InnerErrors"]["properties"]["_errors"]
    errors["items"] = {"type": "object", "properties": {"code": {"type": "string"}}}
    return relaxed


@pytest.fixture(scope="module")
def document() -> Document:
    """The published document, where it is at hand."""
    path = Path(os.environ.get("DISCORD_OPENAPI") or BESIDE)
    if not path.is_file():
        pytest.skip("Discord's published OpenAPI document is not at hand (set DISCORD_OPENAPI)")
    return Document(orjson.loads(path.read_bytes()))


def test_every_route_is_in_the_document(document: Document) -> None:
    """The simulator serves nothing that Discord does not have."""
    missing = [r.name for r in ROUTES if document.operation(r.method, r.path) is None]

    assert missing == []


async def test_an_hour_of_a_bots_life_fits_the_document(document: Document) -> None:
    """Every body that is accepted, and every answer, is valid by the published document."""
    async with running(record=True) as at:
        await _live(at)
        served = {_template(document, exchange) for exchange in at.exchanges}
        known = {(r.method, _plain(r.path)) for r in ROUTES}
        wrong = [problem for each in at.exchanges for problem in _judge(document, each)]

    assert not wrong, "\n".join(wrong)
    assert known - {(method, _plain(path)) for method, path in served} == set()


def _template(document: Document, exchange: Exchange) -> tuple[str, str]:
    found = document.operation(exchange.method, exchange.path)
    assert found is not None, exchange
    return exchange.method, found[0]


def _plain(path: str) -> str:
    """Return a path with its parameters unnamed."""
    return _NAMED.sub("{}", path)


def _judge(document: Document, exchange: Exchange) -> list[str]:
    _, operation = document.operation(exchange.method, exchange.path) or ("", {})
    name = f"{exchange.method} {exchange.path} {exchange.status}"
    problems = document.answer_problems(operation, exchange.status, exchange.response)
    if exchange.request is not None and exchange.status < 300:
        problems += document.request_problems(operation, exchange.request)
    return [f"{name}: {problem}" for problem in problems]


async def _live(at: Running) -> None:
    bot = Bot()
    tree = app_commands.CommandTree(bot)

    @tree.command(description="Asks")
    @app_commands.describe(text="What")
    async def ask(interaction: discord.Interaction[Any], text: str, often: int = 1) -> None:
        await interaction.response.defer(thinking=True)
        await interaction.edit_original_response(content=text * often)
        more = await interaction.followup.send("more", wait=True)
        await more.edit(content="even more")
        await interaction.original_response()
        await more.delete()

    async with logged_in(at, bot):
        await tree.sync()
        await at.say("hello", mention_bot=True)
        heard = await bot.hear()
        await _talk(heard)
        await _look_around(bot, heard)
        await _use_commands(at, bot, tree)
        await _fail(bot, heard)
    await _speak_plainly(at)


async def _talk(heard: discord.Message) -> None:
    reply = await heard.reply("a reply", allowed_mentions=discord.AllowedMentions.none())
    embed = discord.Embed(title="t", description="d", colour=3, url="https://example.com")
    embed.add_field(name="n", value="v").set_footer(text="f").set_author(name="a")
    view = discord.ui.View()
    view.add_item(discord.ui.Button(label="Go", custom_id="go"))
    view.add_item(discord.ui.Select(custom_id="s", options=[discord.SelectOption(label="o")]))
    shown = await heard.channel.send("look", embed=embed, view=view)
    file = discord.File(io.BytesIO(b"words"), "notes.txt", description="words")
    with_file = await heard.channel.send(file=file)
    await reply.edit(content="changed")
    await shown.edit(content="changed", embed=None, view=None)
    await reply.add_reaction("👍")
    await reply.remove_reaction("👍", reply.author)
    await heard.add_reaction("👀")
    await heard.channel.typing()
    await heard.channel.fetch_message(reply.id)
    assert [m async for m in heard.channel.history(limit=5)]
    assert [m async for m in heard.channel.history(limit=2, after=heard)]
    assert [u async for u in heard.reactions[0].users()] if heard.reactions else True
    await with_file.delete()
    assert isinstance(heard.channel, discord.TextChannel)
    thread = await heard.create_thread(name="aside")
    await thread.send("in the thread")
    await thread.leave()
    await thread.join()
    await thread.fetch_members()
    await thread.edit(archived=True)
    private = await heard.channel.create_thread(name="private")
    await private.send("in private")
    await (await heard.channel.fetch_message(heard.id)).fetch()
    await heard.author.send("directly")


async def _look_around(bot: Bot, heard: discord.Message) -> None:
    assert heard.guild is not None
    guild = await bot.fetch_guild(heard.guild.id)
    await guild.fetch_channels()
    await guild.fetch_roles()
    await guild.fetch_member(heard.author.id)
    await guild.active_threads()
    await bot.fetch_channel(heard.channel.id)
    await bot.fetch_user(heard.author.id)
    await bot.application_info()
    assert [each async for each in bot.fetch_guilds()]


async def _use_commands(at: Running, bot: Bot, tree: app_commands.CommandTree[Any]) -> None:
    guild = bot.guilds[0]
    tree.copy_global_to(guild=guild)
    await tree.sync(guild=guild)
    own = (await tree.fetch_commands(guild=guild))[0]
    await own.edit(description="Asks here")
    await tree.fetch_command(own.id, guild=guild)
    await own.delete()
    everywhere = (await tree.fetch_commands())[0]
    await tree.fetch_command(everywhere.id)
    async with at.events() as events:
        await at.control(
            "POST", "interact", user="alice", command="ask", options={"text": "a", "often": 2}
        )
        await events.wait("message_delete")


async def _fail(bot: Bot, heard: discord.Message) -> None:
    with pytest.raises(discord.NotFound):
        await bot.fetch_channel(1)
    with pytest.raises(discord.Forbidden):
        await heard.delete()
    with pytest.raises(discord.HTTPException):
        await heard.channel.send("x" * 2001)


async def _speak_plainly(at: Running) -> None:
    """Call what discord.py does not."""
    application = at.simulated.world.application_id
    guild = next(iter(at.simulated.world.guilds))
    may = ["ADMINISTRATOR"]
    await at.control("POST", "roles", name="admin", permissions=may, members=["llmbot"])
    channel = (
        await at.rest("POST", f"/guilds/{guild}/channels", {"name": "made", "topic": "t"})
    ).body["id"]
    await at.rest("PATCH", f"/channels/{channel}", {"topic": "another"})
    await at.rest(
        "PUT", f"/channels/{channel}/permissions/{guild}", {"type": 0, "allow": 0, "deny": 0}
    )
    sent = (await at.rest("POST", f"/channels/{channel}/messages", {"content": "a"})).body["id"]
    message = f"/channels/{channel}/messages/{sent}"
    await at.rest("PUT", f"/channels/{channel}/messages/pins/{sent}")
    await at.rest("GET", f"/channels/{channel}/messages/pins")
    await at.rest("DELETE", f"/channels/{channel}/messages/pins/{sent}")
    await at.rest("PUT", f"{message}/reactions/👍/@me")
    await at.rest("GET", f"{message}/reactions/👍")
    await at.rest("DELETE", f"{message}/reactions/👍/{at.simulated.world.bot.id}")
    others = [
        (await at.rest("POST", f"/channels/{channel}/messages", {"content": c})).body["id"]
        for c in "bc"
    ]
    await at.rest("POST", f"/channels/{channel}/messages/bulk-delete", {"messages": others})
    await at.rest("DELETE", f"/channels/{channel}")
    await at.rest("GET", "/gateway", token=None)
    await at.rest("GET", "/gateway/bot")
    await at.rest("GET", "/oauth2/applications/@me")
    await at.rest("GET", "/applications/@me")
    await at.rest("PATCH", "/users/@me", {"username": "llmbot"})
    await at.rest("GET", f"/guilds/{guild}/members", params={"limit": "10"})
    await at.rest("GET", "/users/@me", token="wrong")
    commands = f"/applications/{application}/commands"
    made = await at.rest("POST", commands, {"name": "another", "description": "d"})
    await at.rest("PATCH", f"{commands}/{made.body['id']}", {"description": "e"})
    await at.rest("DELETE", f"{commands}/{made.body['id']}")
    here = f"/applications/{application}/guilds/{guild}/commands"
    await at.rest("POST", here, {"name": "here", "description": "d"})
    await _answer_plainly(at, application)


async def _answer_plainly(at: Running, application: int) -> None:
    async with wired(at) as wire:
        await wire.identify()
        await at.control("POST", "interact", user="alice", command="ask", options={"text": "a"})
        event = await wire.event("INTERACTION_CREATE")
    callback = f"/interactions/{event['id']}/{event['token']}/callback"
    answer = {"type": 4, "data": {"content": "at once", "flags": 64}}
    await at.rest("POST", callback, answer, token=None, params={"with_response": "true"})
    original = f"/webhooks/{application}/{event['token']}/messages/@original"
    await at.rest("GET", original, token=None)
    await at.rest("PATCH", original, {"content": "changed"}, token=None)
    await at.rest("DELETE", original, token=None)
    webhook = f"/webhooks/{application}/{event['token']}"
    more = await at.rest("POST", webhook, {"content": "more"}, token=None)
    await at.rest("GET", f"{webhook}/messages/{more.body['id']}", token=None)


# the other way round ----------------------------------------------------------------------------

ODD: tuple[Any, ...] = (True, -5, 1.5, "x", "x" * 5000, [], {}, [5], ["x"], {"x": 5}, [{}])
FIELDS = (
    "content",
    "embeds",
    "allowed_mentions",
    "components",
    "flags",
    "attachments",
    "message_reference",
    "nonce",
    "enforce_nonce",
    "sticker_ids",
    "poll",
    "tts",
)
INNER = {
    "allowed_mentions": ("parse", "users", "roles", "replied_user"),
    "message_reference": ("message_id", "channel_id", "guild_id", "fail_if_not_exists", "type"),
}


@pytest.fixture
async def at() -> AsyncIterator[Running]:
    """A simulated Discord."""
    async with running() as simulated:
        yield simulated


@pytest.mark.parametrize("field", FIELDS)
async def test_what_the_document_refuses_the_simulator_refuses(
    document: Document, at: Running, field: str
) -> None:
    """No odd value in any field of a new message passes here that the document forbids."""
    path = f"/channels/{await at.channel_id()}/messages"
    bodies = [{field: odd} for odd in ODD]
    for inner in INNER.get(field, ()):
        bodies += [{field: {"message_id": "1", inner: odd}} for odd in ODD]
    let_through = []
    for body in bodies:
        whole = {"content": "words"} | body
        if document.message_problems(whole):
            answer = await at.rest("POST", path, whole)
            if answer.status != 400:
                let_through.append(body)

    assert let_through == []
