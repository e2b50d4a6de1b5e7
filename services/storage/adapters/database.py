"""Connections to the catalogue's database. SQLAlchemy; SQLite or PostgreSQL.

Work is done in lanes that do not wait for each other: what the writer needs before it may acknowledge, the recorder's own upkeep, and what
people ask for. A month of a time bar takes as long as it takes; recording does not notice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.db.engine import READ_ONLY, create_blocking_engine, create_engine
from shared.db.errors import DATABASE_ERRORS, brief, is_away
from shared.db.migrate import migrate
from shared.domain.errors import CatalogueError, CatalogueUnavailable, StorageFull

T = TypeVar("T")

MIGRATIONS = Path(__file__).parent.parent / "migrations"


class Lane:
    """Transactions that wait for those of their own lane only: it has its own threads and connections (SQLite), its own pool (a server)."""

    def __init__(self, url: str, name: str, *, threads: int = 1, read_only: bool = False) -> None:
        """`read_only`: the database itself refuses writes in this lane (SQLite)."""
        self._read_only = read_only
        self._blocking = create_blocking_engine(url)
        self._server: AsyncEngine | None = None
        self._threads: ThreadPoolExecutor | None = None
        if self._blocking is None:
            self._server = create_engine(url)
        else:
            self._threads = ThreadPoolExecutor(threads, thread_name_prefix=f"storage-{name}")
            if read_only:
                event.listen(self._blocking, "connect", _refuse_writes)

    async def run(self, work: Callable[[Connection], T], *, read_only: bool = False) -> T:
        """One transaction, as cheaply as the database allows.

        Raises:
            CatalogueUnavailable, CatalogueError, StorageFull: nothing of it is done.
        """
        options = {READ_ONLY: read_only or self._read_only}
        async with mapped():
            if self._server is not None:
                async with self._server.connect() as connection:
                    ready = await connection.execution_options(**options)
                    async with ready.begin():
                        return await ready.run_sync(work)
            blocking = self._blocking
            assert blocking is not None, "there is either a server or a file"

            def transaction() -> T:
                with blocking.connect() as connection:
                    ready = connection.execution_options(**options)
                    with ready.begin():
                        return work(ready)

            return await asyncio.get_running_loop().run_in_executor(self._threads, transaction)

    async def close(self) -> None:
        if self._threads is not None:
            await asyncio.to_thread(self._threads.shutdown)
        if self._blocking is not None:
            self._blocking.dispose()
        if self._server is not None:
            await self._server.dispose()


class Database:
    """One database: its lanes, and transactions of several steps (`reading`, `writing`). Nothing connects before its first use."""

    def __init__(self, url: str) -> None:
        self._engine: AsyncEngine = create_engine(url)
        self.writer = Lane(url, "catalogue")
        self.upkeep = Lane(url, "upkeep")
        self.console = Lane(url, "console", threads=2, read_only=True)

    async def start(self) -> None:
        """Bring the schema up to date. May be tried again.

        Raises:
            CatalogueUnavailable, CatalogueError: the database is away, or refuses.
        """
        async with mapped():
            await migrate(self._engine, MIGRATIONS, "storage")

    async def stop(self) -> None:
        for lane in (self.console, self.upkeep, self.writer):
            await lane.close()
        await self._engine.dispose()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads."""
        async with mapped(), self._engine.connect() as connection:
            # Set before the transaction begins: SQLite then takes no write lock.
            yield await connection.execution_options(**{READ_ONLY: True})

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction, committed at the end."""
        async with mapped(), self._engine.begin() as connection:
            yield connection


@asynccontextmanager
async def mapped() -> AsyncIterator[None]:
    """Database errors become ours. The statement's parameters are not shown (`hide_parameters`)."""
    try:
        yield
    except DATABASE_ERRORS as error:
        text = str(getattr(error, "orig", None) or brief(error))
        if "disk is full" in text or "No space left" in text:
            raise StorageFull("the disk of the catalogue is full", hint="free some space") from error
        if is_away(error):
            raise CatalogueUnavailable(f"the catalogue cannot be reached: {text}", where="catalogue") from error
        raise CatalogueError(f"the catalogue refused: {text}", where="catalogue") from error


def _refuse_writes(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA query_only=ON")
    cursor.close()
