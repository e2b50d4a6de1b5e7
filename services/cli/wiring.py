"""From a configuration to running services: the only place that knows all of them, and whether the bus is in memory or Kafka.

Services start side by side, and none waits for another: cameras are recorded into the spool while storage repairs, migrates, or waits for
its database. What cannot start is told, and tried again for as long as the process runs.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from services.cli.factory import Factory, ServiceFactory
from services.cli.lock import DataDirLock
from services.cli.share import Share
from shared.bus.embedded import EmbeddedBus
from shared.bus.port import Bus
from shared.config.services import KafkaBus
from shared.config.site import SiteConfig
from shared.domain.clock import Clock
from shared.domain.errors import BusError, ConfigError, VedetteError
from shared.domain.redact import redact
from shared.report import Reporter
from shared.service import Health, Reconfigurable, Runtime, Service
from shared.supervise import Aside, Supervisor

log = structlog.get_logger(__name__)

#: In this order they are made, and their starts begun. The console opens when the others have had `CONSOLE_WAIT_S` to start.
START_ORDER = ("ingest", "storage", "alarms", "analytics", "console")
#: Stopped in this order: sources first, so that what they made is handled to the end.
STOP_ORDER = ("ingest", "analytics", "alarms", "storage", "console")
#: Recording needs these: when their settings are wrong, or their packages missing, nothing runs.
ESSENTIAL = frozenset({"storage", "ingest"})
#: How long others let the cameras go first, how long the page waits for what it shows, and `start` for all.
INGEST_WAIT_S, CONSOLE_WAIT_S, START_WAIT_S = 2.0, 5.0, 10.0
BACKOFF_MIN_S, BACKOFF_MAX_S = 1.0, 30.0
BUS_LOOK_S = 1.0
#: A service that has not ended by then is left behind (its footage is durable; the next start reconciles).
STOP_LIMIT_S = 60

#: Told what happens: the name of a service (or `bus`), and what it does or why it could not.
Tell = Callable[[str, str], None]
First = Callable[[], Awaitable[SiteConfig]]


def make_bus(site: SiteConfig, clock: Clock) -> Bus:
    """The bus that the configuration names, not yet started."""
    if isinstance(site.bus, KafkaBus):
        from shared.bus.kafka import KafkaBus as KafkaAdapter

        return KafkaAdapter(site.bus, clock, client_id=site.device.id)
    return EmbeddedBus(clock, Path(site.data_dir).absolute())


class Wiring:
    """The services of one process, and the `View` of them. `start`, then `stop`; both tell what they do. `bus`: if it is made already."""

    def __init__(
        self,
        site: SiteConfig,
        clock: Clock,
        names: Sequence[str] = START_ORDER,
        factory: Factory | None = None,
        share: Share | None = None,
        bus: Bus | None = None,
    ) -> None:
        self._site, self._clock, self._factory = site, clock, factory or ServiceFactory()
        self._share = share
        self._names = tuple(name for name in START_ORDER if name in names)
        self.data_dir = Path(site.data_dir).absolute()
        self._lock = DataDirLock(self.data_dir)
        self.bus = bus or make_bus(site, clock)
        self._supervisor, self._reports = Supervisor(clock), Aside()
        self._reporter: Reporter | None = None
        self._begun: dict[str, Service] = {}  # whose start was called: only those are stopped
        self._tried = {name: asyncio.Event() for name in self._names}
        self._wrong: asyncio.Future[None] | None = None  # fails with the mistake for which nothing can run
        self.services: dict[str, Service] = {}
        #: Services, and the bus, that could not be made or started, and why.
        self.failed: dict[str, str] = {}

    @property
    def names(self) -> Collection[str]:
        return self._names

    def running(self, name: str) -> Service | None:
        return self.services.get(name)

    @property
    def reporter(self) -> Reporter:
        """Once the bus was begun with."""
        assert self._reporter is not None
        return self._reporter

    async def reconfigure(self, site: SiteConfig) -> dict[str, str]:
        """Have the services run by `site`, those too that start later; by name, why one refused and goes on as before. Not concurrent
        with itself."""
        self._site = site = _where_it_is(site, self._site)
        able = {name: service for name, service in self.services.items() if isinstance(service, Reconfigurable)}
        taken = await asyncio.gather(*(one.reconfigure(self._site_of(name)) for name, one in able.items()), return_exceptions=True)
        for name, result in zip(able, taken, strict=True):
            if isinstance(result, Exception) and not isinstance(result, VedetteError):
                log.error("a service failed while it took a configuration", service=name, exc_info=result)
        return {name: redact(str(result)) for name, result in zip(able, taken, strict=True) if isinstance(result, Exception)}

    async def start(self, tell: Tell, first: First | None = None) -> None:
        """Lock the data folder, start the bus and every service. Returns when each has started or said why not, or takes its time.
        With the bus there, `first` may say what the services run.

        Raises:
            ConfigError: a mistake in the configuration or the installation, with which nothing can be recorded; or another process has
                the data folder. What had started is stopped again.
        """
        self._lock.acquire()
        self._wrong = asyncio.get_running_loop().create_future()
        try:
            await self._start_bus(tell)
            if first is not None and "bus" not in self.failed:
                self._site = _where_it_is(await first(), self._site)
            reporter = self._reporter = Reporter(self.bus.producer, self._clock, self._site.device.id)
            self._report_dropped(reporter)
            runtime = Runtime(self._site, self.bus, self._clock, self.data_dir, reporter)
            for name in self._names:
                self._supervisor.spawn(f"start.{name}", partial(self._bring_up, name, runtime, tell))
            await self._wait_for(self._names, START_WAIT_S)
        except BaseException:
            await self.stop(tell)
            raise

    async def _wait_for(self, names: Sequence[str], timeout_s: float) -> None:
        """Until each of `names` was tried once, or for `timeout_s`. Raises what makes it impossible to run."""
        assert self._wrong is not None
        tried = asyncio.gather(*(self._tried[name].wait() for name in names))
        try:
            waiting: list[asyncio.Future[Any]] = [tried, self._wrong]
            await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            tried.cancel()
            await asyncio.gather(tried, return_exceptions=True)
        if self._wrong.done():
            self._wrong.result()

    # -- the bus

    async def _start_bus(self, tell: Tell) -> None:
        """Begin with it; what it lacks is told, now and whenever that changes."""
        started = await self._try_bus(tell, started=False)
        self._supervisor.spawn("bus.trouble", partial(self._watch_bus, tell, started))
        tell("bus", "started")

    async def _watch_bus(self, tell: Tell, started: bool) -> None:
        while True:
            await self._clock.sleep(BUS_LOOK_S)
            started = await self._try_bus(tell, started=started)

    async def _try_bus(self, tell: Tell, *, started: bool) -> bool:
        try:
            if not started:
                await self.bus.start()
        except BusError as error:
            self._bus_trouble(redact(str(error)), tell)
            return False
        self._bus_trouble(redact(self.bus.trouble()), tell)
        return True

    def _bus_trouble(self, why: str, tell: Tell) -> None:
        before = self.failed.get("bus", "")
        if why:
            self.failed["bus"] = why
        else:
            self.failed.pop("bus", None)
        if bool(why) != bool(before):
            tell("bus", f"{why}; it is tried again, and recordings wait in the spool" if why else "connected")

    def _report_dropped(self, reporter: Reporter) -> None:
        if isinstance(self.bus, EmbeddedBus):
            self.bus.kept.on_dropped = lambda topic, count: self._reports.run(
                f"report of dropped {topic.name}",
                reporter.tell(f"{topic.name.replace('-', '_')}.dropped", f"the {count} oldest of {topic.name} gave way for new ones"),
            )

    # -- services

    async def _bring_up(self, name: str, runtime: Runtime, tell: Tell) -> None:
        """Make and start one service; when that fails, tell why and do it again, unless only a person can mend it."""
        if name == "console":
            await self._wait_for([other for other in self._names if other != name], CONSOLE_WAIT_S)
        elif name != "ingest" and "ingest" in self._names:
            await self._wait_for(["ingest"], INGEST_WAIT_S)
        backoff_s = BACKOFF_MIN_S
        while not await self._attempt(name, runtime, tell):
            await self._clock.sleep(backoff_s * random.uniform(0.5, 1.0))
            backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)

    async def _attempt(self, name: str, runtime: Runtime, tell: Tell) -> bool:
        """Whether this was the last: it runs, or can never do."""
        try:
            site = self._site
            service = self._begun[name] = self._factory.create(name, replace(runtime, site=self._site_of(name)), self)
            if name not in self.failed:
                tell(name, "starting")
            await service.start()
            while self._site is not site and isinstance(service, Reconfigurable):  # it has changed meanwhile
                site = self._site
                await service.reconfigure(self._site_of(name))
        except Exception as error:  # noqa: BLE001  # the boundary: whatever one service fails of, the others must run
            if (made := self._begun.get(name)) is not None:
                await self._stop(name, made, tell)
                del self._begun[name]
            return self._failed(name, error, tell)
        self.services[name] = service
        self.failed.pop(name, None)
        tell(name, "started")
        self._tried[name].set()
        return True

    def _site_of(self, name: str) -> SiteConfig:
        """Ingest knows the cameras of its share alone."""
        return self._site if name != "ingest" or self._share is None else self._share.part_of(self._site)

    def _failed(self, name: str, error: Exception, tell: Tell) -> bool:
        """Tell why a service does not run; whether to leave it at that."""
        known = _absent(name, error) if isinstance(error, ModuleNotFoundError) else error
        first, final = not self._tried[name].is_set(), isinstance(known, ConfigError)
        if final and first and name in ESSENTIAL and self._wrong is not None and not self._wrong.done():
            self._wrong.set_exception(known)
            return True
        why = redact(str(known) if isinstance(known, VedetteError) else f"{type(known).__name__}: {known}")
        final = final and name not in ESSENTIAL
        if why != self.failed.get(name):
            log.error("a service could not start", service=name, error=why, exc_info=None if isinstance(known, VedetteError) else known)
            tell(name, f"could not start: {why}" + ("" if final else "; it is tried again"))
        self.failed[name] = why
        self._tried[name].set()
        return final

    def health(self) -> dict[str, Health]:
        """What every service says of itself; those that could not start say why. The bus is named when something is wrong with it."""
        found = {name: Health(ok=False, summary=f"not running: {why}") for name, why in self.failed.items()}
        for name in self._names:
            service = self.services.get(name)
            if service is not None:
                found[name] = service.health()
            else:
                found.setdefault(name, Health(ok=False, summary="starting"))
        return found

    async def stop(self, tell: Tell) -> None:
        """Stop everything that runs or was about to, in order, then the bus, then give the data folder free. Idempotent."""
        await self._supervisor.stop()
        if self._wrong is not None and self._wrong.done():
            self._wrong.exception()
        for name in STOP_ORDER:
            service = self._begun.pop(name, None)
            if service is not None:
                tell(name, "stopping")
                await self._stop(name, service, tell)
            self.services.pop(name, None)
        await self._reports.stop()
        if self._reporter is not None:
            await self._reporter.stop()
        try:
            await self.bus.stop()
        except BusError as error:
            log.error("the bus could not be stopped in order", error=str(error))
        self._lock.release()

    async def _stop(self, name: str, service: Service, tell: Tell) -> None:
        try:
            async with asyncio.timeout(STOP_LIMIT_S):
                await service.stop()
        except TimeoutError:
            tell(name, f"not stopped within {STOP_LIMIT_S} s, left behind")
            log.error("a service did not stop in time and is left behind", service=name, limit_s=STOP_LIMIT_S)
        except Exception as error:  # the boundary: one service that fails to stop must not keep the others from stopping
            tell(name, "failed while it stopped; the log says more")
            log.error("a service failed while it stopped", service=name, exc_info=error)


def _where_it_is(site: SiteConfig, running: SiteConfig) -> SiteConfig:
    """`site` with its page where that listens: the port may have been any free one."""
    console = site.console.model_copy(update={"host": running.console.host, "port": running.console.port})
    return site.model_copy(update={"console": console})


def _absent(name: str, error: ModuleNotFoundError) -> Exception:
    """A missing Python package is an extra that was not installed; a missing module of ours is a fault."""
    module = (error.name or "").split(".")[0]
    if module in ("services", "shared", ""):
        return error
    hint = f"install `vedette[{name}]`" + ("" if name in ESSENTIAL else "; recording works without it")
    return ConfigError(f"the Python package {module!r} is not installed", hint=hint)
