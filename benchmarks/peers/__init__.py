"""Libraries that do not install beside Auscult, measured from a virtual environment of their own."""
