"""`vedette check`: the configuration, then the invariants of the store that it describes. Nothing is changed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rich.table import Table
from rich.text import Text

from services.cli.lock import DataDirLock
from services.cli.output import ERR, OUT, count, say
from services.cli.topics import duration
from shared.bus.journal import stored
from shared.config.site import SiteConfig
from shared.domain.clock import NS_PER_S, Clock
from shared.domain.errors import ConfigError, UndecodableMessage
from shared.domain.redact import redact
from shared.messages import DeadLetter
from shared.messages.codec import decode
from shared.topics import DEAD_LETTERS


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and in which part. `repairable`: nothing is lost, and the next start repairs it."""

    part: str
    what: str
    repairable: bool = False


def check_site(site: SiteConfig, clock: Clock, *, deep: bool) -> list[Problem]:
    """Everything that is wrong with a site's store; a store that is not there yet is right.

    Args:
        deep: read every recording's bytes as well.

    Raises:
        ConfigError: a recorder is running on the store, or the packages that read it are not installed.
    """
    data_dir = Path(site.data_dir).absolute()
    if not data_dir.exists():
        return []
    lock = DataDirLock(data_dir)
    lock.acquire()
    try:
        with ERR.status("Reading the store" + (" and every recording in it" if deep else "")):
            return asyncio.run(_check(site, data_dir, clock, deep))
    except ModuleNotFoundError as error:
        hint = "install `vedette[storage,alarms]`"
        raise ConfigError(f"the Python package {error.name!r} is not installed", where="check", hint=hint) from error
    finally:
        lock.release()


async def _check(site: SiteConfig, data_dir: Path, clock: Clock, deep: bool) -> list[Problem]:
    from services.alarms.check import check as check_alarms
    from services.storage.check import check as check_storage

    problems = [Problem("storage", found.text, found.repairable) for found in await check_storage(site, data_dir, deep=deep)]
    return problems + [Problem("alarms", what) for what in await check_alarms(site, data_dir, clock.now_ns())]


def dead_letters(site: SiteConfig) -> list[str]:
    """What services refused and is kept beside the store, oldest first: when, where it came from, why, how large."""
    data_dir = Path(site.data_dir).absolute()
    lines = []
    for place, wire in stored(data_dir / DEAD_LETTERS.name):
        when = datetime.fromtimestamp(place.timestamp_ns / NS_PER_S, site.site.zone).strftime("%Y-%m-%d %H:%M:%S")
        try:
            letter = decode(DeadLetter, wire.value, wire.headers)
        except UndecodableMessage as error:
            lines.append(f"{when}: not readable: {error}")
        else:
            lines.append(f"{when}: {letter.origin} ({len(letter.raw)} bytes): {letter.reason}")
    return lines


def print_dead_letters(lines: list[str]) -> None:
    """A line for each; nothing when there are none."""
    if not lines:
        return
    say(f"Dead letters: {count(len(lines), 'message')} that no service could handle", style="bold yellow")
    for line in lines:
        say(f"  {redact(line)}")
    say(f"They are kept in data_dir/{DEAD_LETTERS.name}, for {duration(DEAD_LETTERS.retention_ns)} at most, and are in no recording.")


def print_problems(problems: list[Problem], site_file: Path) -> bool:
    """Tables, or that all is well; whether there is anything that the next start does not repair by itself."""
    wrong, repairable = ([problem for problem in problems if problem.repairable is kind] for kind in (False, True))
    if not problems:
        say("The store is in order.", style="green")
    if wrong:
        _table("problem", wrong)
        say(count(len(wrong), "problem"), style="bold red")
    if repairable:
        _table("repaired at the next start", repairable)
        say("Nothing is lost by this: the recorder was cut off, and its next start repairs it.")
        say(f"To do it now, run `vedette run {site_file}` once, and stop it again.", style="yellow")
    return bool(wrong)


def _table(title: str, problems: list[Problem]) -> None:
    table = Table("part", title)
    for problem in problems:
        table.add_row(problem.part, Text(redact(problem.what)))
    OUT.print(table)
