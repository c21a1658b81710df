"""The settings tree: what is read, what is refused and in which words, what is never shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from llmbot.app.settings.connections import FallbackSettings
from llmbot.app.settings.docs import env_example, settings_page
from llmbot.app.settings.fields import settings_of
from llmbot.app.settings.tree import Settings, load_settings
from llmbot.kernel.errors import SettingsError

ROOT = Path(__file__).parents[2]
FALLBACK = {"FALLBACK_1_BASE_URL": "http://127.0.0.1:11434/v1", "FALLBACK_1_MODELS": "llama"}


def problems(environment: dict[str, str], env_file: Path | None = None) -> list[str]:
    """What is said of these settings, a line each."""
    with pytest.raises(SettingsError) as caught:
        load_settings(environment, env_file)
    return str(caught.value).splitlines()


def test_nothing_given_is_every_default() -> None:
    """An empty environment gives the defaults, and they fit together."""
    assert load_settings({}, None) == Settings()


def test_the_named_defaults() -> None:
    """The defaults that the runbook and the issue name are these."""
    settings = load_settings({}, None)
    assert (settings.http.host, settings.http.port) == ("127.0.0.1", 3000)
    assert settings.gemini.models[0] == "gemini-3.8-flash"
    assert settings.limits.memory_limit_mb == 400
    assert settings.storage.database == "sqlite:///data/llmbot.db"
    assert settings.storage.sqlite_file == Path("data/llmbot.db")


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """A name in both is read from the environment; one in `.env` alone from there."""
    file = tmp_path / ".env"
    file.write_text("HTTP_PORT=4000\nWORKERS_MAX=7\n", encoding="utf-8")
    settings = load_settings({"HTTP_PORT": "5000"}, file)
    assert (settings.http.port, settings.limits.workers_max) == (5000, 7)


def test_empty_counts_as_not_given(tmp_path: Path) -> None:
    """An empty value is as if the name were not there, in both places."""
    file = tmp_path / ".env"
    file.write_text("HTTP_PORT=\n", encoding="utf-8")
    assert load_settings({"WORKERS_MAX": ""}, file) == Settings()


def test_the_key_has_two_names() -> None:
    """GEMINI_API_KEY serves where GOOGLE_API_KEY is not given, which wins."""
    one = load_settings({"GEMINI_API_KEY": "second"}, None)
    both = load_settings({"GEMINI_API_KEY": "second", "GOOGLE_API_KEY": "first"}, None)
    assert one.gemini.api_key.get_secret_value() == "second"
    assert both.gemini.api_key.get_secret_value() == "first"


def test_lists_are_split_at_commas() -> None:
    """Several names in one value are split, and spaces around them dropped."""
    settings = load_settings({"GEMINI_MODEL": "a, b ,c,", "ADMIN_USER_IDS": "1,2"}, None)
    assert settings.gemini.models == ("a", "b", "c")
    assert settings.discord.admin_user_ids == (1, 2)


def test_a_stranger_in_the_file_is_answered(tmp_path: Path) -> None:
    """A name in `.env` that is no setting is refused with the likest that is one."""
    file = tmp_path / ".env"
    file.write_text("DISCORD_TOKN=x\nGREETING=hello\n", encoding="utf-8")
    first, second = problems({}, file)
    assert "DISCORD_TOKN" in first
    assert "did you mean DISCORD_TOKEN?" in first
    assert "GREETING" in second


def test_a_typing_error_in_the_environment_is_answered() -> None:
    """A near miss in the environment is refused; the names of other programs are left alone."""
    (only,) = problems({"GEMINI_MODLE": "x", "HTTP_PROXY": "y", "LOGNAME": "me", "TERM": "z"})
    assert only.endswith("did you mean GEMINI_MODEL?")


def test_every_problem_at_once(tmp_path: Path) -> None:
    """All that is wrong is said together, each with its name and what is allowed."""
    file = tmp_path / ".env"
    file.write_text("HTTP_PROT=1\n", encoding="utf-8")
    told = problems(
        {"HTTP_PORT": "x", "WORKERS_MAX": "0", "LOG_LEVEL": "loud", "DISCORD_API_BASE_URL": "ftp:"},
        file,
    )
    assert len(told) == 5
    assert "HTTP_PORT must be a whole number, 0 to 65535." in told
    assert "WORKERS_MAX must be 1 to 1000 (messages at once)." in told
    assert "LOG_LEVEL must be one of debug, info, warning, error." in told


@pytest.mark.parametrize("facts", list(settings_of(Settings)), ids=lambda facts: facts.env)
def test_a_wrong_value_never_escapes_as_a_traceback(facts: object) -> None:
    """Any value of any setting is either taken or refused by a SettingsError that names it."""
    name = facts.env  # type: ignore[attr-defined] # a SettingFacts; pytest knows it as object
    for value in ("-1", "x y", "\x00", "9" * 40, "null", "[", "{}", "/dev/null/x", "é" * 9000):
        try:
            load_settings({name: value}, None)
        except SettingsError as error:
            assert name in str(error) or "ADMIN_TOKEN" in str(error)  # noqa: PT017 - either is right


def test_the_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A `.env` that is no text is said to be so."""
    file = tmp_path / ".env"
    file.write_bytes(b"\xff\xfe\x00DISCORD")
    (only,) = problems({}, file)
    assert "UTF-8" in only


