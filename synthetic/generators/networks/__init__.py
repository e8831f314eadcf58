"""Networks that parts of generators train. Each module imports torch, so it is imported inside functions alone."""
