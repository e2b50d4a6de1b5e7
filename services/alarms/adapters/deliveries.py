"""The webhook queues in the alarm book: waiting, delivered, dead; and the centres that answered 410."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Update, delete, desc, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from services.alarms.adapters.rows import Delivery, delivery_of
from services.alarms.adapters.tables import deliveries, disabled_centres

QUEUED, DELIVERED, DEAD = "queued", "delivered", "dead"

#: Dead letters that are kept, all centres together.
MAX_DEAD = 100_000

_c = deliveries.c


class Deliveries:
    """The part of a page that the dispatcher works on."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._on = connection
        self._insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert

    async def queue(self, delivery: Delivery) -> Delivery | None:
        """Queue a message; the answer has its `sequence`. None: its id was queued before."""
        values = {name: getattr(delivery, name) for name in _COLUMNS} | {"state": QUEUED}
        statement = self._insert(deliveries).values(values).on_conflict_do_nothing().returning(*_c)
        row = (await self._on.execute(statement)).mappings().one_or_none()
        return None if row is None else delivery_of(row)

    async def waiting(self) -> list[Delivery]:
        """All messages that wait, in order."""
        rows = await self._on.execute(select(deliveries).where(_c.state == QUEUED).order_by(_c.sequence))
        return [delivery_of(row) for row in rows.mappings()]

    async def delivered(self, sequence: int, attempts: int, now_ns: int) -> None:
        """The centre has it."""
        await self._on.execute(_settle(DELIVERED, now_ns, "").where(_c.sequence == sequence).values(attempts=attempts))

    async def failed(self, sequence: int, attempts: int, next_ns: int, error: str) -> None:
        """An attempt failed, another one will be made."""
        await self._on.execute(update(deliveries).where(_c.sequence == sequence).values(attempts=attempts, next_ns=next_ns, error=error))

    async def bury(self, sequences: Sequence[int], now_ns: int, error: str, attempts: int | None = None) -> None:
        """Make messages that wait dead letters."""
        statement = _settle(DEAD, now_ns, error).where(_c.sequence.in_(sequences), _c.state == QUEUED)
        await self._on.execute(statement if attempts is None else statement.values(attempts=attempts))

    async def bury_strangers(self, centres: Sequence[str], now_ns: int) -> None:
        """Make what waits for any but these centres dead letters."""
        statement = _settle(DEAD, now_ns, "the centre is no longer configured, or not enabled")
        await self._on.execute(statement.where(_c.centre.not_in(centres), _c.state == QUEUED))

    async def dead_letters(self, centre: str | None, limit: int) -> list[Delivery]:
        """Dead letters, newest first."""
        query = select(deliveries).where(_c.state == DEAD).order_by(desc(_c.sequence)).limit(limit)
        rows = await self._on.execute(query if centre is None else query.where(_c.centre == centre))
        return [delivery_of(row) for row in rows.mappings()]

    async def replay(self, centre: str, ids: Sequence[str] | None, limit: int, now_ns: int, deadline_ns: int) -> list[Delivery]:
        """Queue dead letters of a centre again, the oldest first: those of `ids` (`delivery_id`s), or all; at most `limit`."""
        chosen = select(_c.sequence).where(_c.centre == centre, _c.state == DEAD).order_by(_c.sequence).limit(limit)
        if ids is not None:
            chosen = chosen.where(_c.delivery_id.in_(ids))
        sequences = list((await self._on.execute(chosen)).scalars())
        values: dict[str, Any] = {"state": QUEUED, "attempts": 0, "next_ns": now_ns, "deadline_ns": deadline_ns, "settled_ns": None}
        await self._on.execute(update(deliveries).where(_c.sequence.in_(sequences)).values(values))
        rows = await self._on.execute(select(deliveries).where(_c.sequence.in_(sequences)).order_by(_c.sequence))
        return [delivery_of(row) for row in rows.mappings()]

    async def disable(self, centre: str, now_ns: int, reason: str) -> None:
        """The centre wants no more: what waits for it becomes dead letters."""
        row = {"centre": centre, "since_ns": now_ns, "reason": reason}
        await self._on.execute(self._insert(disabled_centres).values(row).on_conflict_do_nothing())
        await self._on.execute(_settle(DEAD, now_ns, reason).where(_c.centre == centre, _c.state == QUEUED))

    async def enable(self, centre: str) -> None:
        """The centre is told again."""
        await self._on.execute(delete(disabled_centres).where(disabled_centres.c.centre == centre))

    async def disabled(self) -> dict[str, str]:
        """Centres that are disabled, and why."""
        return {row.centre: row.reason for row in await self._on.execute(select(disabled_centres))}

    async def prune_deliveries(self, before_ns: int) -> None:
        """Forget what was delivered or given up before that time, and the oldest dead letters beyond `MAX_DEAD`."""
        await self._on.execute(delete(deliveries).where(_c.settled_ns < before_ns, _c.state != QUEUED))
        oldest_kept = select(_c.sequence).where(_c.state == DEAD).order_by(desc(_c.sequence)).offset(MAX_DEAD).limit(1).scalar_subquery()
        await self._on.execute(delete(deliveries).where(_c.state == DEAD, _c.sequence <= oldest_kept))


#: Of a new message; the others have the values of one that waits.
_COLUMNS = (
    "delivery_id",
    "centre",
    "channel",
    "alarm_id",
    "change",
    "capture_ns",
    "body",
    "queued_ns",
    "deadline_ns",
    "next_ns",
    "attempts",
    "error",
)


def _settle(state: str, now_ns: int, error: str) -> Update:
    return update(deliveries).values(state=state, settled_ns=now_ns, error=error)
