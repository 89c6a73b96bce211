"""The audit: nothing runs what it reads, nothing is unpinned, no check of a certificate is off.

It reads the tree and asks no service, so it works wherever the tests do. `make audit` runs it with
the lock files' tests.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "streams").rglob("*.py"))
POM = ROOT / "deploy" / "kafka" / "pom.xml"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MODULES = {"cloudpickle", "code", "dill", "joblib", "marshal", "pickle", "runpy", "shelve", "yaml"}
"""Running what they read is what they are for, or what they do unless told otherwise."""
CALLS = {"__import__", "compile", "eval", "exec"}
ATTRIBUTES = {
    "CERT_NONE",
    "_create_unverified_context",
    "create_subprocess_shell",
    "import_module",
    "mktemp",
    "os.popen",
    "os.system",
    "pl.deserialize",
    "subprocess.getoutput",
}
KEYWORDS = {("allow_pickle", True), ("shell", True), ("check_hostname", False), ("verify", False)}
NEVER_IGNORED = {"S102", "S301", "S302", "S307", "S501", "S506", "S602", "S604", "S605"}
"""Ruff's rules on exec, pickle, marshal, eval, certificates, YAML and shells."""


def findings(source: str) -> Iterator[str]:
    """What of the above a module does."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from {name.name.partition(".")[0] for name in names} & MODULES
            case ast.ImportFrom(module=str(module)):
                yield from {module.partition(".")[0]} & MODULES
                yield from {name.name for name in node.names} & ATTRIBUTES
            case ast.Call(func=ast.Name(id=name)) if name in CALLS:
                yield name
            case ast.Attribute(attr=name) if {name, ast.unparse(node)} & ATTRIBUTES:
                yield ast.unparse(node)
            case ast.keyword(arg=str(name), value=ast.Constant(value=value)):
                yield from [f"{name}={value!r}"] if (name, value) in KEYWORDS else []
            case ast.Assign(targets=[ast.Attribute(attr=name)], value=ast.Constant(value=value)):
                yield from [f"{name}={value!r}"] if (name, value) in KEYWORDS else []


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_module_runs_what_it_reads(file: Path) -> None:
    assert list(findings(file.read_text("utf-8"))) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from marshal import loads",
        "import yaml.loader",
        "def f():\n    import pickle as p",
        "eval('1')",
        "exec(text)",
        "compile(text, 'x', 'exec')",
        "__import__('os')",
        "importlib.import_module(name)",
        "from importlib import import_module",
        "subprocess.run(command, shell=True)",
        "asyncio.create_subprocess_shell(command)",
        "os.system('ls')",
        "numpy.load(file, allow_pickle=True)",
        "context.verify_mode = ssl.CERT_NONE",
        "context.check_hostname = False",
        "session.get(url, verify=False)",
        "ssl._create_unverified_context()",
    ],
)
def test_the_audit_finds_what_it_looks_for(source: str) -> None:
    assert list(findings(source))


def test_ruff_looks_for_the_same_everywhere() -> None:
    lint = PYPROJECT["tool"]["ruff"]["lint"]
    assert "S" in lint["select"]
    ignored = set(lint["ignore"]).union(*lint["per-file-ignores"].values())
    assert not [rule for rule in ignored for never in NEVER_IGNORED if never.startswith(rule)]


def test_an_exception_from_it_says_why() -> None:
    for file in SOURCES:
        for line in file.read_text("utf-8").splitlines():
            if "noqa: S" in line:
                assert re.search(r"# noqa: S\d+ - \w", line), f"{file}: {line}"
                assert not NEVER_IGNORED & set(re.findall(r"S\d+", line)), f"{file}: {line}"


def test_what_is_installed_is_checked_against_hashes() -> None:
    for name in ("Makefile", "deploy/Dockerfile", ".ci/run"):
        text = (ROOT / name).read_text().replace("\\\n", " ")
        for line in re.findall(r"^.*(?:pip install|PIP_INSTALL\)).*$", text, re.MULTILINE):
            for part in re.split("&&", line):
                if re.search(r"pip install|PIP_INSTALL\)", part):
                    assert "--require-hashes" in part or "--no-deps" in part, f"{name}: {part}"


def test_java_libraries_have_one_version_each() -> None:
    pom = ElementTree.parse(POM).getroot()  # noqa: S314 - our own file
    space = {"m": "http://maven.apache.org/POM/4.0.0"}
    properties = {
        each.tag.partition("}")[2]: each.text for each in pom.iterfind("m:properties/*", space)
    }
    wanted = [*pom.iterfind(".//m:dependency", space), *pom.iterfind(".//m:plugin", space)]
    assert wanted
    for each in wanted:
        version = each.findtext("m:version", "", space)
        version = re.sub(r"\$\{(.+)\}", lambda found: str(properties[found[1]]), version)
        assert re.fullmatch(r"\d+(\.\d+)+", version), each.findtext("m:artifactId", "", space)


def test_base_images_have_a_version() -> None:
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", text, re.MULTILINE))
    images = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert images
    for image in images:
        image = re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], image)
        assert re.fullmatch(r"[a-z]+:\d+\.\d+[\w.-]*|\S+@sha256:[0-9a-f]{64}", image)


def test_continuous_integration_runs_nothing_of_others() -> None:
    assert not (ROOT / ".github").exists()
    text = (ROOT / ".ci" / "run").read_text()
    assert not re.findall(r"\b(curl|wget|docker|npx|uses|git clone)\b|https?://", text)
