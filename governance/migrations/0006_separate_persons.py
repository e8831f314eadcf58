"""Separation of duties by person, not by account; what was said stays as it was said.

The triggers of votes are made again: migration 0005 dropped them on SQLite.
"""

import importlib

from django.db import migrations

from core.triggers import Guard, identity, install, never_changed

VOTES = importlib.import_module("governance.migrations.0002_vote_separation")


def _apart(table, name, who, others, message):
    """Refuse a row whose person is, by any account, one of the others."""
    same = " OR ".join(f"{identity(f'NEW.{who}')} = {identity(f'NEW.{other}')}" for other in others)
    return Guard(table=table, name=name, event="INSERT", when=same, message=message)


def _not_twice(table, name, owner, who, message, *, other=None, other_who=None):
    """Refuse a row whose person is, by any account, in a row of ``other`` about the same thing."""
    found = (
        f"EXISTS (SELECT 1 FROM {other or table} x WHERE x.{owner} = NEW.{owner} "
        f"AND {identity('x.' + (other_who or who))} = {identity('NEW.' + who)})"
    )
    return Guard(table=table, name=name, event="INSERT", when=found, message=message)


def _only_open(table, name, owner, owner_table, message):
    when = f"NOT EXISTS (SELECT 1 FROM {owner_table} r WHERE r.id = NEW.{owner} AND r.status = 'open')"
    return Guard(table=table, name=name, event="INSERT", when=when, message=message)


GUARDS = [
    Guard(
        table="governance_review",
        name="review_people_apart",
        event="INSERT",
        when=" OR ".join(
            f"{identity(f'NEW.{one}')} = {identity(f'NEW.{other}')}"
            for one, other in (
                ("submitter_id", "runner_id"),
                ("submitter_id", "protocol_approver_id"),
                ("runner_id", "protocol_approver_id"),
            )
        ),
        message="submitter, runner and approver of the protocol must be three persons",
    ),
    _apart(
        "governance_vote",
        "vote_person_apart",
        "voter_id",
        ("submitter_id", "runner_id", "protocol_approver_id"),
        "who submitted, ran the audit or approved the protocol does not vote, by no account",
    ),
    _not_twice("governance_vote", "vote_person_once", "review_id", "voter_id", "a person votes once, by one account"),
    _not_twice(
        "governance_vote",
        "vote_not_recused",
        "review_id",
        "voter_id",
        "who is recused does not vote",
        other="governance_recusal",
        other_who="person_id",
    ),
    _only_open("governance_vote", "vote_while_open", "review_id", "governance_review", "a closed review takes no vote"),
    Guard(table="governance_vote", name="vote_no_delete", event="DELETE", message="votes are never deleted"),
    _not_twice(
        "governance_recusal",
        "recusal_before_vote",
        "review_id",
        "person_id",
        "who has voted is not recused",
        other="governance_vote",
        other_who="voter_id",
    ),
    *never_changed("governance_recusal", "recusal", "recusals are never changed or deleted"),
    *never_changed("governance_comment", "comment", "contributions are never changed or deleted"),
    _apart(
        "governance_releasevote",
        "release_vote_apart",
        "voter_id",
        ("submitter_id", "requester_id"),
        "who made or asked for a release does not decide it, by no account",
    ),
    Guard(
        table="governance_releasevote",
        name="release_vote_people_match",
        event="INSERT",
        when="NOT EXISTS (SELECT 1 FROM governance_syntheticrelease r WHERE r.id = NEW.release_id "
        "AND r.submitter_id = NEW.submitter_id AND r.requester_id = NEW.requester_id)",
        message="the people of a vote must be those of its release",
    ),
    _not_twice(
        "governance_releasevote", "release_person_once", "release_id", "voter_id", "a person votes once, by one account"
    ),
    _only_open(
        "governance_releasevote",
        "release_vote_while_open",
        "release_id",
        "governance_syntheticrelease",
        "a closed release takes no vote",
    ),
    *never_changed("governance_releasevote", "release_vote", "votes are never changed or deleted"),
    Guard(
        table="governance_policy",
        name="policy_person_apart",
        event="UPDATE",
        when=f"NEW.approved_by_id IS NOT NULL AND {identity('NEW.approved_by_id')} = {identity('NEW.proposed_by_id')}",
        message="who proposed a policy does not approve it, by no account",
    ),
    Guard(
        table="governance_policy",
        name="policy_content_stays",
        event="UPDATE",
        when="NEW.digest <> OLD.digest OR NEW.source <> OLD.source OR NEW.name <> OLD.name OR NEW.number <> OLD.number",
        message="the rules of a policy are never changed",
    ),
    _apart(
        "governance_acceptance",
        "acceptance_person_apart",
        "accepted_by_id",
        ("submitter_id", "runner_id"),
        "who submitted or ran the audit does not accept its gaps, by no account",
    ),
    Guard(
        table="governance_acceptance",
        name="acceptance_stays",
        event="UPDATE",
        when="NEW.reason <> OLD.reason OR NEW.expires_at <> OLD.expires_at OR NEW.accepted_by_id <> OLD.accepted_by_id "
        "OR NEW.evidence_digest <> OLD.evidence_digest OR OLD.revoked_at IS NOT NULL",
        message="an acceptance is revoked once, and not changed otherwise",
    ),
    *never_changed("governance_riskrating", "risk_rating", "ratings are never changed or deleted"),
    *never_changed("governance_riskfinding", "risk_finding", "findings are never changed or deleted"),
    Guard(
        table="governance_control",
        name="control_person_apart",
        event="UPDATE",
        when=f"NEW.status = 'verified' AND ({identity('NEW.verified_by_id')} = {identity('NEW.implemented_by_id')} "
        f"OR {identity('NEW.verified_by_id')} = {identity('NEW.owner_id')})",
        message="who owns or made a control does not verify it, by no account",
    ),
    _apart(
        "governance_riskacceptance",
        "risk_acceptance_apart",
        "accepted_by_id",
        ("owner_id",),
        "the owner of a risk does not accept it, by no account",
    ),
    *never_changed("governance_incidentevent", "incident_event", "the history of an incident is never changed"),
]


def create(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        for statement in VOTES.SQLITE:
            schema_editor.execute(statement)
    install(schema_editor, GUARDS)


class Migration(migrations.Migration):
    dependencies = [
        ("core", "0004_heads_are_kept"),
        ("governance", "0005_decisions"),
    ]
    operations = [migrations.RunPython(create, migrations.RunPython.noop)]
