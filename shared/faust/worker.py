"""Agents of one service: a Faust app, with a handler per topic.

One message is in flight per partition, and partitions run side by side: a channel's messages are handled in order, and a slow channel
delays no other. What a handler returns is published and acknowledged before the message's offset can be committed: at least once.

Faust's `isolated_partitions=True` (0.15.3, tried with two apps of one group) loses nothing when members come and go, but it stops the actor
of a partition that leaves in the middle of its message, and stands on Faust's acknowledgements: 76 of 456 messages were handled twice
when the second app joined. Lanes (`lanes.py`) end what is in flight and commit it before partitions leave: none was.

Faust's acknowledgements are not used (the topics have `acks=False`). By its source, a stream acknowledges events that it skips while
partitions move, and a message that cannot be decoded before earlier ones are handled. The worker commits what its handlers are done with.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import structlog

from shared.config.services import KafkaBus
from shared.domain.errors import BusUnavailable
from shared.faust.app import add_agent, make_app
from shared.faust.failures import Failures
from shared.faust.flow import Flow
from shared.faust.lanes import LaneKey, Lanes
from shared.faust.moves import Entering, Moves, NotOurs
from shared.faust.outgoing import Outgoing, Publisher
from shared.faust.progress import Progress
from shared.faust.schema import Undecodable
from shared.faust.watchdog import Watchdog
from shared.messages import Message
from shared.obs.lag import watch_lag
from shared.obs.trace import following
from shared.service import Health, Runtime
from shared.supervise import Supervisor
from shared.topics import Topic

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # faust's own use of asyncio and of its dependencies
    from aiokafka.errors import KafkaError  # type: ignore[import-untyped]  # aiokafka is untyped
    from faust.types import TP

__all__ = ["Handler", "NotOurs", "Outgoing", "Worker"]

log = structlog.get_logger(__name__)

M = TypeVar("M", bound=Message)

#: At least this long between two commits: what a crash makes be handled twice.
COMMIT_EVERY_S = 0.25
#: How long `stop` and a rebalance wait for handlers; after it they are cancelled, and their messages are handled again.
DRAIN_S = 10.0
#: Messages that wait this long while none is handled are no progress (open reports 175, 523, 640 of Faust); a message in hand for this
#: long waits too: its partition stands still.
STALLED_AFTER_S = 30.0
#: How long `start` waits for the app, before it leaves that to a loop of its own.
START_S = 5.0
#: How often partitions of which nothing was read yet are asked where they begin.
LOOK_EVERY_S = 5.0
Handler = Callable[[M], Awaitable[Sequence[Outgoing[Any]]]]


class Worker:
    """The agents of one service; `name` is their consumer group.

    A handler that raises is reported (`loop.failed`), its message becomes a dead letter, and the stream goes on. So do messages that
    cannot be decoded. While the bus is away, publishing is tried again and nothing is committed.
    """

    def __init__(self, name: str, runtime: Runtime) -> None:
        self._name, self._runtime = name, runtime
        self._handlers: dict[str, tuple[Topic[Any], Handler[Any]]] = {}
        self._supervisor = Supervisor(runtime.clock, runtime.reporter.loop_failed)
        self._lanes: Lanes[Any] = Lanes(self._handle, self._pause, self._resume)
        self._app: Any = None  # faust.App, whose class mypy cannot follow
        self._progress, self._flow = Progress(runtime.clock), Flow()
        self._uncommitted: dict[TP, int] = {}
        self._to_commit = asyncio.Event()
        self._publisher = Publisher(name, runtime)
        self._failures = Failures(name, runtime, self._publisher)
        self._moves: Moves | None = None
        self._entering: Entering | None = None
        self._running, self._rejoin = asyncio.Event(), asyncio.Event()
        bus = runtime.site.bus
        limit_s = bus.restart_after_s if isinstance(bus, KafkaBus) else None
        self._watchdog = Watchdog(name, limit_s, runtime.clock, self._stuck_s, self._excused) if limit_s is not None else None

    def handle(self, topic: Topic[M], handler: Handler[M], *, straight: Callable[[M], None] | None = None) -> None:
        """Have `handler` called with each message of `topic`. Before `start`, once per topic.

        Args:
            straight: called, before it, with those that have waited for nothing, as soon as they come. Must not raise.

        Raises:
            ValueError: the topic has a handler, or the worker runs.
        """
        if topic.name in self._handlers or self._app is not None:
            raise ValueError(f"topic {topic.name} has a handler already, or the worker runs")
        self._handlers[topic.name] = (topic, handler)
        if straight is not None:
            self._flow.tell(topic.name, straight)

    def moves(self, moves: Moves) -> None:
        """Have `moves` told when partitions come and go. Before `start`.

        Raises:
            ValueError: the worker runs.
        """
        if self._app is not None:
            raise ValueError("the worker runs")
        self._moves, self._entering = moves, Entering(moves)

    async def start(self) -> None:
        """Join the group and begin. Returns when the app runs, or after `START_S`: while the bus is away it is tried again."""
        self._supervisor = Supervisor(self._runtime.clock, self._runtime.reporter.loop_failed)
        watch_lag(self._name, lambda: float(self.health().details["lag"]))
        self._supervisor.spawn(f"agents of {self._name}", self._watch)
        self._supervisor.spawn(f"commits of {self._name}", self._commit_loop)
        self._supervisor.spawn(f"beginnings of {self._name}", self._look_for_beginnings)
        if self._watchdog is not None:
            self._watchdog.start()
        with suppress(TimeoutError):
            async with asyncio.timeout(START_S):
                await self._running.wait()

    async def stop(self) -> None:
        """Let handlers finish what is in hand, commit, leave the group. Idempotent."""
        if self._watchdog is not None:
            self._watchdog.stop()
        await self._supervisor.stop()
        await self._stop_app()
        await self._failures.stop()

    def health(self) -> Health:
        """Not ok: the app is down, or messages wait and none is handled. Slow is not stuck: whoever is behind but goes on is ok."""
        app, progress = self._app, self._progress
        running = app is not None and self._running.is_set()
        lag = progress.lag(app.consumer) if running else 0
        slowest_s = progress.slowest_s()
        stalled = max(slowest_s, progress.waiting_s(lag)) > STALLED_AFTER_S
        away = self._runtime.bus.trouble() or ("does not run" if app is None else "joins its group")
        summary = away if not running else "stalled" if stalled else "running"
        details: dict[str, str | int | float | bool] = {
            "handled": progress.handled, "failed": self._failures.count, "lag": lag, "in_flight": self._lanes.in_flight,
            "slowest_s": round(slowest_s, 3), "restarts": sum(loop.failures for loop in self._supervisor.loops),
        }  # fmt: skip
        return Health(running and not stalled, summary, details)

    def _excused(self) -> bool:
        """Whether nothing can be handled for a reason that starting again does not mend: bus or state are away."""
        return not self._running.is_set() or bool(self._runtime.bus.trouble()) or (self._entering is not None and self._entering.waits)

    def _stuck_s(self) -> float:
        app, progress = self._app, self._progress
        return max(progress.slowest_s(), progress.waiting_s(progress.lag(app.consumer))) if app is not None else 0.0

    # -- the app

    async def _watch(self) -> None:
        """Run an app until it dies, then raise: the supervisor calls again, and a new app is started."""
        app = await self._start_app()
        self._running.set()
        self._rejoin.clear()
        # Ends when the app stops or crashes; its own `wait_until_stopped` leaks a task when it is cancelled.
        ended = asyncio.ensure_future(app.wait(asyncio.get_running_loop().create_future()))
        rejoin = asyncio.ensure_future(self._rejoin.wait())
        try:
            await asyncio.wait([ended, rejoin], return_when=asyncio.FIRST_COMPLETED)
            why = "another worker has a partition that was ours" if rejoin.done() else f"the Faust app stopped: {app.crash_reason!r}"
            raise BusUnavailable(why, where=f"agents of {self._name}")
        finally:
            for task in (ended, rejoin):
                task.cancel()
            await asyncio.gather(ended, rejoin, return_exceptions=True)
            await self._stop_app()

    def rejoin(self) -> None:
        """Leave the group and join it anew: what this worker holds is no longer what the others know."""
        self._rejoin.set()

    async def _enter(self, app: Any, *_: Any, **__: Any) -> None:
        if self._entering is not None:
            await self._entering.enter(app)

    async def _start_app(self) -> Any:
        await self._runtime.bus.connected()
        topics = [topic for topic, _ in self._handlers.values()]
        app = self._app = make_app(self._name, self._runtime, topics)
        app.on_partitions_revoked.connect(self._settle, weak=False)
        if self._entering is not None:
            app.on_rebalance_complete.connect(self._enter, weak=False)
        for topic in topics:
            add_agent(app, f"{self._name}.{topic.name}", topic, self._take)
        app.finalize()
        app.loop = asyncio.get_running_loop()
        try:
            await app.start()
        except BaseException:
            await self._stop_app()
            raise
        return app

    def _take(self, event: Any) -> None:
        message, lane = event.message, (event.message.topic, event.message.partition)
        self._progress.came(message.tp, message.offset)
        if self._app is not None and self._flow.watches(message.topic):
            last = message.offset + 1 >= (self._app.consumer.highwater(message.tp) or 0)
            self._flow.came(lane, event.value, idle=self._lanes.idle(lane), last=last)
        self._lanes.put(lane, event)

    async def _stop_app(self) -> None:
        app, self._app = self._app, None
        self._running.clear()
        if app is None:
            return
        if app.consumer is not None and app.started:
            app.consumer.stop_flow()
            app.flow_control.suspend()
            app.flow_control.clear()
            await self._settle(app)
        await app.stop()

    async def _settle(self, app: Any, *_: Any, **__: Any) -> None:
        """End what is in flight and commit it. Also called by Faust (with the partitions) before partitions leave."""
        if self._entering is not None:
            self._entering.give_up()
        await self._lanes.drain(DRAIN_S)
        if self._moves is not None:
            await self._moves.leave()
        await self._commit(app)
        self._progress.forget()
        self._flow.halt()

    async def _commit_loop(self) -> None:
        while True:
            await self._to_commit.wait()
            if self._app is not None:
                await self._commit(self._app)
            await self._runtime.clock.sleep(COMMIT_EVERY_S)

    async def _commit(self, app: Any) -> None:
        self._to_commit.clear()
        offsets, self._uncommitted = self._uncommitted, {}
        if offsets:
            await app.consumer._commit(offsets)  # what every driver implements; it ignores partitions that have gone

    def _pause(self, lane: LaneKey) -> None:
        self._flow.halt(lane)
        if self._app is not None:
            self._app.consumer.on_buffer_full(TP(*lane))

    def _resume(self, lane: LaneKey) -> None:
        if self._app is not None:
            self._app.consumer.on_buffer_drop(TP(*lane))

    async def _look_for_beginnings(self) -> None:
        while True:
            await self._runtime.clock.sleep(LOOK_EVERY_S)
            if self._app is not None and self._running.is_set():
                try:
                    await self._progress.look_for_beginnings(self._app.consumer)
                except KafkaError as error:
                    log.debug("where partitions begin is not known now", worker=self._name, error=str(error))

    # -- one message

    async def _handle(self, event: Any) -> None:
        with following(getattr(event.value, "trace", "")):
            await self._handle_one(event)

    async def _handle_one(self, event: Any) -> None:
        message = event.message
        origin = f"{message.topic}/{message.partition}/{message.offset}"
        topic, handler = self._handlers[message.topic]
        self._progress.begin(message.tp)
        try:
            if isinstance(event.value, Undecodable):
                await self._publisher.dead_letter(origin, event.value.reason, event.value.raw, "")
            else:
                try:
                    await self._publisher.publish(await handler(event.value))
                except NotOurs as error:
                    log.warning("a channel has another worker now; joining the group anew", worker=self._name, reason=str(error))
                    self.rejoin()
                    return
                except Exception as error:  # noqa: BLE001  # the boundary of a handler: whatever it was, the stream goes on and someone is told
                    await self._failures.failed(topic, origin, event.value, error)
        finally:
            self._progress.end(message.tp)
        self._progress.done(message.tp, message.offset)
        self._uncommitted[message.tp] = message.offset + 1
        self._to_commit.set()
