"""What all configuration models share: unknown keys are errors, values are frozen, secrets come from environment or files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from shared.domain.ids import SLUG_PATTERN


class Section(BaseModel):
    """Base of all sections."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, use_attribute_docstrings=True)


Slug = Annotated[str, Field(pattern=SLUG_PATTERN, description="lower-case letters, digits, - and _, 1 to 48 characters")]


def _resolve_secret(value: object) -> object:
    """`{env: NAME}` and `{file: PATH}` become the secret's text; plain text is taken as it is."""
    if not isinstance(value, dict):
        return value
    if set(value) == {"env"}:
        name = str(value["env"])
        if name not in os.environ:
            raise ValueError(f"environment variable {name} is not set")
        return os.environ[name]
    if set(value) == {"file"}:
        path = Path(str(value["file"])).expanduser()
        try:
            return path.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ValueError(f"secret file {path} cannot be read: {error.strerror}") from error
    raise ValueError("a secret is text, {env: NAME} or {file: PATH}")


#: A secret: text, `{env: NAME}` or `{file: PATH}`. It prints as asterisks everywhere.
Secret = Annotated[SecretStr, BeforeValidator(_resolve_secret, json_schema_input_type=str | dict[str, str])]
