"""What the platform itself has to say in the chapters of the technical documentation, as blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from governance.reports.blocks import Block, Bullets, Facts, Gap, Heading, Note, Paragraph, Table
from governance.reports.cohort_facts import cohort_tables
from governance.reports.evidence import runs_weights, unbound_weights
from governance.reports.measured import criteria_blocks, flatten, measurement_table, pictures
from governance.reports.registers import deployed, incidents, measures, override_rates
from governance.reports.view import View
from governance.reports.wording import ABSENT, DECISIONS, count, moment
from models_registry.cohorts.disclosure import hide_in_summary


def no_audit() -> Gap:
    """What stands where an audit should."""
    return Gap(text=_("This document is about no audit: nothing was measured that could stand here."))


def roles(view: View) -> Iterator[Block]:
    """Chapter 0: what the document speaks of, and who did what."""
    yield Paragraph(
        text=_(
            "This document speaks of one version of one system and of nothing else. Its provider declares the class; "
            "the platform has not checked the declaration."
        )
    )
    version = view.dossier["version"]
    rows = [(_("Version submitted"), f"{version['submitted_by']}, {moment(version['submitted_at'])}")]
    sources = [view.dossier_source()]
    if view.evidence is not None:
        protocol, run = view.evidence["protocol"], view.evidence["run"]
        approved = f"{protocol['approved_by']}, {moment(protocol['approved_at'])}" if protocol["approved_by"] else ""
        rows += [
            (_("Protocol locked"), f"{protocol['locked_by']}, {moment(protocol['locked_at'])}"),
            (_("Protocol approved"), approved or _("nobody")),
            (_("Audit requested"), f"{run['requested_by']}, {moment(run['requested_at'])}"),
        ]
        sources.append(view.audit_source())
    rows.append((_("Document issued"), f"{view.issued_by}, {moment(view.as_of)}"))
    yield Facts(caption=_("Who did what"), rows=tuple(rows), sources=tuple(sources))
    if view.evidence is None:
        yield no_audit()


def general(view: View) -> Iterator[Block]:
    """Chapter 1: purpose and files."""
    yield Heading(text=_("Intended purpose, as the provider states it"))
    purpose = view.dossier["system"]["intended_purpose"]
    if purpose:
        yield Paragraph(text=purpose, sources=(view.dossier_source(),))
    else:
        yield Gap(text=_("The provider has stated no intended purpose."))
    yield Heading(text=_("What the version is"))
    evidence, label = view.evidence, view.dossier["version"]["label"]
    if evidence is None:
        yield Gap(text=_("The files of the version are named in the evidence of an audit, and there is none."))
    else:
        yield from weights_note(evidence)
        yield Table(
            caption=_("Files of version %(label)s; their SHA-256 together give the version digest") % {"label": label},
            headers=(_("File"), _("SHA-256")),
            rows=tuple(sorted(evidence["version"]["manifest"].items())),
            sources=(view.audit_source(), view.version_source()),
        )
        if evidence["version"].get("notes"):
            yield Paragraph(text=_("Note of the submitter: %(note)s") % {"note": evidence["version"]["notes"]})
    origins = list(flatten(view.dossier["version"]["origins"]))
    if view.dossier["version"]["origins"]:
        caption = _("What the version was made from, as far as the platform knows")
        yield Facts(caption=caption, rows=tuple(origins), sources=(view.dossier_source(),))
    else:
        yield Gap(text=_("What the version was made from: no backbone, base model or training cohort is registered."))
    yield from deployed(view)


def weights_note(evidence: dict[str, Any]) -> Iterator[Note]:
    """That the weights run elsewhere or were not run at all, where that is so."""
    if unbound_weights(evidence):
        yield Note(title=_("The weights run elsewhere"), text=unbound_weights(evidence))
    elif not runs_weights(evidence):
        text = _("The files below are a log of predictions that were made elsewhere.")
        yield Note(title=_("No weights were run"), text=text)


def elements(view: View) -> Iterator[Block]:
    """Chapter 2: the model as declared, its data, and the audit."""
    yield Heading(text=_("The model, as its adapter declares it"))
    declared = list(flatten(_declared(view.dossier["version"]["config"])))
    if view.dossier["version"]["config"]:
        yield Facts(caption=_("Declared facts"), rows=tuple(declared), sources=(view.dossier_source(),))
    else:
        yield Gap(text=_("The adapter declares nothing about the model."))
    yield Heading(text=_("Training data"))
    details = view.dossier["version"]["config"].get("details")
    trained = isinstance(details, dict) and details.get("training")
    only = _("No datasheet of the training data is held; only the facts above, which the weights were registered with.")
    yield Gap(text=only if trained else _("No datasheet of the training data is held."))
    if view.evidence is None:
        yield no_audit()
        return
    yield from _cohort(view, view.evidence)
    yield from _validation(view, view.evidence)


def _declared(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the adapter declared of the version, details last and without their heading."""
    told = dict(config)
    details = told.pop("details", None)
    return told | (details if isinstance(details, dict) else {})


