"""What all configuration models share: unknown keys are errors, values are frozen, secrets come from environment or files."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationInfo
from pydantic_core import PydanticCustomError

from shared.config.environment import from_environment, is_reference
from shared.domain.ids import SLUG_PATTERN

#: Key of the validation context: the folder that relative paths are relative to (that of the configuration file).
BASE_DIR = "base_dir"


class Section(BaseModel):
    """Base of all sections."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, use_attribute_docstrings=True, hide_input_in_errors=True)


#: Lower-case letters, digits, - and _, 1 to 48 characters.
Slug = Annotated[str, Field(pattern=SLUG_PATTERN)]


def from_base(path: Path, info: ValidationInfo) -> Path:
    """`path` with `~` expanded and, when a configuration file is being read, made relative to its folder."""
    path = path.expanduser()
    base = info.context.get(BASE_DIR) if isinstance(info.context, dict) else None
    return base / path if isinstance(base, Path) else path


#: A path; a relative one is relative to the configuration file.
LocalPath = Annotated[Path, AfterValidator(from_base)]


def _check_certificates(path: Path) -> Path:
    """A file of certificates is read when the configuration is, not when a camera comes back at night."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        raise ValueError(f"{path} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)") from error
    except OSError as error:
        raise ValueError(f"the certificates in {path} cannot be read: {error.strerror}") from error
    return path


#: A PEM file of certificates, checked to be one.
CertificateFile = Annotated[LocalPath, AfterValidator(_check_certificates)]


def _resolve_secret(value: object, info: ValidationInfo) -> object:
    """`{env: NAME}` and `{file: PATH}` become the secret's text; plain text is taken as it is."""
    if not isinstance(value, dict):
        return value
    if is_reference(value):  # of a document that was not read from a file
        return from_environment(value)
    if set(value) == {"file"}:
        path = from_base(Path(str(value["file"])), info)
        try:
            return path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise ValueError(f"secret file {path} cannot be read: {reason}") from error
    raise ValueError("a secret is text, {env: NAME} or {file: PATH}")


#: A secret: text, `{env: NAME}` or `{file: PATH}`. It prints as asterisks everywhere.
Secret = Annotated[SecretStr, BeforeValidator(_resolve_secret, json_schema_input_type=str | dict[str, str])]


def secrets_of(value: object) -> Iterator[str]:
    """Every secret of a dumped configuration, for masking."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, dict):
        for item in value.values():
            yield from secrets_of(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from secrets_of(item)


#: Where a value is in the configuration: keys and list indexes, as pydantic writes them.
Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Misfit:
    """Something that is wrong between settings that are each right: where (relative to the section that found it) and what."""

    at: Location
    what: str


#: Type of the pydantic error that carries several misfits in its context, each with a place of its own.
MISFITS = "misfits"


def raise_misfits(misfits: Sequence[Misfit]) -> None:
    """From a model validator: make each of `misfits` an error at its own place. Nothing happens when there are none."""
    if misfits:
        text = "; ".join(misfit.what for misfit in misfits).replace("{", "{{").replace("}", "}}")
        raise PydanticCustomError(MISFITS, text, {MISFITS: tuple(misfits)})
