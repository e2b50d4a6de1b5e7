"""Values that come from the environment: typed by the models, and told with their line and variable when something is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.config.load import json_schema, load_site, parse_site
from shared.config.services import KafkaBus
from shared.config.site import SiteConfig
from shared.domain.errors import ConfigInvalid

SITE = """
device: {id: {env: VEDETTE_DEVICE, default: north}}
data_dir: {env: VEDETTE_DATA}
bus: {kind: {env: VEDETTE_BUS, default: embedded}, brokers: [{env: VEDETTE_BROKER}], replication: {env: VEDETTE_COPIES, default: 2}}
analytics: {motion_gate: {env: VEDETTE_GATE}, confidence: {env: VEDETTE_CONFIDENCE, default: 0.5}}
database: {url: {env: VEDETTE_DATABASE, default: null}}
"""


def test_values_of_any_type_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"VEDETTE_DATA": "store", "VEDETTE_BUS": "kafka", "VEDETTE_BROKER": "kafka-1:9092", "VEDETTE_GATE": "false"}
    for name, value in {**given, "VEDETTE_COPIES": "", "VEDETTE_DEVICE": "south"}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "site.yml").write_text(SITE, encoding="utf-8")
    site = load_site(tmp_path / "site.yml")
    assert site.device.id == "south"
    assert site.data_dir == tmp_path / "store"
    assert site.bus == KafkaBus(brokers=("kafka-1:9092",), replication=2)  # what is set to nothing has its default
    assert site.analytics.motion_gate is False
    assert site.analytics.confidence == 0.5
    assert site.database.url is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("site:\n  name: {env: V_UNSET}", ["site.yml:2: site.name: environment variable V_UNSET is not set"]),
        ("bus: {kind: {env: V_UNSET}}", ["site.yml:1: bus.kind: environment variable V_UNSET is not set"]),
        ("console: {port: {env: V}}", ["site.yml:1: console.port: must be a whole number, not 'abc' (from environment variable V)"]),
        ("console: {port: {env: V_SET, defalt: 1}}", ["site.yml:1: console.port: beside `env` only `default` may stand, not 'defalt'"]),
        ("console: {port: {env: V_SET, default: [1]}}", ["site.yml:1: console.port: a default is one value, no list and no mapping"]),
        ("data_dir: {env: a b}", ["site.yml:1: data_dir: `env` must be the name of an environment variable: letters, digits and _"]),
        ("console: {{env: V_SET}: 1}", ["site.yml:1: a key must be plain text"]),
        (
            "console: {port: {env: V_UNSET}}\nsite: {nme: x}\ndata_dir: {env: V_UNSET}",
            [
                "site.yml:1: console.port: environment variable V_UNSET is not set",
                "site.yml:2: site.nme: unknown key; did you mean `name`?",
                "site.yml:3: data_dir: environment variable V_UNSET is not set",
            ],
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(text: str, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("V_SET", "abc")
    monkeypatch.setenv("V", "abc")
    with pytest.raises(ConfigInvalid) as error:
        parse_site(text)
    assert list(error.value.problems) == expected


def test_a_thing_that_is_called_env_is_no_reference() -> None:
    assert list(parse_site("schedules: {env: {monday: ['08:00-12:00']}}").schedules) == ["env"]
    with pytest.raises(ConfigInvalid, match="env: unknown key"):
        parse_site("{env: PATH}")


def test_documents_that_come_from_no_file_have_secrets_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEDETTE_DATABASE", "sqlite:///x")
    url = SiteConfig.model_validate({"database": {"url": {"env": "VEDETTE_DATABASE"}}}).database.url
    assert url is not None
    assert url.get_secret_value() == "sqlite:///x"


def test_the_schema_takes_references_for_scalars_alone() -> None:
    schema = json.loads(json_schema())
    reference = {"$ref": "#/$defs/FromEnvironment"}

    def takes(section: str, key: str) -> bool:
        return reference in schema["$defs"][section]["properties"][key].get("anyOf", [])

    assert takes("ConsoleConfig", "port")
    assert takes("StorageConfig", "when_full")
    assert takes("KafkaBus", "kind")
    assert takes("DatabaseConfig", "url")
    assert not takes("KafkaBus", "brokers")
    assert reference in schema["$defs"]["KafkaBus"]["properties"]["brokers"]["items"]["anyOf"]
    assert not takes("ChannelConfig", "main")
    assert schema["$defs"]["ConsoleConfig"]["properties"]["port"]["default"] == 8780
