"""Wiring of storage.

SEGMENTS --intake--> open files + catalogue --finish--> closed files --upload--> object store
ACTIONS  --commands--> actions --work--> alarm footage, snapshots --results--> ACTIONS
              cleaner: room, quotas, expiry        notices --> RECORDINGS, EVENTS (exceptions)
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from services.storage.adapters.actions import Actions
from services.storage.adapters.archive import Archive
from services.storage.adapters.catalogue import Catalogue, Usage
from services.storage.adapters.cleaner import Cleaner
from services.storage.adapters.layout import Layout
from services.storage.adapters.ledger import Ledger
from services.storage.adapters.notices import Notices
from services.storage.adapters.picture import Pictures
from services.storage.adapters.reader import Reader
from services.storage.adapters.reconcile import Reconciler
from services.storage.adapters.snapshots import Snapshots
from services.storage.adapters.writer import ChannelMode, Writer
from services.storage.core.model import Recording
from services.storage.core.policy import Limits, Space
from services.storage.core.timeline import BarSpan, bar
from services.storage.intake import Intake, drain
from services.storage.linkage import Linkage
from shared.config.services import LocalObjects
from shared.config.site import SiteConfig
from shared.db.engine import database_url
from shared.domain.clock import seconds_to_ns
from shared.domain.errors import ObjectStoreUnavailable
from shared.messages import RecordingChange
from shared.objects.open import object_store
from shared.objects.port import ObjectStore
from shared.service import Health, Runtime
from shared.supervise import Supervisor

log = structlog.get_logger(__name__)

DATABASE = "catalogue"
_DRAIN_S = 10.0
_HOUSEKEEPING_S = 5.0
_DAY_S = 86_400


class StorageService:
    """Keeps recordings. Implements `shared.service.Service`."""

    name = "storage"

    def __init__(self, runtime: Runtime) -> None:
        site, clock = runtime.site, runtime.clock
        self._runtime = runtime
        self._layout = Layout(runtime.data_dir)
        self.store: ObjectStore = object_store(site.objects, runtime.data_dir, site.storage.bucket)
        self.snapshot_store: ObjectStore = object_store(site.objects, runtime.data_dir, site.storage.snapshots_bucket)
        self._ledger = Ledger()
        self._notices = Notices(runtime.reporter, runtime.bus.producer, clock)
        self._supervisor = Supervisor(clock, runtime.reporter.loop_failed)
        self._started = False

    # -- life

    async def start(self) -> None:
        """Repair what a crash left, then take segments.

        Raises:
            ConfigError, CatalogueError: the database cannot be used.
            DiskError: the data folder cannot be written.
        """
        self._build()
        await self.catalogue.start()
        for store in (self.store, self.snapshot_store):
            try:
                await store.start()
            except ObjectStoreUnavailable as error:  # recording goes on without it; the uploader tries again
                log.warning("the object store does not answer yet", error=str(error))
        self._ledger.load(await self.catalogue.usage())
        repair = await Reconciler(self._layout, self.catalogue, self.store, self._archive).run()
        for text in repair.lost or ():
            await self._runtime.reporter.tell("storage.error", text)
        await self._cleaner.sweep()
        self._started = True
        loops = {
            "segments": self._intake.loop,
            "finish": self._archive.finish_loop,
            "upload": self._archive.upload_loop,
            "sweep": self._sweep_loop,
            "housekeeping": self._housekeeping_loop,
            "notices": self._notices.run,
            "commands": self._linkage.commands_loop,
            "actions": self._linkage.work_loop,
            "results": self._linkage.results_loop,
        }
        for name, loop in loops.items():
            self._supervisor.spawn(f"storage.{name}", loop)

    def _build(self) -> None:
        runtime, site, clock = self._runtime, self._runtime.site, self._runtime.clock
        self.catalogue = Catalogue(database_url(site.database, runtime.data_dir, DATABASE))
        self._writer = Writer(self._layout, self.catalogue, self._ledger, clock, file_s=site.storage.file_s, modes=channel_modes(site))
        self._archive = Archive(self._layout, self.catalogue, self.store, self._writer, self._ledger, self._notices, clock)
        self._snapshots = Snapshots(self.catalogue, self.snapshot_store, self._ledger)
        self._cleaner = Cleaner(
            self._layout, self.catalogue, self._archive, self._snapshots, self._ledger, self._notices, clock, limits_of(site),
            objects_on_disk=isinstance(site.objects, LocalObjects),
        )  # fmt: skip
        self.reader = Reader(self._layout, self.catalogue, self.store)
        self._linkage = Linkage(
            runtime.bus, clock, self.catalogue, Actions(self.catalogue), Pictures(self.catalogue, self.reader), self._snapshots,
            device=site.device.id, claimed=self._writer.claimed, stored_last=self._writer.head,
        )  # fmt: skip
        self._intake = Intake(runtime.bus, clock, self._writer, self._cleaner, self._archive, self._notices, self._linkage.footage_stored)

    async def stop(self) -> None:
        """Close what is open, release everything. Idempotent."""
        await self._supervisor.stop()
        if self._started:
            self._started = False
            await drain(self._archive, self._writer, self._cleaner, _DRAIN_S)
        if hasattr(self, "catalogue"):
            await self._writer.stop()
            await self.catalogue.stop()
        for store in (self.store, self.snapshot_store):
            await store.stop()

    def health(self) -> Health:
        failed = [loop.name for loop in self._supervisor.loops if not loop.running]
        ok = self._started and not failed and self._intake.check_progress() and not self._notices.holds("storage.full")
        problems = self._notices.open() if self._started else ["not started"]
        details: dict[str, str | int | float | bool] = {"used_bytes": self._ledger.total_bytes}
        if self._started:
            details |= {"segments": self._intake.segments, "open_files": self._writer.open_files}
        return Health(ok, ", ".join([*problems, *failed]) or "recording", details)

    # -- loops

    async def _sweep_loop(self) -> None:
        while True:
            await self._cleaner.sweep()
            await self._cleaner.take_ballast()
            await self._runtime.clock.sleep(self._runtime.site.storage.sweep_every_s)

    async def _housekeeping_loop(self) -> None:
        while True:
            self._archive.ended(await self._writer.end_idle())
            self._intake.check_progress()
            await self._runtime.clock.sleep(_HOUSEKEEPING_S)

    # -- what the API asks

    async def lock(self, recording_id: str, locked: bool) -> Recording | None:
        """Lock or unlock a recording; None: there is none."""
        recording, changed = await self.catalogue.set_locked(recording_id, locked)
        if recording is None:
            return None
        if changed:
            self._writer.locked(recording_id, locked)
            self._ledger.recording(recording.channel, -recording.size_bytes, locked=not locked)
            self._ledger.recording(recording.channel, recording.size_bytes, locked=locked)
            self._notices.recording(recording, RecordingChange.LOCKED if locked else RecordingChange.UNLOCKED)
        await self._archive.keep_lock(recording)
        return recording

    async def timeline(self, channel: str, from_ns: int, to_ns: int) -> list[BarSpan]:
        """What a time bar shows."""
        recordings = await self.catalogue.between(channel, from_ns, to_ns, limit=100_000)
        spans = await self.catalogue.spans(channel, from_ns, to_ns)
        return bar([(recording.start_ns, recording.end_ns) for recording in recordings], spans, from_ns, to_ns)

    def space(self) -> tuple[Space, Limits, Mapping[str, Usage]]:
        """Room, limits, and bytes per channel."""
        return self._cleaner.space(), self._cleaner.limits, self._ledger.by_channel()


def limits_of(site: SiteConfig) -> Limits:
    """The limits that a site's configuration asks for."""
    storage, channels = site.storage, site.channels
    quotas = {c.id: c.recording.quota_bytes for c in channels if c.recording.quota_bytes is not None} if storage.quota_mode else {}
    keep = {c.id: seconds_to_ns(c.recording.keep_days * _DAY_S) for c in channels if c.recording.keep_days is not None}
    return Limits(storage.when_full, storage.min_free_bytes, storage.max_bytes, quotas, keep)


def channel_modes(site: SiteConfig) -> dict[str, ChannelMode]:
    """How each channel is recorded."""
    schedules = {name: schedule.evaluable(site.holidays, site.site.zone) for name, schedule in site.schedules.items()}
    return {channel.id: ChannelMode.of(channel.recording, schedules) for channel in site.channels}


def create(runtime: Runtime) -> StorageService:
    """The storage service, wired. Nothing is opened before `start`."""
    return StorageService(runtime)
