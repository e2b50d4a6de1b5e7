"""Questions about the configuration models' types: what lies below a key, which models a union has."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from shared.config.base import Section


def plain(annotation: Any) -> Any:
    """Without `Annotated[...]` and `| None`."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif is_union(annotation):
            rest = [arg for arg in get_args(annotation) if arg is not type(None)]
            if len(rest) != 1:
                return annotation
            annotation = rest[0]
        else:
            return annotation


def is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def members(annotation: Any) -> dict[str, type[Section]]:
    """The models of a union by the value of their `kind`; empty when it is none."""
    if not is_union(annotation):
        return {}
    models = [arg for arg in map(plain, get_args(annotation)) if is_section(arg)]
    return {str(model.model_fields["kind"].default): model for model in models if "kind" in model.model_fields}


def below(annotation: Any, step: str | int) -> Any:
    """The type of what lies under `step` (a key or an index) of a plain annotation; None when that is unknown."""
    if is_section(annotation):
        info = annotation.model_fields.get(str(step))
        return info.annotation if info else None
    arguments = [arg for arg in get_args(annotation) if arg is not Ellipsis]
    if get_origin(annotation) in (dict, Mapping):
        return arguments[1]
    return arguments[0] if arguments else None


def model_of(annotation: Any, values: Mapping[str, Any]) -> type[Section] | None:
    """The model that `values` are for: the annotation itself, or the member of the union that their `kind` names."""
    inner = plain(annotation)
    if is_section(inner):
        section: type[Section] = inner
        return section
    return members(inner).get(str(values.get("kind")))
