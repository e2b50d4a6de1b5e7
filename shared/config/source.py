"""Reading YAML with the line of every key, so that each problem can be told where it is."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from shared.config.base import Location
from shared.config.environment import from_environment, is_reference
from shared.domain.errors import ConfigInvalid

#: Deeper than any configuration; a file that nests more is a mistake (or refers to itself).
MAX_DEPTH = 32


class _Constructor(SafeConstructor):
    """Plain values; dates stay text, since 2026-12-25 is written without quotes."""


_Constructor.add_constructor("tag:yaml.org,2002:timestamp", _Constructor.construct_yaml_str)


@dataclass(slots=True)
class Source:
    """A configuration file as read.

    Attributes:
        name: the file as the user named it.
        data: plain mappings, lists and scalars.
        lines: for every key and list item its line, counted from 1.
        doubtful: keys that follow a secret without quotes inside `{...}`: they may be the rest of it, and nobody may see them.
        variables: where a value came from the environment, the name of its variable.
        unresolved: where it should have, and why it did not; there `data` has the reference itself, which no model takes.
    """

    name: str
    data: dict[str, Any]
    lines: dict[Location, int] = field(default_factory=dict)
    doubtful: frozenset[Location] = frozenset()
    variables: dict[Location, str] = field(default_factory=dict)
    unresolved: dict[Location, str] = field(default_factory=dict)

    def line(self, location: Location) -> int:
        """The line of `location`, or of the nearest thing around it that stands in the file."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, 1)

    def secret_place(self, location: Location) -> Location | None:
        """The mapping whose keys may be the rest of a secret, when `location` is such a key or below one."""
        return next((location[:n] for n in range(len(location)) if location[: n + 1] in self.doubtful), None)


