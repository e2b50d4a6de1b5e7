"""Analytics, wired: frames in, detections and events out."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import structlog

from services.analytics import metrics
from services.analytics.adapters.batcher import Batcher, Seen
from services.analytics.adapters.state_store import StateStore
from services.analytics.adapters.tracker import CBIoUTracker
from services.analytics.core.channel import ChannelAnalysis, Fired, Look
from services.analytics.core.counts import RuleCounts, counts_of
from services.analytics.core.events import event_message, track_message
from services.analytics.core.gate import Gate
from services.analytics.preparation import Preparation
from shared.config.site import SiteConfig
from shared.domain.clock import NS_PER_S, seconds_to_ns
from shared.domain.errors import ModelError
from shared.domain.targets import TrackedObject
from shared.faust.worker import Outgoing, Worker
from shared.media.pictures import luma
from shared.messages import DetectionsMessage, EventPhase, FrameMessage
from shared.service import Health, Runtime
from shared.supervise import Supervisor
from shared.topics import DETECTIONS, EVENTS, FRAMES

log = structlog.get_logger(__name__)

#: Results kept per channel, so that a frame that is delivered again gives the same messages and moves no state.
REMEMBERED_FRAMES = 64
#: A channel without frames for this long has nobody in it any more: what lasts ends.
SILENT_NS = 10 * NS_PER_S
SAVE_EVERY_S = 1.0

Out: TypeAlias = list[Outgoing[Any]]


@dataclass
class _Channel:
    """One channel as this worker knows it."""

    id: str
    number: int
    analysis: ChannelAnalysis
    results: OrderedDict[tuple[str, int], Out] = field(default_factory=OrderedDict)
    pending: Out = field(default_factory=list)
    handled_ns: int | None = None
    busy: bool = False
    silent: bool = False
    dirty: bool = False


class AnalyticsService:
    """Frames -> motion -> detector -> tracker -> rules -> detections and events."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime, self._clock = runtime, runtime.clock
        self._site: SiteConfig = runtime.site
        self._config = runtime.site.analytics
        self._worker = Worker("analytics", runtime)
        self._worker.handle(FRAMES, self.on_frame)
        self._supervisor = Supervisor(runtime.clock, runtime.reporter.loop_failed)
        self._store = StateStore(runtime.data_dir / "analytics")
        self._preparation = Preparation(self._config, runtime.clock, runtime.reporter)
        self._batcher: Batcher | None = None
        self._channels: dict[str, _Channel] = {}
        self._saved: dict[str, dict[str, Any]] = {}
        self._detector = ""
        self._frames = self._dropped = 0

    @property
    def name(self) -> str:
        return "analytics"

    async def start(self) -> None:
        """Begin to take frames; the model is prepared beside that, and until it is there frames are counted and left."""
        self._saved = await asyncio.to_thread(self._store.load)
        self._supervisor.spawn("analytics.detector", self._run_detector)
        self._supervisor.spawn("analytics.housekeeping", self._keep_house)
        await self._worker.start()

    async def stop(self) -> None:
        self._preparation.stop()
        await self._worker.stop()
        await self._supervisor.stop()
        if self._batcher is not None:
            await self._batcher.close()
        for channel in self._channels.values():
            channel.dirty = True
        await self._save()

    def health(self) -> Health:
        """Without a detector analytics is not ok, but says how far it is."""
        worker = self._worker.health()
        details = dict(worker.details) | {"frames": self._frames, "dropped": self._dropped, "channels": len(self._channels)}
        if self._batcher is None:
            details["preparing"] = round(self._preparation.share, 3)
            return Health(ok=False, summary=self._preparation.summary, details=details)
        details |= {"detector": self._detector, "queue": self._batcher.waiting}
        return Health(worker.ok, worker.summary, details)

    @property
    def ready(self) -> bool:
        """Whether the detector runs."""
        return self._batcher is not None

    def counts(self) -> list[RuleCounts]:
        """Totals of all counting rules, also of channels that have had no frame since the start."""
        analyses = {channel.id: channel.analysis for channel in self._channels.values()}
        return counts_of(self._site, analyses, self._saved, self._clock.now_ns())

    async def reconfigure(self, site: SiteConfig) -> None:
        """Take the rules of another configuration. What changed rules had open ends with the channel's next frame."""
        self._site = site
        for channel in self._channels.values():
            self._configure(channel)

    # -- frames

    async def on_frame(self, frame: FrameMessage) -> Out:
        """The handler: one frame of one channel, in order."""
        channel = self._channel(frame)
        metrics.FRAMES.labels(frame.channel).inc()
        self._frames += 1
        again = channel.results.get((frame.session, frame.sequence))
        if again is not None:
            return again
        if self._clock.now_ns() - frame.published_ns > seconds_to_ns(self._config.stale_after_s):
            return self._drop(frame, "stale")
        if self._batcher is None:
            return self._drop(frame, "preparing")
        channel.busy = True
        try:
            out = await self._analyse(channel, frame, self._batcher)
        finally:
            channel.busy = False
        channel.results[(frame.session, frame.sequence)] = out
        if len(channel.results) > REMEMBERED_FRAMES:
            channel.results.popitem(last=False)
        return out

    async def _analyse(self, channel: _Channel, frame: FrameMessage, batcher: Batcher) -> Out:
        out, channel.pending = channel.pending, []
        if frame.capture_ns <= channel.analysis.time_ns:  # the camera's clock was set back
            out += self._events(channel, channel.analysis.close(), frame.trace)
        try:
            look = channel.analysis.look(luma(frame.picture), frame.capture_ns)
            seen = await self._detect(batcher, frame) if look.detect else None
        except ValueError as error:
            log.warning("a frame's picture is damaged", channel=channel.id, error=str(error))
            return out + self._drop(frame, "damaged")
        except ModelError as error:
            log.error("the detector failed on a frame", channel=channel.id, error=str(error))
            return out + self._drop(frame, "failed")
        tracks, fired = channel.analysis.finish(look, seen.detections if seen is not None else None)
        channel.handled_ns, channel.silent = self._clock.monotonic_ns(), False
        metrics.TRACKS.labels(channel.id).set(len(tracks))
        metrics.LATENCY_SECONDS.observe(max(0, self._clock.now_ns() - frame.published_ns) / NS_PER_S)
        return [Outgoing(DETECTIONS, _detections(frame, look, tracks, seen)), *out, *self._events(channel, fired, frame.trace)]

    async def _detect(self, batcher: Batcher, frame: FrameMessage) -> Seen:
        metrics.DETECTED.labels(frame.channel).inc()
        metrics.QUEUE.set(batcher.waiting)
        seen = await batcher.detect(frame.picture)
        metrics.DETECT_SECONDS.observe(seen.seconds)
        return seen

    def _drop(self, frame: FrameMessage, reason: str) -> Out:
        metrics.DROPPED.labels(frame.channel, reason).inc()
        self._dropped += 1
        return []

    def _events(self, channel: _Channel, fired: Sequence[Fired], trace: str = "") -> Out:
        for one in fired:
            channel.dirty = True
            if one.event.phase is EventPhase.STARTED:
                metrics.EVENTS.labels(channel.id, one.rule.id).inc()
        return [Outgoing(EVENTS, event_message(channel.id, channel.number, one.rule, one.event, trace=trace)) for one in fired]

    # -- channels

    def _channel(self, frame: FrameMessage) -> _Channel:
        channel = self._channels.get(frame.channel)
        if channel is None:
            channel = _Channel(frame.channel, frame.channel_number, self._analysis_of(frame.channel))
            self._channels[frame.channel] = channel
            self._configure(channel)
            self._take_over(channel)
        return channel

    def _analysis_of(self, channel_id: str) -> ChannelAnalysis:
        config = self._site.channel(channel_id)
        fps = config.analysis.fps if config is not None else 5.0
        gate = Gate(threshold=self._config.motion_threshold, recheck_s=self._config.recheck_s, enabled=self._config.motion_gate)
        return ChannelAnalysis(gate, lambda: CBIoUTracker(confidence=self._config.confidence, frame_rate=fps))

    def _configure(self, channel: _Channel) -> None:
        config = self._site.channel(channel.id)
        ended = channel.analysis.configure(config.rules if config is not None else (), self._site.site.zone)
        channel.pending += self._events(channel, ended)

    def _take_over(self, channel: _Channel) -> None:
        """Go on from the state that an earlier run has saved."""
        state = self._saved.pop(channel.id, None)
        if state is None:
            return
        try:
            channel.analysis.restore(state)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("the saved state of a channel cannot be used; its counts begin anew", channel=channel.id, error=repr(error))
            self._store.put_aside(channel.id)
            channel.analysis = self._analysis_of(channel.id)
            self._configure(channel)

    # -- loops

    async def _run_detector(self) -> None:
        """Prepare the model once, then serve. Started again after a failure, it goes on with the same detector."""
        if self._batcher is None:
            detector = await self._preparation.run()
            info = detector.info
            self._detector = f"{info.engine} {info.model} {info.input_width}x{info.input_height} {info.precision}"
            self._batcher = Batcher(detector, self._clock, self._config.max_batch)
        await self._batcher.run()

    async def _keep_house(self) -> None:
        """Every second: end what lasts on channels that have gone silent, and save what changed."""
        while True:
            await self._clock.sleep(SAVE_EVERY_S)
            now_ns = self._clock.monotonic_ns()
            for channel in list(self._channels.values()):
                if not channel.busy and not channel.silent and channel.handled_ns is not None and now_ns - channel.handled_ns > SILENT_NS:
                    channel.silent = True
                    await self._publish([*channel.pending, *self._events(channel, channel.analysis.close())])
                    channel.pending = []
            await self._save()

    async def _publish(self, out: Out) -> None:
        for one in out:
            await self._runtime.bus.producer.publish(one.topic, one.message)

    async def _save(self) -> None:
        for channel in list(self._channels.values()):
            if channel.dirty:
                channel.dirty = False
                try:
                    await asyncio.to_thread(self._store.save, channel.id, channel.analysis.export())
                except OSError as error:
                    channel.dirty = True
                    log.warning("the state of a channel could not be saved", channel=channel.id, error=str(error))


def _detections(frame: FrameMessage, look: Look, tracks: Sequence[TrackedObject], seen: Seen | None) -> DetectionsMessage:
    return DetectionsMessage(
        channel=frame.channel,
        channel_number=frame.channel_number,
        trace=frame.trace,
        capture_ns=frame.capture_ns,
        frame_sequence=frame.sequence,
        motion=round(look.motion.share, 5),
        analysed=seen is not None,
        detect_ms=round(seen.seconds * 1000, 2) if seen is not None else 0.0,
        boxes=tuple(track_message(track) for track in tracks),
    )


def create(runtime: Runtime) -> AnalyticsService:
    """Build the service; nothing happens before `start`."""
    return AnalyticsService(runtime)
