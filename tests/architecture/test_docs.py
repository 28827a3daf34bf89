"""What is documented is there, and what is there is documented."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from tollhouse.cli.main import app
from tollhouse.cli.stand_in import StandIn
from tollhouse.settings import Settings

ROOT = Path(__file__).parents[2]
DOCS = {path.name: path.read_text() for path in (ROOT / "docs").glob("*.md")}


@pytest.mark.parametrize("spec", fields(Settings), ids=lambda spec: spec.name)
def test_every_setting_is_in_the_docs_with_its_default(spec) -> None:  # type: ignore[no-untyped-def]
    row = next(line for line in DOCS["settings.md"].splitlines() if f"`TOLLHOUSE_{spec.name.upper()}`" in line)
    default = str(spec.default).lower() if isinstance(spec.default, bool) else str(spec.default)
    assert default in row
    assert spec.metadata["help"] in row
    assert spec.metadata["alias"] in row


def commands() -> list[str]:
    found = []
    waiting = [("", get_command(app))]
    while waiting:
        name, command = waiting.pop()
        if isinstance(command, StandIn):
            command = command.command()
        if isinstance(command, typer.core.TyperGroup):
            waiting += [(f"{name} {verb}".strip(), one) for verb, one in command.commands.items()]
        else:
            found.append(name)
    return sorted(found)


@pytest.mark.parametrize("command", commands())
def test_every_command_is_in_the_docs(command: str) -> None:
    assert f"`tollhouse {command}" in DOCS["commands.md"]


def test_no_documented_command_is_missing() -> None:
    documented = set(re.findall(r"^\| `tollhouse ([a-z -]+?)(?: [A-Z\[-].*?)?` \|", DOCS["commands.md"], re.MULTILINE))
    assert documented == set(commands())


@pytest.mark.parametrize("page", [*sorted(DOCS), "../README.md", "../CONTRIBUTING.md"])
def test_links_inside_the_docs_lead_somewhere(page: str) -> None:
    path = ROOT / "docs" / page
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_decisions_are_numbered_and_short() -> None:
    records = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(path.name[:4]) for path in records] == list(range(1, len(records) + 1))
    assert all(len(path.read_text().splitlines()) <= 16 for path in records)


def test_the_repository_names_no_registry_and_no_path_of_a_machine() -> None:
    locks = [path.read_text() for path in (ROOT / "requirements").glob("*.txt")]
    assert all("://" not in text and "--hash=sha256:" in text for text in locks)
