"""Batches of records in and out of Faust."""
