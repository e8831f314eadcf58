"""Synthetic patients to look at, each beside the real patient who is most like it."""
