"""Avro on the wire: framing, schemas by id, columns in and out."""
