"""Titles of the metrics of the drift suite, and what they count: words that reach a report through a key."""

from __future__ import annotations

from django.utils.translation import gettext_noop as _

METRICS = (
    _("change of prevalence"),
    _("change of what a score means"),
    _("loss of estimated performance"),
    _("loss of performance"),
    _("shift of a category"),
    _("shift of a measured series"),
    _("shift of a number"),
    _("shift of a text"),
    _("shift of how well modalities agree"),
    _("shift of the case mix"),
    _("shift of the images"),
    _("shift of the scores"),
    _("shift of what is missing"),
)
"""The title of every metric of the suite."""

COUNTED = (_("patients with the stream"),)
"""What numbers count, as the engine's reasons name it."""

WHOLE = (
    _("undefined: each of the four folds needs two studies with an embedding on either side"),
    _("undefined: neither side varies"),
    _("undefined: the reference has no study with the finding, or none without"),
    _("undefined: too few studies have a reference standard that can be compared with that of the reference"),
)
"""Reasons without a changing part."""
