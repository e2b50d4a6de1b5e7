"""The alarm book within one transaction: events, alarms, the system log, the outbox; the webhook queues are in `deliveries.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import Insert, Select, Update, delete, desc, exists, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.alarms.adapters.deliveries import Deliveries
from services.alarms.adapters.rows import alarm_of, alarm_row
from services.alarms.adapters.tables import alarms, events, log, marks, outbox
from services.alarms.core.forgetting import reached_ns
from services.alarms.core.handling import SeenEvent
from services.alarms.core.linkage import LogEntry
from services.alarms.core.record import Alarm
from shared.config.services import AlarmsConfig
from shared.domain.clock import NS_PER_S, seconds_to_ns
from shared.messages import AlarmMessage, AlarmState, ChannelMessage, EventKind, EventMessage, EventPhase
from shared.topics import Topic

#: Records looked at for anti-dither: more than ever are open at once for one rule.
_NEAR_RECORDS = 64
DAY_S = 24 * 3600
#: The mark of the time by which old things are forgotten.
REACHED = "reached"


class Page(Deliveries):
    """The book within one transaction.

    Args:
        ran_ns: how long we have run since it was asked last; only `prune` asks.
    """

    def __init__(self, connection: AsyncConnection, ran_ns: Callable[[], int]) -> None:
        super().__init__(connection)
        self._connection, self._ran_ns = connection, ran_ns
        self._counted: dict[str, dict[str, int]] = {}  # of the alarms that were saved

    # -- events

    async def seen(self, event_id: str) -> SeenEvent | None:
        """What is known of an event; None: nothing."""
        query = select(events.c.at_ns, events.c.ended, events.c.alarm_id).where(events.c.event_id == event_id)
        row = (await self._connection.execute(query)).one_or_none()
        return None if row is None else SeenEvent(row.at_ns, row.ended, row.alarm_id)

    async def save_event(self, event: EventMessage, alarm_id: str | None, *, new: bool) -> None:
        """The event after its latest message."""
        values = {
            "at_ns": event.at_ns,
            "ended": event.phase is EventPhase.ENDED,
            "body": event.model_dump(mode="json", exclude_defaults=True),
        }
        if not new:
            await self._connection.execute(update(events).where(events.c.event_id == event.event_id).values(values))
            return
        values |= {
            "event_id": event.event_id,
            "alarm_id": alarm_id,
            "channel": event.channel,
            "kind": event.kind.value,
            "source": event.source,
            "start_ns": event.start_ns,
        }
        await self._connection.execute(insert(events).values(values))

    async def unended(self, channel: str, source: str) -> EventMessage | None:
        """The newest event of a source that goes on, after its latest message; None: none does."""
        query = select(events.c.body).where(events.c.channel == channel, events.c.source == source, ~events.c.ended)
        body = (await self._connection.execute(query.order_by(desc(events.c.start_ns)).limit(1))).scalar_one_or_none()
        return None if body is None else EventMessage.model_validate(body)

    async def search_events(
        self,
        *,
        channel: str | None = None,
        kind: EventKind | None = None,
        source: str | None = None,
        from_ns: int | None = None,
        to_ns: int | None = None,
        limit: int = 100,
    ) -> list[tuple[EventMessage, str | None]]:
        """Events that began in [from_ns, to_ns), newest first, each after its latest message and with the alarm it belongs to."""
        query = select(events.c.body, events.c.alarm_id).order_by(desc(events.c.start_ns)).limit(limit)
        query = query if channel is None else query.where(events.c.channel == channel)
        query = query if kind is None else query.where(events.c.kind == kind.value)
        query = query if source is None else query.where(events.c.source == source)
        query = query if from_ns is None else query.where(events.c.start_ns >= from_ns)
        query = query if to_ns is None else query.where(events.c.start_ns < to_ns)
        return [(EventMessage.model_validate(row.body), row.alarm_id) for row in await self._connection.execute(query)]

    # -- alarms

    async def alarm(self, alarm_id: str) -> Alarm | None:
        """One alarm, or None."""
        return next(iter(await self._alarms(select(alarms).where(alarms.c.alarm_id == alarm_id))), None)

    async def records(self, channel: str, source: str, near_ns: int, period_ns: int) -> list[Alarm]:
        """The alarms of a source that a moment may belong to: those that last, first, and those that ended less than a period before it.
        None that begins a period after it: there may be any number of them, from when the clock was ahead.
        """
        near = or_(alarms.c.due_ns.is_not(None), alarms.c.last_ns > near_ns - period_ns)
        query = select(alarms).where(alarms.c.channel == channel, alarms.c.source == source, near, alarms.c.start_ns - period_ns < near_ns)
        return await self._alarms(query.order_by(alarms.c.due_ns.is_(None), desc(alarms.c.last_ns)).limit(_NEAR_RECORDS))

    async def due(self, now_ns: int, limit: int = 256) -> list[Alarm]:
        """Alarms that the timers must look at, the longest due first. Those handled in the future too: the clock was set back."""
        is_due = or_(alarms.c.due_ns <= now_ns, alarms.c.handled_ns > now_ns + NS_PER_S)
        query = select(alarms).where(alarms.c.due_ns.is_not(None), is_due)
        return await self._alarms(query.order_by(alarms.c.due_ns).limit(limit))

    async def next_due_ns(self) -> int | None:
        """When the timers must look next (this machine's clock); None: nothing lasts."""
        query = select(alarms.c.due_ns).where(alarms.c.due_ns.is_not(None)).order_by(alarms.c.due_ns).limit(1)
        return (await self._connection.execute(query)).scalar_one_or_none()

    async def open(self) -> list[Alarm]:
        """Every alarm that lasts."""
        return await self._alarms(select(alarms).where(alarms.c.due_ns.is_not(None)))

    async def count_open(self) -> int:
        """How many alarms last."""
        query = select(func.count()).select_from(alarms).where(alarms.c.due_ns.is_not(None))
        return (await self._connection.execute(query)).scalar_one()

    async def save_alarm(self, alarm: Alarm, due_ns: int | None, *, new: bool) -> None:
        """An alarm after a change, under the next revision. `due_ns`: when the timers look at it again; None: it has ended."""
        row: dict[str, Any] = alarm_row(alarm) | {"due_ns": due_ns}
        statement: Insert | Update
        if new:
            last = select(func.coalesce(func.max(alarms.c.sequence), 0)).scalar_subquery()
            statement = insert(alarms).values(row | {"sequence": last + 1, "revision": 1})
        else:
            next_ = alarms.c.revision + 1
            statement = update(alarms).where(alarms.c.alarm_id == alarm.alarm_id).values(row | {"revision": next_})
        counted = (await self._connection.execute(statement.returning(alarms.c.sequence, alarms.c.revision))).one()
        self._counted[alarm.alarm_id] = counted._asdict()

    async def search(
        self,
        *,
        channel: str | None = None,
        kind: EventKind | None = None,
        state: AlarmState | None = None,
        from_ns: int | None = None,
        to_ns: int | None = None,
        limit: int = 100,
    ) -> list[Alarm]:
        """Alarms that overlap [from_ns, to_ns), in the order in which they were raised, the last one first. Their times are no order: those
        from when the clock was ahead would come before all that is raised now.
        """
        query = select(alarms).order_by(desc(alarms.c.sequence)).limit(limit)
        query = query if channel is None else query.where(alarms.c.channel == channel)
        query = query if kind is None else query.where(alarms.c.kind == kind.value)
        query = query if state is None else query.where(alarms.c.state == state.value)
        query = query if to_ns is None else query.where(alarms.c.start_ns < to_ns)
        if from_ns is not None:
            query = query.where(or_(alarms.c.last_ns >= from_ns, alarms.c.due_ns.is_not(None)))
        return await self._alarms(query)

    async def _alarms(self, query: Select[Any]) -> list[Alarm]:
        return [alarm_of(row) for row in (await self._connection.execute(query)).mappings()]

    # -- system log and outbox

    async def note(self, entries: Sequence[LogEntry]) -> None:
        """Write into the system log."""
        rows = [{"at_ns": e.at_ns, "channel": e.channel, "alarm_id": e.alarm_id, "text": e.text} for e in entries]
        if rows:
            await self._connection.execute(insert(log), rows)

    async def log_entries(self, limit: int) -> list[LogEntry]:
        """The newest entries of the system log, newest first."""
        rows = await self._connection.execute(select(log).order_by(desc(log.c.sequence)).limit(limit))
        return [LogEntry(row.at_ns, row.channel, row.alarm_id, row.text) for row in rows]

    async def publish(self, messages: Iterable[tuple[Topic[Any], ChannelMessage]]) -> None:
        """Have messages published, in this order, once this transaction is through. What it saved is told with the book's numbers."""
        rows = [
            {"topic": topic.name, "body": self._numbered(message).model_dump_json(exclude_defaults=True)} for topic, message in messages
        ]
        if rows:
            await self._connection.execute(insert(outbox), rows)

    def _numbered(self, message: ChannelMessage) -> ChannelMessage:
        counted = self._counted.get(message.alarm_id) if isinstance(message, AlarmMessage) else None
        return message if counted is None else message.model_copy(update=counted)

    async def unpublished(self, limit: int) -> list[tuple[int, str, str]]:
        """(sequence, topic, JSON) of messages to publish, oldest first."""
        rows = await self._connection.execute(select(outbox).order_by(outbox.c.sequence).limit(limit))
        return [(row.sequence, row.topic, row.body) for row in rows]

    async def published(self, sequences: Sequence[int]) -> None:
        """The bus has them."""
        await self._connection.execute(delete(outbox).where(outbox.c.sequence.in_(sequences)))

    # -- housekeeping

    async def prune(self, now_ns: int, keep: AlarmsConfig) -> None:
        """Forget what is older than its time. An event that never ends (a day's count) counts from its latest message; those of an alarm
        that lasts stay. A clock that is ahead for a while makes little be forgotten: `core/forgetting.py`.
        """
        now_ns = min(now_ns, await self._reached_ns(now_ns))
        events_ns = now_ns - seconds_to_ns(keep.keep_events_days * DAY_S)
        of_lasting = exists().where(alarms.c.alarm_id == events.c.alarm_id, alarms.c.due_ns.is_not(None))
        for statement in (
            delete(events).where(events.c.at_ns < events_ns, ~of_lasting),
            delete(log).where(log.c.at_ns < now_ns - seconds_to_ns(keep.keep_log_days * DAY_S)),
            delete(alarms).where(alarms.c.last_ns < now_ns - seconds_to_ns(keep.keep_days * DAY_S), alarms.c.due_ns.is_(None)),
        ):
            await self._connection.execute(statement)
        await self.prune_deliveries(events_ns)

    async def _reached_ns(self, now_ns: int) -> int:
        """Move the mark of the time that the book has reached."""
        before_ns = (await self._connection.execute(select(marks.c.at_ns).where(marks.c.name == REACHED))).scalar_one_or_none()
        at_ns = reached_ns(now_ns, before_ns, self._ran_ns())
        new = self._insert(marks).values(name=REACHED, at_ns=at_ns)
        await self._connection.execute(new.on_conflict_do_update(index_elements=[marks.c.name], set_={"at_ns": at_ns}))
        return at_ns
