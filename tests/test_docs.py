"""The README and docs/ say nothing that is not so: links, commands, options, keys, snippets, messages and the tree."""

from __future__ import annotations

import ast
import json
import re
import runpy
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

import gag
from gag.cli.app import build_app
from gag.config import load_config, parse_config

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "gag"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OURS = [page for page in PAGES if page.name not in ("results.md", "benchmarks.md", "lab-book.md")]
"""Pages whose commands a user is meant to copy; the others also report what once was."""

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def names(pages: list[Path]) -> list[str]:
    return [page.name for page in pages]


@cache
def text(page: Path) -> str:
    return re.sub(r"<!--.*?-->", "", page.read_text("utf-8"), flags=re.DOTALL)


def fenced(page: Path, *languages: str) -> list[str]:
    return [body for language, body in FENCE.findall(text(page)) if language in languages]


def commands(page: Path) -> Iterator[str]:
    """Every `gag …` in inline code, shell blocks and indented code, without its comment."""
    inline = re.findall(r"`([^`\n]+)`", FENCE.sub("", text(page)))
    indented = re.findall(r"^    (?=\S)(.*)$", FENCE.sub("", text(page)), re.MULTILINE)
    for line in [*inline, *indented, *"".join(fenced(page, "shell")).splitlines()]:
        line = re.sub(r"(^|\s)#.*", "", line)
        for part in re.split(r"&&|;|\|", line):
            found = re.search(r"(?<![\w.-])(?:gag|-m gag\.cli) (?=[a-z…])(.*)$", part)
            if found and not part.startswith(("git ", "mkdir ")):
                yield found[1].strip()


@cache
def application() -> Any:
    return get_command(build_app())


def verb(words: list[str]) -> tuple[Any, list[str]]:
    """The typer command that `words` name, and the words after it."""
    command = application()
    while words and hasattr(command, "commands") and words[0] in command.commands:
        command, words = command.commands[words[0]], words[1:]
    return command, words


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_every_relative_link_resolves(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", text(page))):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{page.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", text(linked), re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
            assert anchor in slugs, f"{page.name} links to {target}"


@pytest.mark.parametrize("page", OURS, ids=names(OURS))
def test_every_command_and_option_exists(page: Path) -> None:
    for line in commands(page):
        words = shlex.split(line.replace("[", " ").replace("]", " "))
        if words[0] == "…":
            continue
        command, rest = verb(words)
        assert command.name != "gag", f"{page.name}: gag {line}"
        if hasattr(command, "commands"):  # a group's name alone, or all its verbs in a row
            assert all(word.strip(",") in (*command.commands, "…") for word in rest), f"{page.name}: gag {line}"
            continue
        known = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}
        unknown = [word for word in rest if re.match(r"--?[a-z]", word) and word.partition("=")[0] not in known]
        assert not unknown, f"{page.name}: gag {line}: {unknown}"


@pytest.mark.parametrize("page", OURS, ids=names(OURS))
def test_every_set_and_every_yaml_block_is_accepted(page: Path) -> None:
    found: list[str] = re.findall(r"--set ('[^']*'|[\w.]+=\"[^\"]*\"|[\w.]+=[^\s`'\"]+)", text(page))
    for key, _, value in (override.strip("'").partition("=") for override in found):
        if key == "key":
            continue
        tree = load_config().model_dump()
        for part in key.split("."):
            assert part in tree, f"{page.name}: --set {key}={value}"
            tree = tree[part]
    for block in fenced(page, "yaml"):
        parse_config(yaml.safe_load(block), origin=page.name)


def test_every_recipe_of_a_readout_is_accepted_as_a_whole() -> None:
    """Over the preset that `gag init` takes, as a reader would try it."""
    page = text(ROOT / "docs" / "add-a-domain.md")
    part = page[page.index("## Choosing the readout") : page.index("## Presets")]
    recipes = [re.findall(r"`([\w.]+=[^`]+)`", line) for line in part.splitlines() if line.startswith("| ")]
    recipes += [re.findall(r"--set (\S+)", line) for line in part.splitlines() if line.startswith("gag build")]
    recipes = [recipe for recipe in recipes if recipe]
    assert len(recipes) == 8
    for recipe in recipes:
        load_config(preset="demo", overrides=recipe)


@pytest.mark.parametrize("page", OURS, ids=names(OURS))
def test_snippets_are_what_they_say(page: Path) -> None:
    for snippet in fenced(page, "python"):
        compile(snippet, page.name, "exec")
    for line in "".join(fenced(page, "json")).splitlines():
        assert isinstance(json.loads(line), dict)


def defined(module: str) -> set[str]:
    """The names at the top of one of our modules, without importing it: most of them load torch."""
    if module == "gag":
        return set(gag.__all__)
    path = SOURCE.parent / f"{module.replace('.', '/')}.py"
    body = ast.parse(path.read_text("utf-8")).body if path.is_file() else []
    return {node.name for node in body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}


@pytest.mark.parametrize("page", OURS, ids=names(OURS))
def test_imports_of_snippets_are_there(page: Path) -> None:
    for snippet in fenced(page, "python"):
        for node in ast.walk(ast.parse(snippet)):
            if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] == "gag":
                missing = {alias.name for alias in node.names} - defined(str(node.module))
                assert not missing, f"{page.name}: {ast.unparse(node)}"


@pytest.mark.parametrize("page", OURS, ids=names(OURS))
def test_every_make_target_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = re.findall(r"(?:`|^    )make ([a-z-]+)", text(page), re.MULTILINE)
    assert set(named) <= targets


@pytest.mark.parametrize("page", OURS, ids=names(OURS))
def test_every_source_path_exists(page: Path) -> None:
    for path in re.findall(r"`((?:src|tests|docs|benchmarks)/[\w./-]+)`", text(page)):
        assert (ROOT / path).exists(), f"{page.name}: {path}"


def test_the_tree_is_current() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "make_tree.py"))["tree"]()
    assert (ROOT / "docs" / "tree.md").read_text("utf-8") == made, "run: make docs"
    named = {line.split()[0] for line in made.splitlines() if line.startswith(" ")}
    python = {path.name for path in SOURCE.rglob("*.py")}
    assert len(python) > 60 and python <= named


def test_the_readmes_tree_names_every_room() -> None:
    block = next(body for body in fenced(ROOT / "README.md", "text") if body.startswith("src/gag/\n"))
    named = {line.split()[0] for line in block.splitlines()[1:]} - {"…"}
    rooms = {f"{path.name}/" for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert named == rooms


def test_the_messages_of_troubleshooting_are_the_codes_own() -> None:
    said: list[str] = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                said.append(node.value)
    code = "\n".join(said)
    page = text(ROOT / "docs" / "troubleshooting.md")
    messages = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    assert len(messages) > 80
    for message in messages:
        for piece in re.split(r"…|gag\.yaml", message):
            assert piece in code, f"{message}: {piece!r} is not said by the code"


def test_contributing_stays_short() -> None:
    assert len((ROOT / "CONTRIBUTING.md").read_text("utf-8").splitlines()) < 45


def test_the_index_lists_every_page() -> None:
    index = text(ROOT / "docs" / "index.md")
    assert [page.name for page in PAGES[1:] if page.name != "index.md" and f"({page.name})" not in index] == []
