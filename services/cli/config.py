"""`vedette config`: show, validate, schema, sample; apply, history, rollback of a running site's (`apply.py`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.syntax import Syntax

from services.cli import apply as applying
from services.cli.output import OUT, count, say
from shared.config.load import json_schema, load_site, redacted, to_yaml
from shared.config.sample import sample

app = typer.Typer(help="Look at configuration files, and apply them to a running site.", no_args_is_help=True)
SiteFile = Annotated[Path, typer.Argument(metavar="SITE.yml", help="The site's configuration.")]


def emit(text: str, language: str) -> None:
    """Coloured for people, plain for a pipe."""
    if OUT.is_terminal:
        OUT.print(Syntax(text, language, background_color="default", word_wrap=True))
    else:
        OUT.file.write(text if text.endswith("\n") else f"{text}\n")


@app.command()
def validate(site_file: SiteFile) -> None:
    """Check a file; every problem is printed with its line."""
    site = load_site(site_file)
    rules = sum(len(channel.rules) for channel in site.channels)
    counts = (count(len(site.channels), "channel"), count(rules, "rule"), count(len(site.centres), "centre"))
    say(f"{site_file}: in order ({', '.join(counts)})")


@app.command()
def show(
    site_file: SiteFile, only_set: Annotated[bool, typer.Option("--only-set", help="Leave out what has its default.")] = False
) -> None:
    """Print the configuration in force, defaults included, secrets hidden."""
    emit(to_yaml(redacted(load_site(site_file), only_set=only_set)), "yaml")


@app.command()
def schema() -> None:
    """Print the JSON schema, for editors."""
    emit(json_schema(), "json")


@app.command(name="sample")
def sample_() -> None:
    """Print a commented configuration with every key to begin with."""
    emit(sample(), "yaml")


app.command()(applying.apply)
app.command()(applying.history)
app.command()(applying.rollback)
