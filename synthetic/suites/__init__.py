"""Audits of synthetic patients: how like the real ones they are, what they are good for, and what they give away."""
