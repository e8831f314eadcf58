"""Drift: whether studies, and what a model makes of them, are still like those of a reference.

Streams (``records``) are read off studies through a frame that is fixed on the reference (``frame``), reduced to a
mergeable sketch (``sketch``), and compared: how far they moved (``shifts``), how surprising that is over the whole
life of a monitor (``residuals``, ``lifetime``), and why (``causes``).
"""
