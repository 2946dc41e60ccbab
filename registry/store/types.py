"""Column types and the bridge from table models to the plain tables that bulk writes use.

Knows nothing of what any table means.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Integer, Table, type_coerce
from sqlalchemy.types import NullType
from sqlmodel import SQLModel

BIG_INT = BigInteger().with_variant(Integer(), "sqlite")
"""64 bits on every database; SQLite's INTEGER has them, and alone may alias the row id."""


def table_of(model: type[SQLModel]) -> Table:
    """Return the table behind a model, for Core statements (an ORM flush costs ten times more)."""
    return SQLModel.metadata.tables[str(model.__tablename__)]


def as_stored(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return a column whose values come as the driver gives them, whatever their type.

    A column's own type converts what it reads, and fails on what an altered database may hold.
    """
    return type_coerce(column, NullType()).label(getattr(column, "name", None))
