"""Many rows out of few: rows that stand are copied by the database itself, with columns that differ from row to row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connection
from django.db.models import Model


def multiply(model: type[Model], number: int, of: Sequence[int], /, **columns: str) -> list[int]:
    """Copy rows ``number`` times; keys of the new rows, in order.

    Args:
        of: Keys of the rows that are copied, by turns.
        columns: Attributes of the model -> SQL in place of what the copied row ``t`` holds; ``g.n`` counts from 0.
    """
    if not number or not of:
        return []
    fields = [field for field in model._meta.concrete_fields if not field.primary_key or field.name == "index"]
    quote = connection.ops.quote_name
    names = ", ".join(quote(str(field.column)) for field in fields)
    values = ", ".join(columns.pop(field.attname, f"t.{quote(str(field.column))}") for field in fields)
    values = values.replace("%", "%%")
    if columns:
        raise ValueError(f"{model.__name__} has no {sorted(columns)}")
    table, key = quote(model._meta.db_table), quote(str(model._meta.pk.column))
    statement = (
        f"INSERT INTO {table} ({names}) SELECT {values} FROM generate_series(0, %s - 1) AS g(n) "  # noqa: S608
        f"JOIN {table} t ON t.{key} = (%s::bigint[])[1 + g.n %% %s] ORDER BY g.n RETURNING {key}"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [number, list(of), len(of)])
        return [row[0] for row in cursor.fetchall()]


def among(keys: Sequence[int], by: str = "g.n") -> str:
    """SQL for one of these keys, by turns or by another count."""
    return f"(ARRAY[{','.join(map(str, keys))}]::bigint[])[1 + ({by})::bigint % {len(keys)}]"


def run_sql(statement: str, parameters: Sequence[Any] = ()) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
