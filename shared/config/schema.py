"""The JSON schema of what may be written in a file, which is more than the models take: any scalar may come from the environment."""

from __future__ import annotations

from typing import Any

_NAME = "FromEnvironment"
_REFERENCE = {
    "title": _NAME,
    "description": "A value of the environment. `default`: where the variable is not set or empty.",
    "type": "object",
    "properties": {"env": {"type": "string"}, "default": {"type": ["string", "number", "boolean", "null"]}},
    "required": ["env"],
    "additionalProperties": False,
}
_SCALARS = frozenset({"string", "integer", "number", "boolean"})
#: What a schema says about a value, and not of what kind it is: it stays outside of the choice.
_ABOUT = frozenset({"title", "description", "default"})


def with_references(schema: dict[str, Any]) -> dict[str, Any]:
    """`schema` of pydantic, in which each scalar may also be `{env: NAME}`; keys stay plain."""
    definitions = schema.get("$defs", {})
    enums = {f"#/$defs/{name}" for name, definition in definitions.items() if "enum" in definition}
    changed = _inside({key: value for key, value in schema.items() if key != "$defs"}, enums)
    changed["$defs"] = {name: dict(one) if "enum" in one else _inside(one, enums) for name, one in definitions.items()} | {
        _NAME: _REFERENCE
    }
    return changed


def _inside(schema: dict[str, Any], enums: set[str]) -> dict[str, Any]:
    """The same schema; what lies below it is changed."""
    changed = dict(schema)
    if "properties" in schema:
        changed["properties"] = {name: _value(inner, enums) for name, inner in schema["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            changed[key] = _value(schema[key], enums)
    for key in ("prefixItems", "anyOf"):
        if key in schema:
            changed[key] = [_value(inner, enums) if key == "prefixItems" else _inside(inner, enums) for inner in schema[key]]
    return changed


def _value(schema: dict[str, Any], enums: set[str]) -> dict[str, Any]:
    inner = _inside(schema, enums)
    choices = inner.get("anyOf", [inner])
    if not any(choice.get("type") in _SCALARS or choice.get("$ref") in enums or "const" in choice for choice in choices):
        return inner
    about = {key: value for key, value in inner.items() if key in _ABOUT}
    kinds = inner["anyOf"] if "anyOf" in inner else [{key: value for key, value in inner.items() if key not in _ABOUT}]
    return {**about, "anyOf": [*kinds, {"$ref": f"#/$defs/{_NAME}"}]}
