"""Wiring of storage.

SEGMENTS --intake--> open files + catalogue --finish--> closed files --upload--> object store
ACTIONS  --commands--> actions --work--> alarm footage, snapshots --results--> ACTIONS
              cleaner: room, quotas, expiry        notices --> RECORDINGS, EVENTS (exceptions)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

import structlog

from services.storage.adapters import disk
from services.storage.adapters.actions import Actions
from services.storage.adapters.adopter import Adopter
from services.storage.adapters.archive import Archive
from services.storage.adapters.buckets import Buckets
from services.storage.adapters.catalogue import Catalogue
from services.storage.adapters.cleaner import Cleaner
from services.storage.adapters.kept_clock import KeptClock
from services.storage.adapters.layout import Layout
from services.storage.adapters.ledger import Ledger, Usage
from services.storage.adapters.locks import Locks
from services.storage.adapters.notices import Notices
from services.storage.adapters.picture import Pictures
from services.storage.adapters.reach import SOURCE, Reach
from services.storage.adapters.reader import Reader
from services.storage.adapters.reconcile import Reconciler, Repair
from services.storage.adapters.snapshots import Snapshots
from services.storage.adapters.writer import Writer
from services.storage.core.model import Recording
from services.storage.core.policy import Limits, Space, with_channels
from services.storage.core.timeline import BarSpan, bar
from services.storage.intake import Intake, drain
from services.storage.linkage import Linkage
from services.storage.settings import DAY_S, GroupUsage, channel_limits, channel_modes, groups_of, limits_of, snapshots_bucket
from shared.config.services import LocalObjects
from shared.config.site import SiteConfig
from shared.db.engine import database_url
from shared.domain.clock import seconds_to_ns
from shared.domain.errors import CatalogueError, ObjectStoreError, StorageFull
from shared.domain.redact import redact
from shared.service import Health, Runtime
from shared.supervise import Supervisor

log = structlog.get_logger(__name__)

DATABASE = "catalogue"
_DRAIN_S, _HOUSEKEEPING_S, _LOOK_AGAIN_S = 10.0, 5.0, 300.0
#: How long `start` waits to be ready: what is started after it finds it so, unless something is away.
_GRACE_S = 5.0
_BACKOFF_S, _BACKOFF_MAX_S = 0.5, 15.0
_BEGIN = "storage.begin"
#: Loops that end when they are through.
_ONCE = (_BEGIN, "storage.unlisted")


class StorageService:
    """Keeps recordings. Implements `shared.service.Service`."""

    name = "storage"

    def __init__(self, runtime: Runtime, drain_s: float) -> None:
        site, clock = runtime.site, runtime.clock
        self._runtime, self._drain_s = runtime, drain_s
        self._layout = Layout(runtime.data_dir)
        self.buckets = Buckets(site.objects, runtime.data_dir, site.storage)
        self._ledger = Ledger()
        self._notices = Notices(runtime.reporter, runtime.bus.producer, clock)
        self._supervisor = Supervisor(clock, runtime.reporter.loop_failed)
        self._ready = asyncio.Event()
        self._why = ""  # it is not ready

    # -- life

    async def start(self) -> None:
        """Begin: repair what a crash left, then take segments.

        Waits a moment for that, and returns all the same when a database or an object store is away: it is tried again under supervision,
        `health` says why, and segments wait with who sent them.

        Raises:
            ConfigError: a setting is wrong.
            DiskError: the data folder cannot be written.
        """
        with disk.errors_mapped(self._layout.open_dir):
            self._build()
            await asyncio.to_thread(self._layout.open_dir.mkdir, parents=True, exist_ok=True)
        # They join their groups now, so that what is published from here on is kept for them, and take nothing before all is ready.
        self._supervisor.spawn("storage.segments", self._intake.loop)
        self._supervisor.spawn("storage.commands", self._linkage.commands_loop)
        self._supervisor.spawn("storage.notices", self._notices.run)
        self._supervisor.spawn(_BEGIN, self._begin)
        await self.wait_ready(_GRACE_S)

    async def wait_ready(self, timeout_s: float) -> bool:
        """Whether segments are taken, within `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._ready.wait()
        except TimeoutError:
            return False
        return True

    async def _begin(self) -> None:
        """Get ready, however long what is away is away; then spawn the loops."""
        backoff_s = _BACKOFF_S
        while True:
            try:
                lost = await self._prepare()
                break
            except (CatalogueError, ObjectStoreError, StorageFull, disk.DiskError) as error:
                self._why = redact(str(error))
            if await asyncio.to_thread(disk.give_ballast_if_full, self._layout.ballast):
                continue
            log.error("storage cannot begin yet", error=self._why)
            self._notices.set("storage.error", self._why)
            await self._runtime.clock.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, _BACKOFF_MAX_S)
        self._notices.clear("storage.error")
        self._ready.set()
        for name, loop in self._loops().items():
            self._supervisor.spawn(f"storage.{name}", loop)
        for text in lost:
            await self._runtime.reporter.tell("storage.error", text)

    async def _prepare(self) -> Sequence[str]:
        """Everything that must be done before the first segment is taken. May be done again; what footage the disk has lost."""
        await self.catalogue.start()
        await self._learn_limits()
        self._ledger.load(await self.catalogue.usage())
        self.buckets.know_rows(self._ledger.by_bucket())
        await self._reach.begin()
        with disk.errors_mapped(self._layout.open_dir):
            await self._cleaner.take_ballast()
            repair = await Reconciler(self._layout, self.catalogue, self.buckets, self._archive).run()
        if repair != Repair():
            self._ledger.load(await self.catalogue.usage())  # rows are others now
        return repair.lost

    def _loops(self) -> dict[str, Callable[[], Awaitable[None]]]:
        return {
            "finish": self._archive.finish_loop,
            "upload": self._archive.upload_loop,
            "sweep": self._sweep_loop,
            "housekeeping": self._housekeeping_loop,
            "actions": self._linkage.work_loop,
            "results": self._linkage.results_loop,
            "unlisted": self._unlisted_loop,
            "objects": self._reach.loop,
            "locks": self._locks.loop,
        }

    async def _learn_limits(self) -> None:
        """Recordings of channels that the site names no more go by what it last asked for."""
        site = self._runtime.site
        known = await self.catalogue.remember_limits(channel_limits(site))
        self._cleaner.limits = with_channels(limits_of(site), known, quota_mode=site.storage.quota_mode)

    def _build(self) -> None:
        runtime, site, clock = self._runtime, self._runtime.site, self._runtime.clock
        self.catalogue = Catalogue(database_url(site.database, runtime.data_dir, DATABASE))
        self._writer = Writer(self._layout, self.catalogue, self._ledger, clock, file_s=site.storage.file_s, modes=channel_modes(site))
        self._reach = Reach(self.buckets, self._notices, clock)
        self._archive = Archive(self._layout, self.catalogue, self.buckets, self._writer, self._ledger, self._notices, self._reach, clock)
        self._locks = Locks(self.catalogue, self.buckets, self._archive, self._ledger, self._notices, clock, site.device.id)
        self._snapshots = Snapshots(self.catalogue, self.buckets, self._ledger)
        self._cleaner = Cleaner(
            self._layout, self.catalogue, self._archive, self._snapshots, self._ledger, self._notices, limits_of(site),
            KeptClock(self._layout, clock), objects_on_disk=isinstance(site.objects, LocalObjects),
        )  # fmt: skip
        self.shelf = self.catalogue.for_people()
        self.reader = Reader(self._layout, self.shelf, self.buckets)
        self._adopter = Adopter(
            self._layout, self.catalogue, self.buckets, self._snapshots, self._ledger, clock,
            device=site.device.id, channels={channel.id: channel.number for channel in site.channels},
        )  # fmt: skip
        keep_ns = seconds_to_ns(site.alarms.keep_events_days * DAY_S)
        self._linkage = Linkage(
            runtime.bus, clock, self.catalogue, Actions(self.catalogue, keep_ns), Pictures(self.catalogue, self.reader), self._snapshots,
            device=site.device.id, snapshots_to=lambda channel: snapshots_bucket(self._runtime.site, channel),
            claimed=self._writer.claimed, stored_last=self._writer.head, ready=self._ready,
        )  # fmt: skip
        self._intake = Intake(
            runtime.bus, clock, self._writer, self._cleaner, self._archive, self._notices, self._linkage.footage_stored, self._ready
        )

    async def reconfigure(self, site: SiteConfig) -> None:
        """Run by `site` from here on: modes, schedules, quotas, policies. What is recorded goes on. Not concurrent with itself.

        Raises:
            CatalogueError: the catalogue could not take the channels' limits; those in force go on.
        """
        self._runtime = replace(self._runtime, site=site)
        if not hasattr(self, "catalogue"):  # not started: it begins with it
            return
        self.buckets.know(group.bucket for group in site.storage.groups.values())
        self._reach.again()
        await self._writer.reconfigure(file_s=site.storage.file_s, modes=channel_modes(site))
        if self._ready.is_set():  # else it learns them when it is
            await self._learn_limits()

    async def stop(self) -> None:
        """Close what is open, release everything. Idempotent."""
        await self._supervisor.stop()
        if self._ready.is_set():
            self._ready.clear()
            await drain(self._archive, self._writer, self._cleaner, self._drain_s)
        if hasattr(self, "catalogue"):
            await self._archive.stop()
            await self._writer.stop()
            await self._cleaner.stop()
            await self.catalogue.stop()
        await self.buckets.stop()

    @property
    def not_ready(self) -> str:
        """Why nothing can be asked yet; empty: it can."""
        if self._ready.is_set():
            return ""
        if not hasattr(self, "catalogue"):
            return "storage has not been started"
        return f"storage is starting: {self._why}" if self._why else "storage is starting"

    def health(self) -> Health:
        details: dict[str, str | int | float | bool] = {"used_bytes": self._ledger.total_bytes}
        if not self._ready.is_set():
            return Health(False, self.not_ready, details)
        failed = [loop.name for loop in self._supervisor.loops if not loop.running and loop.name not in _ONCE]
        ok = not failed and self._intake.check_progress() and not self._notices.holds("storage.full")
        details |= {"segments": self._intake.segments, "open_files": self._writer.open_files, "sweeps": self._cleaner.sweeps}
        details |= {source: redact(text) for source, text in self._notices.texts().items()}  # who is away, for one
        if self._notices.holds(SOURCE):
            details["objects"] = redact(self._reach.trouble)
        return Health(ok, ", ".join([*self._notices.open(), *failed]) or "recording", details)

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
            try:
                await self._ledger.recount(self.catalogue.usage)
            except CatalogueError as error:
                log.warning("what is stored cannot be counted again yet", error=str(error))
            await self._runtime.clock.sleep(_HOUSEKEEPING_S)

    async def _unlisted_loop(self) -> None:
        """List again what the catalogue has lost; once, as soon as the object store answers."""
        backoff_s = _HOUSEKEEPING_S
        while True:
            try:
                adopted = await self._adopter.run()
                break
            except (ObjectStoreError, CatalogueError) as error:
                log.warning("the object store could not be looked through yet", error=str(error))
            await self._runtime.clock.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, _LOOK_AGAIN_S)
        if adopted.recordings or adopted.snapshots:
            text = f"the catalogue had lost {adopted.recordings} recordings and {adopted.snapshots} snapshots; they are listed again"
            await self._runtime.reporter.tell("storage.error", text)

    # -- what the API asks

    async def lock(self, recording_id: str, locked: bool) -> Recording | None:
        """Lock or unlock a recording; None: there is none."""
        return await self._locks.set(recording_id, locked)

    async def timeline(self, channel: str, from_ns: int, to_ns: int) -> list[BarSpan]:
        """What a time bar shows."""
        footage, spans = await self.shelf.footage(channel, from_ns, to_ns)
        return await asyncio.to_thread(bar, footage, spans, from_ns, to_ns)

    async def space(self) -> tuple[Space, Limits, Mapping[str, Usage]]:
        """Room, limits, and bytes per channel."""
        return await self._cleaner.space(), self._cleaner.limits, self._ledger.by_channel()

    def groups(self) -> list[GroupUsage]:
        """Storage groups, and what lies in them."""
        return groups_of(self._runtime.site.storage, self._ledger.by_bucket())


def create(runtime: Runtime, *, drain_s: float = _DRAIN_S) -> StorageService:
    """The storage service, wired. Nothing is opened before `start`. `drain_s`: for what a stop finishes; the next start does the rest."""
    return StorageService(runtime, drain_s)
