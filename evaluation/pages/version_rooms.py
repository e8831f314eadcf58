"""What audits put into the rooms of a version: what needs attention first, and verdicts by what was measured."""

from __future__ import annotations

from collections.abc import Iterator

from django.urls import reverse
from django.utils.translation import gettext

from core.models import User
from core.pages.attention import Attention, attention_source
from core.pages.panels import Panel, panel
from core.templatetags.figures import headline, nouns
from evaluation.models import Outcome, RunStatus
from evaluation.suite_selectors import newest_audits_of, standing_of
from models_registry.models import ModelVersion

FAIRNESS, DRIFT, HALLUCINATION = frozenset({"fairness"}), frozenset({"drift"}), frozenset({"hallucination"})
LINKED = frozenset({"fidelity", "utility", "privacy", "crossmodal"})
TONES = {Outcome.FAIL: "fail", Outcome.INSUFFICIENT: "insufficient"}


@attention_source("version")
def audits_and_alerts(user: User, version: ModelVersion) -> Iterator[Attention]:
    """The newest audit's finding, audits that did not finish or still run, open alerts."""
    found = standing_of(version)
    if found.newest is None and found.later is None:
        text = "Nobody has judged it yet. An auditor who did not submit it requests an audit."
        yield Attention(tone="waiting", word="Not audited", title="No audit is done", text=text)
    if found.newest is not None and found.newest.outcome in TONES:
        outcome = Outcome(found.newest.outcome)
        yield Attention(
            tone=TONES[outcome],
            word=str(outcome.label),
            title=f"{headline(found.lead) or 'The newest audit does not pass'}.",
            text=gettext("Audit %(pk)s on %(name)s by %(title)s.")
            % {"pk": found.newest.pk, "name": found.newest.cohort.cohort.name, "title": found.newest.protocol.title},
            href=reverse("audit", args=[found.newest.pk]),
        )
    if found.later is not None:
        yield _unfinished(found.later.pk, found.later.status, found.later.error)
    if found.alerts:
        yield Attention(
            tone="insufficient",
            word="Alert",
            title=f"{nouns(found.alerts, 'alert is open,alerts are open')}",
            text="Its monitors saw something where it runs.",
            href=f"{reverse('version', args=[version.system.slug, version.pk])}~drift/",
        )
    if found.unwatched:
        yield Attention(
            tone="insufficient",
            word="Unwatched",
            title="It runs, and nobody watches whether patients or data change there",
            href=f"{reverse('version', args=[version.system.slug, version.pk])}~drift/",
        )


def _unfinished(pk: int, status: str, error: str) -> Attention:
    failed = status == RunStatus.FAILED
    return Attention(
        tone="insufficient" if failed else "working",
        word="Did not finish" if failed else "Under way",
        title=gettext("Audit %(pk)s %(way)s") % {"pk": pk, "way": "did not finish" if failed else "is under way"},
        text=error,
        href=reverse("audit", args=[pk]),
    )


def _verdicts(version: ModelVersion, suites: frozenset[str], *, title: str, what: str) -> Panel:
    # A forest plot compares groups; what is watched for drift has none, and its picture is the monitor's.
    context = {"audits": newest_audits_of(version, suites), "title": title, "what": what, "streams": suites == DRIFT}
    return Panel(template="evaluation/_version_suite.html", context=context)


@panel("version:fairness", rank=10)
def fairness(user: User, version: ModelVersion) -> Panel:
    what = "whether groups of patients are served alike"
    return _verdicts(version, FAIRNESS, title="Fairness", what=what)


@panel("version:drift", rank=10)
def drift(user: User, version: ModelVersion) -> Panel:
    return _verdicts(version, DRIFT, title="Drift", what="whether patients and data are those it was made for")


@panel("version:hallucination", rank=10)
def hallucination(user: User, version: ModelVersion) -> Panel:
    return _verdicts(version, HALLUCINATION, title="Hallucination", what="whether what it writes is so")


@panel("version:synthetic", rank=10)
def linked(user: User, version: ModelVersion) -> Panel:
    what = "whether the synthetic patients it makes are like real ones, useful, and nobody's copy"
    return _verdicts(version, LINKED, title="Synthetic patients", what=what)
