"""A service can be installed alone: it imports with its own extra's packages, and with none of the heavy ones of others."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

_BLOCKED_IMPORT = """
import importlib, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

blocked = set(sys.argv[2].split(","))
sys.meta_path.insert(0, Blocker())
importlib.import_module(sys.argv[1])
"""
#: Ours; and what comes with the system's Python, which only the independent RTSP server of the tests uses.
OWN = {"services", "shared", "tests", "bench", "gi"}
#: What a declared package documents as the place of its own parts.
PART_OF = {"pydantic_core": "pydantic", "annotated_types": "pydantic", "starlette": "fastapi", "torch": "ultralytics", "urllib3": "minio"}
DETECTION = ("torch", "torchvision", "ultralytics", "openvino", "onnxruntime", "onnx", "cv2", "scipy")
HTTP_SERVER = ("uvicorn", "websockets", "argon2")
CATALOGUE = ("minio", "sqlalchemy", "alembic")
REPORTING = ("standardwebhooks", "cloudevents")


@pytest.mark.parametrize(
    ("module", "blocked"),
    [
        ("services.ingest.app", (*DETECTION, *HTTP_SERVER, *CATALOGUE, *REPORTING, "httpx", "fastapi")),
        ("services.storage.app", (*DETECTION, *HTTP_SERVER, *REPORTING, "httpx")),
        ("services.alarms.app", (*DETECTION, *HTTP_SERVER, "av", "simplejpeg", "minio")),
        ("services.analytics.app", (*HTTP_SERVER, "av", *CATALOGUE, *REPORTING)),
        ("services.console.app", (*DETECTION, "av", *CATALOGUE, *REPORTING)),
        ("services.cli.main", (*DETECTION, *HTTP_SERVER, "av", *CATALOGUE, "faust", "aiokafka", "fastapi", "httpx")),
        ("shared.config.load", (*DETECTION, *HTTP_SERVER, "av", "minio", "sqlalchemy", "faust", "aiokafka", "fastapi", "httpx", "typer")),
    ],
)  # fmt: skip
def test_it_imports_without_what_others_need(module: str, blocked: tuple[str, ...]) -> None:
    command = [sys.executable, "-c", _BLOCKED_IMPORT, module, ",".join(blocked)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def declared(extras: tuple[str, ...]) -> set[str]:
    """Names of the packages that the project asks for with these extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names: set[str] = set()
    for requirement in (*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])):
        name, _, own = requirement.partition("[")
        if name == "vedette":
            names |= declared(tuple(own.partition("]")[0].split(",")))
        else:
            names.add(re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower().replace("_", "-"))
    return names


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("services/ingest", ("ingest",)),
        ("services/analytics", ("analytics",)),
        ("services/alarms", ("alarms",)),
        ("services/storage", ("storage",)),
        ("services/console", ("console",)),
        ("services/cli", ("all",)),
        ("shared/domain", ()),
        ("shared/config", ()),
        ("shared/messages", ()),
        ("shared", ("all",)),
        ("tests", ("all", "dev")),
        ("bench", ("all", "dev")),
    ],
)
def test_what_is_imported_is_declared(folder: str, extras: tuple[str, ...]) -> None:
    """Not only brought along by something else, which may stop doing so."""
    known, distributions = declared(extras), importlib.metadata.packages_distributions()
    found = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            for top in {module.split(".")[0] for module in modules} - sys.stdlib_module_names - OWN:
                names = {PART_OF.get(top, top)} | {name.lower().replace("_", "-") for name in distributions.get(top, [top])}
                if not names & known:
                    found.add(f"{path.relative_to(ROOT)}: {top}")
    assert not found
