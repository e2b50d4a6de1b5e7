"""What can go wrong with a database: it is away, or it refuses what it was given.

SQLAlchemy wraps a driver's errors once a connection is there. Before that they come as they are: refused or unreachable (OSError), starting
up or going down (asyncpg's own).
"""

from __future__ import annotations

import asyncpg  # type: ignore[import-untyped]  # it has no types
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

#: All that a database raises through SQLAlchemy.
DATABASE_ERRORS: tuple[type[Exception], ...] = (SQLAlchemyError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError)

# Classes of SQLSTATE (PostgreSQL, appendix A).
_AWAY = ("08", "53", "57")  # connection, resources, operator intervention (which starting up and shutting down is)
_REFUSES = ("22", "23")  # data, integrity


def is_away(error: Exception) -> bool:
    """Whether the server cannot be reached, or not now; waiting helps."""
    return isinstance(error, OSError) or _sqlstate(error)[:2] in _AWAY


def refuses(error: Exception) -> bool:
    """Whether the database will never take these values, however often it is tried."""
    return isinstance(error, IntegrityError | DataError) or _sqlstate(error)[:2] in _REFUSES


def brief(error: Exception) -> str:
    """An error in a line: its class and its first line. The statement's parameters are not shown (`hide_parameters`)."""
    text = str(error).splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def _sqlstate(error: Exception) -> str:
    driver = error.orig if isinstance(error, DBAPIError) else error
    return str(getattr(driver, "sqlstate", None) or "")
