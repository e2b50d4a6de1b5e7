"""Prometheus' and Grafana's files: every metric that they name is one that a service has."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from prometheus_client import Metric
from ruamel.yaml import YAML

from shared.obs.metrics import REGISTRY
from tests.support.compose import ROOT, services

MONITORING = ROOT / "deploy" / "monitoring"
DASHBOARD = MONITORING / "grafana" / "dashboards" / "vedette.json"


def load(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def modules() -> Iterator[ModuleType]:
    """Those that declare metrics."""
    for file in sorted([*(ROOT / "services").glob("*/metrics.py"), ROOT / "shared" / "obs" / "lag.py"]):
        yield importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))


def declared() -> dict[str, Metric]:
    """What services declare, by the names that Prometheus gives their series."""
    assert list(modules())
    found: dict[str, Metric] = {}
    for metric in REGISTRY.collect():
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(metric.type, ("",))
        found |= {metric.name + ending: metric for ending in endings}
    return found


def expressions() -> Iterator[tuple[str, str]]:
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        for target in panel.get("targets", ()):
            yield f"panel {panel['title']!r}", target["expr"]
    for group in load(MONITORING / "rules.yml")["groups"]:
        for rule in group["rules"]:
            yield f"rule {rule['alert']}", rule["expr"]


def label_names(name: str) -> set[str]:
    """The labels that a metric was declared with."""
    for module in modules():
        for metric in vars(module).values():
            if re.sub(r"_(?:total|bucket|sum|count)$", "", name) == getattr(metric, "_name", None):
                return set(metric._labelnames)
    return set()


def test_metrics_exist() -> None:
    known, used = declared(), 0
    for where, expression in expressions():
        for name in re.findall(r"\bvedette_\w+", expression):
            assert name in known, f"{where}: there is no {name}"
            used += 1
    assert used > 20


def test_labels_exist() -> None:
    """`sum by (channel)` over a metric without it would be one line without a name, and no error."""
    given = {"service", "instance", "job", "le"}
    for where, expression in expressions():
        metrics = re.findall(r"\bvedette_\w+", expression)
        wanted = {label.strip() for inner in re.findall(r"by \(([^)]*)\)", expression) for label in inner.split(",")}
        wanted |= set(re.findall(r"[{,]\s*(\w+)\s*=", expression))
        for name in metrics:
            assert wanted - given <= label_names(name), f"{where}: {name} has no {wanted - given - label_names(name)}"


def test_every_service_is_watched() -> None:
    text = (MONITORING / "prometheus.yml").read_text(encoding="utf-8")
    running = {name: service for name, service in services(profiles=["ingest-2"]).items() if service.command[:1] == ("vedette",)}
    for name, service in running.items():
        networks = service.raw["networks"]
        aliases = networks["inside"].get("aliases", []) if isinstance(networks, dict) else []
        scraped = [each for each in (name, *aliases) if re.search(rf"\b{each}(?!-)\b", text)]
        assert len(scraped) == 1, f"{name} is scraped as {scraped}"


def test_the_dashboard_finds_its_source() -> None:
    (source,) = load(MONITORING / "grafana" / "datasources" / "prometheus.yml")["datasources"]
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    used = {panel["datasource"]["uid"] for panel in dashboard["panels"] if panel["type"] != "row"}
    assert used == {source["uid"]}
    (provider,) = load(MONITORING / "grafana" / "dashboards" / "provider.yml")["providers"]
    mounts = {mount.target for mount in services(profiles=["monitoring"])["grafana"].mounts}
    assert f"{provider['options']['path']}/{DASHBOARD.name}" in mounts


def test_panels_do_not_cover_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
