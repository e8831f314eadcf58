"""Policies: their written form, and how a version stands against one. Pure; what reads the database is a selector."""
