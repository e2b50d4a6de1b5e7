"""From pydantic's errors to lines that say where in the file, what is wrong, and what was probably meant."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from shared.config.base import MISFITS, Location
from shared.config.references import misfits
from shared.config.shape import below, is_section, members, plain
from shared.config.source import Source, render
from shared.domain.ids import SLUG_PATTERN
from shared.domain.redact import redact

_NOT_A_MAPPING = ("model_type", "model_attributes_type", "dict_type", "mapping_type")
_NOT_A_LIST = ("tuple_type", "list_type", "set_type")
_QUOTED = re.compile(r"'([^']*)'")


#: Validates a document anew.
Validate = Callable[[dict[str, Any]], object]
#: A mistake that hides others hides them a few levels deep at most.
_ROUNDS = 8


def explain(error: ValidationError, source: Source, model: type[BaseModel], validate: Validate) -> list[str]:
    """One line per problem, in the order of the file's lines.

    Pydantic checks a section as a whole only when each of its fields is right. So what is wrong is taken out, and the rest is looked at
    again, until nothing new is found.
    """
    document = copy.deepcopy(source.data)
    removed: set[Location] = set()
    found: dict[tuple[int, str], None] = dict.fromkeys(_told(where, what, source) for where, what in source.unresolved.items())
    for _ in range(_ROUNDS):
        wrong = _found(error, document, source, model, removed)
        found |= dict.fromkeys(_told(where, what, source) for where, what in wrong if not _unresolved(where, source))
        if not _take_out(document, [where for where, _ in wrong], removed):
            break
        try:
            validate(document)
        except ValidationError as again:
            error = again
        else:
            break
    # The models found these too, unless a field failed before; told twice they are one.
    found |= dict.fromkeys(_told(misfit.at, misfit.what, source) for misfit in misfits(source.data))
    return [text for _, text in sorted(found, key=lambda pair: pair[0])]


def unresolved(source: Source) -> list[str]:
    """A line for each value that the environment does not have."""
    return [text for _, text in sorted(_told(where, what, source) for where, what in source.unresolved.items())]


def _unresolved(where: Location, source: Source) -> bool:
    """Whether a problem is only that a value of the environment is not there."""
    return any(where[: len(place)] == place for place in source.unresolved)


def _found(
    error: ValidationError, document: dict[str, Any], source: Source, model: type[BaseModel], removed: set[Location]
) -> list[tuple[Location, str]]:
    details = error.errors(include_url=False)
    locations = [detail["loc"] for detail in details]
    found: list[tuple[Location, str]] = []
    for detail in details:
        if detail["type"] == "too_short" and any(_inside(other, detail["loc"]) for other in locations):
            continue  # it is short because its items are wrong, and that is told
        if detail["type"] == MISFITS and removed:
            continue  # what a name leads to may have been taken out; `misfits` looks at all that is written
        found += [(where, what) for where, what in _problems(detail, source, model) if not _follows(where, what, removed)]
    return found


def _follows(where: Location, what: str, removed: set[Location]) -> bool:
    """Whether a problem may only be there because of what was taken out: it is that, or it speaks of that."""
    if where in removed:
        return True
    siblings = {str(gone[len(where)]) for gone in removed if _inside(gone, where)}
    return any(re.search(rf"\b{re.escape(name)}\b", what) for name in siblings)


def _take_out(document: dict[str, Any], places: Sequence[Location], removed: set[Location]) -> bool:
    """Take what is at `places` out of the document; whether anything was there.

    An item of a list goes with the whole list, since the others must keep their numbers; an item with keys of its own stays.
    """
    before = len(removed)
    for wrong in places:
        place = wrong
        if place and isinstance(place[-1], int) and isinstance(_at(document, place), dict):
            continue
        while place and not isinstance(place[-1], str):
            place = place[:-1]
        holder = _at(document, place[:-1])
        if place and isinstance(holder, dict) and place[-1] in holder:
            del holder[place[-1]]
            removed.add(place)
    return len(removed) > before


def _at(document: Any, place: Location) -> Any:
    """What is there; None: nothing."""
    for step in place:
        if isinstance(document, dict):
            document = document.get(step)
        else:
            document = document[step] if isinstance(document, list) and isinstance(step, int) and step < len(document) else None
    return document


def _told(where: Location, what: str, source: Source) -> tuple[int, str]:
    if (around := source.secret_place(where)) is not None:
        where, what = around, "a secret without quotes stands here, and what follows it is not understood; put the secret in quotes"
    line = source.line(where)
    origin = f" (from environment variable {source.variables[where]})" if where in source.variables else ""
    text = f"{render(where)}: {what}{origin}" if where else what
    return line, f"{source.name}:{line}: {redact(text)}"


def _inside(inner: Location, outer: Location) -> bool:
    return len(inner) > len(outer) and inner[: len(outer)] == outer


def _problems(detail: ErrorDetails, source: Source, model: type[BaseModel]) -> Iterator[tuple[Location, str]]:
    place = resolve(detail["loc"], model)
    if detail["type"] == MISFITS:
        for misfit in detail["ctx"][MISFITS]:
            yield (*place.path, *misfit.at), misfit.what
        return
    yield _tag(detail, place, source) if detail["type"].startswith("union_tag") else (place.path, _what(detail, place))


class Place:
    """Where a pydantic location leads: the path as written in the file, and the types met on the way."""

    def __init__(self) -> None:
        self.path: Location = ()
        self.model: type[BaseModel] | None = None  # of the mapping that holds the last key
        self.annotation: Any = None  # of the last key's value


def resolve(location: Location, model: type[BaseModel]) -> Place:
    """Follow a pydantic location through the models; names of union members are no part of the path."""
    place = Place()
    place.annotation = model
    for step in location:
        if step == "[key]":
            continue
        inner = plain(place.annotation)
        union = members(inner)
        if len(union) > 1 and isinstance(step, str) and step in union:
            place.annotation = union[step]
            continue
        place.path = (*place.path, step)
        place.model = inner if is_section(inner) else None
        place.annotation = below(inner, step)
    return place


def nearest(word: str, candidates: Sequence[str]) -> str:
    """`; did you mean ...?` where one of `candidates` is much like `word`, else empty."""
    near = get_close_matches(word.lower(), candidates, n=1)
    return f"; did you mean `{near[0]}`?" if near else ""


def _tag(detail: ErrorDetails, place: Place, source: Source) -> tuple[Location, str]:
    """A union's `kind` is missing or unknown."""
    kinds = list(members(plain(place.annotation)))
    where = (*place.path, "kind")
    if detail["type"] == "union_tag_not_found":
        return place.path, f"`kind` is missing: one of {', '.join(kinds)}"
    given = str(detail["ctx"]["tag"])
    return where, f"{given!r} is none of {', '.join(kinds)}{nearest(given, kinds)}"


