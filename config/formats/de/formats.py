"""Numbers without a filter are for machines: coordinates, widths, values of fields. They keep the full stop.

What people read goes through ``core.templatetags.figures``, which writes numbers as the language does.
"""

DECIMAL_SEPARATOR = "."
THOUSAND_SEPARATOR = ""
NUMBER_GROUPING = 0
