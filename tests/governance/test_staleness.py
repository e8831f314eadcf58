"""What was stated or audited about another version, cohort, site or date is stale."""

from __future__ import annotations

from typing import Any

from governance.requirements import load_requirements
from governance.standing.bindings import binding_of, changes_since
from governance.standing.judgements import Judgement
from governance.statuses import State, judge
from tests.governance.dossiers import (
    audit_of,
    digest,
    make_dossier,
    requirement,
    stated,
    statement,
    version_row,
    with_statements,
)

EVERY = tuple(item.id for item in load_requirements().requirements)
PLAIN = "AIA-Art14-4-a"
"""A requirement with a text and a list, and no rule: judged by its fields and who accepted them alone."""
RESTS_ON_AUDIT = ("AIA-Art10-2-fg", "AIA-Art9-6", "AIA-AnnexIV-2-g", "AIA-AnnexIV-3-performance", "AIA-Art15-1")


def of(dossier: dict[str, Any], key: str) -> Judgement:
    return judge(dossier).of(key)


def moved(dossier: dict[str, Any], label: str = "1.2") -> dict[str, Any]:
    """The dossier of the next version: what was about this one is about an earlier one."""
    newer = version_row(label, "2026-11-21")
    old = {name: dossier["version"][name] for name in ("label", "digest", "submitted_at")}
    return dossier | {
        "version": dossier["version"] | newer,
        "versions": [*dossier["versions"], newer],
        "previous": old,
        "cohort": None,
        "audits": [],
        "earlier_audits": [
            audit | {"version": {"label": old["label"], "digest": old["digest"]}} for audit in dossier["audits"]
        ],
        "reports": [],
        "reviews": [],
    }


def test_a_new_version_makes_statements_and_audits_stale() -> None:
    old = stated(make_dossier(audits=(audit_of(),)), PLAIN)
    assert of(old, PLAIN).state is State.COMPLETE
    new = judge(moved(old))
    assert new.of(PLAIN).state is State.STALE
    assert new.of(PLAIN).stale[0] == "The version changed from 1.1 to 1.2 on 2026-11-21."
    for key in RESTS_ON_AUDIT:
        assert new.of(key).state is State.STALE
        assert new.of(key).stale[0].startswith("Audit 4 was of version 1.1;")


def test_a_new_cohort_makes_stale_what_speaks_of_data_alone() -> None:
    old = stated(stated(make_dossier(audits=(audit_of(),)), "AIA-Art10-2-h"), "AIA-Art18", retention_until="2040-01-01")
    assert of(old, "AIA-Art10-2-h").state is State.COMPLETE
    winter = {"name": "Winter", "digest": digest("winter"), "simulated": False}
    new = judge(old | {"cohort": old["cohort"] | winter})
    assert new.of("AIA-Art10-2-h").state is State.STALE
    assert "The audited cohort changed from Held out" in new.of("AIA-Art10-2-h").stale[0]
    assert new.of("AIA-Art18").state is State.COMPLETE
    assert new.of("AIA-Art15-1").state is State.STALE
    assert "was on the cohort Held out" in new.of("AIA-Art15-1").stale[0]


def test_a_new_site_makes_stale_what_speaks_of_use() -> None:
    row = {"site": "Charité Mitte", "overseer": "Dr. Muster", "training": "2026-10", "may_stop": "yes"}
    old = stated(stated(make_dossier(), "AIA-Art26-2", overseers=[row]), PLAIN)
    assert of(old, "AIA-Art26-2").state is State.COMPLETE
    new = judge(old | {"sites": ["Benjamin Franklin", "Charité Mitte"]})
    assert new.of("AIA-Art26-2").state is State.STALE
    assert new.of("AIA-Art26-2").stale == ("The sites changed from Charité Mitte to Benjamin Franklin, Charité Mitte.",)
    # The training of those who oversee is told per role, but it is a record of use, too.
    assert new.of("AIA-Art15-5").state is judge(old).of("AIA-Art15-5").state


def test_a_new_date_in_the_timeline_makes_stale() -> None:
    """The dates of 2026/1744 replaced those of 2024: what was bound to 2027-08-02 has to be looked at again."""
    dossier = make_dossier()
    row = statement(dossier, PLAIN)
    row["binding"] = row["binding"] | {"timeline": ["T-AIA-ANNEX-I", "2027-08-02", None]}
    item = of(with_statements(dossier, row), PLAIN)
    assert item.state is State.STALE
    assert item.stale == (
        "The date from which this applies changed from 2027-08-02 (T-AIA-ANNEX-I) to 2028-08-02 (T-AIA-ANNEX-I).",
    )


def test_a_binding_is_current_until_something_changes() -> None:
    dossier = make_dossier(audits=(audit_of(),))
    for key in EVERY:
        assert changes_since(binding_of(dossier, requirement(key)), dossier, requirement(key)) == ()
        assert changes_since({}, dossier, requirement(key)) != ()


def test_what_made_the_approval_void_makes_older_audits_stale() -> None:
    dossier = make_dossier(audits=(audit_of(),))
    void = {"at": "2026-11-21T00:00:00+00:00", "reason": "The backbone changed."}
    item = of(dossier | {"version": dossier["version"] | {"void": void}}, "AIA-Art15-1")
    assert item.state is State.STALE
    assert "older than what made the approval of this version void" in item.stale[0]


def test_a_newer_accepted_statement_takes_the_place_of_a_stale_one() -> None:
    renewed = moved(stated(make_dossier(), PLAIN))
    assert of(stated(renewed, PLAIN), PLAIN).state is State.COMPLETE


def test_a_draft_does_not_take_the_place_of_an_accepted_one() -> None:
    dossier = stated(make_dossier(), PLAIN)
    item = of(with_statements(dossier, statement(dossier, PLAIN, status="draft", revision=2)), PLAIN)
    assert item.state is State.COMPLETE
    assert item.statement is not None
    assert item.statement["status"] == "draft"
