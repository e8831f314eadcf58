"""A vote's copies of who may not vote must be the review's own, and votes are never changed."""

from django.db import migrations

SQLITE = [
    """CREATE TRIGGER vote_people_match BEFORE INSERT ON governance_vote
       WHEN NOT EXISTS (
           SELECT 1 FROM governance_review r WHERE r.id = NEW.review_id AND r.submitter_id = NEW.submitter_id
           AND r.runner_id = NEW.runner_id AND r.protocol_approver_id = NEW.protocol_approver_id)
       BEGIN SELECT RAISE(ABORT, 'the people of a vote must be those of its review'); END""",
    """CREATE TRIGGER vote_no_update BEFORE UPDATE ON governance_vote
       BEGIN SELECT RAISE(ABORT, 'votes are never changed'); END""",
]
POSTGRESQL = [
    """CREATE FUNCTION vote_guard() RETURNS trigger LANGUAGE plpgsql AS $$
       BEGIN
         IF TG_OP = 'UPDATE' THEN RAISE EXCEPTION 'votes are never changed'; END IF;
         IF NOT EXISTS (
           SELECT 1 FROM governance_review r WHERE r.id = NEW.review_id AND r.submitter_id = NEW.submitter_id
           AND r.runner_id = NEW.runner_id AND r.protocol_approver_id = NEW.protocol_approver_id)
         THEN RAISE EXCEPTION 'the people of a vote must be those of its review'; END IF;
         RETURN NEW;
       END $$""",
    """CREATE TRIGGER vote_guarded BEFORE INSERT OR UPDATE ON governance_vote
       FOR EACH ROW EXECUTE FUNCTION vote_guard()""",
]


def install(apps, schema_editor):
    for statement in {"sqlite": SQLITE, "postgresql": POSTGRESQL}[schema_editor.connection.vendor]:
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("governance", "0001_initial")]
    operations = [migrations.RunPython(install, migrations.RunPython.noop)]
