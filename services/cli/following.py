"""A running process takes new versions of its configuration: from the topic, or (in one process) from its file at SIGHUP."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Protocol

import structlog

from shared.bus.port import Bus
from shared.config.diff import refusals
from shared.config.document import document
from shared.config.load import load_site, parse_site
from shared.config.services import KafkaBus
from shared.config.site import SiteConfig
from shared.config.versions import Version, effective
from shared.config_feed.feed import FORMAT, ConfigFeed
from shared.domain.clock import Clock
from shared.domain.errors import BusError, ConfigError
from shared.report import Reporter

log = structlog.get_logger(__name__)

REFUSED = "config.refused"
_KEPT = "configuration.json"
_LOOK_S = 5.0
#: How long a start waits for the version in force, where the broker answers.
FIRST_S = 10.0


class Running(Protocol):
    """What is to take them: the services of the process."""

    @property
    def bus(self) -> Bus: ...

    @property
    def reporter(self) -> Reporter: ...

    async def reconfigure(self, site: SiteConfig) -> Mapping[str, str]:
        """By name, why a service refused."""
        ...


@dataclass(frozen=True, slots=True)
class OwnFile:
    """The file that the process was started with. `name`: as the user called it; `text`: as it was read then.
    `version_id`: of the version that the process began with; empty: with the file itself."""

    name: str
    folder: Path
    text: str
    version_id: str = ""


def begin(site_file: Path) -> tuple[SiteConfig, OwnFile]:
    """What a process runs at first: the version that it ran when it was stopped, or else its file. Needs no broker.

    Raises:
        ConfigInvalid: its file does not validate.
    """
    site = load_site(site_file)
    own = OwnFile(str(site_file), site_file.absolute().parent, site_file.read_text(encoding="utf-8-sig"))
    kept = _kept(site) if isinstance(site.bus, KafkaBus) else None
    if kept is not None:
        try:
            running = effective(own.text, kept.text, name=f"version {kept.number}", base_dir=own.folder)
            return running, replace(own, version_id=kept.id)
        except ConfigError as error:
            log.warning("the version that ran last does not validate here any more; the file is used", error=str(error))
    return site, own


class FirstVersion:
    """What a process runs that has kept no version: the one in force, where the broker tells it soon, or else its file. It would otherwise
    run its file for a moment, and read cameras that are none of its business. `wait_s`: what is soon."""

    def __init__(self, bus: Bus, site: SiteConfig, own: OwnFile, clock: Clock, *, wait_s: float = FIRST_S) -> None:
        self._bus, self._site, self._clock, self._wait_s = bus, site, clock, wait_s
        #: With the version that the process begins with.
        self.own = own

    async def read(self) -> SiteConfig:
        """Called with the bus there. `follow` takes what came too late, and tells what does not validate here."""
        if not isinstance(self._site.bus, KafkaBus) or self.own.version_id:
            return self._site
        newest = await self._newest()
        if newest is None or newest.format > FORMAT:
            return self._site
        try:
            site = await asyncio.to_thread(effective, self.own.text, newest.text, name=f"version {newest.number}", base_dir=self.own.folder)
        except ConfigError:
            return self._site
        self.own = replace(self.own, version_id=newest.id)
        await asyncio.to_thread(_keep, self._site, newest)
        return site

    async def _newest(self) -> Version | None:
        feed = ConfigFeed(self._bus, self._clock)
        try:
            async with asyncio.timeout(self._wait_s):
                return (await feed.read_all()).newest
        except (TimeoutError, BusError) as error:
            log.warning("the configuration in force cannot be read now; the file is used until then", error=str(error))
            return None
        finally:
            await feed.close()


@contextmanager
def hangups(*, noted: bool = True) -> Iterator[asyncio.Event]:
    """While inside, SIGHUP sets the event, also while nobody looks at it yet, or any more. `noted` False: it does what it did before."""
    asked, loop = asyncio.Event(), asyncio.get_running_loop()

    def handler(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(asked.set)

    before = signal.signal(signal.SIGHUP, handler) if noted else None
    try:
        yield asked
    finally:
        if noted:
            signal.signal(signal.SIGHUP, before)


async def follow(running: Running, site: SiteConfig, own: OwnFile, clock: Clock, asked: asyncio.Event) -> None:
    """Take every new version, for as long as the process runs. A supervised loop. `asked`: of `hangups`, in one process."""
    if isinstance(site.bus, KafkaBus):
        await _follow_topic(running, site, own, clock)
    else:
        await _follow_file(running, own, asked)


async def _follow_topic(running: Running, site: SiteConfig, own: OwnFile, clock: Clock) -> None:
    feed, settled = ConfigFeed(running.bus, clock), own.version_id
    try:
        await feed.read_all()
        while True:
            newest = feed.history.newest
            if newest is not None and newest.id != settled:
                wanted = await _valid(running, own, newest)
                if wanted is None:
                    settled = newest.id
                elif await _reconfigure(running, wanted, f"version {newest.number}"):  # else again, a little later
                    settled = newest.id
                    await asyncio.to_thread(_keep, site, newest)
            await feed.poll(_LOOK_S)
    finally:
        await feed.close()


async def _valid(running: Running, own: OwnFile, version: Version) -> SiteConfig | None:
    """What this process would run; None: it cannot, which is told."""
    name = f"version {version.number}"
    try:
        if version.format > FORMAT:
            raise ConfigError("a newer Vedette wrote it", where=name)
        return await asyncio.to_thread(effective, own.text, version.text, name=name, base_dir=own.folder)
    except ConfigError as error:
        await running.reporter.clear(REFUSED)
        await running.reporter.raise_(REFUSED, f"{name} of the configuration is refused, the one before goes on: {error}")
        return None


async def _reconfigure(running: Running, site: SiteConfig, name: str) -> bool:
    """Whether all services have taken it."""
    refused = await running.reconfigure(site)
    if refused:
        told = "; ".join(f"{service}: {why}" for service, why in refused.items())
        await running.reporter.raise_(REFUSED, f"{name} of the configuration is refused by some services: {told}")
        return False
    await running.reporter.clear(REFUSED)
    log.info("the configuration is in force", version=name)
    return True


async def _follow_file(running: Running, own: OwnFile, asked: asyncio.Event) -> None:
    """Read the file again whenever somebody has asked for it."""
    while True:
        await asked.wait()
        asked.clear()
        own = await _read_again(running, own)


async def _read_again(running: Running, own: OwnFile) -> OwnFile:
    """The file as it runs from now on."""
    try:
        text, site = await asyncio.to_thread(_load, own)
        if reasons := refusals(document(own.text), document(text)):
            raise ConfigError("; ".join(reasons))
    except (ConfigError, OSError, UnicodeDecodeError) as error:
        await running.reporter.clear(REFUSED)
        await running.reporter.raise_(REFUSED, f"{own.name} is refused, what ran before goes on: {error}")
        return own
    await _reconfigure(running, site, own.name)
    return OwnFile(own.name, own.folder, text)


def _load(own: OwnFile) -> tuple[str, SiteConfig]:
    text = (own.folder / Path(own.name).name).read_text(encoding="utf-8-sig")
    return text, parse_site(text, name=own.name, base_dir=own.folder)


def _kept(site: SiteConfig) -> Version | None:
    """The version that ran last; None: none did."""
    try:
        return Version(**json.loads((Path(site.data_dir) / _KEPT).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _keep(site: SiteConfig, version: Version) -> None:
    """For the next start, maybe without a broker. Lost in a power cut it is only read again."""
    path = Path(site.data_dir) / _KEPT
    new = path.with_suffix(".new")
    try:
        new.write_text(json.dumps(asdict(version)), encoding="utf-8")
        new.replace(path)
    except OSError as error:
        log.warning("the version cannot be kept for the next start", error=error.strerror)
