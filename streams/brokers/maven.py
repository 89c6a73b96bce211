"""Java programs fetched with Maven into a cache, one folder per pinned version."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from streams.brokers.process import REMEDY
from streams.errors import BrokerError

_FETCH_S = 600.0
_QUIETLY = ("--batch-mode", "--quiet", "--no-transfer-progress", "-Dstyle.color=never")


def pinned_version(pom: Path, name: str) -> str:
    """The version that ``pom`` pins as its property ``name``.version."""
    version = ElementTree.parse(pom).findtext(  # noqa: S314 - our own file
        f"m:properties/m:{name}.version", namespaces={"m": "http://maven.apache.org/POM/4.0.0"}
    )
    if version is None:
        raise BrokerError(f"deploy/{name}/pom.xml names no {name}.version.", "Restore that file.")
    return version


def fetch(cache: Path, pom: Path, name: str, what: str, *goal: str) -> Path:
    """The folder under ``cache`` of what ``pom`` names, fetched if it is not there. Blocks.

    ``goal`` is Maven's dependency goal with its options but for the folder to write to.

    Raises:
        BrokerError: Maven is missing or fails.
    """
    folder = (cache / pinned_version(pom, name)).absolute()
    if folder.is_dir():
        return folder
    maven = tool("mvn", "Apache Maven", what)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as half:
        partial = Path(half).absolute() / "files"
        # What it has unpacked it marks, beside the pom unless told otherwise, and leaves out then.
        folders = (f"-DoutputDirectory={partial}", f"-DmarkersDirectory={half}/markers")
        run(
            [maven, *_QUIETLY, f"--file={pom}", *goal, *folders],
            _FETCH_S,
            f"Maven cannot fetch {what}; check that it reaches its repository.",
        )
        try:
            partial.rename(folder)
        except OSError as error:
            if not folder.is_dir():  # else another process was faster
                raise BrokerError(
                    f"What Maven fetched cannot be put into {cache}: {error.strerror}.",
                    "Make it writable.",
                ) from None
    return folder


def tool(command: str, named: str, what: str) -> str:
    """Where ``command`` is on the PATH, that ``what`` needs.

    Raises:
        BrokerError: it is not there.
    """
    path = shutil.which(command)
    if path is None:
        raise BrokerError(
            f"{what} needs {named}, and `{command}` is not on the PATH.",
            "Install it, or name a Kafka of yours with `--brokers`.",
        )
    return path


def run(command: list[str], seconds: float, problem: str) -> None:
    """Run ``command`` to its end; raise `BrokerError` with what it said when it fails."""
    try:
        subprocess.run(  # noqa: S603 - a command of our own making
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=True,
        )
    except subprocess.TimeoutExpired:
        raise BrokerError(f"{problem} It was stopped after {seconds:g} s.", REMEDY) from None
    except subprocess.CalledProcessError as error:
        said = " / ".join(str(error.stdout).strip().splitlines()[:3])
        raise BrokerError(f"{problem} It said: {said}", REMEDY) from None
