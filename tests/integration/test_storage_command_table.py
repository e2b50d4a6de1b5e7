"""The table of commands, on SQLite and on PostgreSQL: none is hidden by many others, and it does not grow for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select

from services.storage.adapters.actions import Actions
from services.storage.adapters.catalogue import Catalogue
from services.storage.adapters.tables import actions
from shared.config.services import DatabaseConfig
from shared.db.engine import database_url
from shared.domain.clock import NS_PER_S
from shared.messages import ActionKind, ActionPhase
from tests.support.segments import START_NS
from tests.support.storing import command

DAY_NS = 24 * 3600 * NS_PER_S


@pytest.fixture(params=["sqlite", "postgresql"])
async def catalogue(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Catalogue]:
    config = DatabaseConfig()
    if request.param == "postgresql":
        config = DatabaseConfig(url=SecretStr(await asyncio.to_thread(request.getfixturevalue("postgres").database)))
    catalogue = Catalogue(database_url(config, tmp_path, "catalogue"))
    await catalogue.start()
    yield catalogue
    await catalogue.stop()


async def count(catalogue: Catalogue) -> int:
    async with catalogue.reading() as connection:
        return int((await connection.execute(select(func.count()).select_from(actions))).scalar_one())


async def test_all_that_wait_are_found_oldest_first(catalogue: Catalogue) -> None:
    table = Actions(catalogue)
    names = [f"a{number:04}" for number in range(600)]
    for number, name in enumerate(names):
        await table.accept(command(ActionKind.SNAPSHOT, "gate", name=name), START_NS + number // 100)  # many at one moment
    assert [action.action_id for action, _ in await table.pending()] == names
    for name in names[:300]:
        await table.settle(command(ActionKind.SNAPSHOT, "gate", name=name), ActionPhase.DONE)
    assert [action.action_id for action, _ in await table.pending()] == names[300:]


async def test_what_was_done_and_reported_long_ago_is_forgotten(catalogue: Catalogue) -> None:
    table = Actions(catalogue, keep_ns=10 * DAY_NS)
    done, failed, unreported, waiting = (
        command(ActionKind.SNAPSHOT, "gate", name=name) for name in ("done", "failed", "unreported", "wait")
    )
    for action in (done, failed, unreported, waiting):
        await table.accept(action, START_NS)
    await table.settle(done, ActionPhase.DONE, object_key="k")
    await table.settle(failed, ActionPhase.FAILED)
    await table.settle(unreported, ActionPhase.DONE)
    for result in await table.unreported():
        if result.action_id != "unreported":
            await table.reported(result)

    async def later(days: int, name: str) -> int:
        await table.accept(command(ActionKind.SNAPSHOT, "gate", name=name, at_ns=START_NS + days * DAY_NS), START_NS + days * DAY_NS)
        return await count(catalogue)

    assert await later(10, "on the last day") == 5
    assert await later(11, "the day after") == 4
    assert {action.action_id for action, _ in await table.pending()} == {"wait", "on the last day", "the day after"}
    assert [result.action_id for result in await table.unreported()] == ["unreported"]
