"""`vedette config apply`, `history`, `rollback`: versions of a site's configuration, which its running services follow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from services.cli.logs import start_logging
from services.cli.output import OUT, count, say
from shared.config.diff import at_next_start, diff
from shared.config.document import document
from shared.config.load import load_site
from shared.config.services import KafkaBus as KafkaConfig
from shared.config.site import SiteConfig
from shared.config.versions import KEPT, Version, check_applicable
from shared.config_feed.feed import ConfigFeed
from shared.domain.clock import NS_PER_S, Clock, SystemClock
from shared.domain.errors import ConfigError

SiteFile = Annotated[Path, typer.Argument(metavar="SITE.yml", help="The site's configuration.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Note = Annotated[str, typer.Option("--note", help="What this is for; `history` shows it.")]
_CLOCK = SystemClock()
#: How long a command waits for a broker that has taken the connection and does not answer yet.
_BROKER_S = 60.0


def apply(site_file: SiteFile, note: Note = "", yes: Yes = False) -> None:
    """Make SITE.yml the configuration of the running site: checks it, shows what changes, and asks."""
    site = _begin(site_file)
    asyncio.run(_apply(site, site_file.absolute(), site_file.read_text(encoding="utf-8-sig"), note, yes=yes))


def history(
    site_file: SiteFile, show: Annotated[int | None, typer.Option("--show", help="Print the text of this version, and no list.")] = None
) -> None:
    """List the versions that were applied, the newest first."""
    asyncio.run(_history(_begin(site_file), site_file, show))


def rollback(
    site_file: SiteFile,
    version: Annotated[int, typer.Argument(metavar="VERSION", help="A number that `history` lists.")],
    note: Note = "",
    yes: Yes = False,
) -> None:
    """Apply the text of an earlier version again, as a new version."""
    asyncio.run(_rollback(_begin(site_file), site_file.absolute(), version, note, yes=yes))


def _begin(site_file: Path) -> SiteConfig:
    """Only warnings are told beside what the command says."""
    start_logging(None)
    return load_site(site_file)


@asynccontextmanager
async def _feed(site: SiteConfig, site_file: Path, clock: Clock) -> AsyncIterator[ConfigFeed]:
    """The topic, read whole."""
    if not isinstance(site.bus, KafkaConfig):
        raise ConfigError(
            "the services of this site are one process, which reads this file itself",
            where=str(site_file),
            hint="edit it and send the process SIGHUP, or start it again",
        )
    from shared.bus.kafka import KafkaBus  # heavy, and not wanted by other commands

    bus = KafkaBus(site.bus, clock, client_id=f"{site.device.id}-config", first_try_s=_BROKER_S)
    feed = ConfigFeed(bus, clock)
    try:
        await bus.start()
        if trouble := bus.trouble():
            raise ConfigError(trouble, where=str(site_file))
        await feed.read_all()
        yield feed
    finally:
        await feed.close()
        await bus.stop()


async def _apply(site: SiteConfig, site_file: Path, text: str, note: str, *, yes: bool) -> None:
    async with _feed(site, site_file, _CLOCK) as feed:
        check_applicable(text, feed.history.newest, name=str(site_file), base_dir=site_file.parent)
        await _publish(feed, site, text, note, yes=yes, restores=None)


async def _rollback(site: SiteConfig, site_file: Path, number: int, note: str, *, yes: bool) -> None:
    async with _feed(site, site_file, _CLOCK) as feed:
        text = feed.history.get(number).text
        check_applicable(text, feed.history.newest, name=f"version {number}", base_dir=site_file.parent)
        await _publish(feed, site, text, note, yes=yes, restores=number)


async def _publish(feed: ConfigFeed, site: SiteConfig, text: str, note: str, *, yes: bool, restores: int | None) -> None:
    newest = feed.history.newest
    if newest is not None and newest.text == text:
        say(f"This is version {newest.number} already; nothing to do.")
        return
    _tell_changes(newest, text)
    if not yes and not await asyncio.to_thread(typer.confirm, "Apply it?"):
        say("Nothing was applied.")
        raise typer.Exit(1)
    version = await feed.publish(text, note=note, restores=restores)
    say(f"Version {version.number} of {site.site.name} is applied; running services take it now.", style="green")


def _tell_changes(newest: Version | None, text: str) -> None:
    if newest is None:
        say("The first version; services run their own files until it is applied.")
        return
    old, new = document(newest.text), document(text)
    lines = diff(old, new)
    what = count(len(lines), "change") if lines else "nothing but comments and order change"
    say(f"Against version {newest.number}: {what}")
    for line in lines:
        say(f"  {line}")
    for line in at_next_start(old, new):
        say(f"  {line}", style="yellow")


async def _history(site: SiteConfig, site_file: Path, show: int | None) -> None:
    async with _feed(site, site_file, _CLOCK) as feed:
        if show is not None:
            OUT.file.write(feed.history.get(show).text)
            return
        versions = feed.history.versions
    if not versions:
        say("No version was applied yet: services run their own files.")
        return
    table = Table()
    for name in ("version", "applied", "note"):
        table.add_column(name)
    for version in versions[:KEPT]:
        at = datetime.fromtimestamp(version.at_ns / NS_PER_S, site.site.zone)
        note = f"version {version.restores} again" if version.restores else ""
        told = ": ".join(part for part in (note, version.note) if part)
        table.add_row(str(version.number), f"{at:%Y-%m-%d %H:%M:%S %Z}", Text(told))
    OUT.print(table)
