"""What a right configuration becomes: paths, secrets, and printing without secrets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.config.load import json_schema, load_site, parse_site, redacted, to_yaml
from shared.config.site import SiteConfig

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SITE = """
data_dir: store
objects: {kind: local, root: objects}
analytics: {model: models/best.onnx, models_dir: cache, offline_sources: [/mnt/usb, stick]}
holidays: [{name: Christmas, first: 2026-12-25}]
centres: [{id: c, url: "https://example.com", secret: {file: centre.txt}}]
channels:
  - id: a
    number: 1
    main: {url: "http://cam/video?token=abcd1234", user: u, password: {env: CAMERA_PASSWORD}}
  - id: b
    number: 2
    main: {url: "file:clips/b.mp4"}
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SiteConfig:
    monkeypatch.setenv("CAMERA_PASSWORD", "geheim-17")
    (tmp_path / "centre.txt").write_text(f"{SECRET}\n", encoding="utf-8")
    (tmp_path / "site.yml").write_text(SITE, encoding="utf-8")
    return load_site(tmp_path / "site.yml")


def test_relative_paths_are_relative_to_the_file(site: SiteConfig, tmp_path: Path) -> None:
    assert site.data_dir == tmp_path / "store"
    assert site.objects.kind == "local"
    assert site.objects.root == tmp_path / "objects"
    assert site.analytics.model == str(tmp_path / "models/best.onnx")
    assert site.analytics.models_dir == tmp_path / "cache"
    assert site.analytics.offline_sources == (Path("/mnt/usb"), tmp_path / "stick")
    assert site.channels[1].main.url == f"file://{tmp_path}/clips/b.mp4"


def test_the_default_data_folder_is_beside_the_file(tmp_path: Path) -> None:
    assert parse_site("site: {name: x}", base_dir=tmp_path).data_dir == tmp_path / "var"


def test_secrets_come_from_environment_and_files(site: SiteConfig) -> None:
    password = site.channels[0].main.password
    assert password is not None
    assert password.get_secret_value() == "geheim-17"
    assert site.centres[0].secret.get_secret_value() == SECRET


def test_a_date_needs_no_quotes(site: SiteConfig) -> None:
    assert site.holidays[0].first == "2026-12-25"


def test_what_is_printed_has_no_secret(site: SiteConfig) -> None:
    printed = to_yaml(redacted(site)) + repr(site) + str(site.model_dump())
    assert "geheim" not in printed
    assert SECRET not in printed
    assert "abcd1234" not in to_yaml(redacted(site))


def test_what_is_printed_can_be_read_again(tmp_path: Path) -> None:
    site = parse_site("site: {name: 'a: b'}\nschedules: {night: {monday: ['00:00-06:00']}}", base_dir=tmp_path)
    again = parse_site(to_yaml(redacted(site)))
    assert again == site


def test_only_set_leaves_defaults_out() -> None:
    site = parse_site("site: {name: Yard}\nstorage: {file_s: 60}")
    assert redacted(site, only_set=True) == {"site": {"name": "Yard"}}


def test_merge_keys_and_anchors_work() -> None:
    text = """
channels:
  - &first
    id: a
    number: 1
    main: {url: rtsp://cam/1}
  - <<: *first
    id: b
    number: 2
"""
    assert [channel.id for channel in parse_site(text).channels] == ["a", "b"]


def test_the_schema_describes_every_top_level_key() -> None:
    schema = json.loads(json_schema())
    assert set(schema["properties"]) == set(SiteConfig.model_fields)
    assert schema["additionalProperties"] is False
