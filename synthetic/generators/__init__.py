"""Generators of linked synthetic patients: tables, series, images and reports that tell one story. Knows no Django."""