def test_no_open_door() -> None:
    """An API that others can reach needs ADMIN_TOKEN, whatever way the address is spelled."""
    for host in ("0.0.0.0", "::", "192.168.0.7", "bot.example"):  # noqa: S104 - what is refused
        assert "ADMIN_TOKEN" in problems({"HTTP_HOST": host})[0]
        settings = load_settings({"HTTP_HOST": host, "ADMIN_TOKEN": "t" * 20}, None)
        assert not settings.loopback
    for host in ("127.0.0.1", "localhost", "::1", "[::1]", "127.9.9.9"):
        assert load_settings({"HTTP_HOST": host}, None).loopback


def test_secrets_are_never_shown() -> None:
    """No representation, dump or masked view of the tree holds a secret; the scrubber gets all."""
    secrets = {
        "DISCORD_TOKEN": "tok-11111111",
        "GOOGLE_API_KEY": "key-22222222",
        "ADMIN_TOKEN": "adm-33333333",
        "DATABASE_URL": "postgresql://me:pw-44444444@db/llmbot",
        **FALLBACK,
        "FALLBACK_1_API_KEY": "fal-55555555",
    }
    settings = load_settings(secrets, None)
    shown = f"{settings!r} {settings} {settings.masked()} {settings.model_dump_json()}"
    for secret in ("tok-11111111", "key-22222222", "adm-33333333", "fal-55555555"):
        assert secret not in shown
        assert secret in settings.secrets
    assert "pw-44444444" not in f"{settings!r} {settings.masked()}"
    assert "pw-44444444" in settings.secrets


def test_a_refused_secret_is_not_quoted() -> None:
    """A refusal of a secret does not repeat it."""
    assert "abc def" not in "".join(problems({"DISCORD_TOKEN": "abc def"}))


def test_the_tree_is_frozen() -> None:
    """Nothing in the tree can be changed."""
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.http.port = 1
    with pytest.raises(ValidationError):
        settings.logs = settings.logs


def test_replaced_is_checked() -> None:
    """A replaced value is checked like one that was read."""
    assert Settings().replaced(http={"port": 0}).http.port == 0
    with pytest.raises(SettingsError, match="HTTP_PORT"):
        Settings().replaced(http={"port": 70000})


def test_the_demo_knows_no_real_credential() -> None:
    """Demo settings hold simulated credentials, no further provider and no limit of users."""
    real = load_settings({"DISCORD_TOKEN": "real1", "GOOGLE_API_KEY": "real2", **FALLBACK}, None)
    demo = real.for_demo(
        discord_api_base_url="http://127.0.0.1:4001/api/v10",
        gemini_base_url="http://127.0.0.1:4001",
    )
    assert not {"real1", "real2"} & set(demo.secrets)
    assert demo.fallbacks == ()
    assert demo.limits.rate_user_rpm == 0
    assert demo.attachments.hosts == ("127.0.0.1:4001",)
    assert demo.missing_for_live() == ()


