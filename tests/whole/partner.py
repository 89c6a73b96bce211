"""A policy with a third party."""

from __future__ import annotations

from pathlib import Path


def with_partner(folder: Path) -> Path:
    """The committed schemas and policy with a third party added."""
    source = Path(__file__).parents[2] / "schemas"
    for file in source.rglob("*"):
        if file.is_file():
            target = folder / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    text = (folder / "policy.toml").read_text()
    begin = text.index("[audiences.analytics]")
    end = text.index("# A third party is")
    partner = (
        text[begin:end]
        .replace("audiences.analytics", "audiences.partner")
        .replace('purpose = "analytics"', 'purpose = "sharing"\nthird_party = true')
        .replace('recipient = "Analysts"', 'recipient = "A partner"')
        .replace('EVENT_TIME = { do = "truncate", to = "minute" }',
                 'EVENT_TIME = { do = "truncate", to = "day" }')
    )  # fmt: skip
    (folder / "policy.toml").write_text(text[:end] + partner + text[end:])
    return folder
