"""Running a site until someone stops it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from rich.text import Text

from services.cli.announce import announce_alarms, announce_channels, announce_ready
from services.cli.factory import routers
from services.cli.following import FirstVersion, OwnFile, follow, hangups
from services.cli.output import ERR, say
from services.cli.share import Share
from services.cli.stopping import stop_signals
from services.cli.wiring import START_ORDER, Wiring
from shared.config.internal import listen_address
from shared.config.services import KafkaBus
from shared.config.site import SiteConfig
from shared.domain.clock import Clock
from shared.domain.errors import ConfigError
from shared.domain.redact import redact
from shared.service import Service
from shared.supervise import Supervisor

if TYPE_CHECKING:
    from services.cli.inside import InsideServer


def check_services(names: Sequence[str], site: SiteConfig) -> tuple[str, ...]:
    """The services to run: all, or those named.

    Raises:
        ConfigError: an unknown name; or part of the services on a bus that no other process can reach.
    """
    unknown = [name for name in names if name not in START_ORDER]
    if unknown:
        raise ConfigError(f"there is no service {unknown[0]!r}", where="--service", hint=f"one of {', '.join(START_ORDER)}")
    if names and set(names) != set(START_ORDER) and not isinstance(site.bus, KafkaBus):
        hint = "set bus.kind to kafka to run services apart"
        raise ConfigError("the embedded bus is inside one process: services elsewhere would get nothing", where="--service", hint=hint)
    return tuple(names) or START_ORDER


def check_listen(text: str | None, names: Sequence[str], site: SiteConfig) -> str | None:
    """Where the process tells its health: as the command says, or else the configuration; None: nowhere.

    Raises:
        ConfigError: no address; or only the console runs, which tells it on its own.
    """
    if tuple(names) == ("console",):
        if text is not None:
            hint = "it listens on console.host and console.port, and tells its health there"
            raise ConfigError("the console alone has no use for it", where="--listen", hint=hint)
        return None
    if text is None:
        return site.internal.listen
    try:
        listen_address(text)
    except ValueError as error:
        raise ConfigError(f"{text!r} {error}", where="--listen") from None
    return text


async def serve(
    site: SiteConfig,
    clock: Clock,
    names: Sequence[str] = START_ORDER,
    *,
    limit_s: float | None = None,
    listen: str | None = None,
    share: Share | None = None,
    own: OwnFile | None = None,
) -> None:
    """Run the services until Ctrl-C, SIGTERM, or (when given) for `limit_s` seconds; then stop them in order.

    Args:
        listen: HOST:PORT for health, metrics and the internal API; None: none.
        share: the channels that ingest takes here; None: all.
        own: the site's file, whose new versions are taken while it runs; None: there will be none.

    Raises:
        VedetteError: a mistake in the configuration, with which nothing can be recorded.
    """
    by_file = own is not None and not isinstance(site.bus, KafkaBus)
    with stop_signals(at_once=partial(_warn, "Stopping at once.")) as stop, hangups(noted=by_file) as asked:
        wiring, supervisor = Wiring(site, clock, names, share=share), Supervisor(clock)
        inside = await _open_inside(site, wiring, listen, share) if listen is not None else None
        first = FirstVersion(wiring.bus, site, own, clock) if own is not None else None
        told = partial(_started, wiring, supervisor, site, clock)
        starting = asyncio.create_task(wiring.start(told, first.read if first is not None else None), name="start")
        stopped = asyncio.create_task(stop.wait(), name="stop")
        try:
            await asyncio.wait([starting, stopped], return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                await starting
                if first is not None:
                    supervisor.spawn("cli.config", partial(follow, wiring, site, first.own, clock, asked))
                say(f"Data:      {wiring.data_dir}")
                say("Running. Alarms are printed as they happen; Ctrl-C stops.")
                if limit_s is not None:
                    supervisor.spawn("cli.limit", partial(_stop_after, clock, limit_s, stop))
                await stop.wait()
            _warn("Stopping in order; Ctrl-C again stops at once.")
        finally:
            stopped.cancel()
            await supervisor.stop()  # first: these loops read the bus, which `start` stops when it is cancelled
            starting.cancel()  # stopped while starting: what had begun is stopped by `start` itself
            await asyncio.gather(starting, return_exceptions=True)
            await wiring.stop(_tell_stop)
            if inside is not None:
                await inside.stop()
            say("Stopped.")


async def _open_inside(site: SiteConfig, wiring: Wiring, address: str, share: Share | None) -> InsideServer:
    """Before the services: who watches over the process sees how far they are."""
    try:
        from services.cli.inside import InsideServer
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the Python package {error.name!r} is not installed", where="--listen", hint="install `vedette[http]`"
        ) from error
    server = InsideServer(site, wiring.health, routers(wiring), address, share)
    await server.start()
    say(f"Health:    {server.url}/healthz")
    return server


async def _stop_after(clock: Clock, seconds: float, stop: asyncio.Event) -> None:
    await clock.sleep(seconds)
    stop.set()


def _started(wiring: Wiring, supervisor: Supervisor, site: SiteConfig, clock: Clock, name: str, what: str) -> None:
    """Tell what starts, and begin what follows from it."""
    service = wiring.running(name)
    if what == "started" and supervisor.stopped:
        return  # it is on its way down again: nothing follows from it
    if what == "started" and name == "bus":
        supervisor.spawn("cli.alarms", partial(announce_alarms, wiring.bus, site))
        supervisor.spawn("cli.channels", partial(announce_channels, wiring.bus, site))
    elif what in ("started", "connected"):
        say(f"{name}: {what}", style="green")
    elif what != "starting":
        _warn(f"{name}: {what}")
    if what == "started" and name == "console" and service is not None:
        _tell_page(service)
    elif what == "started" and name == "analytics" and service is not None:
        supervisor.spawn("cli.analytics", partial(announce_ready, service, clock))


def _tell_page(service: Service) -> None:
    """Where the page is, and how to get in."""
    from services.console.app import ConsoleService

    assert isinstance(service, ConsoleService)
    say(f"Page:      {service.url}", style="bold")
    say(f"Password:  of user admin, in {service.password_path}")


def _tell_stop(name: str, what: str) -> None:
    say(f"{name}: {what}")


def _warn(text: str) -> None:
    ERR.print(Text(redact(text), style="bold yellow"))
