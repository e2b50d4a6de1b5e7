"""`vedette models`: which detectors there are, and getting them ready before they are needed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from services.cli.output import OUT, say, step_bar
from shared.config.load import load_site
from shared.config.services import AnalyticsConfig
from shared.domain.errors import ModelError

app = typer.Typer(help="Detector models.", no_args_is_help=True)
Site = Annotated[Path | None, typer.Option("--site", metavar="SITE.yml", help="Take the analytics settings from this file.")]


def analytics_config(site_file: Path | None) -> AnalyticsConfig:
    """The site's settings, or the defaults."""
    return load_site(site_file).analytics if site_file is not None else AnalyticsConfig()


def prepare_detector(config: AnalyticsConfig) -> None:
    """Fetch, export and try the detector, with a progress bar.

    Raises:
        ModelError: it cannot be had, or the analytics packages are not installed.
    """
    try:
        from services.analytics.adapters.engines import prepare
    except ModuleNotFoundError as error:
        hint = "install `vedette[analytics]`"
        raise ModelError(f"the Python package {error.name!r} is not installed", where="analytics", hint=hint) from error
    with step_bar() as progress:
        prepare(config, progress)


@app.command()
def pull(
    name: Annotated[str | None, typer.Argument(help="A name of `models list`, or a .pt or .onnx file; else the configured one.")] = None,
    site: Site = None,
) -> None:
    """Fetch a model and make it ready for this machine."""
    config = analytics_config(site)
    if name is not None:
        config = config.model_copy(update={"model": name})
    prepare_detector(config)
    say(f"{config.model}: ready, input {config.input_width}x{config.input_height}")


@app.command(name="list")
def list_(site: Site = None) -> None:
    """Show the models that are known by name."""
    from services.analytics.adapters.models import ModelManager

    config = analytics_config(site)
    manager = ModelManager(config.models_dir, config.offline_sources)
    table = Table("name", "what", "size", "licence of the weights", "here")
    for status in manager.list():
        model = status.model
        table.add_row(model.name, model.about, f"{model.size_bytes / 1e6:.1f} MB", model.licence, "yes" if status.path else "no")
    OUT.print(table)
    say(f"Kept in {manager.folder}")
