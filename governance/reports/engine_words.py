"""What the engine of audits writes in English, said in the language of a report.

Evidence holds the reason why a value is missing, what would suffice to judge, and the rows of a chart as English
sentences, built from a few forms. ``said`` recognises the form and writes it anew; a sentence of no known form stays as
it is in the evidence.
"""

from __future__ import annotations

import re

from django.utils.translation import get_language, gettext, gettext_noop

from governance.reports.wording import marked, style

WHOLE = (
    gettext_noop("All"),
    gettext_noop("Unknown"),
    gettext_noop("beyond the margin"),
    gettext_noop("no study"),
    gettext_noop("not judged: the group is not known"),
    gettext_noop("the model gave decisions and no scores"),
    gettext_noop("undefined: fewer than two groups have a study in the denominator"),
    gettext_noop("undefined: fewer than two groups have enough patients"),
    gettext_noop("undefined: fewer than two groups have enough patients to be compared"),
    gettext_noop("undefined: it needs studies with the finding and without it"),
    gettext_noop("undefined: most scores are 0 or 1, and their log odds have no number"),
    gettext_noop("undefined: no report was written"),
    gettext_noop("undefined: no study has a score"),
    gettext_noop("undefined: no study has the finding, or every score is 0"),
    gettext_noop("undefined: nothing was predicted in any group"),
    gettext_noop("undefined: the difference does not vary"),
    gettext_noop("undefined: the protocol gives the label no threshold, and names none under 'utility'"),
    gettext_noop("undefined: the scores leave no doubt, and the log odds say nothing"),
    gettext_noop("undefined: the scores separate the classes, or are all equal"),
    gettext_noop("undefined: the variance needs two patients with the finding and two without"),
)
"""Words and reasons without a changing part."""

COUNTED = (
    gettext_noop("findings in the expert's reports"),
    gettext_noop("findings reported by the model"),
    gettext_noop("patients"),
    gettext_noop("patients predicted negative"),
    gettext_noop("patients predicted positive"),
    gettext_noop("patients with a finding"),
    gettext_noop("patients with a finding in the expert's report"),
    gettext_noop("patients with a finding or device in the expert's report"),
    gettext_noop("patients with a finding reported by the model"),
    gettext_noop("patients with a positive finding in either report"),
    gettext_noop("patients with a report"),
    gettext_noop("patients with a written report"),
    gettext_noop("patients with and without the finding"),
    gettext_noop("patients with or without the finding"),
    gettext_noop("patients with the finding"),
    gettext_noop("patients with, or without, the finding"),
    gettext_noop("patients without the finding"),
    gettext_noop("positive findings in the reports of expert and model"),
    gettext_noop("reports"),
    gettext_noop("studies"),
    gettext_noop("studies predicted negative"),
    gettext_noop("studies predicted positive"),
    gettext_noop("studies with a finding"),
    gettext_noop("studies with a finding in the expert's report"),
    gettext_noop("studies with a score"),
    gettext_noop("studies with and without the finding"),
    gettext_noop("studies with the finding"),
    gettext_noop("studies without the finding"),
)
"""What numbers count, as the forms below name it."""

