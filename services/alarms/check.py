"""Whether the alarm book is consistent. `vedette check` calls this on a store that is not in use."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import ColumnElement, Table, and_, func, inspect, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.alarms.adapters.deliveries import DEAD, DELIVERED, QUEUED
from services.alarms.adapters.page import DAY_S, REACHED
from services.alarms.adapters.tables import alarms, deliveries, events, marks
from services.alarms.core.lifecycle import TRANSITIONS
from shared.config.site import SiteConfig
from shared.db.engine import READ_ONLY, create_engine, database_url
from shared.db.errors import DATABASE_ERRORS, brief
from shared.domain.clock import seconds_to_ns
from shared.messages import AlarmState

#: Problems of one sort that are told one by one.
_MAX_TOLD = 20


async def check(site: SiteConfig, data_dir: Path, now_ns: int) -> list[str]:
    """What is wrong with the alarm book, one line each, for people; empty: nothing. A book that is not there yet is right.

    Args:
        data_dir: absolute.
        now_ns: UTC.
    """
    if site.database.url is None and not (data_dir / "db" / "alarms.sqlite").exists():
        return []
    engine = create_engine(database_url(site.database, data_dir, "alarms"))
    try:
        async with engine.connect() as plain:
            connection = await plain.execution_options(**{READ_ONLY: True})
            if not await _has(connection, alarms):
                return []  # stopped before its first start was through
            aged_ns = max(now_ns, await _reached_ns(connection))
            return [
                *await _alarms(connection),
                *await _hits(connection, aged_ns - seconds_to_ns(site.alarms.keep_events_days * DAY_S)),
                *await _deliveries(connection),
            ]
    except DATABASE_ERRORS as error:
        return [f"the alarm book cannot be read: {brief(error)}"]
    finally:
        await engine.dispose()


async def _has(connection: AsyncConnection, table: Table) -> bool:
    return await connection.run_sync(lambda sync: inspect(sync).has_table(table.name))


async def _reached_ns(connection: AsyncConnection) -> int:
    """By which time events were forgotten, which is later than now where the clock was ahead; 0 in the book of an older version."""
    if not await _has(connection, marks):
        return 0
    return (await connection.execute(select(marks.c.at_ns).where(marks.c.name == REACHED))).scalar_one_or_none() or 0


async def _alarms(connection: AsyncConnection) -> list[str]:
    """Every alarm has ended, with an end, or lasts, with a time at which it is looked at; one that lasts has events that do."""
    known = {state.value for state in TRANSITIONS.values()}
    over = alarms.c.state == AlarmState.ENDED.value
    told = await _tell(connection, alarms.c.state.not_in(known), "is in a state that does not exist")
    told += await _tell(connection, and_(over, alarms.c.end_ns.is_(None)), "has ended without an end")
    told += await _tell(connection, and_(over, alarms.c.due_ns.is_not(None)), "has ended, but the timers wait for it")
    told += await _tell(connection, and_(~over, alarms.c.due_ns.is_(None)), "lasts, but no timer will ever end it")
    told += await _tell(connection, and_(~over, alarms.c.end_ns.is_not(None)), "lasts, but has an end")
    told += await _tell(connection, alarms.c.last_ns < alarms.c.start_ns, "ends before it begins")
    lasting = {row.alarm_id: set(row.live) for row in await connection.execute(select(alarms.c.alarm_id, alarms.c.live).where(~over))}
    query = select(events.c.alarm_id, events.c.event_id).where(events.c.alarm_id.in_(lasting), ~events.c.ended)
    for row in await connection.execute(query):
        lasting[row.alarm_id].discard(row.event_id)
    return told + [f"alarm {alarm_id} waits for events that ended or never were" for alarm_id, live in lasting.items() if live]


async def _hits(connection: AsyncConnection, since_ns: int) -> list[str]:
    """Each event is accounted once: an alarm has as many hits as events (those of old alarms are forgotten)."""
    count = func.count(events.c.event_id)
    query = select(alarms.c.alarm_id, alarms.c.hits, count).select_from(alarms).outerjoin(events).group_by(alarms.c.alarm_id, alarms.c.hits)
    query = query.where(alarms.c.start_ns > since_ns).having(count != alarms.c.hits).limit(_MAX_TOLD)
    return [f"alarm {alarm_id} has {hits} hits, but {found} events" for alarm_id, hits, found in await connection.execute(query)]


async def _deliveries(connection: AsyncConnection) -> list[str]:
    """Every message belongs to an alarm, is known once, and is either waiting or settled."""
    c = deliveries.c
    orphan = select(c.delivery_id).outerjoin(alarms, alarms.c.alarm_id == c.alarm_id).where(alarms.c.alarm_id.is_(None))
    twice = select(func.min(c.delivery_id)).group_by(c.centre, c.alarm_id, c.change, c.body).having(func.count() > 1)
    unsettled = and_(c.state.in_([DELIVERED, DEAD]), c.settled_ns.is_(None))
    odd = select(c.delivery_id).where(or_(c.state.not_in([QUEUED, DELIVERED, DEAD]), unsettled, and_(c.state == QUEUED, c.settled_ns > 0)))
    told = []
    for query, what in ((orphan, "belongs to no alarm"), (twice, "was queued twice"), (odd, "is neither waiting nor settled")):
        told += [f"message {found} {what}" for found in (await connection.execute(query.limit(_MAX_TOLD))).scalars()]
    return told


async def _tell(connection: AsyncConnection, wrong: ColumnElement[bool], what: str) -> list[str]:
    found = await connection.execute(select(alarms.c.alarm_id).where(wrong).limit(_MAX_TOLD))
    return [f"alarm {alarm_id} {what}" for alarm_id in found.scalars()]
