"""Signed heads and the hashes of the ledger are never changed; the ledger never shrinks, and is not truncated."""

from django.db import migrations

from core.triggers import Guard, install, never_changed

GUARDS = [
    *never_changed("core_signedhead", "signed_head", "signed heads are never changed or deleted"),
    *never_changed("core_ledgernode", "ledger_node", "hashes of the ledger are never changed or deleted"),
    Guard(
        table="core_ledgerhead",
        name="ledger_head_grows",
        event="UPDATE",
        message="the ledger never shrinks",
        when="NEW.size < OLD.size",
    ),
    Guard(
        table="core_ledgerhead", name="ledger_head_stays", event="DELETE", message="the head of the ledger is not deleted"
    ),
]
NO_TRUNCATE = [
    "CREATE OR REPLACE FUNCTION ledger_no_truncate() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'the ledger is not truncated'; END $$",
    *(
        f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION ledger_no_truncate()"
        for table in ("core_ledgerentry", "core_ledgernode", "core_signedhead")
    ),
]


def create(apps, schema_editor):
    install(schema_editor, GUARDS)
    if schema_editor.connection.vendor == "postgresql":
        for statement in NO_TRUNCATE:
            schema_editor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("core", "0003_people_heads_notifications")]
    operations = [migrations.RunPython(create, migrations.RunPython.noop)]
