"""The Faust app behind a worker: its settings, with their reasons."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from shared.faust.schema import MessageSchema
from shared.service import Runtime
from shared.topics import Topic

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # faust's own use of asyncio and of its dependencies
    import faust

MIB = 1024 * 1024
#: A worker that is killed has its partitions taken away after this long (Faust's 60 s are half of what `frames` are kept for); a rebalance
#: waits for members as long as they may take to end what is in hand and to save it.
SESSION_S, HEARTBEAT_S, REBALANCE_S = 10.0, 2.0, 40.0


def make_app(name: str, runtime: Runtime, topics: Sequence[Topic[Any]]) -> Any:
    """An app that is not started (a `faust.App`, whose class mypy cannot follow); `name` is its consumer group."""
    data_dir = runtime.data_dir / "faust"
    data_dir.mkdir(parents=True, exist_ok=True)
    largest = max((topic.max_message_bytes for topic in topics), default=MIB)
    for logger in ("faust", "mode"):
        logging.getLogger(logger).setLevel(logging.WARNING)
    url = runtime.bus.faust_url()
    app = faust.App(
        name,
        broker=url,
        datadir=data_dir,
        store="memory://",
        table_standby_replicas=0,  # else Faust's own assignor shares partitions in runs, and few channels all fall to one worker
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,  # topics are made from shared/topics.py before the app starts
        stream_wait_empty=False,  # the lanes are drained instead
        stream_buffer_maxsize=64,
        broker_session_timeout=SESSION_S,
        broker_heartbeat_interval=HEARTBEAT_S,
        broker_rebalance_timeout=REBALANCE_S,
        broker_max_poll_records=64,
        consumer_max_fetch_size=largest + MIB,
        producer_max_request_size=largest + MIB,
    )
    if url.startswith("kafka://"):
        from shared.faust.kafka_transport import Transport

        app.transport = Transport(url, app, min(topic.max_wait_ms for topic in topics))
    return app


def add_agent(app: Any, name: str, topic: Topic[Any], take: Callable[[Any], None]) -> None:
    """Have `take` called with each event of a topic. Faust acknowledges nothing: `worker.py` says why."""
    channel = app.topic(
        topic.name, schema=MessageSchema(topic.message, tolerant=True), partitions=topic.partitions, internal=False, acks=False
    )

    async def agent(stream: Any) -> None:
        async for event in stream.noack().events():
            take(event)

    app.agent(channel, name=name)(agent)
