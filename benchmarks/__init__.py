"""Measured claims. Each is ``python -m benchmarks.NAME [--json]`` and measures both sides in one run."""
