"""The alarm book: what the alarm service knows, in one database. One transaction per event: that it was handled, what it changed, what
is to be told to whom and what the system log says become true together or not at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alarms.adapters.page import Page
from shared.db.engine import READ_ONLY
from shared.db.errors import DATABASE_ERRORS, brief, is_away, refuses
from shared.db.migrate import migrate
from shared.domain.clock import Clock
from shared.domain.errors import CatalogueError, CatalogueUnavailable

log = structlog.get_logger(__name__)

T = TypeVar("T")

MIGRATIONS = Path(__file__).parents[1] / "migrations"
#: How soon, and how late at most, it is tried again while the book is away.
_RETRY_MIN_S, _RETRY_MAX_S = 0.2, 10.0


class Book:
    """Transactions on the alarm book. Owner of its engine."""

    def __init__(self, engine: AsyncEngine, clock: Clock) -> None:
        self._engine, self._clock = engine, clock
        self._writing = asyncio.Lock()  # SQLite has one writer: queueing here is fair, its busy timeout is not
        self._settling = asyncio.Lock()
        self._doubtful = False
        self._aged_ns = clock.monotonic_ns()
        #: Called when the book is back, before anything is tried again: the end of a transaction may not have been heard of.
        self.on_return: Callable[[], Awaitable[None]] | None = None
        #: Why the book cannot be used now; empty: it can.
        self.trouble = ""

    async def open(self) -> None:
        """Bring the schema up to date.

        Raises:
            CatalogueUnavailable: the database cannot be reached now.
            CatalogueError: it cannot be used.
        """
        try:
            await migrate(self._engine, MIGRATIONS, "alarms")
        except DATABASE_ERRORS as error:
            self.trouble = f"the alarm book cannot be opened: {brief(error)}"
            kind, hint = CatalogueError, "look at database.url, the folder's permissions and the disk's space"
            if is_away(error):
                kind, hint = CatalogueUnavailable, "start the database server, or look at database.url"
            raise kind(self.trouble, where="alarms", hint=hint) from error
        self.trouble = ""

    async def close(self) -> None:
        """Let go of all connections."""
        await self._engine.dispose()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Page]:
        """A transaction that commits when the block ends, and does nothing when it raises.

        Raises:
            CatalogueUnavailable: the database is away. When it went while the transaction was being committed, that may have succeeded.
            CatalogueError: the database refused; nothing has changed, and never will.
        """
        async with self._writing:
            try:
                async with self._engine.begin() as connection:
                    yield Page(connection, self._ran_ns)
            except DATABASE_ERRORS as error:
                raise self._failed(error) from error
        self._succeeded()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Page]:
        """A transaction that only reads.

        Raises:
            CatalogueUnavailable: the database is away.
            CatalogueError: the database refused.
        """
        try:
            async with self._engine.connect() as plain:
                yield Page(await plain.execution_options(**{READ_ONLY: True}), self._ran_ns)
        except DATABASE_ERRORS as error:
            raise self._failed(error) from error
        self._succeeded()

    async def ping(self) -> None:
        """Ask whether the book is there.

        Raises:
            CatalogueUnavailable: it is not.
        """
        async with self.read() as page:
            await page.next_due_ns()

    async def patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do `work`; while the book is away wait, longer each time, and do it again.

        Raises:
            CatalogueError: the database refused.
        """
        wait_s = _RETRY_MIN_S
        while True:
            try:
                await self._settle()
                return await work()
            except CatalogueUnavailable as error:
                log.debug("the alarm book is away, trying again", wait_s=wait_s, error=str(error))
            await self._clock.sleep(wait_s)
            wait_s = min(2 * wait_s, _RETRY_MAX_S)

    async def _settle(self) -> None:
        """After an outage, once: have looked up what transactions became true without us hearing of it."""
        async with self._settling:
            if self._doubtful:
                if self.on_return is not None:
                    await self.on_return()
                self._doubtful = False

    def _ran_ns(self) -> int:
        """How long we have run since this was asked last, whatever was done to the wall clock meanwhile."""
        before_ns, self._aged_ns = self._aged_ns, self._clock.monotonic_ns()
        return self._aged_ns - before_ns

    def _succeeded(self) -> None:
        if self.trouble:
            log.warning("the alarm book is back")
            self.trouble = ""

    def _failed(self, error: Exception) -> CatalogueError:
        if refuses(error):
            return CatalogueError(f"the alarm book refused: {brief(error)}", where="alarms")
        self._doubtful = True
        if not self.trouble:  # once for an outage
            log.error("the alarm book is away; what comes waits", error=brief(error))
        self.trouble = f"the alarm book cannot be reached: {brief(error)}"
        return CatalogueUnavailable(self.trouble, where="alarms", hint="it is tried again")