def _what(detail: ErrorDetails, place: Place) -> str:
    kind, context, given = detail["type"], detail.get("ctx", {}), detail["input"]
    if kind == "extra_forbidden":
        fields = list(place.model.model_fields) if place.model is not None else []
        text = "unknown key" + (nearest(str(place.path[-1]), fields) or f"; known here: {', '.join(fields)}")
    elif kind == "missing":
        text = "is missing" if isinstance(place.path[-1], str) else "a point is [x, y], both 0 to 1 of the frame"
    elif given is None and kind != "enum":
        text = "is empty: give it a value, or remove the line"
    elif kind in ("enum", "literal_error"):
        allowed = _QUOTED.findall(str(context["expected"]))
        text = f"{_shown(given)} is none of {', '.join(allowed)}{nearest(str(given), allowed)}"
    elif kind == "value_error":
        text = str(context["error"])
    elif kind == "string_pattern_mismatch":
        text = _pattern(detail)
    elif kind == "string_type" and isinstance(given, int | float):
        text = "must be text: put it in quotes"
    else:
        text = _bounds(kind, context, given) or _type(kind, given) or _shape(kind) or _lower(detail["msg"])
    return text


def _pattern(detail: ErrorDetails) -> str:
    pattern = detail["ctx"]["pattern"]
    if pattern.startswith("^https?"):
        return "must begin with http:// or https:// and name a host"
    if pattern == SLUG_PATTERN:
        return f"{_shown(detail['input'])} is no name: lower-case letters, digits, - and _, 1 to 48 characters"
    return f"{_shown(detail['input'])} is no time of day HH:MM"


def _bounds(kind: str, context: Mapping[str, Any], given: object) -> str:
    bounds = {
        "greater_than_equal": ("at least", "ge"),
        "greater_than": ("more than", "gt"),
        "less_than_equal": ("at most", "le"),
        "less_than": ("less than", "lt"),
        "multiple_of": ("a multiple of", "multiple_of"),
    }
    if kind in bounds:
        words, key = bounds[kind]
        return f"must be {words} {_number(context[key])}, not {given}"
    if kind in ("too_short", "too_long"):
        words, key = ("at least", "min_length") if kind == "too_short" else ("at most", "max_length")
        return f"must have {words} {context[key]} entries, not {len(given) if isinstance(given, list) else context['actual_length']}"
    return ""


def _type(kind: str, given: object) -> str:
    if kind in ("int_parsing", "int_type", "int_from_float"):
        return f"must be a whole number, not {_shown(given)}"
    if kind in ("float_parsing", "float_type"):
        return f"must be a number, not {_shown(given)}"
    if kind in ("bool_parsing", "bool_type"):
        return f"must be true or false, not {_shown(given)}"
    return ""


def _shape(kind: str) -> str:
    if kind in _NOT_A_MAPPING:
        return "must hold keys of its own (`key: value`, indented below it)"
    if kind in _NOT_A_LIST:
        return "must be a list: [a, b] or lines that begin with `- `"
    if kind in ("named_tuple_type", "unexpected_positional_argument", "arguments_type"):
        return "a point is [x, y], both 0 to 1 of the frame"
    return {"string_type": "must be text", "path_type": "must be a path, as text"}.get(kind, "")


def _number(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
