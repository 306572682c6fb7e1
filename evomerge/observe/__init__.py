"""Watching a store and its searches from outside: `metrics`, `health`, and `sinks` for other trackers."""
