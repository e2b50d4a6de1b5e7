"""Services that start side by side bring their databases up at the same time."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

import services.alarms
import services.storage
from shared.db.migrate import migrate


async def tables(url: str) -> set[str]:
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        found = await connection.execute(text("select name from sqlite_master where type = 'table'"))
        names = {str(name) for (name,) in found}
    await engine.dispose()
    return names


async def test_two_services_migrate_at_once_and_each_has_its_tables(tmp_path: Path) -> None:
    async def bring_up(package: str | None, name: str) -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/{name}.sqlite")
        await migrate(engine, Path(str(package)).parent / "migrations", name)
        await engine.dispose()

    await asyncio.gather(bring_up(services.storage.__file__, "storage"), bring_up(services.alarms.__file__, "alarms"))
    assert "recordings" in await tables(f"sqlite+aiosqlite:///{tmp_path}/storage.sqlite")
    assert "deliveries" in await tables(f"sqlite+aiosqlite:///{tmp_path}/alarms.sqlite")
