"""`vedette status`: how a running site is, in the terminal: its services wherever they run, and its channels."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from rich.table import Table
from rich.text import Text

from services.cli.output import ERR, OUT, say
from shared.config.site import SiteConfig
from shared.domain.errors import ConfigError
from shared.domain.redact import redact

if TYPE_CHECKING:
    import httpx

TIMEOUT_S = 5.0
_ADMIN = "admin"
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104  # where a console listens, and how this machine reaches it


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """One service, or a process that did not answer. `lag`: messages that wait; None: it has none to tell."""

    name: str
    where: str
    ok: bool
    summary: str
    lag: int | None = None


@dataclass(slots=True)
class SiteStatus:
    """What was found. `problems`: what could not be asked, and why."""

    services: list[ServiceRow] = field(default_factory=list)
    channels: list[Mapping[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether everything answered and every service makes progress. A camera that is away is the camera's matter."""
        return not self.problems and all(row.ok for row in self.services)


def look(
    site: SiteConfig, url: str | None, password_file: Path | None, processes: Sequence[str], *, timeout_s: float = TIMEOUT_S
) -> SiteStatus:
    """Ask the console, which knows of every process that `internal` of its configuration names; without it those themselves.

    Args:
        url: of the console; None: as the configuration says.
        password_file: of the admin; None: the one in the data folder.
        processes: URLs of more processes.
        timeout_s: of each question.

    Raises:
        ConfigError: the packages that ask are not installed.
    """
    try:
        return asyncio.run(_look(site, url or console_url(site), password_file or site.data_dir / "admin-password", processes, timeout_s))
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the Python package {error.name!r} is not installed", where="status", hint="install `vedette[console]`"
        ) from error


def console_url(site: SiteConfig) -> str:
    """How this machine reaches the page of a site."""
    host = site.console.host
    return f"http://{_EVERYWHERE.get(host, f'[{host}]' if ':' in host else host)}:{site.console.port}"


async def _look(site: SiteConfig, url: str, password_file: Path, processes: Sequence[str], timeout_s: float) -> SiteStatus:
    import httpx

    internal, found = site.internal, SiteStatus()
    urls = [each if "://" in each else f"http://{each}" for each in processes]
    async with httpx.AsyncClient(timeout=timeout_s, trust_env=False) as client:
        found.services += await _console(client, url.rstrip("/"), password_file, found)
        if found.problems:
            urls += [each for each in (*internal.ingest, internal.storage, internal.alarms, *internal.analytics) if each is not None]
        for rows in await asyncio.gather(*(_process(client, each) for each in dict.fromkeys(urls))):
            found.services += rows
    return found


async def _console(client: httpx.AsyncClient, url: str, password_file: Path, found: SiteStatus) -> list[ServiceRow]:
    import httpx

    try:
        password = (await asyncio.to_thread(password_file.read_text, encoding="utf-8")).strip()
    except OSError as error:
        found.problems.append(f"{password_file}: the admin password cannot be read ({error.strerror}); --password-file names another file")
        return []
    try:
        login = await client.post(f"{url}/api/session", json={"user": _ADMIN, "password": password})
        if login.status_code != 200:
            found.problems.append(f"{_where(url)}: the console refused the login ({_detail(login)})")
            return []
        status = (await client.get(f"{url}/api/status")).raise_for_status().json()
        await client.delete(f"{url}/api/session")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        found.problems.append(f"{_where(url)}: the console does not answer ({_reason(error)})")
        return []
    found.channels += status["channels"]
    return [_row(one["name"], one.get("process") or _where(url), one) for one in status["services"]]


async def _process(client: httpx.AsyncClient, url: str) -> list[ServiceRow]:
    import httpx

    try:
        services = (await client.get(f"{url.rstrip('/')}/healthz")).json()["services"]
        return [_row(name, _where(url), one) for name, one in services.items()]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        return [ServiceRow("?", _where(url), False, f"no answer ({_reason(error)})")]


def _row(name: str, where: str, told: Mapping[str, Any]) -> ServiceRow:
    lag = told.get("details", {}).get("lag")
    return ServiceRow(name, where, bool(told["ok"]), str(told["summary"]), lag if isinstance(lag, int) else None)


def _where(url: str) -> str:
    return urlsplit(redact(url)).netloc


def _reason(error: Exception) -> str:
    return redact(str(error)) or type(error).__name__


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return str(answer.status_code)


def tell(status: SiteStatus) -> None:
    """Two tables for people, and what could not be asked."""
    if status.services:
        OUT.print(_services_table(status.services), soft_wrap=False)
    if status.channels:
        OUT.print(_channels_table(status.channels), soft_wrap=False)
    for problem in status.problems:
        ERR.print(Text(problem, style="bold yellow"))
    if status.ok:
        say("Everything makes progress.", style="green")


def _services_table(rows: Sequence[ServiceRow]) -> Table:
    table = Table("service", "process", "state", "lag", "says")
    table.columns[3].justify = "right"
    for row in rows:
        state = Text("ok", "green") if row.ok else Text("not ok", "bold red")
        table.add_row(Text(row.name), Text(row.where), state, "" if row.lag is None else f"{row.lag:,}", Text(row.summary))
    return table


_STATES = {"online": "green", "offline": "bold red"}
#: Columns of the table of channels, the most wanted first; a terminal that is too narrow for all gets the first ones.
_COLUMNS = ("no.", "channel", "state", "frames/s", "spool MiB", "reason", "Mbit/s", "picture", "analysis late")
_LEFT = ("channel", "state", "reason", "picture")
_ALL_FIT, _FEW_FIT = 110, 6


def _channels_table(channels: Sequence[Mapping[str, Any]]) -> Table:
    columns = _COLUMNS if OUT.width >= _ALL_FIT else _COLUMNS[:_FEW_FIT]
    table = Table()
    for name in columns:
        table.add_column(name, justify="left" if name in _LEFT else "right", overflow="fold", no_wrap=name in ("channel", "state"))
    for one in channels:
        online, late = one["state"] == "online", one.get("analysis_late_s", 0)
        cells = (
            str(one["number"]), Text(one["channel"]), Text(one["state"], _STATES.get(one["state"], "yellow")),
            f"{one['fps']:.1f}" if online else "", f"{one['spool_bytes'] / 2**20:.1f}" if one["spool_bytes"] else "", Text(one["reason"]),
            f"{one['bitrate_bps'] / 1e6:.2f}" if online else "", f"{one['codec']} {one['width']}x{one['height']}" if online else "",
            f"{late:.1f} s" if late else "",
        )  # fmt: skip
        table.add_row(*cells[: len(columns)])
    return table
