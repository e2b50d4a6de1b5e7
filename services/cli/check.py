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
from shared.bus import journal
from shared.config.services import KafkaBus as KafkaConfig
from shared.config.site import SiteConfig
from shared.domain.clock import NS_PER_S, Clock
from shared.domain.errors import BusError, ConfigError, UndecodableMessage
from shared.domain.redact import redact
from shared.messages import DeadLetter
from shared.messages.codec import Wire, decode
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


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """What services refused, oldest first: when, where it came from, why, how large. `away`: why that is not known now."""

    place: str
    lines: list[str]
    away: str = ""


def dead_letters(site: SiteConfig) -> DeadLetters:
    """Those that are kept on the broker, or beside the store of a site in one process."""
    if isinstance(site.bus, KafkaConfig):
        return asyncio.run(_letters_on_kafka(site, site.bus))
    folder = Path(site.data_dir).absolute() / DEAD_LETTERS.name
    lines = [_letter_line(site, place.timestamp_ns, wire) for place, wire in journal.stored(folder)]
    return DeadLetters(f"data_dir/{DEAD_LETTERS.name}", lines)


async def _letters_on_kafka(site: SiteConfig, bus: KafkaConfig) -> DeadLetters:
    from shared.bus.kafka_stored import stored  # heavy, and not wanted without Kafka

    place, lines = f"Kafka's topic {DEAD_LETTERS.name}", []
    try:
        async for at_ns, wire in stored(bus, DEAD_LETTERS, client_id=f"{site.device.id}-check"):
            lines.append(_letter_line(site, at_ns, wire))
    except BusError as error:
        return DeadLetters(place, lines, str(error))
    return DeadLetters(place, lines)


def _letter_line(site: SiteConfig, at_ns: int, wire: Wire) -> str:
    when = datetime.fromtimestamp(at_ns / NS_PER_S, site.site.zone).strftime("%Y-%m-%d %H:%M:%S")
    try:
        letter = decode(DeadLetter, wire.value, wire.headers)
    except UndecodableMessage as error:
        return f"{when}: not readable: {error}"
    return f"{when}: {letter.origin} ({len(letter.raw)} bytes): {letter.reason}"


def print_dead_letters(letters: DeadLetters) -> None:
    """A line for each; nothing when there are none."""
    if letters.away:
        say(f"Dead letters: not all could be looked at: {redact(letters.away)}", style="yellow")
    if not letters.lines:
        return
    say(f"Dead letters: {count(len(letters.lines), 'message')} that no service could handle", style="bold yellow")
    for line in letters.lines:
        say(f"  {redact(line)}")
    say(f"They are kept in {letters.place}, for {duration(DEAD_LETTERS.retention_ns)} at most, and are in no recording.")


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
