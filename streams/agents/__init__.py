"""The Faust agents, one per role: a few lines each that call pure functions."""
