"""The states of channels in a database: one row per channel, whose `generation` tells who may write it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import BigInteger, Column, MetaData, String, Table, Text, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from services.analytics.state import Claim, StateMoved, StateUnavailable
from shared.db.engine import create_engine
from shared.db.errors import DATABASE_ERRORS, brief
from shared.db.migrate import migrate
from shared.domain.clock import Clock, seconds_to_ns

log = structlog.get_logger(__name__)

MIGRATIONS = Path(__file__).parents[1] / "migrations"
#: A database that does not answer for this long is away: frames wait for it.
ANSWER_S = 5.0
#: While it is away it is asked this often; in between callers are refused at once, since their frames would be stale otherwise.
ASK_EVERY_S = 1.0

_ERRORS: tuple[type[Exception], ...] = (*DATABASE_ERRORS, TimeoutError)

metadata = MetaData(naming_convention={"pk": "pk_%(table_name)s"})

#: `capture_ns`: up to which capture time of the channel's frames the state is true; 0: nothing is known yet. `owner`: for people.
states = Table(
    "analytics_state",
    metadata,
    Column("channel", String(64), primary_key=True),
    Column("owner", String(128), nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("capture_ns", BigInteger, nullable=False),
    Column("state", Text),
)


class StateTable:
    """`StateStore` in PostgreSQL or SQLite.

    Args:
        url: with an asyncio driver.
        owner: the name of this process, for people who look into the table.
    """

    def __init__(self, url: str, clock: Clock, owner: str) -> None:
        self._engine, self._clock, self._owner = create_engine(url), clock, owner
        self._writing = asyncio.Lock()  # one at a time: SQLite has one writer
        self._migrated = False
        self._trouble, self._ask_again_ns = "", 0

    @property
    def trouble(self) -> str:
        return self._trouble

    async def claim(self, channels: Sequence[str]) -> dict[str, Claim]:
        if not channels:
            return {}
        insert = sqlite.insert if self._engine.dialect.name == "sqlite" else postgresql.insert
        # In one order everywhere: two who claim the same channels do not wait for each other crosswise.
        rows = [{"channel": channel, "owner": self._owner, "generation": 1, "capture_ns": 0} for channel in sorted(channels)]
        claim = insert(states).values(rows)
        claim = claim.on_conflict_do_update(
            index_elements=[states.c.channel], set_={"generation": states.c.generation + 1, "owner": claim.excluded.owner}
        )
        async with self._writing, self._transaction() as connection:
            claimed = (await connection.execute(claim.returning(states.c.channel, states.c.generation, states.c.state))).all()
        return {row.channel: Claim(row.generation, _plain(row.channel, row.state)) for row in claimed}

    async def load(self, channels: Sequence[str]) -> dict[str, dict[str, Any]]:
        async with self._transaction() as connection:
            rows = (await connection.execute(select(states.c.channel, states.c.state).where(states.c.channel.in_(channels)))).all()
        found = {row.channel: _plain(row.channel, row.state) for row in rows}
        return {channel: state for channel, state in found.items() if state is not None}

    async def save(self, channel: str, generation: int, state: dict[str, Any]) -> None:
        mine = (states.c.channel == channel) & (states.c.generation == generation)
        text = json.dumps(state, separators=(",", ":"))
        async with self._writing, self._transaction() as connection:
            done = await connection.execute(update(states).where(mine).values(state=text, capture_ns=int(state["time_ns"])))
        if done.rowcount == 0:
            raise StateMoved(f"channel {channel} has another owner now")

    async def put_aside(self, channel: str) -> None:
        """Nothing: the row is written anew with the next state, and the log has told why."""

    async def close(self) -> None:
        await self._engine.dispose()

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        if self._trouble and self._clock.monotonic_ns() < self._ask_again_ns:
            raise StateUnavailable(self._trouble)
        try:
            async with asyncio.timeout(ANSWER_S):
                if not self._migrated:
                    await migrate(self._engine, MIGRATIONS, "analytics")
                    self._migrated = True
                async with self._engine.begin() as connection:
                    yield connection
        except _ERRORS as error:
            why = f"the database of the channels' states: {brief(error)}"
            if not self._trouble:
                log.warning("the database is away, states are saved when it is back", reason=why)
            self._trouble, self._ask_again_ns = why, self._clock.monotonic_ns() + seconds_to_ns(ASK_EVERY_S)
            raise StateUnavailable(why) from error
        self._trouble = ""


def _plain(channel: str, text: str | None) -> dict[str, Any] | None:
    try:
        return dict(json.loads(text)) if text is not None else None
    except (ValueError, TypeError) as error:
        log.warning("the saved state of a channel cannot be read; its counts begin anew", channel=channel, error=str(error))
        return None
