"""Services that Auscult starts by itself, without root and without installing anything."""
