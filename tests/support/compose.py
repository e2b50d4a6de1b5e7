"""docker-compose.yml as the tests read it: what each service runs, with which environment, secrets and folders.

So that a test starts the very commands of the deployment as processes on loopback, without repeating them: container paths become folders
of the test, host names of containers become addresses that the test gives.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ruamel.yaml import YAML

from tests.support.cache import go_command
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
COMPOSE_FILE = ROOT / "docker-compose.yml"
ENV_SAMPLE = ROOT / "deploy" / "env.sample"

#: The library that `docker compose` reads its files with; it carries the specification's JSON schema.
COMPOSE_GO = "v2.16.2"

#: Settings of the broker that name addresses and folders: on loopback they are others.
PLACES = frozenset({"listeners", "advertised.listeners", "controller.quorum.voters", "log.dirs"})

_VARIABLE = re.compile(r"\$(?:(?P<escaped>\$)|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^{}]*))?\}|(?P<bad>.))")


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder or file of a container. `source`: a path of the host, the name of a volume, or empty (memory)."""

    source: str
    target: str
    read_only: bool = False

    @property
    def is_path(self) -> bool:
        return self.source.startswith(("/", "."))


@dataclass(frozen=True, slots=True)
class ComposeService:
    """One service, its variables filled in. `secrets`: path in the container to the file on the host."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    secrets: Mapping[str, str]
    mounts: tuple[Mount, ...]
    profiles: tuple[str, ...]
    raw: Mapping[str, Any]

    def on_loopback(self, folders: Mapping[str, Path], addresses: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
        """Command and environment for a process on this machine.

        Args:
            folders: container path (of a mount, or a secret) to the path here; those below it follow.
            addresses: `host:port` as containers say it, to `host:port` here.

        Raises:
            LookupError: a mount or secret that the service was given has no folder here.
        """
        for path in (*(mount.target for mount in self.mounts), *self.secrets):
            if not any(PurePosixPath(path).is_relative_to(folder) for folder in folders):
                raise LookupError(f"{self.name}: nothing stands for {path}")
        move = _mover({**{target: str(path) for target, path in folders.items()}, **addresses})
        return [move(word) for word in self.command], {name: move(text) for name, text in self.environment.items()}


def services(
    environment: Mapping[str, str] | None = None, *, profiles: Iterable[str] = (), file: Path = COMPOSE_FILE
) -> dict[str, ComposeService]:
    """The services that `docker compose --profile ... up` would start, by name.

    Args:
        environment: values of variables; others have their defaults. That of this process does not count.

    Raises:
        LookupError: a variable has neither value nor default.
    """
    document = interpolate(read(file), environment or {})
    wanted, secrets = set(profiles), document.get("secrets", {})
    found = {name: _service(name, raw, secrets) for name, raw in document["services"].items()}
    return {name: service for name, service in found.items() if not service.profiles or wanted & set(service.profiles)}


def kafka_properties(service: ComposeService) -> dict[str, str]:
    """What the apache/kafka image makes of KAFKA_ variables: `_` is `.`, `__` is `_`, `___` is `-`."""
    not_properties = {"KAFKA_HEAP_OPTS", "KAFKA_OPTS", "KAFKA_JVM_PERFORMANCE_OPTS", "KAFKA_LOG4J_OPTS"}
    properties = {}
    for name, value in service.environment.items():
        if name.startswith("KAFKA_") and name not in not_properties:
            key = name.removeprefix("KAFKA_").lower().replace("___", "\0").replace("__", "\1").replace("_", ".")
            properties[key.replace("\0", "-").replace("\1", "_")] = value
    return properties


def broker_properties(logs: Path, port: int, controller: int) -> str:
    """server.properties of the broker of docker-compose.yml, on loopback.

    Args:
        logs: where it keeps its messages.
        port: for clients.
        controller: port that it talks to itself on.
    """
    lines = []
    ports = {"9092": port, "9093": controller, "9094": free_port()}
    for name, value in kafka_properties(services()["kafka"]).items():
        here = re.sub(r"\b(909[234])\b", lambda match: str(ports[match[1]]), value) if name in PLACES else value
        here = here.replace("//kafka:", "//127.0.0.1:").replace("0.0.0.0", "127.0.0.1").replace("localhost", "127.0.0.1")
        lines.append(f"{name}={logs if name == 'log.dirs' else here}")
    return "\n".join(lines) + "\n"


def make_site(folder: Path, *, user: int) -> Path:
    """A site folder as docs/deploy.md makes it: site.yml and fresh secrets. Returns the path of site.yml."""
    folder.mkdir(parents=True, exist_ok=True)
    site = folder / "site.yml"
    shutil.copyfile(ROOT / "deploy" / "site.distributed.yml", site)
    subprocess.run(
        [ROOT / "deploy" / "make-secrets", folder / "secrets"],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "VEDETTE_UID": str(user)}, check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    return site


def reference() -> Path:
    """The command that reads compose files as `docker compose` does, built once (half a minute). Skips the test without it and Go."""
    return go_command("compose-go", "github.com/compose-spec/compose-go/v2/cmd", COMPOSE_GO)


def read(file: Path) -> dict[str, Any]:
    """A compose file as plain values; the tags of merges (`!reset`, `!override`) are left out."""
    yaml = YAML(typ="safe", pure=True)
    yaml.constructor.add_multi_constructor("!", lambda loader, _suffix, node: _plain(loader, node))
    document: dict[str, Any] = yaml.load(file.read_text(encoding="utf-8"))
    return document


def variables(value: Any) -> Iterator[tuple[str, str | None]]:
    """Every variable in a document, with its default (None: none)."""
    for text in _texts(value):
        for match in _VARIABLE.finditer(text):
            if match["bad"]:
                raise ValueError(f"{text!r}: write $$ for a dollar sign, ${{NAME}} or ${{NAME:-default}} for a variable")
            if match["name"]:
                yield match["name"], match["default"]


def interpolate(value: Any, environment: Mapping[str, str]) -> Any:
    """Fill in variables as compose does; keys are left alone."""

    def fill(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        text = environment.get(match["name"], "") or match["default"]
        if text is None:
            raise LookupError(f"variable {match['name']} has neither value nor default")
        return text

    return _map(value, lambda text: _VARIABLE.sub(fill, text))


def _plain(loader: Any, node: Any) -> Any:
    if node.id == "mapping":
        return loader.construct_mapping(node, deep=True)
    return loader.construct_sequence(node, deep=True) if node.id == "sequence" else loader.construct_scalar(node)


def _map(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {key: _map(inner, change) for key, inner in value.items()}
    if isinstance(value, list):
        return [_map(inner, change) for inner in value]
    return change(value) if isinstance(value, str) else value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value


def _service(name: str, raw: Mapping[str, Any], secrets: Mapping[str, Any]) -> ComposeService:
    command = raw.get("command", ())
    if isinstance(command, str):
        raise ValueError(f"{name}: a command is a list, so that no shell reads it")
    mounts = [_mount(text) for text in raw.get("volumes", ())]
    mounts += [Mount("", text.partition(":")[0]) for text in raw.get("tmpfs", ())]
    return ComposeService(
        name=name,
        command=tuple(map(str, command)),
        environment={key: str(text) for key, text in raw.get("environment", {}).items()},
        secrets={f"/run/secrets/{secret}": secrets[secret]["file"] for secret in raw.get("secrets", ())},
        mounts=tuple(mounts),
        profiles=tuple(raw.get("profiles", ())),
        raw=raw,
    )


def _mount(text: str) -> Mount:
    source, target, *options = text.split(":")
    return Mount(source, target, "ro" in options)


def _mover(table: Mapping[str, str]) -> Callable[[str], str]:
    """Replaces whole paths and addresses of `table`, the longest first: `/data` does not touch `/database`."""
    names = sorted(table, key=len, reverse=True)
    pattern = re.compile(r"(?<![\w.-])(" + "|".join(map(re.escape, names)) + r")(?![\w.-])")
    return lambda text: pattern.sub(lambda match: table[match[1]], text) if names else text
