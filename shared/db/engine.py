"""Engines of the services' databases: SQLite files by default, PostgreSQL when configured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy import create_engine as create_sync_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from shared.config.services import DatabaseConfig
from shared.domain.errors import ConfigError

_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}

#: Seconds after which a server that does not answer is away: a host that is gone sends no refusal.
_CONNECT_S, _STATEMENT_S = 10, 120

#: Execution option of a connection that only reads: its transaction takes no write lock (SQLite).
READ_ONLY = "vedette_read_only"


def database_url(config: DatabaseConfig, data_dir: Path, name: str) -> str:
    """The URL of a service's database, with an asyncio driver. Without one configured: the SQLite file `db/<name>.sqlite`.

    Raises:
        ConfigError: the URL is none, or of a database that is not supported. The message does not show it.
    """
    if config.url is None:
        folder = data_dir / "db"
        folder.mkdir(parents=True, exist_ok=True)
        return f"sqlite+aiosqlite:///{folder / name}.sqlite"
    hint = "sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME"
    try:
        url = make_url(config.url.get_secret_value())
    except ArgumentError as error:
        raise ConfigError("this is no database URL", where="database.url", hint=hint) from error
    driver = _DRIVERS.get(url.get_backend_name())
    if driver is None:
        raise ConfigError(f"databases of the kind {url.get_backend_name()!r} are not supported", where="database.url", hint=hint)
    return url.set(drivername=driver).render_as_string(hide_password=False)


def create_engine(url: str) -> AsyncEngine:
    """An engine; nothing connects before its first use.

    SQLite: write-ahead log, every commit synced to disk (a power cut loses nothing that was committed), foreign keys enforced, and a
    transaction takes the write lock when it begins, so that two writers queue instead of failing half-way; a connection with the
    execution option `READ_ONLY` takes none. What it raises: `shared/db/errors.py`.
    """
    server = not url.startswith("sqlite")
    waits = {"timeout": _CONNECT_S, "command_timeout": _STATEMENT_S} if server else {}
    engine = create_async_engine(url, pool_pre_ping=server, hide_parameters=True, connect_args=waits)
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", _sqlite_connected)
        event.listen(engine.sync_engine, "begin", _sqlite_begins)
    return engine


def create_blocking_engine(url: str) -> Engine | None:
    """A second engine on the same SQLite file, for use in a thread of the caller's: a whole transaction in one hop, where aiosqlite
    hops for every cursor call (about 40 times a transaction, 0.1 ms each). None for database servers: there the wait is the network's.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return None
    engine = create_sync_engine(parsed.set(drivername="sqlite"), hide_parameters=True)
    event.listen(engine, "connect", _sqlite_connected)
    event.listen(engine, "begin", _sqlite_begins)
    return engine


def _sqlite_connected(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver begins no transactions of its own: `_sqlite_begins` does
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _sqlite_begins(connection: Connection) -> None:
    read_only = connection.get_execution_options().get(READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
