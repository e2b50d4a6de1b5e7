"""Bringing a database to its service's newest schema, with Alembic, when the service starts.

A service keeps its migrations in `services/<x>/migrations/`: `versions/*.py`, and an `env.py` that calls `run_in_env`. Services may share a
database: each has a version table of its own, `alembic_version_<x>`.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from weakref import WeakKeyDictionary

from alembic import command, context
from alembic.config import Config
from sqlalchemy import Connection, MetaData
from sqlalchemy.ext.asyncio import AsyncEngine

#: Alembic's `context` is one for the process: services that start side by side migrate one after the other.
_TURNS: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


async def migrate(engine: AsyncEngine, folder: Path, name: str) -> None:
    """Run the migrations in `folder` that the database does not have yet, in one transaction.

    Args:
        name: of the service.
    """
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    async with _TURNS.setdefault(asyncio.get_running_loop(), asyncio.Lock()), engine.begin() as connection:
        await connection.run_sync(_upgrade, config, f"alembic_version_{name}")


def _upgrade(connection: Connection, config: Config, version_table: str) -> None:
    config.attributes.update(connection=connection, version_table=version_table)
    command.upgrade(config, "head")


def run_in_env(metadata: MetaData) -> None:
    """What every `env.py` calls: run on the connection that `migrate` holds."""
    attributes = context.config.attributes
    context.configure(
        connection=attributes["connection"],
        target_metadata=metadata,
        version_table=attributes["version_table"],
        render_as_batch=True,  # SQLite alters tables by copying them
    )
    with context.begin_transaction():
        context.run_migrations()
