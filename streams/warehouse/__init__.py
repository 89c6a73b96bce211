"""The DuckDB warehouse, its marts and their release."""
