"""Makes a DuckDB file from a schema and rows, as a process that never sees anything else.

DuckDB writes blocks as they lie in memory. In gaps of a block that may be what the memory held
before: a process that has read an erased row can write it again into a file of rows that are left.
`streams.warehouse.rewriting` runs this file as a script, with Python and DuckDB only.
"""

import sys
from pathlib import Path

import duckdb


def build(folder: Path, file: Path, storage_version: str) -> None:
    """Make ``file`` of ``schema.sql`` and the rows of each ``<table>.parquet`` in ``folder``."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "storage_compatibility_version": storage_version,
        "memory_limit": "1GB",
    }
    with duckdb.connect(file, config=config) as connection:
        # Text stands in the file letter by letter, not in a code: a search of its bytes finds it.
        connection.execute("SET force_compression = 'dictionary'")
        connection.execute((folder / "schema.sql").read_text("utf-8"))
        for rows in sorted(folder.glob("*.parquet")):
            connection.execute(
                f"INSERT INTO {rows.stem} BY NAME FROM read_parquet($1)", [str(rows)]
            )
        connection.execute("CHECKPOINT")


if __name__ == "__main__":
    build(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
