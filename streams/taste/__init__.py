"""Rolling taste: pure functions over columns, no clock, no I/O."""
