"""From a configuration to running services: the only place that knows all of them, and whether the bus is in memory or Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from services.cli.factory import Factory, ServiceFactory
from services.cli.lock import DataDirLock
from shared.bus.port import Bus
from shared.config.services import KafkaBus
from shared.config.site import SiteConfig
from shared.domain.clock import Clock
from shared.domain.errors import BusError, ConfigError, VedetteError
from shared.domain.redact import redact
from shared.report import Reporter
from shared.service import Health, Runtime, Service

log = structlog.get_logger(__name__)

#: Started in this order: whoever makes footage durable, whoever makes footage, and then the rest: recording waits for nobody. Analysis
#: last, since a model may have to be exported first.
START_ORDER = ("storage", "ingest", "alarms", "console", "analytics")
#: Stopped in this order: sources first, so that what they made is handled to the end.
STOP_ORDER = ("ingest", "analytics", "alarms", "storage", "console")
#: Recording needs these. When one of them cannot start, nothing runs; of the others it is told, and recording goes on.
ESSENTIAL = frozenset({"storage", "ingest"})
#: A service that has not ended by then is left behind (its footage is durable; the next start reconciles).
STOP_LIMIT_S = 60

#: Told what happens: a service's name, and what it does or why it could not.
Tell = Callable[[str, str], None]


def make_bus(site: SiteConfig, clock: Clock) -> Bus:
    """The bus that the configuration names, not yet started."""
    if isinstance(site.bus, KafkaBus):
        from shared.bus.kafka import KafkaBus as KafkaAdapter

        return KafkaAdapter(site.bus, clock, client_id=site.device.id)
    from shared.bus.embedded import EmbeddedBus

    return EmbeddedBus(clock, Path(site.data_dir).absolute())


class Wiring:
    """The services of one process. `start`, then `stop`; both tell what they do."""

    def __init__(self, site: SiteConfig, clock: Clock, names: Sequence[str] = START_ORDER, factory: Factory | None = None) -> None:
        self._site, self._clock, self._factory = site, clock, factory or ServiceFactory()
        self._names = tuple(name for name in START_ORDER if name in names)
        self.data_dir = Path(site.data_dir).absolute()
        self._lock = DataDirLock(self.data_dir)
        self.bus = make_bus(site, clock)
        self.services: dict[str, Service] = {}
        self._begun: set[str] = set()  # whose start was called: only those are stopped
        #: Services that could not be made or started, and why.
        self.failed: dict[str, str] = {}

    async def start(self, tell: Tell) -> None:
        """Lock the data folder, start the bus and every service, in order.

        Raises:
            VedetteError: recording cannot start; what had started is stopped again.
        """
        self._lock.acquire()
        try:
            await self.bus.start()
            reporter = Reporter(self.bus.producer, self._clock, self._site.device.id)
            runtime = Runtime(self._site, self.bus, self._clock, self.data_dir, reporter)
            for name in sorted(self._names, key="console".__eq__):  # the console last: it shows the others' HTTP parts
                self._make(name, runtime, tell)
            for name in self._names:
                if name in self.services:
                    await self._start(name, tell)
        except BaseException:
            await self.stop(lambda *_: None)
            raise

    def _make(self, name: str, runtime: Runtime, tell: Tell) -> None:
        try:
            self.services[name] = self._factory.create(name, runtime, self.health)
        except Exception as error:  # noqa: BLE001  # the boundary: whatever one service fails of, recording must start
            self._failed(name, error, tell)

    async def _start(self, name: str, tell: Tell) -> None:
        tell(name, "starting")
        service = self.services[name]
        self._begun.add(name)
        try:
            await service.start()
        except Exception as error:  # noqa: BLE001  # as above
            del self.services[name]
            self._begun.discard(name)
            await self._stop(name, service, tell)
            self._failed(name, error, tell)
        else:
            tell(name, "started")

    def _failed(self, name: str, error: Exception, tell: Tell) -> None:
        """Tell why a service does not run; raise when recording needs it."""
        known = _absent(name, error) if isinstance(error, ModuleNotFoundError) else error
        if name in ESSENTIAL:
            raise known from error
        why = redact(str(known) if isinstance(known, VedetteError) else f"{type(known).__name__}: {known}")
        self.failed[name] = why
        log.error("a service could not start", service=name, error=why, exc_info=None if isinstance(known, VedetteError) else known)
        tell(name, f"could not start: {why}")

    def health(self) -> dict[str, Health]:
        """What every service says of itself; those that could not start say why."""
        running = {name: service.health() for name, service in self.services.items()}
        return running | {name: Health(ok=False, summary=f"not running: {why}") for name, why in self.failed.items()}

    async def stop(self, tell: Tell) -> None:
        """Stop everything that runs, in order, then the bus, then give the data folder free. Idempotent."""
        for name in STOP_ORDER:
            service = self.services.pop(name, None)
            if service is not None and name in self._begun:
                self._begun.discard(name)
                tell(name, "stopping")
                await self._stop(name, service, tell)
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


def _absent(name: str, error: ModuleNotFoundError) -> Exception:
    """A missing Python package is an extra that was not installed; a missing module of ours is a fault."""
    module = (error.name or "").split(".")[0]
    if module in ("services", "shared", ""):
        return error
    hint = f"install `vedette[{name}]`" + ("" if name in ESSENTIAL else "; recording works without it")
    return ConfigError(f"the Python package {module!r} is not installed", hint=hint)
