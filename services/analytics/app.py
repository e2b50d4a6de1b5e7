"""Analytics, wired: frames in, detections and events out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

import structlog

from services.analytics import metrics
from services.analytics.adapters.batcher import Seen
from services.analytics.adapters.state_store import StateStore
from services.analytics.adapters.tracker import CBIoUTracker
from services.analytics.channel_work import ChannelWork, Out
from services.analytics.core.channel import RESUME_WITHIN_NS, ChannelAnalysis
from services.analytics.core.counts import RuleCounts, counts_of
from services.analytics.core.gate import Gate
from services.analytics.detection import Detection
from shared.config.channels import ChannelConfig
from shared.config.site import SiteConfig
from shared.domain.clock import NS_PER_S, seconds_to_ns
from shared.domain.errors import BusError, ModelError
from shared.faust.worker import Worker
from shared.messages import FrameMessage
from shared.service import Health, Runtime
from shared.supervise import Supervisor
from shared.topics import EVENTS, FRAMES

log = structlog.get_logger(__name__)

#: A channel without frames for this long has nobody in it any more: what lasts ends.
SILENT_NS = 10 * NS_PER_S
SAVE_EVERY_S = 1.0

T = TypeVar("T")


class AnalyticsService:
    """Frames -> motion -> detector -> tracker -> rules -> detections and events.

    Nothing of a frame is computed on the event loop: motion, tracker and rules run in one thread for all channels, the network in the
    detector's. The lock of a channel keeps its frames in order, also against a change of its rules.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime, self._clock = runtime, runtime.clock
        self._site: SiteConfig = runtime.site
        self._config = runtime.site.analytics
        self._worker = Worker("analytics", runtime)
        self._worker.handle(FRAMES, self.on_frame)
        self._supervisor = Supervisor(runtime.clock, runtime.reporter.loop_failed)
        self._store = StateStore(runtime.data_dir / "analytics")
        self._detection = Detection(self._config, runtime.clock, runtime.reporter)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="analysis")
        self._channels: dict[str, ChannelWork] = {}
        self._frames = self._dropped = 0

    @property
    def name(self) -> str:
        return "analytics"

    async def start(self) -> None:
        """Begin to take frames; the model is prepared beside that, and until it is there frames are counted and left."""
        for channel_id, state in (await asyncio.to_thread(self._store.load)).items():
            self._take_over(channel_id, state)
        self._supervisor.spawn("analytics.detector", self._detection.run)
        self._supervisor.spawn("analytics.housekeeping", self._keep_house)
        await self._worker.start()

    async def stop(self) -> None:
        await self._worker.stop()
        await self._supervisor.stop()
        await asyncio.to_thread(self._thread.shutdown)
        for channel in self._channels.values():
            await self._save(channel)

    def health(self) -> Health:
        """Without a detector that works analytics is not ok, and says why, or how far it is."""
        worker, detection = self._worker.health(), self._detection
        details = dict(worker.details) | {"frames": self._frames, "dropped": self._dropped, "channels": len(self._channels)}
        details |= {"detector_failures": detection.failures}
        if detection.ready:
            details |= {"detector": detection.engine, "queue": detection.waiting}
        else:
            details["preparing"] = round(detection.share, 3)
        if detection.trouble:
            return Health(ok=False, summary=detection.trouble, details=details)
        return Health(worker.ok, worker.summary, details)

    @property
    def ready(self) -> bool:
        """Whether the detector runs."""
        return self._detection.ready

    def counts(self) -> list[RuleCounts]:
        """Totals of all counting rules, also of channels that have had no frame since the start."""
        return counts_of(self._site, {channel.id: channel.analysis for channel in self._channels.values()}, self._clock.now_ns())

    async def reconfigure(self, site: SiteConfig) -> None:
        """Take the channels and rules of another configuration, from each channel's next frame on.

        A rule that did not change goes on with its state, whatever else changed; what changed or missing rules had open ends. The settings
        under `analytics` (model, engine, thresholds) are those of the start.
        """
        self._site = site
        for channel in list(self._channels.values()):
            async with channel.lock:
                await self._in_thread(lambda: self._configure(channel))  # noqa: B023  # awaited before the loop goes on

    # -- frames

    async def on_frame(self, frame: FrameMessage) -> Out:
        """The handler: one frame of one channel, in order. Frames of channels without analysis are only for who watches live."""
        if self._analysed(frame.channel) is None:
            return []
        channel = self._channel(frame.channel, frame.channel_number)
        async with channel.lock:
            return await self._in_order(channel, frame)

    async def _in_order(self, channel: ChannelWork, frame: FrameMessage) -> Out:
        metrics.FRAMES.labels(frame.channel).inc()
        self._frames += 1
        again = channel.known(frame)
        if again is not None:
            return again
        if self._clock.now_ns() - frame.published_ns > seconds_to_ns(self._config.stale_after_s):
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
            await self._save(channel)
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
        return await _to_its_end(asyncio.get_running_loop().run_in_executor(self._thread, work))

    def _drop(self, frame: FrameMessage, reason: str) -> Out:
        metrics.DROPPED.labels(frame.channel, reason).inc()
        self._dropped += 1
        return []

    # -- channels

    def _analysed(self, channel_id: str) -> ChannelConfig | None:
        """The channel's configuration, None when nobody wants it analysed."""
        config = self._site.channel(channel_id)
        return config if config is not None and config.analysis.enabled else None

    def _channel(self, channel_id: str, number: int) -> ChannelWork:
        channel = self._channels.get(channel_id)
        if channel is None:
            channel = self._channels[channel_id] = ChannelWork(channel_id, number, self._analysis(channel_id), self._clock.monotonic_ns())
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

    def _take_over(self, channel_id: str, state: dict[str, Any]) -> None:
        """Go on from the state that an earlier run has saved."""
        config = self._analysed(channel_id)
        if config is None:
            return
        channel = self._channel(channel_id, config.number)
        try:
            channel.restore(state)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("the saved state of a channel cannot be used; its counts begin anew", channel=channel_id, error=repr(error))
            self._store.put_aside(channel_id)
            del self._channels[channel_id]

    # -- housekeeping

    async def _keep_house(self) -> None:
        """Every second: end what lasts on channels that have gone silent, tell what no frame has taken along, save what changed."""
        while True:
            await self._clock.sleep(SAVE_EVERY_S)
            for channel in list(self._channels.values()):
                if not channel.lock.locked():  # else it has a frame in hand
                    async with channel.lock:
                        await self._keep(channel)

    async def _keep(self, channel: ChannelWork) -> None:
        if not channel.silent and self._is_silent(channel):
            channel.silent = True
            await self._in_thread(channel.interrupt)
        if channel.dirty:
            await self._save(channel)
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

    async def _save(self, channel: ChannelWork) -> None:
        channel.dirty = channel.urgent = False
        try:
            await _to_its_end(asyncio.ensure_future(asyncio.to_thread(self._store.save, channel.id, channel.export())))
        except OSError as error:
            channel.dirty = True
            log.warning("the state of a channel could not be saved", channel=channel.id, error=str(error))


async def _to_its_end(work: asyncio.Future[T]) -> T:
    """What runs in a thread cannot be cancelled: who is, waits for its end, since nobody else may touch the channel before."""
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([work])
        raise


def create(runtime: Runtime) -> AnalyticsService:
    """Build the service; nothing happens before `start`."""
    return AnalyticsService(runtime)
