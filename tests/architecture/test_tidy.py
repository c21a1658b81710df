"""The house stays tidy: nothing too long, nothing dead, nothing said without its reason."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import llmbot
from llmbot.app.settings.fields import settings_of
from llmbot.app.settings.tree import Settings

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
LINE_LENGTH_MAX = 100
README_LINES_MAX = 120

PROGRAMS = {"llmbot.__main__", "llmbot.simulators.server"}
"""What is started and not imported."""

AHEAD_OF_THEIR_USE: set[str] = set()
"""Mechanisms that stand ready for what is built next; who uses one takes it off this list."""

MODULES = sorted(SOURCE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))


def short(path: Path) -> str:
    """A path as one reads it."""
    return str(path.relative_to(ROOT))


@cache
def tree(path: Path) -> ast.Module:
    """A module, parsed."""
    return ast.parse(path.read_text(encoding="utf-8"))


def name_of(path: Path) -> str:
    """The dotted name of a module."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_by(path: Path) -> Iterator[str]:
    """Every name that a module imports, also those it loads by name while it runs."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def committed() -> list[Path]:
    """The files that are, or are about to be, committed."""
    listed = subprocess.run(
        ["git", "ls-files"],  # noqa: S607 - git from the PATH, as every developer has it
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("this is no git clone, so there is no list of committed files")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


@pytest.mark.parametrize("path", MODULES, ids=short)
def test_modules_and_functions_are_short(path: Path) -> None:
    """A module has under 400 lines, a function at most 60, a line at most 100 characters."""
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) < MODULE_LINES_MAX
    # The reason beside a silenced rule may stand out, as ruff has it too.
    told = [line.split("  # noqa")[0].split("  # type: ignore")[0] for line in lines]
    assert [number for number, line in enumerate(told, 1) if len(line) > LINE_LENGTH_MAX] == []
    long = [
        node.name
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert long == []


def test_no_module_is_dead() -> None:
    """Every module is imported by another one, or is a program."""
    imported = {name for path in MODULES for name in imported_by(path) if name != name_of(path)}
    alone = {name_of(path) for path in MODULES if path.name != "__init__.py"} - imported
    assert alone - PROGRAMS == AHEAD_OF_THEIR_USE


SILENCED = re.compile(r"#\s*(?:noqa: [A-Z0-9, ]+|type: ignore\[[a-z, -]+\])(?P<reason>.*)$")


def silenced_without_reason(path: Path) -> Iterator[str]:
    """The places where a rule is silenced and no word stands beside or above it."""
    before = ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        found = SILENCED.search(line)
        if found and not re.search("[A-Za-z]{2}", found["reason"]) and before[:1] != "#":
            yield f"{short(path)}:{number}"
        before = line.lstrip()


def test_every_exception_from_a_rule_has_its_reason() -> None:
    """Whoever silences a linter or the type checker says why, beside it or above."""
    assert [place for path in [*MODULES, *TESTS] for place in silenced_without_reason(path)] == []


def laws_of(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The tests of a module."""
    for node in ast.walk(tree(path)):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                if name.startswith("test_"):
                    yield node


def test_every_test_states_a_law() -> None:
    """Each test's docstring begins with one sentence about behaviour."""
    without = []
    for path in TESTS:
        for test in laws_of(path):
            law, _, _ = (ast.get_docstring(test) or "").partition("\n\n")
            if not law.endswith("."):
                without.append(f"{short(path)}: {test.name}")
    assert without == []


def test_nothing_is_left_undone() -> None:
    """No file of ours promises to be finished later."""
    promise = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "X" * 3)))
    assert [short(p) for p in MODULES if promise.search(p.read_text(encoding="utf-8"))] == []


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    """No committed file names a path of one machine or the address of a package registry."""
    # Put together here, so that this file does not name them either.
    names = [f"/{top}/" for top in ("work", "tmp", "root")]
    names += [f"{host}.org" for host in ("py" + "pi", "pythonhos" + "ted", "npm" + "js")]
    names += ["proxy.go" + "lang", "static.crates" + ".io"]
    strange = re.compile("|".join(rf"(?<![\w.~$}}])({re.escape(name)})" for name in names))
    found = []
    for path in committed():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # pictures say nothing
        found += [f"{short(path)}: {match[0]}" for match in strange.finditer(text)]
    assert found == []


def test_the_readme_is_short() -> None:
    """The README is read to its end: at most 120 lines."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= README_LINES_MAX


def test_every_setting_is_documented() -> None:
    """Each setting stands in `docs/settings.md` and in `.env.example`."""
    page = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    for facts in settings_of(Settings):
        assert f"`{facts.env}`" in page
        assert f"\n{facts.env}=" in example


def test_there_is_one_version() -> None:
    """The package and its metadata tell the same version."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert told["project"]["version"] == llmbot.__version__


def test_arrows_point_one_way() -> None:
    """No layer imports one above it; import-linter holds the direction."""
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(  # noqa: S603 - the linter beside our own interpreter
        [str(linter), "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
