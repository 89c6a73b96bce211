"""The lock files pin all that pyproject.toml names, by hash, and know no index or machine."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FILES = ("requirements.lock", "requirements-build.lock", "requirements-dev.lock")
PEERS = "tests/bench/peers/requirements.lock"
PLATFORMS = [
    {"sys_platform": platform, "platform_machine": machine, "python_full_version": f"{python}.0"}
    for platform, machine in (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"))
    for python in ("3.11", "3.12", "3.13")
]


@cache
def entries(file: str) -> tuple[tuple[Requirement, int], ...]:
    """Each pinned requirement of ``file`` with the number of its hashes."""
    text = (ROOT / file).read_text().replace("\\\n", " ")
    return tuple(
        (Requirement(line.partition("--hash")[0].strip()), line.count("--hash=sha256:"))
        for line in text.splitlines()
    )


def pins(file: str, platform: dict[str, str]) -> dict[str, str]:
    """Version by name of what ``file`` installs on ``platform``."""
    found: dict[str, str] = {}
    for requirement, _ in entries(file):
        if requirement.marker is None or requirement.marker.evaluate(platform):
            (specifier,) = requirement.specifier
            assert specifier.operator == "=="
            assert canonicalize_name(requirement.name) not in found
            found[canonicalize_name(requirement.name)] = specifier.version
    return found


def group(name: str) -> list[str]:
    wanted: list[str] = []
    for entry in PYPROJECT["dependency-groups"][name]:
        wanted += group(entry["include-group"]) if isinstance(entry, dict) else [entry]
    return wanted


def third_parties() -> set[str]:
    """Distributions that the package imports."""
    modules: set[str] = set()
    for file in (ROOT / "streams").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                modules.add(node.module)
    names = {module.partition(".")[0] for module in modules}
    distributions = packages_distributions()
    outside = names - sys.stdlib_module_names - {"streams"}
    return {canonicalize_name(name) for module in outside for name in distributions[module]}


RUNTIME = [
    *PYPROJECT["project"]["dependencies"],
    *PYPROJECT["project"]["optional-dependencies"]["demo"],
    *PYPROJECT["project"]["optional-dependencies"]["vault"],
]
WANTED = {
    "requirements.lock": RUNTIME,
    "requirements-build.lock": [*group("build"), *PYPROJECT["build-system"]["requires"]],
    "requirements-dev.lock": [*RUNTIME, *group("dev")],
}


@pytest.mark.parametrize("platform", PLATFORMS, ids=lambda p: "-".join(p.values()))
@pytest.mark.parametrize("file", FILES)
def test_what_is_wanted_is_pinned_within_its_bounds(file: str, platform: dict[str, str]) -> None:
    pinned = pins(file, platform)
    for wanted in map(Requirement, WANTED[file]):
        version = pinned.get(canonicalize_name(wanted.name))
        assert version is not None, f"{wanted.name} is not in {file}: make lock"
        assert version in wanted.specifier, f"{wanted} is not what {file} pins: make lock"


def test_what_the_peers_want_is_pinned() -> None:
    wanted = (ROOT / PEERS).with_suffix(".in").read_text().splitlines()
    pinned = {canonicalize_name(requirement.name) for requirement, _ in entries(PEERS)}
    names = [Requirement(line).name for line in wanted if not line.startswith("#")]
    assert {canonicalize_name(name) for name in names} <= pinned


def test_what_is_declared_is_what_is_imported() -> None:
    declared = {canonicalize_name(Requirement(wanted).name) for wanted in RUNTIME}
    assert declared - {"vl-convert-python"} == third_parties()


@pytest.mark.parametrize("file", [*FILES, PEERS])
def test_everything_has_hashes(file: str) -> None:
    assert [str(requirement) for requirement, hashes in entries(file) if not hashes] == []


@pytest.mark.parametrize("file", [*FILES, PEERS])
def test_no_index_address_or_path_is_named(file: str) -> None:
    assert (
        re.findall(r"://|--index|--find-links|--extra|file:|\s[./]+/", (ROOT / file).read_text())
        == []
    )


@pytest.mark.parametrize("platform", PLATFORMS, ids=lambda p: "-".join(p.values()))
def test_development_uses_the_versions_of_the_release(platform: dict[str, str]) -> None:
    development = pins("requirements-dev.lock", platform).items()
    assert development >= pins("requirements.lock", platform).items()
    assert development >= pins("requirements-build.lock", platform).items()
