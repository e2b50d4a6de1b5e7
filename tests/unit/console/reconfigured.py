"""The stand's site after a change."""

from __future__ import annotations

from typing import Any

from shared.config.site import SiteConfig


def changed(site: SiteConfig, **console: Any) -> SiteConfig:
    """The stand's site: a camera more, one less, one with another name and another rule, the site with another name."""
    values = site.model_dump()
    gate, yard, _quay, attic = values["channels"]
    gate |= {"name": "North gate", "rules": [{"kind": "people_counting", "id": "way", "name": "Way in", "line": [(0.1, 0.8), (0.5, 0.8)]}]}
    shed = {"id": "shed", "number": 5, "name": "Shed", "main": gate["main"]}
    values |= {"channels": [gate, yard, attic, shed], "site": {"name": "Harbour and docks"}, "console": {"port": 1, **console}}
    return SiteConfig.model_validate(values)
