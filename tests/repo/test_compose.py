"""docker-compose.yml and deploy/: what Docker would find only when somebody's site starts."""

from __future__ import annotations

import base64
import os
import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from shared.config.load import load_site
from shared.config.services import KafkaBus, S3Objects
from shared.topics import ALL
from tests.support.compose import (
    COMPOSE_FILE,
    ENV_SAMPLE,
    ROOT,
    ComposeService,
    interpolate,
    kafka_properties,
    make_site,
    read,
    services,
    variables,
)
from tests.support.kafka import KAFKA_VERSION

DEPLOY = ROOT / "deploy"
FILES = (COMPOSE_FILE, DEPLOY / "docker-compose.open.yml", DEPLOY / "docker-compose.worker.yml")
PROFILES = ("gpu", "monitoring", "ingest-2")
SERVICES = services(profiles=PROFILES)
#: Runs for a moment, as root, with the right to give folders away and no other.
ONE_SHOT = "volumes"
LASTING = sorted(set(SERVICES) - {ONE_SHOT})
OURS = sorted(name for name, service in SERVICES.items() if service.command[:1] == ("vedette",))
#: Made by `deploy/make-secrets` and `cp`, not part of the repository.
MADE = re.compile(r"^\./site(?:/|$)")


def named(name: str) -> ComposeService:
    return SERVICES[name]


