"""Values from the environment: `{env: NAME}` or `{env: NAME, default: X}` in place of any scalar, so that one file serves many machines."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, TypeGuard

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def is_reference(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether this stands for a value of the environment. A section or a mapping that merely has a key `env` does not."""
    return isinstance(value, Mapping) and "env" in value and not isinstance(value["env"], Mapping | list | tuple)


def from_environment(reference: Mapping[str, Any]) -> object:
    """The value that a reference stands for: the variable's text; the default where the variable is not set, or empty.

    Raises:
        ValueError: not set, and no default; or the reference is not written as one.
    """
    name = str(reference["env"])
    if not _NAME.fullmatch(name):
        raise ValueError("`env` must be the name of an environment variable: letters, digits and _")
    if unknown := [key for key in reference if key not in ("env", "default")]:
        raise ValueError(f"beside `env` only `default` may stand, not {str(unknown[0])!r}")
    text = os.environ.get(name)
    if "default" not in reference:
        if text is None:
            raise ValueError(f"environment variable {name} is not set")
        return text
    if isinstance(reference["default"], Mapping | list | tuple):
        raise ValueError("a default is one value, no list and no mapping")
    return text or reference["default"]
