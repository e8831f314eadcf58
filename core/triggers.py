"""Triggers for both databases. Migrations call these functions, so what they give for the same arguments never changes.

A rule is a condition that must not hold, and the words that the database then says. Each rule becomes a trigger on
SQLite and a function with a trigger on PostgreSQL, both named after the table and the rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Guard:
    """Refuse an event on a table.

    Attributes:
        event: ``INSERT``, ``UPDATE`` or ``DELETE``.
        when: SQL over ``NEW`` and ``OLD`` that holds for what is refused; empty refuses every such event.
    """

    table: str
    name: str
    event: str
    message: str
    when: str = ""

    def sqlite(self) -> list[str]:
        when = f"WHEN {self.when}" if self.when else ""
        return [
            f"DROP TRIGGER IF EXISTS {self.name}",
            f"CREATE TRIGGER {self.name} BEFORE {self.event} ON {self.table} {when} "
            f"BEGIN SELECT RAISE(ABORT, '{self.message}'); END",
        ]

    def postgresql(self) -> list[str]:
        back = "OLD" if self.event == "DELETE" else "NEW"
        refuse = f"RAISE EXCEPTION '{self.message}' USING ERRCODE = 'integrity_constraint_violation';"
        body = f"IF {self.when} THEN {refuse} END IF; RETURN {back};" if self.when else refuse
        return [
            f"DROP TRIGGER IF EXISTS {self.name} ON {self.table}",
            f"CREATE OR REPLACE FUNCTION {self.name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$",
            f"CREATE TRIGGER {self.name} BEFORE {self.event} ON {self.table} "
            f"FOR EACH ROW EXECUTE FUNCTION {self.name}()",
        ]


def identity(column: str) -> str:
    """SQL for the person behind an account: the account that it was merged into, or itself."""
    return f"(SELECT COALESCE(u.merged_into_id, u.id) FROM core_user u WHERE u.id = {column})"  # noqa: S608 - a column of a migration


def never_changed(table: str, name: str, message: str) -> list[Guard]:
    """Rows of this table are neither updated nor deleted."""
    return [
        Guard(table=table, name=f"{name}_no_update", event="UPDATE", message=message),
        Guard(table=table, name=f"{name}_no_delete", event="DELETE", message=message),
    ]


def install(schema_editor: Any, guards: list[Guard]) -> None:
    """Create the triggers on the database of a migration, in place of older ones of the same name."""
    for guard in guards:
        for statement in getattr(guard, schema_editor.connection.vendor)():
            schema_editor.execute(statement)