def sample_variables() -> dict[str, str]:
    lines = [line for line in ENV_SAMPLE.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def limits(service: ComposeService) -> dict[str, Any]:
    found: dict[str, Any] = service.raw["deploy"]["resources"]["limits"]
    return found


# -- what every container has


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_container_can_do_no_more_than_it_must(name: str) -> None:
    raw = named(name).raw
    assert raw["read_only"] is True
    assert raw["cap_drop"] == ["ALL"]
    assert raw["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "pid", "ipc", "devices", "env_file", "container_name"} & set(raw)
    assert raw.get("cap_add", []) == (["CHOWN"] if name == ONE_SHOT else [])
    assert (str(raw["user"]).split(":")[0] == "0") == (name == ONE_SHOT)
    assert "docker.sock" not in str(raw)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_container_is_bounded(name: str) -> None:
    raw = named(name).raw
    assert re.fullmatch(r"\d+[mg]", str(limits(named(name))["memory"]))
    assert int(limits(named(name))["pids"]) > 0
    assert raw["logging"]["driver"] == "json-file"
    assert {"max-size", "max-file"} <= set(raw["logging"]["options"])
    for text in raw.get("tmpfs", ()):
        assert "size=" in text, f"{text}: memory without a bound"


@pytest.mark.parametrize("name", LASTING)
def test_a_service_comes_back_and_says_how_it_is(name: str) -> None:
    raw = named(name).raw
    assert raw["restart"] == "unless-stopped"
    assert re.fullmatch(r"\d+s", raw["stop_grace_period"])
    health = raw["healthcheck"]
    assert {"test", "interval", "timeout", "retries", "start_period"} <= set(health)
    assert health["test"][0] in ("CMD", "CMD-SHELL")


def test_services_may_take_as_long_to_stop_as_the_process_gives_them() -> None:
    from services.cli.wiring import STOP_LIMIT_S

    for name in set(OURS) - {"console"}:
        assert int(named(name).raw["stop_grace_period"].removesuffix("s")) > STOP_LIMIT_S, name


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_images_are_pinned_and_ours_are_built_here(name: str) -> None:
    raw = named(name).raw
    image, _, tag = raw["image"].partition(":")
    assert tag not in ("", "latest")
    assert re.search(r"\d", tag)
    if image.startswith("vedette-"):
        assert raw["pull_policy"] == "never", "a registry may have a stranger's image of this name"
        assert (ROOT / raw["build"]["dockerfile"]).is_file()
    else:
        assert "build" not in raw


def test_the_version_of_the_images_is_that_of_the_next_release() -> None:
    heading = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert heading is not None
    assert sample_variables()["VEDETTE_VERSION"] == heading[1]


# -- references


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_what_a_service_names_exists(name: str) -> None:
    raw, document = named(name).raw, read(COMPOSE_FILE)
    for mount in named(name).mounts:
        if mount.is_path:
            assert MADE.match(mount.source) or (ROOT / mount.source).exists(), mount.source
            assert mount.read_only, f"{mount.source} belongs to people: read only"
        elif mount.source:
            assert mount.source in document["volumes"]
    for secret in raw.get("secrets", ()):
        assert MADE.match(interpolate(document, {})["secrets"][secret]["file"])
    for network in raw.get("networks", ()):
        assert network in document["networks"]
    for other, condition in raw.get("depends_on", {}).items():
        needed = named(other)
        assert not needed.profiles or set(needed.profiles) & set(named(name).profiles), f"{other} is in another profile"
        if condition["condition"] == "service_healthy":
            assert "healthcheck" in needed.raw


def test_every_volume_of_ours_is_given_to_its_user() -> None:
    given = {mount.source for mount in named(ONE_SHOT).mounts}
    for name in set(LASTING) - {"kafka"}:  # whose image has the folder with its own user's rights
        lasting = {mount.source for mount in named(name).mounts if mount.source and not mount.is_path}
        assert lasting <= given, name
        assert not lasting or ONE_SHOT in named(name).raw["depends_on"] or name == "grafana", name


def test_no_volume_has_two_writers_but_the_cache_of_models() -> None:
    users: dict[str, list[str]] = {}
    for name in LASTING:
        for mount in named(name).mounts:
            if mount.source and not mount.read_only:
                users.setdefault(mount.source, []).append(name)
    assert {source for source, names in users.items() if len(names) > 1} == {"models"}


def test_variables_are_in_the_sample_with_their_defaults() -> None:
    used: dict[str, str | None] = {}
    for file in FILES:
        for name, default in variables(read(file)):
            assert used.setdefault(name, default) == default, f"{name} has two defaults"
    sample = sample_variables()
    assert sample.pop("COMPOSE_PROFILES") == ""  # read by compose itself
    assert used == sample


def test_the_file_says_the_same_with_the_sample_as_without() -> None:
    assert services(sample_variables(), profiles=PROFILES) == SERVICES


def test_every_service_that_runs_has_a_container() -> None:
    from services.cli.wiring import START_ORDER

    started = {name: [after for word, after in zip(named(name).command, named(name).command[1:], strict=False) if word == "--service"]
               for name in OURS}  # fmt: skip
    assert {service for found in started.values() for service in found} == set(START_ORDER)
    assert all(len(found) == 1 and name.startswith(found[0]) for name, found in started.items())
    assert set(START_ORDER) <= set(services()), "without any profile"


@pytest.mark.parametrize("name", OURS)
def test_the_health_check_asks_where_the_service_answers(name: str) -> None:
    service = named(name)
    url = service.raw["healthcheck"]["test"][-1]
    assert service.raw["healthcheck"]["test"][:3] == ["CMD", "vedette", "health"]
    words = list(service.command)
    listen = words[words.index("--listen") + 1] if "--listen" in words else "0.0.0.0:8780"
    assert url == f"http://127.0.0.1:{listen.rpartition(':')[2]}/healthz"


def test_shares_of_ingest_are_whole() -> None:
    apart = services({"INGEST_PROCESSES": "2"}, profiles=PROFILES)
    shares = {apart[name].command[apart[name].command.index("--share") + 1] for name in ("ingest", "ingest-2")}
    assert shares == {"1/2", "2/2"}
    assert "1/1" in named("ingest").command


# -- secrets


def test_no_secret_stands_in_a_file() -> None:
    secret = re.compile(r"(?i)password|secret|token|access_key|credential")
    for file in FILES:
        for service in read(file)["services"].values():
            for name, value in service.get("environment", {}).items():
                assert not secret.search(name) or name.endswith("_FILE"), f"{name}={value}"
                assert not re.search(r"://[^/\s]*:[^/\s]*@", str(value)), name
    text = (DEPLOY / "site.distributed.yml").read_text(encoding="utf-8")
    for line in text.splitlines():
        for value in re.findall(r"(?:password|secret|token|access_key|secret_key|database_url): *([^#\n]*)", line):
            assert value.startswith("{file: secrets/"), line


def test_secrets_are_made_once_and_for_their_owner_alone(tmp_path: Path) -> None:
    make_site(tmp_path, user=os.geteuid())
    first = {path.name: path.read_text(encoding="utf-8").strip() for path in (tmp_path / "secrets").iterdir()}
    assert set(read(COMPOSE_FILE)["secrets"]) <= set(first)
    for path in (tmp_path / "secrets").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name
    assert len(set(first.values())) == len(first)
    assert first["postgres-password"] in first["database-url"]
    make_site(tmp_path, user=os.geteuid())
    assert {path.name: path.read_text(encoding="utf-8").strip() for path in (tmp_path / "secrets").iterdir()} == first
    other = tmp_path / "other"
    make_site(other, user=os.geteuid())
    for name, value in first.items():
        assert (other / "secrets" / name).read_text(encoding="utf-8").strip() != value, f"{name} is not random"


def test_a_worker_gets_the_secrets_that_it_needs_and_the_address_of_the_site(tmp_path: Path) -> None:
    make_site(tmp_path, user=os.geteuid())
    copy = tmp_path / "worker"
    subprocess.run(
        [DEPLOY / "make-secrets", tmp_path / "secrets", "worker", "192.0.2.10", copy],
        env={**os.environ, "VEDETTE_UID": str(os.geteuid())}, check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    assert "@192.0.2.10:5432/" in (copy / "database-url").read_text(encoding="utf-8")
    assert not {"postgres-password", "grafana-password"} & {path.name for path in copy.iterdir()}


# -- the site's configuration


def test_the_site_file_is_valid_as_it_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site_file = make_site(tmp_path, user=os.geteuid())
    site = load_site(site_file)  # on the host, without the containers' environment
    assert isinstance(site.bus, KafkaBus)
    for name, value in named("console").environment.items():
        monkeypatch.setenv(name, value)
    site = load_site(site_file)
    assert isinstance(site.bus, KafkaBus)
    assert isinstance(site.objects, S3Objects)
    assert site.bus.brokers == ("kafka:9092",)
    assert site.objects.endpoint == "s3:9000"
    assert site.data_dir == Path("/var/lib/vedette")
    assert (site.internal.storage, site.internal.alarms) == ("http://storage:8790", "http://alarms:8790")
    assert site.internal.ingest == ("http://ingest:8790",)
    assert site.internal.analytics == ("http://analytics:8790",)
    assert site.console.port == 8780


def test_the_examples_in_the_site_file_are_valid_too(tmp_path: Path) -> None:
    site_file = make_site(tmp_path, user=os.geteuid())
    (tmp_path / "secrets" / "cameras").write_text("secret", encoding="utf-8")
    (tmp_path / "secrets" / "monitoring").write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", encoding="utf-8")
    text = site_file.read_text(encoding="utf-8")
    text = re.sub(r"^(schedules|centres|channels): (?:\{\}|\[\])$", r"\1:", text, flags=re.MULTILINE)
    site_file.write_text(re.sub(r"^#(  \S|   +)", r"\1", text, flags=re.MULTILINE), encoding="utf-8")
    site = load_site(site_file)
    assert [channel.id for channel in site.channels] == ["front-door"]
    assert [centre.id for centre in site.centres] == ["monitoring"]


def test_every_variable_of_the_site_file_is_given_or_has_a_default() -> None:
    text = (DEPLOY / "site.distributed.yml").read_text(encoding="utf-8")
    named_there = set(re.findall(r"\{env: (\w+), default: ", text))
    assert named_there == set(re.findall(r"\{env: (\w+)", text)) - {"NAME"} | ({"NAME"} & named_there)
    for name in OURS:
        assert set(named(name).environment) <= named_there, name


def test_a_command_becomes_one_for_this_machine(tmp_path: Path) -> None:
    service = named("ingest")
    folders = {"/etc/vedette": tmp_path / "site", "/var/lib/vedette": tmp_path / "data", "/tmp": tmp_path / "tmp"}
    command, environment = service.on_loopback(folders, {"kafka:9092": "127.0.0.1:1111", "0.0.0.0:8790": "127.0.0.1:2222"})
    assert command[:3] == ["vedette", "run", str(tmp_path / "site" / "site.yml")]
    assert command[command.index("--listen") + 1] == "127.0.0.1:2222"
    assert environment["VEDETTE_KAFKA"] == "127.0.0.1:1111"
    assert environment["VEDETTE_DATA"] == str(tmp_path / "data")
    with pytest.raises(LookupError, match="/var/lib/vedette"):
        service.on_loopback({"/etc/vedette": tmp_path, "/tmp": tmp_path}, {})


# -- Kafka


def test_the_broker_is_the_one_of_the_tests() -> None:
    assert read(COMPOSE_FILE)["services"]["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"


def test_the_broker_takes_what_the_topics_hold() -> None:
    properties = kafka_properties(named("kafka"))
    largest = max(topic.max_message_bytes for topic in ALL)
    assert int(properties["message.max.bytes"]) >= largest + 64 * 1024
    assert int(properties["replica.fetch.max.bytes"]) >= int(properties["message.max.bytes"])
    longest_h = max(topic.retention_ns for topic in ALL if not topic.compacted) / 3.6e12
    assert int(properties["offsets.retention.minutes"]) > longest_h * 60, "a group that was away would start from the end"
    assert properties["auto.create.topics.enable"] == "false"
    assert properties["log.dirs"] in {mount.target for mount in named("kafka").mounts if mount.source == "kafka-data"}
    assert len(base64.urlsafe_b64decode(named("kafka").environment["CLUSTER_ID"] + "==")) == 16


# -- Dockerfiles


def dockerfiles() -> list[Path]:
    return sorted(DEPLOY.glob("Dockerfile.*"))


@pytest.mark.parametrize("file", dockerfiles(), ids=lambda path: path.name)
def test_an_image_is_small_pinned_and_not_root(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    stages = re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]
    assert len(stages) == 2, "what builds stays behind"
    build, final = stages
    assert all(re.match(r"python:\d+\.\d+\.\d+-slim-", stage) for stage in stages)
    assert re.search(r"^USER \d+:\d+$", final, re.MULTILINE)
    assert not re.search(r"\buv\b|apt-get|gcc|--from=(?!build)", final.replace("/opt/vedette", ""))
    assert "--constraints constraints.txt" in build
    assert re.search(r"uv==\d", build)
    assert "ADD " not in text
    python = re.search(r'requires-python = ">=(\d+)\.(\d+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    image = re.match(r"python:(\d+)\.(\d+)", final)
    assert python is not None
    assert image is not None
    assert (int(image[1]), int(image[2])) >= (int(python[1]), int(python[2]))


def test_dockerfiles_copy_what_the_build_may_see() -> None:
    """.dockerignore lets through what is named, and nothing else."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines
    for file in dockerfiles():
        for words in re.findall(r"^COPY (?!--from)(.*)$", file.read_text(encoding="utf-8"), re.MULTILINE):
            for source in words.split()[:-1]:
                assert source in allowed, f"{file.name}: {source}"
                assert (ROOT / source).exists()


def test_dockerfiles_install_the_extras_of_what_they_run() -> None:
    extras = {file.name: set(re.findall(r"--extra (\S+)", file.read_text(encoding="utf-8"))) for file in dockerfiles()}
    for name in OURS:
        service = re.sub(r"-(?:2|gpu)$", "", name)
        assert service in extras[Path(named(name).raw["build"]["dockerfile"]).name]
    assert "analytics" not in extras["Dockerfile.services"], "torch"
