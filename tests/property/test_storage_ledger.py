"""What is stored is counted right whatever comes between a change of the catalogue and its account: a machine of all orders."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.storage.adapters.archive import Archive
from services.storage.adapters.buckets import Buckets
from services.storage.adapters.catalogue import Catalogue, Kept
from services.storage.adapters.layout import Layout
from services.storage.adapters.ledger import Ledger, Usage
from services.storage.adapters.locks import Locks
from services.storage.adapters.notices import Notices
from services.storage.adapters.reach import Reach
from services.storage.adapters.writer import Writer
from services.storage.core.model import Recording, State, StoredSegment
from shared.bus.embedded import EmbeddedBus
from shared.config.services import DatabaseConfig, LocalObjects, StorageConfig
from shared.db.engine import database_url
from shared.domain.clock import SystemClock
from shared.domain.errors import CatalogueUnavailable
from shared.messages import SegmentMessage
from shared.report import Reporter
from tests.support.segments import Feed

T = TypeVar("T")


class Gates(Catalogue):
    """Each change waits before it is done, and again before its answer is given, until it is let through, or broken off."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.closed: list[asyncio.Future[None]] = []

    async def _through(self, change: Callable[[], Awaitable[T]]) -> T:
        await self._gate()
        done = await change()
        await self._gate()
        return done

    async def _gate(self) -> None:
        gate = asyncio.get_running_loop().create_future()
        self.closed.append(gate)
        await gate

    async def commit(self, changed: Sequence[Recording], new: Iterable[str], added: Sequence[StoredSegment]) -> dict[str, Kept]:
        return await self._through(partial(super().commit, changed, new, added))

    async def close(self, recording_id: str, size_bytes: int, sha256: str) -> Recording | None:
        return await self._through(partial(super().close, recording_id, size_bytes, sha256))

    async def set_locked(self, recording_id: str, locked: bool) -> tuple[Recording | None, bool]:
        return await self._through(partial(super().set_locked, recording_id, locked))

    async def lost(self, recording_id: str) -> Recording | None:
        return await self._through(partial(super().lost, recording_id))

    async def forget(self, recording_ids: Sequence[str]) -> None:
        await self._through(partial(super().forget, recording_ids))


class Recorder:
    """The parts of storage that change what is stored: of each one piece of work at a time, of locks any number."""

    def __init__(self, folder: Path) -> None:
        clock, buckets = SystemClock(), Buckets(LocalObjects(), folder, StorageConfig())
        bus = EmbeddedBus(clock)
        self.layout, self.ledger = Layout(folder), Ledger()
        self.catalogue = Gates(database_url(DatabaseConfig(), folder, "catalogue"))
        notices = Notices(Reporter(bus.producer, clock, "vedette"), bus.producer, clock)
        self.writer = Writer(self.layout, self.catalogue, self.ledger, clock, file_s=2, modes={})
        reach = Reach(buckets, notices, clock)
        self.archive = Archive(self.layout, self.catalogue, buckets, self.writer, self.ledger, notices, reach, clock)
        self.locks = Locks(self.catalogue, buckets, self.archive, self.ledger, notices, clock, "vedette")
        self.buckets, self.work = buckets, dict[str, asyncio.Task[None]]()
        self.group: list[SegmentMessage] = []  # in hand

    def begin(self, what: str, work: Coroutine[Any, Any, None]) -> None:
        self.work[what] = asyncio.ensure_future(work)

    async def settle(self) -> None:
        """Until all that goes on waits at a gate, or has ended: nothing of it waits for another."""
        async with asyncio.timeout(60):
            while len(going := [task for task in self.work.values() if not task.done()]) > len(self.catalogue.closed):
                arrival = asyncio.ensure_future(asyncio.sleep(0.001))
                await asyncio.wait([*going, arrival], return_when=asyncio.FIRST_COMPLETED)
        for what, task in list(self.work.items()):
            if task.done():
                del self.work[what]
                task.result()

    async def go_on(self, number: int = 0, trouble: Exception | None = None) -> None:
        """One of those at the gates: done before its turn came, or not, and known to be, or not, where there is trouble."""
        gate = self.catalogue.closed.pop(number)
        if trouble is None:
            gate.set_result(None)
        else:
            gate.set_exception(trouble)
        await asyncio.sleep(0)
        await self.settle()

    async def alone(self, what: str, work: Coroutine[Any, Any, None]) -> None:
        """All of it, whatever waits at the gates."""
        self.begin(what, work)
        await self.settle()
        while what in self.work:
            await self.go_on(-1)

    async def agrees(self) -> None:
        """The ledger says what the catalogue does."""
        stored = Ledger()
        stored.load(await self.catalogue.usage())
        assert _something(self.ledger) == _something(stored)

    async def write(self, group: list[SegmentMessage]) -> None:
        self.group = self.group or group
        try:
            self.archive.ended((await self.writer.store(self.group)).ended)
        except CatalogueUnavailable:
            return
        self.group = []

    async def end(self) -> None:
        self.archive.ended(await self.writer.end_all())

    async def keep(self, *, lose_files: bool) -> None:
        try:
            await self.archive.finish_all()
            if lose_files:
                for recording in await self.catalogue.in_state(State.CLOSED):
                    self.layout.path(recording).unlink()
            await self.archive.upload_all()
        except CatalogueUnavailable:  # tried again next time
            pass

    async def lock(self, recording_id: str, locked: bool) -> None:
        with suppress(CatalogueUnavailable):
            await self.locks.set(recording_id, locked)

    async def clean(self, most: int) -> None:
        found = await self.catalogue.oldest(limit=most)
        await self.catalogue.mark_deleting([recording.id for recording in found])
        with suppress(CatalogueUnavailable):
            await self.archive.remove(await self.catalogue.in_state(State.DELETING))

    async def stop(self) -> None:
        for gate in self.catalogue.closed:
            gate.cancel()
        for task in self.work.values():
            task.cancel()
        await asyncio.gather(*self.work.values(), return_exceptions=True)
        await self.archive.stop()
        await self.writer.stop()
        await self.catalogue.stop()
        await self.buckets.stop()


