"""``python -m config.cli`` is ``auscult``."""

from config.cli import main

main()
