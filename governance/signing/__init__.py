"""Signatures inside PDF files: putting them in, and checking them offline. Knows no Django and no database."""