def read(path: Path) -> Source:
    """The mapping that a YAML file holds.

    Raises:
        ConfigInvalid: the file is missing or unreadable, is not YAML, names a key twice, or is not a mapping; all with line numbers.
    """
    name = str(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        hint = "`vedette config sample > site.yml` writes one to begin with"
        raise ConfigInvalid([f"{name}: there is no such file; {hint}"], where=name, hint=hint) from error
    except UnicodeDecodeError as error:
        raise ConfigInvalid([f"{name}: this is not UTF-8 text; save it as UTF-8"], where=name) from error
    except OSError as error:
        raise ConfigInvalid([f"{name}: cannot be read: {error.strerror}"], where=name) from error
    return parse(text, name)


def parse(text: str, name: str) -> Source:
    """As `read`, for text that is already in memory."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Constructor
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReusedAnchorWarning)  # it shows the anchor, which may be a password without quotes
            root = yaml.compose(text)
        if root is None:
            raise ConfigInvalid([f"{name}: the file is empty; `vedette config sample` prints one to begin with"], where=name)
        if not isinstance(root, MappingNode):
            raise ConfigInvalid([f"{name}:{_line(root)}: the file must hold settings as `key: value` lines"], where=name)
        walk = _Walk(name, yaml.constructor)
        walk.visit(root, ())
        if walk.problems:
            raise ConfigInvalid(walk.problems, where=name)
        data = yaml.constructor.construct_document(root)
    # `from None`: the parser's errors hold pieces of the file, and with them passwords.
    except MarkedYAMLError as error:
        raise ConfigInvalid([_syntax(name, error)], where=name) from None
    except YAMLError as error:  # not marked: characters that YAML does not allow
        raise ConfigInvalid([f"{name}: this is no YAML: {str(error).splitlines()[0]}"], where=name) from None
    except RecursionError:
        raise ConfigInvalid([f"{name}: nested more than {MAX_DEPTH} deep"], where=name) from None
    source = Source(name, data, walk.lines, frozenset(walk.doubtful))
    source.data = _resolved(data, (), source)
    return source


def _resolved(value: Any, at: Location, source: Source) -> Any:
    """`value` with what it has of the environment in place; what is not there is noted, and stays a reference."""
    if at and is_reference(value):
        try:
            found = from_environment(value)
        except ValueError as error:
            source.unresolved[at] = str(error)
            return value
        source.variables[at] = str(value["env"])
        return found
    if isinstance(value, dict):
        return {key: _resolved(inner, (*at, key), source) for key, inner in value.items()}
    if isinstance(value, list):
        return [_resolved(inner, (*at, index), source) for index, inner in enumerate(value)]
    return value


#: Kinds of values that plain YAML has; anything else needs a tag.
_PLAIN = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp"))
#: Keys whose values are secrets, in any section; see `shared.config.base.Secret`.
_SECRETS = frozenset({"password", "secret", "token", "access_key", "secret_key"})
_UNSHOWN = "a secret without quotes stands before this; put the secret in quotes if this is a part of it"


class _Walk:
    """Goes through the nodes: notes lines, finds keys written twice, tags, values that cannot be read, and files without an end."""

    def __init__(self, name: str, constructor: SafeConstructor) -> None:
        self.name, self._constructor = name, constructor
        self.doubtful: set[Location] = set()
        self.lines: dict[Location, int] = {(): 1}
        self.problems: list[str] = []

    def visit(self, node: Node, at: Location) -> None:
        if len(at) > MAX_DEPTH:
            raise ConfigInvalid([f"{self.name}:{_line(node)}: nested more than {MAX_DEPTH} deep"], where=self.name)
        if node.tag not in _PLAIN:
            self._wrong(node, "tags (`!name`) are not used here; put text that begins with `!` in quotes")
        if isinstance(node, ScalarNode):
            self._scalar(node)
        elif isinstance(node, MappingNode):
            self._mapping(node, at)
        elif isinstance(node, SequenceNode):
            for index, item in enumerate(node.value):
                self.lines[(*at, index)] = _line(item)
                self.visit(item, (*at, index))

    def _wrong(self, node: Node, what: str) -> None:
        self.problems.append(f"{self.name}:{_line(node)}: {what}")

    def _scalar(self, node: ScalarNode) -> None:
        """A tag, or what looks like a number, may promise what the text does not keep: `!!int x`, or 5000 digits."""
        if node.tag in _PLAIN:
            try:
                self._constructor.construct_object(node)
            except (ValueError, LookupError, ArithmeticError):
                self._wrong(node, "this value cannot be read; put it in quotes if it is text")

    def _mapping(self, node: MappingNode, at: Location) -> None:
        seen: dict[str, int] = {}
        doubtful = False
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self._wrong(key, _UNSHOWN if doubtful else "a key must be plain text")
                continue
            if key.tag == "tag:yaml.org,2002:merge":  # `<<: *other` brings keys in; those written here win
                for merged in value.value if isinstance(value, SequenceNode) else [value]:
                    self.visit(merged, at)
                continue
            text, line = str(key.value), _line(key)
            if doubtful:
                self.doubtful.add((*at, text))
            if text in seen:
                twice = f"{render((*at, text))}: this key stands on line {seen[text]} already; keep one of them"
                self._wrong(key, _UNSHOWN if doubtful else twice)
            seen[text] = line
            self.lines[(*at, text)] = line
            self.visit(value, (*at, text))
            secret = text in _SECRETS or (text == "url" and at == ("database",))
            doubtful = doubtful or bool(node.flow_style and secret and isinstance(value, ScalarNode) and not value.style)


def render(location: Location) -> str:
    """A location as people write it: `channels[0].rules[1].line`."""
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _syntax(name: str, error: MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark is not None else 1
    problem = (error.problem or "it is not understood").strip().splitlines()[0]
    if any(word in problem for word in _SHOWING):
        problem = re.split(r"""\s*['"]""", problem)[0]
    return f"{name}:{line}: this is no YAML: {problem}; {_advice(problem, error)}"


#: Where the parser speaks of these it quotes the file, maybe a password without quotes; elsewhere it quotes single characters.
_SHOWING = ("alias", "anchor", "tag", "key", "timestamp", "base64", "empty value")

#: A part of the parser's words, and what to do about the mistake behind it.
_ADVICE = (
    ("\\t", "indent with spaces, not tabs"),
    ("mapping values are not allowed", "put text that holds `: ` in quotes, and look at the indentation here and on the line before"),
    ("could not find expected ':'", "a key needs a colon and a blank after it"),
    ("the tag", "tags (`!name`) are not used here; put text that begins with `!` in quotes"),
    ("alias", "put text that begins with `*` in quotes"),
    ("character '@'", "put text that begins with `@` in quotes"),
    ("character '`'", "put text that begins with a backtick in quotes"),
    ("character '%'", "put text that begins with `%` in quotes"),
    ("quoted scalar", "a quotation mark is not closed"),
)


def _advice(problem: str, error: MarkedYAMLError) -> str:
    """What to do about a syntax error."""
    words = f"{problem} {error.context or ''}"
    fallback = "look at the indentation, quotation marks and brackets here and on the line before"
    return next((advice for part, advice in _ADVICE if part in words), fallback)
