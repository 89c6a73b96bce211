"""The image: lint-free, pinned by hash, not root, with a health check that works."""

from __future__ import annotations

import fnmatch
import json
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from streams.settings import Settings

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "Dockerfile"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def instructions() -> Iterator[tuple[str, str]]:
    """Every instruction and its arguments, continued lines joined."""
    lines = [line for line in FILE.read_text().splitlines() if not line.startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            word, _, rest = line.partition(" ")
            yield word, re.sub(r"\s+", " ", rest).strip()


ALL = list(instructions())
STAGES = [i for i, (word, _) in enumerate(ALL) if word == "FROM"]
BUILD, FINAL = ALL[STAGES[0] : STAGES[1]], ALL[STAGES[1] :]


def only(word: str) -> str:
    """The arguments of the instruction ``word`` of the final stage, of which there is one."""
    (rest,) = [rest for each, rest in FINAL if each == word]
    return rest


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, FILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_final_stage_runs_as_a_numeric_user_that_is_not_root() -> None:
    uid, _, gid = only("USER").partition(":")
    assert int(uid) > 1_000
    assert int(gid) > 1_000
    assert FINAL.index(("USER", only("USER"))) < FINAL.index(("ENTRYPOINT", only("ENTRYPOINT")))


def test_what_starts_starts_without_a_shell() -> None:
    assert json.loads(only("ENTRYPOINT")) == list(PYPROJECT["project"]["scripts"])
    assert json.loads(only("CMD")) == ["--help"]
    assert json.loads(health_command())[0] == "python"


def health_command() -> str:
    return only("HEALTHCHECK").partition("CMD ")[2]


def test_everything_is_installed_by_hash_and_only_in_the_build_stage() -> None:
    installs = [part for word, rest in BUILD if word == "RUN" for part in rest.split("&&")]
    installs = [part for part in installs if "pip install" in part]
    assert len(installs) == 3
    assert all("--require-hashes" in part or "--no-deps dist/" in part for part in installs)
    assert not any("pip" in rest for word, rest in FINAL if word == "RUN")


def test_nothing_is_fetched_from_an_address() -> None:
    assert not [rest for word, rest in ALL if word == "ADD"]
    assert not any(
        re.search(r"curl|wget|apt|https?://", rest) for word, rest in ALL if word == "RUN"
    )


def test_all_that_is_copied_is_here_and_sent_to_the_builder() -> None:
    patterns = (FILE.parent / "Dockerfile.dockerignore").read_text().splitlines()
    sent = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    copied = {
        source
        for word, rest in BUILD
        if word == "COPY"
        for source in rest.split()[:-1]
        if not source.startswith("--")
    }
    assert copied == set(sent)
    assert not any(fnmatch.fnmatch("var/demo", pattern) for pattern in sent)
    assert [source for source in copied if not (ROOT / source).exists()] == []


def test_the_wheel_is_built_from_what_is_copied() -> None:
    copied = {source for word, rest in BUILD if word == "COPY" for source in rest.split()[:-1]}
    wheel = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert set(wheel["only-include"]) <= copied


def test_the_python_is_one_that_we_support() -> None:
    (tag,) = [rest.partition("=")[2] for word, rest in ALL if word == "ARG"]
    version = tag.partition("-")[0]
    classifiers = PYPROJECT["project"]["classifiers"]
    assert f"Programming Language :: Python :: {version}" in classifiers
    assert "slim" in tag


def test_its_environment_holds_settings_that_exist() -> None:
    settings = re.findall(r"SOTTOVOCE_(\w+)=", only("ENV"))
    assert settings
    assert {name.lower() for name in settings} <= Settings.model_fields.keys()


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_the_health_check_tells_ready_from_not_ready(status: int, healthy: bool) -> None:
    asked: list[str] = []

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    port = re.search(r"WEB_PORT=(\d+)", only("ENV"))
    assert port is not None
    with HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        _, option, code = json.loads(health_command())
        assert f":{port[1]}/" in code
        code = code.replace(f":{port[1]}/", f":{server.server_port}/")
        done = subprocess.run([sys.executable, option, code], capture_output=True, check=False)
    assert (done.returncode == 0) is healthy
    assert asked == ["/readyz"]
