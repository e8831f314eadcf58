"""Repairing a gap between groups: whom to make, and what two versions differ in. A library without Django."""
