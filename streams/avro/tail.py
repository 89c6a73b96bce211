"""The last field of large records: cut out, not decoded.

`ColumnDecoder` copies a body half a dozen times on its way into a column, which is nothing for a
play and most of the time for kilobytes of state.
"""

from __future__ import annotations

from typing import Final

from streams.avro.schemas import AvroType, is_record, resolve
from streams.errors import SchemaError, StateError

_NUMBERS: Final = ({"type": "int"}, {"type": "long"})


class Tail:
    """Cuts the last field out of bodies of one schema: bytes, behind nothing but whole numbers."""

    def __init__(self, writer_schema: AvroType) -> None:
        """Plan for ``writer_schema``.

        Raises:
            SchemaError: its fields are others.
        """
        top = resolve(writer_schema)
        types = [field["type"] for field in top["fields"]] if is_record(top) else []
        if types[-1:] != [{"type": "bytes"}] or not all(each in _NUMBERS for each in types[:-1]):
            raise SchemaError(
                "A record of an internal topic does not end in bytes behind whole numbers.",
                "Something else than this package wrote it; correct the topic's access rules.",
            )
        self._numbers = len(types) - 1

    def cut(self, body: bytes, at: int = 0) -> bytes:
        """The field of the body that begins at ``at``, copied once.

        Raises:
            StateError: the body does not end where the field does.
        """
        size = shift = 0
        try:
            for _ in range(self._numbers):
                while body[at] > 0x7F:
                    at += 1
                at += 1
            while True:
                group = body[at]
                size |= (group & 0x7F) << shift
                at += 1
                if group <= 0x7F:
                    break
                shift += 7
        except IndexError:
            at = len(body) + 1
        if 2 * (len(body) - at) != size:  # sizes that are negative are odd here
            raise StateError(
                "A record of an internal topic does not decode.",
                "Only this package may write there; correct the topic's access rules.",
            )
        return body[at:]
