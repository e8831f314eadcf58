"""What every operation of the programming interface has in common: who asks, how often, once or again, page by page."""
