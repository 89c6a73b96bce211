"""Documentation that a machine can hold against the code."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from streams import metrics, topics
from streams.cli.main import app
from streams.settings import Settings, bundled

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
MANUALS = README + "".join(
    (ROOT / "deploy" / name).read_text("utf-8") for name in ("README.md", "scaling.md")
)


def commands(group: Any, path: str = "sottovoce") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found |= commands(command, f"{path} {name}")
        else:
            found[f"{path} {name}"] = command
    return found


COMMANDS = commands(typer.main.get_command(app))


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_and_an_example(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    assert command.epilog, "no example"
    assert name in command.epilog, "an example of another command"
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{parameter.name} says nothing"


def test_every_command_in_the_manuals_exists() -> None:
    for words in re.findall(r"sottovoce ((?:[a-z]+ ?)+)", MANUALS):
        first = words.split()
        names = {f"sottovoce {first[0]}", " ".join(["sottovoce", *first[:2]])}
        assert names & COMMANDS.keys(), words


def test_every_variable_in_the_manuals_exists() -> None:
    for name in set(re.findall(r"SOTTOVOCE_([A-Z_]+)", MANUALS)) - {"CONFIG"}:
        assert name.lower() in Settings.model_fields, name


def test_every_mart_is_in_the_readme() -> None:
    for mart in (bundled("sql") / "marts").glob("*.sql"):
        assert f"`{mart.stem}`" in README, mart.stem


def test_every_metric_in_the_manuals_exists_and_each_says_what_it_is() -> None:
    families: dict[str, Any] = {each.name: each for each in metrics.REGISTRY.collect()}
    for family in families.values():
        assert family.documentation, family.name
    known = {sample for name in families for sample in (name, f"{name}_total")}
    for name in set(re.findall(r"\bsottovoce_[a-z_]+\b", MANUALS)):
        assert name in known, name


def test_every_topic_has_a_schema_and_a_purpose() -> None:
    for topic in topics.ALL:
        assert topic.purpose
        assert topic.key
        assert (bundled("schemas") / f"{topic.schema}.avsc").is_file(), topic.name


def test_every_tag_of_the_policy_is_used() -> None:
    policy = tomllib.loads((bundled("schemas") / "policy.toml").read_text("utf-8"))
    text = "".join(file.read_text("utf-8") for file in bundled("schemas").glob("*.avsc"))
    for audience in policy["audiences"].values():
        for tag in audience["treatments"]:
            assert f'"{tag}"' in text, tag


def test_the_licence_and_changelog_are_there() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text("utf-8")
    assert "## 0.1.0" in (ROOT / "CHANGELOG.md").read_text("utf-8")
