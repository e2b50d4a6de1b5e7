"""Rules of the repository that no other tool checks: links, READMEs, the change log, and who may read the clock."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Where packages come from is the installer's business; a tracked file that names a host or a folder of one machine works nowhere else.
MACHINE_WORDS = re.compile(
    r"/work/(?:main|shared)|/root/|/home/[a-z]|(?:pypi|registry|mirror|artifactory|nexus)\.[a-z0-9-]+\.[a-z]{2,}|files\.pythonhosted"
)
_CLOCK_CALLS = {
    *(("time", name) for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "sleep")),
    *(("datetime", name) for name in ("now", "utcnow", "today")),
    ("date", "today"),
}
#: Standard-library modules with which a core would touch the world.
_WORLDLY = {"asyncio", "socket", "ssl", "select", "selectors", "threading", "subprocess", "multiprocessing", "concurrent", "signal",
            "http", "urllib", "ftplib", "smtplib", "sqlite3", "time", "tempfile", "shutil", "os", "io", "logging"}  # fmt: skip
_CORE_VENDORS = {"pydantic", "numpy", "shapely"}


@cache
def tracked() -> tuple[Path, ...]:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return tuple(path for name in names.split("\0") if name and (path := ROOT / name).is_file())


def python_files(*folders: str) -> list[Path]:
    wanted = [ROOT / folder for folder in folders]
    return [path for path in tracked() if path.suffix == ".py" and any(path.is_relative_to(folder) for folder in wanted)]


def of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(text: str) -> set[str]:
    """Anchors of a Markdown page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+\s+(.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def links(text: str) -> Iterator[str]:
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    yield from re.findall(r"\]\(([^)\s]+)\)", prose)


def test_links_in_the_documentation_lead_somewhere() -> None:
    broken = []
    for page in (path for path in tracked() if path.suffix == ".md"):
        for link in links(page.read_text(encoding="utf-8")):
            if re.match(r"^[a-z]+:", link):
                continue
            file, _, anchor = link.partition("#")
            target = (page.parent / file).resolve() if file else page
            if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
                broken.append(f"{of(page)}: {link}")
    assert not broken


def test_paths_named_in_the_documentation_exist() -> None:
    """`services/x/y.py` in backticks is a promise too."""
    missing = []
    promise = re.compile(r"`((?:services|shared|docs|tests|deploy|bench)/[\w./-]+\.(?:py|md|yml|json))`")
    for page in (path for path in tracked() if path.suffix == ".md" and path.name != "CHANGELOG.md"):
        for name in promise.findall(page.read_text(encoding="utf-8")):
            if not (ROOT / name).exists():
                missing.append(f"{of(page)}: {name}")
    assert not missing


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{of(path)}: {match[0]}" for match in MACHINE_WORDS.finditer(text) if path != Path(__file__)]
    assert not found


def test_every_service_has_a_readme() -> None:
    services = {path.parent for path in python_files("services") if path.name == "__init__.py" and path.parent.parent == ROOT / "services"}
    assert services
    assert not [of(folder) for folder in services if not (folder / "README.md").exists()]


def test_the_change_log_has_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert re.search(rf"^## {re.escape(version)}\b", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)


def calls(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line, owner and name of every call of something's attribute: `time.time()` gives "time", "time"."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            if isinstance(owner, ast.Name):
                yield node.lineno, owner.id, node.func.attr
            elif isinstance(owner, ast.Attribute):
                yield node.lineno, owner.attr, node.func.attr


def test_only_the_clock_reads_the_clock() -> None:
    found = []
    for path in python_files("services", "shared"):
        if of(path) != "shared/domain/clock.py":
            found += [f"{of(path)}:{line}: {owner}.{name}" for line, owner, name in calls(path) if (owner, name) in _CLOCK_CALLS]
    assert not found


def test_services_do_not_print() -> None:
    found = []
    for path in python_files("services", "shared"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                found.append(f"{of(path)}:{node.lineno}")
    assert not found


def imported(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module


def test_cores_are_pure() -> None:
    """Nothing of the world and no vendor but pydantic, numpy and geometry."""
    found = []
    cores = [
        path for path in python_files("services", "shared/domain") if "core" in path.parts or path.is_relative_to(ROOT / "shared/domain")
    ]
    for path in cores:
        for line, name in imported(path):
            top = name.split(".")[0]
            vendor = top not in sys.stdlib_module_names and top not in {"services", "shared"} | _CORE_VENDORS
            worldly = top in _WORLDLY and name != "urllib.parse" and of(path) != "shared/domain/clock.py"
            if vendor or worldly:
                found.append(f"{of(path)}:{line}: {name}")
    assert not found


def test_ignored_checks_say_why() -> None:
    """`# noqa` and `# type: ignore` need a code and a reason beside them."""
    bad = re.compile(r"#\s*(?:type: ignore(?!\[)|noqa(?!:))|#\s*(?:type: ignore\[[^\]]+\]|noqa: [A-Z0-9, ]+?)\s*$")
    found = []
    for path in (path for path in tracked() if path.suffix == ".py" and path != Path(__file__)):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if bad.search(line):
                found.append(f"{of(path)}:{number}: {line.strip()}")
    assert not found


@pytest.mark.parametrize("name", ["unit", "contract", "property", "integration", "e2e", "repo"])
def test_test_files_have_names_of_their_own(name: str) -> None:
    """Two test files of one name would shadow each other under importlib mode's reports."""
    every = [path.name for path in python_files("tests")]
    twice = {path.name for path in python_files(f"tests/{name}") if every.count(path.name) > 1 and path.name != "conftest.py"}
    assert not twice
