"""Learning with differential privacy: what is public, what is spent, what is secret, and how sums are taken."""
