"""The states of channels in a table: SQLite and a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.analytics.adapters.state_table import StateTable
from services.analytics.state import StateStore, StateUnavailable
from shared.config.services import DatabaseConfig
from shared.db.engine import database_url
from shared.domain.clock import SystemClock
from tests.contract.state_store_contract import OpenStore, StateStoreContract, state
from tests.support.postgres import PostgresServer
from tests.support.waiting import until

pytestmark = pytest.mark.integration


class Stores:
    """Opens a database as several processes would, and closes all of it."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = database_url(DatabaseConfig.model_validate({"url": url}), folder, "analytics")
        self._open: list[StateTable] = []

    def __call__(self) -> StateStore:
        store = StateTable(self._url, SystemClock(), f"process {len(self._open)}")
        self._open.append(store)
        return store

    async def close(self) -> None:
        for store in self._open:
            await store.close()


class TestStateTableInSqlite(StateStoreContract):
    @pytest.fixture
    async def stores(self, tmp_path: Path) -> AsyncIterator[OpenStore]:
        stores = Stores(f"sqlite:///{tmp_path / 'states.sqlite'}", tmp_path)
        yield stores
        await stores.close()


@pytest.mark.servers
class TestStateTableInPostgres(StateStoreContract):
    @pytest.fixture
    async def stores(self, postgres: PostgresServer, tmp_path: Path) -> AsyncIterator[OpenStore]:
        stores = Stores(postgres.database(), tmp_path)
        yield stores
        await stores.close()

    async def test_those_who_claim_at_once_each_have_a_generation_of_their_own(self, stores: OpenStore) -> None:
        names = [f"cam{number}" for number in range(30)]
        several = [stores() for _ in range(4)]
        await several[0].claim([])
        await several[0].load(names)  # the table is there
        claims = await asyncio.gather(*(store.claim(names[:: 1 if turn % 2 else -1]) for turn, store in enumerate(several)))
        for name in names:
            assert sorted(claim[name].generation for claim in claims) == [1, 2, 3, 4]

    async def test_a_server_that_is_away_is_told_and_used_again_when_it_is_back(self, stores: OpenStore, postgres: PostgresServer) -> None:
        store = stores()
        claim = (await store.claim(["a"]))["a"]
        await store.save("a", claim.generation, state(1))
        postgres.kill()
        try:
            with pytest.raises(StateUnavailable):
                await store.save("a", claim.generation, state(2))
            assert "database" in store.trouble
        finally:
            postgres.restart()

        async def saved() -> bool:
            try:
                await store.save("a", claim.generation, state(3))
            except StateUnavailable:
                return False
            return True

        await until(saved, "it is saved")
        assert store.trouble == ""
        assert await store.load(["a"]) == {"a": state(3)}
