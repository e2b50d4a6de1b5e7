"""What a distributed site has written down: catalogue and alarm book as its database has them, and all that its broker has kept."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
from sqlalchemy import Row, text
from sqlalchemy.exc import ProgrammingError

from shared.config.services import DatabaseConfig
from shared.config.services import KafkaBus as KafkaConfig
from shared.db.engine import create_engine, database_url
from shared.domain.clock import SystemClock
from shared.messages import AlarmMessage, EventMessage, Message, SegmentMessage
from shared.topics import ALARMS, EVENTS, SEGMENTS
from tests.support.deployment import WORKERS, Deployment
from tests.support.doors import PERIOD_NS, RULE
from tests.support.kafka_log import log_of
from tests.support.waiting import wait_for
from tests.support.webhooks import Centre

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Seen:
    """What somebody who looked has seen: ids, each as often as it is there."""

    segments: Counter[str]
    alarms: Counter[str]

    def lost(self, later: Seen) -> str:
        """What is there no more; empty: nothing."""
        gone = (self.segments - later.segments) + (self.alarms - later.alarms)
        return ", ".join(sorted(gone)[:10])


class Books:
    """The database `url` of a site, read as often as one likes."""

    def __init__(self, url: str) -> None:
        self._url = url

    @classmethod
    def of(cls, site: Deployment) -> Books:
        """Those of a deployment."""
        return cls((site.site_file.parent / "secrets" / "database-url").read_text(encoding="utf-8"))

    def rows(self, query: str) -> Sequence[Row[Any]]:
        """Rows of a query; none as long as its tables are not there."""

        async def read() -> Sequence[Row[Any]]:
            engine = create_engine(database_url(DatabaseConfig.model_validate({"url": self._url}), Path(), ""))
            try:
                async with engine.connect() as connection:
                    return (await connection.execute(text(query))).all()
            finally:
                await engine.dispose()

        with suppress(ProgrammingError):
            return asyncio.run(read())
        return []

    def seen(self) -> Seen:
        """Segments and alarms as of now."""
        return Seen(self._ids("select id from segments"), self._ids("select alarm_id from alarms"))

    def alarms(self) -> list[Row[Any]]:
        """Alarms of the doors' rule, oldest first: alarm_id, event_id, channel, start_ns, hits, snapshot."""
        query = "select alarm_id, event_id, channel, start_ns, hits, snapshot from alarms where source = '{}' order by start_ns"
        return list(self.rows(query.format(RULE)))

    def waiting(self) -> dict[str, int]:
        """What somebody still has to do, by its name: messages to publish, webhooks to send, commands to carry out and to answer."""
        queries = {
            "outbox": "select count(*) from outbox",
            "webhooks": "select count(*) from deliveries where state = 'queued'",
            "commands": "select count(*) from actions where phase = 'requested' and kind = 'snapshot'",
            "answers": "select count(*) from actions where phase <> 'requested' and not reported",
        }
        return {name: int(found[0][0]) for name, query in queries.items() if (found := self.rows(query)) and found[0][0]}

    def _ids(self, query: str) -> Counter[str]:
        return Counter(str(row[0]) for row in self.rows(query))

    def assert_sound(self, why: str) -> None:
        """Each segment and each crossing once, and no number missing of what a camera's session delivered."""
        seen = self.seen()
        assert set((seen.segments + seen.alarms).values()) == {1}, why
        sessions = defaultdict(list)
        for row in self.rows("select session, sequence from segments"):
            sessions[row.session].append(row.sequence)
        for session, sequences in sessions.items():
            # A segment that was acknowledged and lost would leave a hole: ingest numbers them without gaps.
            assert sorted(sequences) == list(range(len(sequences))), f"{why}: session {session} has {sorted(sequences)}"
        last: dict[str, Row[Any]] = {}
        for alarm in self.alarms():
            before = last.get(alarm.channel)
            assert alarm.hits == 1, f"{why}: {alarm} has been hit again"
            assert before is None or alarm.start_ns - before.start_ns > PERIOD_NS // 2, f"{why}: one crossing twice: {before} and {alarm}"
            last[alarm.channel] = alarm

    def behind(self, broker: str) -> str:
        """What the broker has acknowledged and the books do not have; empty: nothing."""
        seen, messages = self.seen(), asyncio.run(log_of(KafkaConfig(brokers=(broker,)), SEGMENTS, EVENTS, ALARMS))
        pairs = {
            "segments": ({message.segment_id for message in _of(messages, SegmentMessage)}, seen.segments),
            "events": ({message.event_id for message in _of(messages, EventMessage)}, self._ids("select event_id from events")),
            "alarms": ({message.alarm_id for message in _of(messages, AlarmMessage)}, seen.alarms),
        }
        missing = {name: sorted(told - set(known)) for name, (told, known) in pairs.items()}
        return "; ".join(f"{len(ids)} {name}, such as {ids[0]}" for name, ids in missing.items() if ids)

    def assert_has(self, crossings: Iterable[EventMessage], why: str) -> None:
        """Each of these is an alarm; the workers may have seen it a frame earlier or later."""
        starts = [(alarm.channel, alarm.start_ns) for alarm in self.alarms()]
        missed = [
            f"{event.channel} at {event.start_ns}"
            for event in crossings
            if not any(event.channel == name and abs(event.start_ns - start_ns) < PERIOD_NS // 2 for name, start_ns in starts)
        ]
        assert not missed, f"{why}: nobody was told of {missed}"

    def assert_told(self, centre: Centre, why: str) -> None:
        """Each crossing was reported to the centre, whenever again under the same id."""
        told = {(delivery.event["data"]["alarm_id"], delivery.webhook_id) for delivery in centre.accepted()}
        assert all(delivery.verified for delivery in centre.accepted()), why
        assert sorted(alarm for alarm, _ in told) == sorted(alarm.alarm_id for alarm in self.alarms()), f"{why}: told was {sorted(told)}"


def wait_for_alarms(books: Books, cameras: int, what: str) -> None:
    """Until each of so many cameras has an alarm of a crossing from now on."""
    now_ns = SystemClock().now_ns()
    wait_for(lambda: len({alarm.channel for alarm in books.alarms() if alarm.start_ns > now_ns}) == cameras, what=what, deadline_s=180)


def settle(site: Deployment, books: Books, why: str) -> None:
    """With its cameras away: have everything handled that was acknowledged, and every service stopped in order, each with status 0."""
    spools = [site.folder / name / "data" / "spool" for name in site.names if name.startswith("ingest")]
    wait_for(lambda: not any(list(spool.rglob("*.mp4")) for spool in spools), what=f"{why}: the spools are handed over", deadline_s=120)
    ends = {name: site.stop(name) for name in site.names if name.startswith("ingest") and name in site.running()}
    workers = [name for name in WORKERS if name in site.running()]
    wait_for(lambda: not any(_lag(site, name) for name in workers), what=f"{why}: every frame was looked at", deadline_s=240)
    ends |= {name: site.stop(name) for name in workers}
    wait_for(lambda: not books.waiting(), what=f"{why}: {books.waiting()} are done", deadline_s=120)
    wait_for(lambda: not books.behind(site.kafka.address), what=f"{why}: the books have what the broker has", deadline_s=120)
    wait_for(lambda: not books.waiting(), what=f"{why}: {books.waiting()} are done", deadline_s=120)
    ends |= {name: site.stop(name) for name in ("console", "alarms", "storage")}
    assert set(ends.values()) == {0}, f"{why}: {ends}"
    assert not (differ := books.behind(site.kafka.address)), f"{why}: {differ}"


def _lag(site: Deployment, worker: str) -> int:
    """How many frames wait for a worker; 1 for one that does not read yet."""
    told = httpx.get(site.health_url(worker), timeout=120).json()["services"]["analytics"]
    return int(told["details"]["lag"]) if told["summary"] == "running" else 1


def _of(messages: list[Message], kind: type[M]) -> list[M]:
    return [message for message in messages if isinstance(message, kind)]
