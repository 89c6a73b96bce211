"""compose.yaml: valid, pinned, hardened, and true to the settings, commands and versions we have.

No engine runs here, so what one would reject is looked for: against the schema of the Compose
specification, against our own settings, and with Kafka's own container set-up.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from streams import __version__
from streams.brokers import apache, maven
from streams.cli.main import app
from streams.settings import Settings, load

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name for name, service in SERVICES.items() if service["image"].startswith("sotto-voce:")}


def test_it_follows_the_compose_specification() -> None:
    package = importlib.util.find_spec("check_jsonschema")  # not imported: its schemas are enough
    assert package is not None
    assert package.origin is not None
    vendored = Path(package.origin).parent / "builtin_schemas" / "vendor" / "compose-spec.json"
    jsonschema.validate(COMPOSE, json.loads(vendored.read_text()))


def test_there_is_a_service_for_each_role() -> None:
    workers = {name for name in OURS if SERVICES[name]["command"] == ["worker", name]}
    assert workers == {"gate", "taste", "report"}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_image_is_pinned(name: str) -> None:
    assert re.fullmatch(r"[a-z/-]+:\d+\.\d+\.\d+", SERVICES[name]["image"])


def test_images_have_the_versions_of_the_code() -> None:
    assert {SERVICES[name]["image"] for name in OURS} == {f"sotto-voce:{__version__}"}
    pinned = apache.pinned_version(ROOT / "deploy" / "kafka" / "pom.xml")
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{pinned}"


@pytest.mark.parametrize("name", sorted(OURS))
def test_the_environment_holds_settings_that_exist(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = SERVICES[name]["environment"]
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    settings = load()  # raises on an unknown name or a malformed value
    changed = {
        field for field in Settings.model_fields if f"SOTTOVOCE_{field.upper()}" in environment
    }
    assert len(changed) == len(environment)
    assert settings.brokers == "kafka:9092"


@pytest.mark.parametrize("name", sorted(OURS))
def test_the_commands_exist(name: str) -> None:
    result = CliRunner().invoke(app, [*SERVICES[name]["command"], "--help"])
    assert result.exit_code == 0, result.output


SECRETS = "./secrets"


def test_the_key_reaches_the_gate_alone() -> None:
    with_keys = {
        name: volume
        for name, service in SERVICES.items()
        for volume in service.get("volumes", ())
        if volume.startswith(SECRETS)
    }
    assert with_keys == {"gate": f"{SECRETS}:/run/keys:ro"}
    assert SERVICES["gate"]["environment"]["SOTTOVOCE_KEY_FILE"] == "/run/keys/key.hex"
    others = [service for name, service in SERVICES.items() if name != "gate"]
    assert not any("KEY" in variable for other in others for variable in other["environment"])


def test_the_key_is_kept_from_git_and_from_the_builder() -> None:
    path = (FILE.parent / SECRETS / "key.hex").relative_to(ROOT)
    done = subprocess.run(["git", "check-ignore", "-q", str(path)], cwd=ROOT, check=False)
    assert done.returncode == 0
    ignored = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    assert not any(str(path).startswith(line[1:]) for line in ignored if line.startswith("!"))


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_is_hardened(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.keys() & {"privileged", "cap_add", "network_mode", "pid"}
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_waits_for_what_can_become_true(name: str) -> None:
    for target, wait in SERVICES[name].get("depends_on", {}).items():
        if wait["condition"] == "service_healthy":
            assert "test" in SERVICES[target]["healthcheck"]
        else:
            assert wait["condition"] == "service_completed_successfully"
            assert SERVICES[target]["restart"] == "on-failure"


def test_what_must_survive_is_on_a_volume() -> None:
    mounts = {
        name: [v.split(":") for v in service.get("volumes", []) if not v.startswith(SECRETS)]
        for name, service in SERVICES.items()
    }
    assert {volume for pairs in mounts.values() for volume, _ in pairs} == set(COMPOSE["volumes"])
    assert mounts["kafka"][0][1] == SERVICES["kafka"]["environment"]["KAFKA_LOG_DIRS"]
    assert f"SOTTOVOCE_DATA={mounts['report'][0][1]}" in (FILE.parent / "Dockerfile").read_text()
    assert SERVICES["registry"]["environment"]["APICURIO_STORAGE_KIND"] == "kafkasql"


@pytest.mark.slow
def test_kafkas_own_container_set_up_takes_the_environment(
    kafka_cache: Path, tmp_path: Path
) -> None:
    folders = {name: tmp_path / name for name in ("default", "mounted", "final", "data")}
    for folder in folders.values():
        folder.mkdir()
    for name in ("server.properties", "log4j2.yaml", "tools-log4j2.yaml"):
        (folders["default"] / name).touch()
    done = subprocess.run(
        [
            *("java", "-cp", f"{apache.fetch(kafka_cache)}/*"),
            *("kafka.docker.KafkaDockerWrapper", "setup"),
            *("--default-configs-dir", str(folders["default"])),
            *("--mounted-configs-dir", str(folders["mounted"])),
            *("--final-configs-dir", str(folders["final"])),
        ],
        env=SERVICES["kafka"]["environment"] | {"KAFKA_LOG_DIRS": str(folders["data"])},
        executable=maven.tool("java", "Java 17", "Apache Kafka"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    properties = (folders["final"] / "server.properties").read_text().splitlines()
    assert "auto.create.topics.enable=false" in properties
    assert "advertised.listeners=INSIDE://kafka:9092,OUTSIDE://127.0.0.1:9094" in properties
    assert (folders["data"] / "meta.properties").exists()
