"""What was signed or recorded stays as it was: acceptances of risks, conditions, deployments; nothing is deleted."""

from django.db import migrations

from core.triggers import Guard, install


def _differs(*columns):
    return " OR ".join(f"NEW.{column} <> OLD.{column}" for column in columns)


KEPT = {
    "governance_review": "reviews are never deleted",
    "governance_condition": "conditions are never deleted",
    "governance_policy": "policies are never deleted",
    "governance_acceptance": "acceptances are never deleted",
    "governance_risk": "risks are never deleted",
    "governance_control": "controls are never deleted",
    "governance_riskacceptance": "acceptances are never deleted",
    "governance_incident": "incidents are never deleted",
    "governance_incidentclock": "clocks are never deleted",
    "governance_override": "overrides are never deleted",
    "governance_syntheticrelease": "releases are never deleted",
    "models_registry_deployment": "deployments are never deleted",
}
GUARDS = [
    *(
        Guard(table=table, name=f"{table}_no_delete", event="DELETE", message=message)
        for table, message in KEPT.items()
    ),
    Guard(
        table="governance_riskacceptance",
        name="risk_acceptance_stays",
        event="UPDATE",
        when=_differs("rationale", "severity", "likelihood", "expires_at", "accepted_by_id", "accepted_at", "owner_id")
        + " OR OLD.ended_at IS NOT NULL",
        message="an acceptance ends once, and is not changed otherwise",
    ),
    Guard(
        table="governance_condition",
        name="condition_terms_stay",
        event="UPDATE",
        when=_differs("text", "due_at", "review_id", "proposed_by_id"),
        message="the terms of a condition are never changed",
    ),
    Guard(
        table="governance_review",
        name="review_content_stays",
        event="UPDATE",
        when=_differs("version_id", "run_id", "evidence_digest", "version_digest", "quorum", "submitter_id",
                      "runner_id", "protocol_approver_id")
        + " OR NEW.opened_at <> OLD.opened_at OR COALESCE(NEW.policy_id, 0) <> COALESCE(OLD.policy_id, 0)"
        " OR (OLD.status <> 'open' AND NEW.status <> OLD.status)",
        message="a review is decided once, on what it was opened with",
    ),
    Guard(
        table="governance_incidentclock",
        name="incident_clock_stays",
        event="UPDATE",
        when=" OR ".join(
            f"(OLD.{column} IS NOT NULL AND (NEW.{column} IS NULL OR NEW.{column} <> OLD.{column}))"
            for column in ("due_at", "started_at", "met_at", "superseded_at")
        ),
        message="a clock is never set otherwise, and is met or superseded once",
    ),
    Guard(
        table="models_registry_deployment",
        name="deployment_place_stays",
        event="UPDATE",
        when=_differs("version_id", "site", "unit", "share", "started_at", "gate_digest"),
        message="what runs where is never changed: end it and begin another",
    ),
]


def create(apps, schema_editor):
    install(schema_editor, GUARDS)


class Migration(migrations.Migration):
    dependencies = [("governance", "0006_separate_persons"), ("models_registry", "0003_deployments_and_roles")]
    operations = [migrations.RunPython(create, migrations.RunPython.noop)]