NUMBER = r"[\d,]*\d"
FORMS = tuple(
    (re.compile(pattern, re.DOTALL), template)
    for pattern, template in (
        (
            rf"suppressed: fewer than (?P<n>{NUMBER}) (?P<what>.+)",
            gettext_noop("suppressed: fewer than %(n)s %(what)s"),
        ),
        (
            rf"suppressed: may be fewer than (?P<n>{NUMBER}) (?P<what>.+)",
            gettext_noop("suppressed: may be fewer than %(n)s %(what)s"),
        ),
        (
            rf"not judged: below the minimum denominator of (?P<n>{NUMBER}) (?P<what>.+)",
            gettext_noop("not judged: below the minimum denominator of %(n)s %(what)s"),
        ),
        (rf"not judged: below (?P<n>{NUMBER}) (?P<what>.+)", gettext_noop("not judged: below %(n)s %(what)s")),
        (r"undefined: not asked, (?P<said>.+)", gettext_noop("undefined: not asked, %(said)s")),
        (r"it was not asked, (?P<said>.+)", gettext_noop("it was not asked, %(said)s")),
        (r"undefined: no (?P<what>.+)", gettext_noop("undefined: no %(what)s")),
        (
            rf"group (?P<group>.+?) has fewer than (?P<few>{NUMBER}) (?P<what>.+), (?P<n>{NUMBER}) are needed",
            gettext_noop("group %(group)s has fewer than %(few)s %(what)s, %(n)s are needed"),
        ),
        (
            rf"group (?P<group>.+?) has no (?P<what>.+), (?P<n>{NUMBER}) are needed",
            gettext_noop("group %(group)s has no %(what)s, %(n)s are needed"),
        ),
        (
            rf"group (?P<group>.+?) has (?P<few>{NUMBER}) (?P<what>.+), (?P<n>{NUMBER}) are needed",
            gettext_noop("group %(group)s has %(few)s %(what)s, %(n)s are needed"),
        ),
        (
            rf"group (?P<group>.+?) has fewer than (?P<n>{NUMBER}) (?P<what>.+)",
            gettext_noop("group %(group)s has fewer than %(n)s %(what)s"),
        ),
        (r"group (?P<group>.+?): (?P<said>.+)", gettext_noop("group %(group)s: %(said)s")),
        (
            rf"at least (?P<n>{NUMBER}) (?P<what>.+) in group (?P<group>.+) \(it has fewer than (?P<few>{NUMBER})\)",
            gettext_noop("at least %(n)s %(what)s in group %(group)s (it has fewer than %(few)s)"),
        ),
        (
            rf"at least (?P<n>{NUMBER}) (?P<what>.+) in group (?P<group>.+)",
            gettext_noop("at least %(n)s %(what)s in group %(group)s"),
        ),
        (
            rf"about (?P<n>{NUMBER}) more (?P<what>.+) in group (?P<group>.+)",
            gettext_noop("about %(n)s more %(what)s in group %(group)s"),
        ),
        (
            rf"more than (?P<n>{NUMBER}) times as many (?P<what>.+), because the value lies close to the margin",
            gettext_noop("more than %(n)s times as many %(what)s, because the value lies close to the margin"),
        ),
        (r"the scores of (?P<group>.+)", gettext_noop("the scores of %(group)s")),
        (r"Difference in (?P<first>.+)", gettext_noop("Difference in %(first)s")),
        (r"Ratio of (?P<first>.+)", gettext_noop("Ratio of %(first)s")),
        (r"(?P<first>.+) − (?P<second>.+)", gettext_noop("%(first)s − %(second)s")),
        (r"(?P<first>.+) vs (?P<second>.+)", gettext_noop("%(first)s vs %(second)s")),
        (r"margin (?P<limit>.+)", gettext_noop("margin %(limit)s")),
        (r"accepted (?P<limit>.+)", gettext_noop("accepted %(limit)s")),
        (r"at least (?P<n>\S+)", gettext_noop("at least %(n)s")),
        (r"at most (?P<n>\S+)", gettext_noop("at most %(n)s")),
        (r"(?P<low>[−-]?\d*\.\d+) to (?P<high>[−-]?\d*\.\d+)", gettext_noop("%(low)s to %(high)s")),
        (r"(?P<first>[^:;]+) by (?P<second>[^:;]+)", gettext_noop("%(first)s by %(second)s")),
        (r"(?P<value>\S+) \((?P<low>\S+) to (?P<high>\S+)\)", gettext_noop("%(value)s (%(low)s to %(high)s)")),
    )
)
"""Every form that is known, the narrower before the wider, and the text that says it."""
AGAIN = {"what", "said", "first", "second", "limit"}
"""Parts that are texts of the engine themselves."""


def said(text: str) -> str:
    """A text of the engine in the active language; reasons may be joined by ``; ``, attributes by ``&``."""
    if not text or (get_language() or "en").split("-")[0] == "en":
        return text
    for joint in ("; ", " & "):
        if joint in text:
            return joint.join(said(part) for part in text.split(joint))
    known = _known(text)
    if known is not None:
        return known
    for form, template in FORMS:
        if found := form.fullmatch(text):
            return gettext(template) % {name: _part(name, part) for name, part in found.groupdict().items()}
    return text


def _known(text: str) -> str | None:
    """A marked text in the active language; one that a sentence begins with is known without its capital letter."""
    small = text[:1].lower() + text[1:]
    for form in (text, small):
        if (told := gettext(form)) != form:
            return told if form == text else told[:1].upper() + told[1:]
    return None


def _part(name: str, text: str) -> str:
    told = said(text) if name in AGAIN else text
    return _figures(text) if told == text else told


def _figures(text: str) -> str:
    """Numbers with the language's marks; a group's name as it is."""
    if not re.fullmatch(r"[±−-]?[\d,]*\.?\d+", text):
        return text
    sign, rest = (text[0], text[1:]) if text[0] in "±−-" else ("", text)
    return sign + marked(f"0{rest}" if rest.startswith(".") and style().leading_zero else rest)
