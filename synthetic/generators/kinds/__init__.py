"""The parts of generators that come with Auscult: one module each."""