def _cohort(view: View, evidence: dict[str, Any]) -> Iterator[Block]:
    cohort = evidence["cohort"]
    yield Heading(text=_("Data of the audit"))
    if cohort["simulated"]:
        text = _("No real patient is in this cohort. What follows describes what the simulator made.")
        yield Note(title=_("Simulated patients"), text=text)
    patients = _("simulated: no real patient is in it") if cohort["simulated"] else _("real")
    yield Facts(
        caption=_("Audited cohort"),
        rows=(
            (_("Name"), cohort["name"]),
            (_("Digest"), cohort["digest"]),
            (_("Patients"), patients),
            (_("Studies"), count(cohort["n_studies"])),
            (_("Number of patients"), count(cohort["n_patients"])),
            (_("Source"), cohort.get("source") or str(ABSENT)),
            (_("Licence"), cohort.get("licence") or str(ABSENT)),
        ),
        digests=(_("Digest"),),
        sources=(view.audit_source(), view.cohort_source()),
    )
    tables = cohort_tables(hide_in_summary(cohort["summary"]))
    for table in tables:
        yield Table(
            caption=_("%(title)s; counts of 1 to 10 are withheld") % {"title": table.title},
            headers=table.headers,
            rows=table.rows,
            numeric=tuple(range(table.text_columns, len(table.headers))),
            sources=(view.cohort_source(),),
        )
    if not tables:
        yield Gap(text=_("The cohort's counts are not held."))


def _validation(view: View, evidence: dict[str, Any]) -> Iterator[Block]:
    protocol = evidence["protocol"]
    yield Heading(text=_("Validation and testing"))
    yield Paragraph(
        text=_("The criteria were locked by %(locker)s and approved by %(approver)s as protocol %(name)s.")
        % {
            "locker": protocol["locked_by"],
            "approver": protocol["approved_by"] or _("nobody"),
            "name": protocol["name"],
        },
        sources=(view.audit_source(),),
    )
    yield from criteria_blocks(view)
    checks = evidence["result"].get("cross_checks", [])
    if checks:
        yield Heading(text=_("Comparison with an independent library"))
        yield Bullets(items=tuple(_cross_check(row) for row in checks))


def _cross_check(row: Mapping[str, Any]) -> str:
    return _(
        "The point values of %(cells)s cells were computed again with %(name)s %(version)s; the largest difference "
        "is %(difference)s."
    ) % {
        "cells": count(row["cells"]),
        "name": row["name"],
        "version": row["version"],
        "difference": f"{row['largest_difference']:.1g}",
    }


def functioning(view: View) -> Iterator[Block]:
    """Chapter 3: performance by group, and who watches it."""
    yield from _performance(view)
    yield from measures(view)
    yield from override_rates(view)


def surveillance(view: View) -> Iterator[Block]:
    """Chapter 9: what became known since it is in use."""
    yield from incidents(view)


def _performance(view: View) -> Iterator[Block]:
    if view.evidence is None:
        yield no_audit()
        return
    notes = view.evidence["result"].get("notes", [])
    if notes:
        yield Heading(text=_("What a reader must know of the data"))
        yield Bullets(items=tuple(notes))
    yield Heading(text=_("Performance by group"))
    if view.evidence["cohort"]["simulated"]:
        yield Paragraph(text=_("Measured on simulated patients."))
    drawn = tuple(pictures(view))
    yield from drawn
    if not drawn:
        yield Gap(text=_("No criterion of the protocol compares groups."))
    yield measurement_table(view)


def decisions(view: View) -> Iterator[Block]:
    """Chapter 6: what the committee decided."""
    yield Heading(text=_("Decision on this version"))
    review = view.review
    if review is None:
        yield Gap(text=_("No committee review of this version was held at the date of this document."))
        return
    yield Facts(
        caption=_("Committee review %(id)s") % {"id": review["id"]},
        rows=(
            (_("Decision"), str(DECISIONS.get(review["status"], review["status"]))),
            (_("Opened"), f"{moment(review['opened_at'])}, {review['opened_by']}"),
            (_("Closed"), moment(review["closed_at"])),
            (_("Equal votes needed"), str(review["quorum"])),
            (_("Could not vote"), ", ".join(review["excluded"]) or str(ABSENT)),
        ),
        sources=(view.review_source(review),),
    )
    if not review["votes"]:
        yield Paragraph(text=_("No vote had been cast at the date of this document."))
        return
    yield Table(
        caption=_("Votes"),
        headers=(_("Voter"), _("Vote"), _("Reason"), _("Cast")),
        rows=tuple(
            (vote["voter"], str(DECISIONS[vote["choice"]]), vote["rationale"], moment(vote["cast_at"]))
            for vote in review["votes"]
        ),
        sources=(view.review_source(review),),
    )


def control(view: View) -> Iterator[Block]:
    """Chapter 10: the ledger."""
    ledger = view.dossier["ledger"]
    yield Paragraph(
        text=ngettext(
            "Every act this document tells of is in an append-only ledger. At %(moment)s it held %(n)s entry, and "
            "this root stood for it: %(root)s",
            "Every act this document tells of is in an append-only ledger. At %(moment)s it held %(n)s entries, and "
            "this root stood for all of them: %(root)s",
            ledger["size"],
        )
        % {"moment": moment(view.dossier["as_of"]), "n": count(ledger["size"]), "root": ledger["root"]},
        sources=(view.ledger_source(),),
    )


def protocol(view: View) -> Iterator[Block]:
    """An annex: the protocol without its criteria, which chapter 2 gives."""
    assert view.evidence is not None
    told = view.evidence["protocol"]
    yield Facts(
        caption=_("The protocol"),
        rows=((_("Name"), told["name"]), (_("Title"), told["title"]), (_("Digest"), told["digest"])),
        digests=(_("Digest"),),
        sources=(view.audit_source(),),
    )
    # What a protocol leaves out has no effect; its rows would only hide the others.
    rows = tuple(row for row in flatten(told["body"], skip=("criteria",)) if row[1] != str(ABSENT))
    yield Facts(caption=_("Settings of the protocol; its criteria are in chapter 2"), rows=rows)


def execution(view: View) -> Iterator[Block]:
    """An annex: how the audit was computed."""
    assert view.evidence is not None
    rows = tuple(flatten(view.evidence["execution"]))
    yield Facts(caption=_("How the audit was computed"), rows=rows, sources=(view.audit_source(),))