@asynccontextmanager
async def recorder(folder: Path) -> AsyncIterator[Recorder]:
    made = Recorder(folder)
    await made.catalogue.start()
    try:
        yield made
    finally:
        await made.stop()


@pytest.mark.parametrize("unlock", [False, True])
@pytest.mark.parametrize("done", [False, True])  # the change, when its recording is locked or unlocked; else it is about to be
@pytest.mark.parametrize("change", ["written", "closed", "lost"])
async def test_what_is_locked_while_it_changes_is_counted_as_locked(tmp_path: Path, change: str, done: bool, unlock: bool) -> None:
    async with recorder(tmp_path) as parts:
        catalogue, feed = parts.catalogue, Feed()
        await parts.alone("writer", parts.write([feed.next()]))
        (recording,) = await catalogue.in_state(State.OPEN)
        if unlock:
            await parts.alone("lock", parts.lock(recording.id, True))
        if change == "written":
            parts.begin("changes", parts.write([feed.next()]))
        else:
            await parts.alone("writer", parts.end())
            parts.begin("changes", parts.keep(lose_files=change == "lost"))
        await parts.settle()
        for _ in range((2 if change == "lost" else 0) + done):
            await parts.go_on()
        await parts.alone("lock", parts.lock(recording.id, not unlock))
        while catalogue.closed:
            await parts.go_on()
        assert parts.work == {}
        await parts.agrees()


def _something(ledger: Ledger) -> dict[str, Usage]:
    return {channel: usage for channel, usage in ledger.by_channel().items() if usage != Usage()}


class Orders(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.feeds = {name: Feed(name) for name in ("door", "yard")}
        self.recorder = self.runner.run(self._made(Path(self.folder.name)))
        self.names, self.broken = 0, False

    async def _made(self, folder: Path) -> Recorder:
        recorder = Recorder(folder)
        await recorder.catalogue.start()
        return recorder

    def _do(self, what: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def begun() -> None:
            self.recorder.begin(what, work())
            await self.recorder.settle()

        if what not in self.recorder.work:
            self.runner.run(begun())

    @rule(counts=st.tuples(st.integers(0, 3), st.integers(0, 3)))
    def write(self, counts: tuple[int, int]) -> None:
        """A group, or again the one that has failed."""
        if "writer" not in self.recorder.work:
            group = (
                [] if self.recorder.group else [one for feed, n in zip(self.feeds.values(), counts, strict=True) for one in feed.take(n)]
            )
            if group or self.recorder.group:
                self._do("writer", lambda: self.recorder.write(group))

    @rule()
    def end_files(self) -> None:
        self._do("writer", self.recorder.end)

    @rule(lose_files=st.sampled_from([False, False, True]))
    def close_and_upload(self, lose_files: bool) -> None:
        self._do("archivist", lambda: self.recorder.keep(lose_files=lose_files))

    @rule(most=st.integers(1, 2))
    def clean(self, most: int) -> None:
        self._do("cleaner", lambda: self.recorder.clean(most))

    @rule(data=st.data(), locked=st.booleans())
    def lock_or_unlock(self, data: st.DataObject, locked: bool) -> None:
        found = self.runner.run(self.recorder.catalogue.in_state(*State))
        if found:
            chosen = data.draw(st.sampled_from([recording.id for recording in found]))
            self.names += 1
            self._do(f"lock {self.names}", lambda: self.recorder.lock(chosen, locked))

    @precondition(lambda self: self.recorder.catalogue.closed)
    @rule(data=st.data(), broken=st.sampled_from([False] * 5 + [True]))
    def go_on(self, data: st.DataObject, broken: bool) -> None:
        number = data.draw(st.integers(0, len(self.recorder.catalogue.closed) - 1))
        self.broken = self.broken or broken
        trouble = CatalogueUnavailable("connection was closed in the middle of operation") if broken else None
        self.runner.run(self.recorder.go_on(number, trouble))

    @invariant()
    def what_is_counted_is_stored(self) -> None:
        if not self.recorder.work:
            self.runner.run(self._compare())

    async def _compare(self) -> None:
        if self.broken:
            await self.recorder.ledger.recount(self.recorder.catalogue.usage)
        await self.recorder.agrees()
        self.broken = False

    def teardown(self) -> None:
        while self.recorder.catalogue.closed:
            self.runner.run(self.recorder.go_on())
        self.runner.run(self._compare())
        self.runner.run(self.recorder.stop())
        self.runner.close()
        self.folder.cleanup()


TestOrders = Orders.TestCase
TestOrders.settings = settings(max_examples=20, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
