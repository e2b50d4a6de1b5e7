"""One YAML file to one `SiteConfig`; every problem of the file at once, each with its line."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML

from shared.config.base import BASE_DIR
from shared.config.explain import explain, unresolved
from shared.config.schema import with_references
from shared.config.site import SiteConfig
from shared.config.source import Source, parse, read
from shared.domain.errors import ConfigInvalid
from shared.domain.redact import redact


def load_site(path: Path) -> SiteConfig:
    """Read and validate a site's configuration. Relative paths in it are relative to the file.

    Raises:
        ConfigInvalid: with a line for every problem: `site.yml:12: channels[0].rules[1].lien: unknown key; did you mean `line`?`.
    """
    return _validate(read(path), path.absolute().parent)


def parse_site(text: str, *, name: str = "site.yml", base_dir: Path | None = None) -> SiteConfig:
    """As `load_site`, for text in memory.

    Args:
        name: what problems call it.
        base_dir: what relative paths are relative to; None: they stay relative.
    """
    return _validate(parse(text, name), base_dir)


def _validate(source: Source, base_dir: Path | None) -> SiteConfig:
    def validate(document: dict[str, Any]) -> SiteConfig:
        return SiteConfig.model_validate(document, context={BASE_DIR: base_dir})

    try:
        site = validate(source.data)
    except ValidationError as error:
        # `from None`: pydantic's error holds the input, and with it passwords.
        raise ConfigInvalid(explain(error, source, SiteConfig, validate), where=source.name) from None
    if source.unresolved:
        raise ConfigInvalid(unresolved(source), where=source.name)
    return site


def redacted(site: SiteConfig, *, only_set: bool = False) -> dict[str, Any]:
    """The configuration as plain values without any secret.

    Args:
        only_set: leave out what has its default.
    """
    values: dict[str, Any] = _redact(site.model_dump(mode="json", exclude_defaults=only_set))
    return values


def _redact(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _redact(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_redact(inner) for inner in value]
    return redact(value) if isinstance(value, str) else value


def to_yaml(values: dict[str, Any]) -> str:
    """Plain values as YAML, keys in their order."""
    yaml: Any = YAML(typ="safe", pure=True)  # its settings are untyped
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False
    yaml.width = 140
    stream = io.StringIO()
    yaml.dump(values, stream)
    return stream.getvalue()


def json_schema() -> str:
    """The JSON schema of the configuration file, for editors."""
    schema = with_references(SiteConfig.model_json_schema())
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Vedette site"
    return json.dumps(schema, indent=2)
