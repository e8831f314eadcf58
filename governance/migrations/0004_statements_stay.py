"""Answers are never changed; a statement is decided once, and what was decided stays as it was."""

from django.db import migrations

SQLITE = [
    """CREATE TRIGGER answer_no_update BEFORE UPDATE ON governance_answer
       BEGIN SELECT RAISE(ABORT, 'answers are never changed'); END""",
    """CREATE TRIGGER statement_no_change BEFORE UPDATE ON governance_statement
       WHEN OLD.status <> 'draft' OR NEW.author_id <> OLD.author_id OR NEW.revision <> OLD.revision
       BEGIN SELECT RAISE(ABORT, 'a decided statement is never changed'); END""",
]
POSTGRESQL = [
    """CREATE FUNCTION answer_guard() RETURNS trigger LANGUAGE plpgsql AS $$
       BEGIN RAISE EXCEPTION 'answers are never changed'; END $$""",
    """CREATE TRIGGER answer_guarded BEFORE UPDATE ON governance_answer
       FOR EACH ROW EXECUTE FUNCTION answer_guard()""",
    """CREATE FUNCTION statement_guard() RETURNS trigger LANGUAGE plpgsql AS $$
       BEGIN
         IF OLD.status <> 'draft' OR NEW.author_id <> OLD.author_id OR NEW.revision <> OLD.revision
         THEN RAISE EXCEPTION 'a decided statement is never changed'; END IF;
         RETURN NEW;
       END $$""",
    """CREATE TRIGGER statement_guarded BEFORE UPDATE ON governance_statement
       FOR EACH ROW EXECUTE FUNCTION statement_guard()""",
]


def install(apps, schema_editor):
    for statement in {"sqlite": SQLITE, "postgresql": POSTGRESQL}[schema_editor.connection.vendor]:
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("governance", "0003_regulation")]
    operations = [migrations.RunPython(install, migrations.RunPython.noop)]
