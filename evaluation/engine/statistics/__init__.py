"""Intervals, resampling, differences and multiplicity. Pure functions of numbers; no global randomness."""
