"""Analytics, wired: frames in, detections and events out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog

from services.analytics import metrics
from services.analytics.adapters.batcher import Seen
from services.analytics.adapters.states import open_states
from services.analytics.adapters.tracker import CBIoUTracker
from services.analytics.channel_work import CATCH_UP_NS, ChannelWork, Out
from services.analytics.clocks import Clocks
from services.analytics.core.channel import RESUME_WITHIN_NS, ChannelAnalysis
from services.analytics.core.counts import RuleCounts, counts_of
from services.analytics.core.gate import Gate
from services.analytics.detection import Detection
from services.analytics.holding import Holding, to_its_end
from services.analytics.state import StateMoved, StateStore
from shared.config.channels import ChannelConfig
from shared.config.site import SiteConfig
from shared.domain.clock import NS_PER_S, seconds_to_ns
from shared.domain.errors import BusError, ModelError
from shared.faust.moves import NotOurs, Partition
from shared.faust.worker import Worker
from shared.messages import FrameMessage
from shared.service import Health, Runtime
from shared.supervise import Supervisor
from shared.topics import EVENTS, FRAMES

log = structlog.get_logger(__name__)

#: A channel without frames for this long has nobody in it any more: what lasts ends.
SILENT_NS = 10 * NS_PER_S
SAVE_EVERY_S = 1.0
#: Of a channel on which nobody is: so that whoever takes it over has few frames to read again.
SAVE_QUIET_NS = 10 * NS_PER_S
#: How soon it is noticed that the detector is ready.
LOOK_EVERY_S = 0.2

T = TypeVar("T")


class AnalyticsService:
    """Frames -> motion -> detector -> tracker -> rules -> detections and events.

    Nothing of a frame is computed on the event loop: motion, tracker and rules run in one thread for all channels, the network in the
    detector's. The lock of a channel keeps its frames in order, also against a change of its rules.

    """

    def __init__(self, runtime: Runtime, store: StateStore) -> None:
        self._runtime, self._clock = runtime, runtime.clock
        self._site: SiteConfig = runtime.site
        self._config = runtime.site.analytics
        self._clocks = Clocks(runtime.clock)
        self._worker = Worker("analytics", runtime)
        self._worker.handle(FRAMES, self.on_frame, straight=self._clocks.learn)
        self._worker.moves(self)
        self._joined = False
        self._supervisor = Supervisor(runtime.clock, runtime.reporter.loop_failed)
        self._store = store
        self._detection = Detection(self._config, runtime.clock, runtime.reporter)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="analysis")
        self._channels = Holding(store, runtime.clock, self._new_channel)
        self._frames = self._dropped = 0

    @property
    def name(self) -> str:
        return "analytics"

    async def start(self) -> None:
        """Prepare the detector, then begin to take frames: a worker that joins takes no channel that it cannot look at yet."""
        self._supervisor.spawn("analytics.detector", self._detection.run)
        self._supervisor.spawn("analytics.housekeeping", self._keep_house)
        self._supervisor.spawn("analytics.join", self._join)

    async def _join(self) -> None:
        while not self._detection.ready:
            await self._clock.sleep(LOOK_EVERY_S)
        self._joined = True
        await self._worker.start()

    async def stop(self) -> None:
        await self._supervisor.cancel("analytics.join")
        await self._worker.stop()
        await self._supervisor.stop()
        await asyncio.to_thread(self._thread.shutdown)
        await self._channels.save_all()
        await self._store.close()

    def health(self) -> Health:
        """Without a detector that works analytics is not ok, and says why, or how far it is."""
        worker, detection = self._worker.health(), self._detection
        details = dict(worker.details) | {"frames": self._frames, "dropped": self._dropped, "channels": len(self._channels)}
        details |= {"detector_failures": detection.failures, **self._clocks.details()}
        if detection.ready:
            details |= {"detector": detection.engine, "queue": detection.waiting}
        else:
            details["preparing"] = round(detection.share, 3)
        if detection.trouble:
            return Health(ok=False, summary=detection.trouble, details=details)
        if self._store.trouble:
            return Health(ok=False, summary=self._store.trouble, details=details)
        if not self._joined:
            return Health(ok=True, summary="about to join", details=details)
        return Health(worker.ok, worker.summary, details)

    @property
    def ready(self) -> bool:
        """Whether the detector runs."""
        return self._detection.ready

    def counts(self) -> list[RuleCounts]:
        """Totals of all counting rules, as far as this worker has the channels."""
        return counts_of(self._site, {channel.id: channel.analysis for channel in self._channels}, self._clock.now_ns())

    async def totals(self) -> list[RuleCounts]:
        """Totals of all counting rules of the site, also of channels that other workers have; those are up to a second old."""
        analyses = {channel.id: channel.analysis for channel in self._channels}
        for channel_id, state in (await self._channels.load(self._analysed_ids())).items():
            channel = self._new_channel(channel_id)
            try:
                channel.restore(state)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                log.warning("the state of a channel cannot be used", channel=channel_id, error=repr(error))
            else:
                analyses[channel_id] = channel.analysis
        return counts_of(self._site, analyses, self._clock.now_ns())

    async def reconfigure(self, site: SiteConfig) -> None:
        """Take the channels and rules of another configuration, from each channel's next frame on.

        A rule that did not change goes on with its state, whatever else changed; what changed or missing rules had open ends. The settings
        under `analytics` (model, engine, thresholds) are those of the start.
        """
        self._site = site
        for channel in self._channels:
            async with channel.lock:
                await self._in_thread(lambda: self._configure(channel))  # noqa: B023  # awaited before the loop goes on

    # -- frames

    async def on_frame(self, frame: FrameMessage) -> Out:
        """The handler: one frame of one channel, in order. Frames of channels without analysis are only for who watches live."""
        if self._analysed(frame.channel) is None:
            return []
        try:
            channel = await self._channels.of(frame.channel)
            async with channel.lock:
                return await self._in_order(channel, frame)
        except StateMoved as moved:
            raise NotOurs(str(moved)) from moved

    async def _in_order(self, channel: ChannelWork, frame: FrameMessage) -> Out:
        metrics.FRAMES.labels(frame.channel).inc()
        self._frames += 1
        again = channel.known(frame, self._clock.monotonic_ns())
        if again is not None:
            return again
        limit_ns = seconds_to_ns(self._config.stale_after_s)
        if channel.too_old(frame, self._clocks.now_ns(frame.channel), self._clock.monotonic_ns(), limit_ns):
            return self._drop(frame, "stale")
        if not self._detection.ready:
            return self._drop(frame, "failed" if self._detection.failed else "preparing")
        try:
            look = await self._in_thread(lambda: channel.look(frame))
            seen = await self._detect(frame) if look.detect else None
        except ValueError as error:
            log.warning("a frame's picture is damaged", channel=channel.id, error=str(error))
            return self._drop(frame, "damaged")
        except ModelError:  # told once for all frames, by whoever keeps the detector running
            return self._drop(frame, "failed")
        out = await self._in_thread(lambda: channel.finish(frame, look, seen))
        channel.handled_ns, channel.silent = self._clock.monotonic_ns(), False
        if channel.urgent:
            await self._channels.save(channel)
        metrics.LATENCY_SECONDS.observe(max(0, self._clock.now_ns() - frame.published_ns) / NS_PER_S)
        if len(out) > 1:  # the first is the frame's detections
            metrics.CAPTURE_TO_EVENT.observe(max(0, self._clock.now_ns() - frame.capture_ns) / NS_PER_S)
        log.debug("a frame is analysed", channel=channel.id, sequence=frame.sequence, detector=look.detect, events=len(out) - 1)
        return out

    async def _detect(self, frame: FrameMessage) -> Seen:
        metrics.DETECTED.labels(frame.channel).inc()
        return await self._detection.detect(frame.picture)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """In the thread of the analysis."""
        return await to_its_end(asyncio.get_running_loop().run_in_executor(self._thread, work))

    def _drop(self, frame: FrameMessage, reason: str) -> Out:
        metrics.DROPPED.labels(frame.channel, reason).inc()
        self._dropped += 1
        return []

    # -- channels

    def _analysed(self, channel_id: str) -> ChannelConfig | None:
        """The channel's configuration, None when nobody wants it analysed."""
        config = self._site.channel(channel_id)
        return config if config is not None and config.analysis.enabled else None

    def _analysed_ids(self) -> list[str]:
        return [channel.id for channel in self._site.channels if channel.analysis.enabled]

    def _new_channel(self, channel_id: str) -> ChannelWork:
        config = self._site.channel(channel_id)
        number = config.number if config is not None else 0
        channel = ChannelWork(channel_id, number, self._analysis(channel_id), self._clock.monotonic_ns())
        self._configure(channel)
        return channel

    def _analysis(self, channel_id: str) -> ChannelAnalysis:
        config = self._analysed(channel_id)
        fps = config.analysis.fps if config is not None else 5.0
        gate = Gate(threshold=self._config.motion_threshold, recheck_s=self._config.recheck_s, enabled=self._config.motion_gate)
        return ChannelAnalysis(gate, lambda: CBIoUTracker(confidence=self._config.confidence, frame_rate=fps))

    def _configure(self, channel: ChannelWork) -> None:
        config = self._analysed(channel.id)
        channel.configure(config.rules if config is not None else (), self._site.site.zone)

    # -- partitions that move (shared/faust/moves.py)

    async def leave(self) -> None:
        """Save what another worker may have next."""
        self._channels.away = True
        await self._channels.save_all()

    async def enter(self, partitions: frozenset[Partition]) -> Mapping[Partition, int]:
        """Take up the channels of these partitions, and have frames read again that are newer than what was saved of them."""
        keys = {
            name: (FRAMES.name, config.number % FRAMES.partitions) for name in self._analysed_ids() if (config := self._site.channel(name))
        }
        mine = [name for name, key in keys.items() if key in partitions]
        taken = await self._channels.enter(mine, last=lambda channel: self._analysed(channel.id) is None)
        oldest_ns = self._clock.now_ns() - CATCH_UP_NS
        times: dict[Partition, int] = {}
        for channel in self._channels:  # of those that were taken before too, where partitions moved again before they were read
            if channel.id in keys and channel.unread and channel.published_ns:
                key = keys[channel.id]
                times[key] = min(times.get(key, channel.published_ns), channel.published_ns)
        log.info("channels are taken up", channels=len(self._channels), from_the_store=len(taken))
        return {key: max(oldest_ns, time_ns) for key, time_ns in times.items()}

    # -- housekeeping

    async def _keep_house(self) -> None:
        """Every second: end what lasts on channels that have gone silent, tell what no frame has taken along, save what changed."""
        while True:
            await self._clock.sleep(SAVE_EVERY_S)
            for channel in self._channels:
                if not channel.lock.locked() and not self._channels.away:  # else it has a frame in hand, or may be another's soon
                    async with channel.lock:
                        try:
                            await self._keep(channel)
                        except StateMoved as moved:
                            log.warning("joining the group anew", channel=channel.id, reason=str(moved))
                            self._worker.rejoin()

    async def _keep(self, channel: ChannelWork) -> None:
        if not channel.silent and self._is_silent(channel):
            channel.silent = True
            await self._in_thread(channel.interrupt)
        if channel.dirty or (channel.unsaved and self._clock.monotonic_ns() - channel.saved_ns > SAVE_QUIET_NS):
            await self._channels.save(channel)
        waiting = channel.take_waiting()
        for done, event in enumerate(waiting):
            try:
                await self._runtime.bus.producer.publish(EVENTS, event)
            except BusError as error:
                log.warning("the bus is away, events are told later", channel=channel.id, error=str(error))
                channel.put_back(waiting[done:])
                return

    def _is_silent(self, channel: ChannelWork) -> bool:
        """Nobody has looked for so long that nothing is known any more. While there is no detector, silence is ours, not the channel's."""
        if self._detection.ready:
            return self._clock.monotonic_ns() - max(channel.handled_ns, self._detection.ready_since_ns) > SILENT_NS
        return self._clock.monotonic_ns() - channel.handled_ns > RESUME_WITHIN_NS


def create(runtime: Runtime) -> AnalyticsService:
    """Build the service; nothing happens before `start`.

    Raises:
        ConfigError: the database's URL is none.
    """
    return AnalyticsService(runtime, open_states(runtime))
