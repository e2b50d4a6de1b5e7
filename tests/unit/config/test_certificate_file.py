"""A file of certificates is checked when the configuration is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.config.load import load_site
from shared.domain.errors import ConfigInvalid
from tests.support.certificates import make_authority

SITE = """\
ingest:
  ca_file: {file}
channels:
  - id: door
    number: 1
    main: {{url: "rtsps://192.0.2.1/1", ca_file: {file}}}
"""


def site_file(folder: Path, name: str) -> Path:
    path = folder / "site.yml"
    path.write_text(SITE.format(file=name), encoding="utf-8")
    return path


def test_it_is_named_relative_to_the_configuration(tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    site = load_site(site_file(tmp_path, authority.file.name))
    assert site.ingest.ca_file == site.channels[0].main.ca_file == authority.file


@pytest.mark.parametrize(("name", "text"), [("absent.pem", "cannot be read: No such file"), ("site.yml", "no certificate in PEM form")])
def test_one_that_is_none_is_told_with_its_places(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        load_site(site_file(tmp_path, name))
    problems = [problem for problem in caught.value.problems if text in problem]
    assert len(problems) == 2
    assert "site.yml:2: ingest.ca_file" in problems[0] + problems[1]
    assert "channels[0].main.ca_file" in problems[0] + problems[1]
