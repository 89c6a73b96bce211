"""A document as data, rendered as Markdown, HTML or JSON: one text, three forms.

Text is plain but for ```code``` in backticks. Everything else in it is shown as it is, whatever
characters it has, since parts of it come from schemas and the policy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_CODE = re.compile(r"`([^`]*)`")
_SPECIAL = re.compile(r"([\\`*<>|\[\]]|(?<!\w)_|_(?!\w))")


@dataclass(frozen=True, slots=True)
class Heading:
    """Opens a section; ``level`` is 2 or 3."""

    text: str
    level: int = 2
    kind: str = "heading"


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Running text."""

    text: str
    kind: str = "paragraph"


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list."""

    items: tuple[str, ...]
    kind: str = "bullets"


@dataclass(frozen=True, slots=True)
class Terms:
    """What each term means."""

    items: tuple[tuple[str, str], ...]
    kind: str = "terms"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a header, all equally long."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    kind: str = "table"


Block: TypeAlias = Heading | Paragraph | Bullets | Terms | Table


@dataclass(frozen=True, slots=True)
class Document:
    """A title and what follows."""

    title: str
    blocks: tuple[Block, ...]


def markdown(document: Document) -> str:
    """As GitHub-flavoured Markdown."""
    parts = [f"# {_marked(document.title)}", *map(_markdown, document.blocks)]
    return "\n\n".join(parts) + "\n"


def html(document: Document) -> str:
    """As one HTML page that needs nothing else."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["parts"] = _CODE.split  # text and code in turn
    return environment.get_template("document.html.j2").render(document=document)


def as_json(document: Document) -> str:
    """As JSON: title and blocks, each with its kind."""
    return json.dumps(asdict(document), indent=2, ensure_ascii=False) + "\n"


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {_marked(text)}"
        case Paragraph(text):
            return _marked(text)
        case Bullets(items):
            return "\n".join(f"- {_marked(item)}" for item in items)
        case Terms(items):
            return "\n".join(f"- **{_marked(term)}**: {_marked(text)}" for term, text in items)
        case Table(header, rows):
            return "\n".join(map(_row, [header, ("---",) * len(header), *rows]))


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(map(_marked, cells))} |"


def _marked(text: str) -> str:
    """Text in which nothing but code is markup."""
    parts = _CODE.split(" ".join(text.split()))
    parts[::2] = [_SPECIAL.sub(r"\\\1", part) for part in parts[::2]]
    parts[1::2] = [f"`{code.replace('|', chr(92) + '|')}`" for code in parts[1::2]]
    return "".join(parts)
