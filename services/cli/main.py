"""The `vedette` command. One module per group; this one has the tree, and the boundary where errors become one clear line."""

from __future__ import annotations

import asyncio
import errno
import importlib.metadata
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.text import Text
from typer.core import TyperGroup
from typer.exceptions import TyperException

from services.cli import camera, config, models, plan, topics
from services.cli.following import begin
from services.cli.interrupt import interrupt_as_usual
from services.cli.logs import start_logging
from services.cli.output import ERR, say, tell_error, write_crash
from services.cli.ports import with_known_port
from services.cli.serve import check_listen, check_services, serve
from services.cli.share import parse_share
from services.cli.topics_page import page
from shared.config.load import load_site
from shared.domain.clock import SystemClock
from shared.domain.errors import VedetteError
from shared.domain.redact import redact

#: Exit codes: 0 done, 1 a check found problems, 2 an error that the user can do something about (also wrong usage), 70 a fault of ours.
PROBLEMS, USER_ERROR, OUR_FAULT = 1, 2, 70
_CLOCK = SystemClock()
#: Ctrl-C ends these at once until they have something open: `run` handles it from there on itself.
_QUIET_AT_FIRST = frozenset({"run", "demo"})


class _Boundary(TyperGroup):
    """Every error ends here: those that Vedette knows as a line, others as a short message and the place of the traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except VedetteError as error:
            if ctx.params.get("debug"):
                ERR.print_exception()
            tell_error(error)
            raise typer.Exit(USER_ERROR) from None
        except (typer.Exit, typer.Abort, TyperException, KeyboardInterrupt):
            raise
        except OSError as error:
            if error.errno == errno.EPIPE:  # whoever read our output has enough (`| head`): typer ends the process quietly
                raise
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                self._fault(ctx, error)
            tell_error(VedetteError(str(error.strerror), where=str(error.filename or "writing"), hint="make room, and run it again"))
            raise typer.Exit(USER_ERROR) from None
        except Exception as error:  # noqa: BLE001  # the boundary: nobody above would turn it into something a user can read
            self._fault(ctx, error)

    def _fault(self, ctx: Any, error: Exception) -> NoReturn:
        """An error that Vedette does not know: short here, whole in a file."""
        if ctx.params.get("debug"):
            raise error
        path = write_crash(error, _CLOCK)
        where = f"the details are in {path}" if path else "run it with --debug for the details"
        ERR.print(Text(redact(f"This should not have happened: {type(error).__name__}: {error}"), style="bold red"))
        ERR.print(Text(f"It is a fault of Vedette; {where} (`vedette --debug ...` shows them here)."))
        raise typer.Exit(OUR_FAULT) from None


app = typer.Typer(
    cls=_Boundary,
    help="Vedette, a network video recorder.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(config.app, name="config")
app.add_typer(models.app, name="models")
app.add_typer(camera.app, name="camera")
app.command()(plan.plan)


def _tell_version(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


@app.callback()
def options(
    ctx: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    version_: Annotated[bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Vedette, a network video recorder."""
    if ctx.invoked_subcommand not in _QUIET_AT_FIRST:
        interrupt_as_usual()


@app.command()
def run(
    site_file: config.SiteFile,
    service: Annotated[list[str] | None, typer.Option("--service", help="Run only this service (may be repeated).")] = None,
    listen: Annotated[
        str | None, typer.Option("--listen", metavar="HOST:PORT", help="Tell health and metrics there, and answer the console.")
    ] = None,
    share: Annotated[
        str | None, typer.Option("--share", metavar="I/N", help="Of N ingest processes this one takes every N-th camera.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Print the whole log, not only warnings.")] = False,
    json_log: Annotated[bool, typer.Option("--json-log", help="Log JSON lines to standard error, and no file.")] = False,
) -> None:
    """Run a site: record its cameras, analyse them, raise alarms, serve the page."""
    site, own = begin(site_file)
    names = check_services(service or (), site)
    address, part = check_listen(listen, names, site), parse_share(share, names)
    data_dir = Path(site.data_dir).absolute()
    start_logging(None if json_log else data_dir, verbose=verbose, json=json_log)
    say(f"Vedette {version_text()}  {site.site.name}: {len(site.channels)} channels")
    asyncio.run(serve(with_known_port(site), _CLOCK, names, listen=address, share=part, own=own))


@app.command()
def health(
    url: Annotated[str, typer.Argument(metavar="URL", help="Of a process: what `vedette run` printed as Health, or the page.")],
) -> None:
    """Ask a process whether its services make progress: exit code 0 or 1. For container health checks."""
    from services.cli.health import main as ask

    raise typer.Exit(ask(url))


@app.command()
def status(
    site_file: config.SiteFile = Path("site.yml"),
    url: Annotated[str | None, typer.Option("--url", help="Of the page; else as the configuration says.")] = None,
    password_file: Annotated[
        Path | None, typer.Option("--password-file", metavar="FILE", help="Holds the admin password; else the one in the data folder.")
    ] = None,
    process: Annotated[
        list[str] | None, typer.Option("--process", metavar="URL", help="One more process to ask (may be repeated).")
    ] = None,
) -> None:
    """How a running site is: its services wherever they run, its channels, what lags. Exit code 1 when something is not well."""
    from services.cli.status import look, tell

    found = look(load_site(site_file), url, password_file, process or ())
    tell(found)
    if not found.ok:
        raise typer.Exit(PROBLEMS)


@app.command()
def check(
    site_file: Annotated[Path, typer.Argument(metavar="[SITE.yml]", help="The site's configuration.")] = Path("site.yml"),
    deep: Annotated[bool, typer.Option("--deep", help="Read every recording as well.")] = False,
) -> None:
    """Verify the configuration and the store. Stop the recorder first.

    Exit code 1 when something is wrong; 0 when the store is in order, or has only what the next start repairs by itself.
    """
    from services.cli.check import check_site, dead_letters, print_dead_letters, print_problems

    site = load_site(site_file)
    if not Path(site.data_dir).exists():
        say(f"There is no store yet: {site.data_dir} is made by the first `vedette run {site_file}`.")
        return
    problems = check_site(site, _CLOCK, deep=deep)
    print_dead_letters(dead_letters(site))
    if print_problems(problems, site_file):
        raise typer.Exit(PROBLEMS)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--folder", help="Where the demo's site file and recordings go.")] = Path("var/demo"),
    duration: Annotated[float | None, typer.Option("--duration", min=1, help="Stop by itself after so many seconds.")] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Of the page; 0: any free one.")] = 8780,
) -> None:
    """Build demo cameras and a site around them, and run it."""
    from services.cli.demo.run import run_demo

    interrupt_as_usual()  # files that are half built, and the cameras' process
    run_demo(folder, _CLOCK, port=port, duration_s=duration)


@app.command(name="topics")
def topics_(markdown: Annotated[bool, typer.Option("--markdown", help="The page docs/topics.md.")] = False) -> None:
    """What flows between the services."""
    if markdown:
        config.emit(page(), "markdown")
    else:
        topics.print_topics()


@app.command()
def version() -> None:
    """Print the version."""
    say(version_text())


def version_text() -> str:
    """The installed version."""
    return importlib.metadata.version("vedette")


def main() -> None:
    """Entry point of the `vedette` command."""
    sys.exit(app())
