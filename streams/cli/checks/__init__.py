"""What `sottovoce doctor` checks, a module per kind of check."""