def test_fallbacks_keep_their_numbers() -> None:
    """Numbered providers come in their order; a half-declared one is named by its number."""
    settings = load_settings(
        {
            "FALLBACK_3_BASE_URL": "http://127.0.0.1:1/v1/",
            "FALLBACK_3_MODELS": "m,n",
            "FALLBACK_3_NAME": "third",
            **FALLBACK,
        },
        None,
    )
    assert [(f.number, f.label) for f in settings.fallbacks] == [(1, "127.0.0.1"), (3, "third")]
    assert settings.fallbacks[1].base_url == "http://127.0.0.1:1/v1"
    assert "FALLBACK_2_BASE_URL" in "".join(problems({"FALLBACK_2_MODELS": "m"}))
    assert "FALLBACK_2_BASE_URL?" in "".join(problems({"FALLBACK_2_BASE_ULR": "m"}))


def test_what_live_needs_is_said() -> None:
    """Without token and key each is named with where to get it; a further provider needs no key."""
    assert len(Settings().missing_for_live()) == 2
    assert len(load_settings(FALLBACK, None).missing_for_live()) == 1


def test_loose_settings_are_told() -> None:
    """Each setting that weakens a default is told by name; the defaults tell nothing."""
    assert Settings().loosened() == ()
    loose = load_settings(
        {
            "ATTACHMENT_HOSTS": "cdn.discordapp.com,files.example",
            "LOG_USER_TEXT": "true",
            "HTTP_HOST": "::",
            "HTTP_TRUSTED_HOSTS": "bot.example",
            "ADMIN_TOKEN": "short",
            "GEMINI_BASE_URL": "http://models.example",
        },
        None,
    ).loosened()
    assert {entry.setting for entry in loose} == {
        "ATTACHMENT_HOSTS",
        "LOG_USER_TEXT",
        "HTTP_HOST",
        "HTTP_TRUSTED_HOSTS",
        "ADMIN_TOKEN",
        "GEMINI_BASE_URL",
    }


def test_personas(tmp_path: Path) -> None:
    """Personas come from JSON or a file of it; the house's instructions stand before them."""
    file = tmp_path / "personas.json"
    file.write_text(json.dumps({"pirate": "Arr."}), encoding="utf-8")
    for source in ('{"pirate": "Arr."}', str(file)):
        settings = load_settings(
            {"PERSONAS": source, "PERSONA": "pirate", "SYSTEM_PROMPT": "Be kind."}, None
        )
        assert settings.personas.instructions == "Be kind.\n\nArr."
    assert "default, pirate" in problems({"PERSONAS": str(file), "PERSONA": "pirat"})[0]
    assert "helpful" in Settings().personas.instructions


def test_the_example_is_complete_and_true(tmp_path: Path) -> None:
    """`.env.example` names every setting and no other, and used as it is it changes nothing."""
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert text == env_example()
    named = {line.split("=")[0] for line in text.splitlines() if line and line[0] not in "# "}
    tree = {f.env for f in settings_of(Settings)} | {f.env for f in settings_of(FallbackSettings)}
    assert named == tree
    copy = tmp_path / ".env"
    copy.write_text(text, encoding="utf-8")
    assert load_settings({}, copy) == Settings()


def test_the_page_is_up_to_date() -> None:
    """`docs/settings.md` is what the tree says."""
    assert (ROOT / "docs/settings.md").read_text(encoding="utf-8") == settings_page()


def test_every_setting_has_its_reason() -> None:
    """Each setting says what it sets and why; each number has a range and a unit."""
    for facts in [*settings_of(Settings), *settings_of(FallbackSettings)]:
        assert facts.what, facts.env
        assert facts.reason, facts.env
        is_number = facts.default.replace(".", "", 1).isdigit()
        if is_number and facts.env not in {"HTTP_PORT", "TEST_CHANNEL_ID"}:
            assert facts.allowed, facts.env
            assert facts.unit, facts.env


def test_a_secret_type_hides_every_secret() -> None:
    """Whatever is called token or key in the tree is of the type that hides it."""
    for facts in [*settings_of(Settings), *settings_of(FallbackSettings)]:
        if facts.env.endswith(("_TOKEN", "_KEY")):
            assert facts.secret, facts.env
    assert isinstance(Settings().discord.token, SecretStr)
