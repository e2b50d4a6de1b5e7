"""The command as people use it: a process of its own, its output and its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.cli.topics_page import page
from shared.config.sample import sample
from shared.topics import ALL

VEDETTE = Path(sys.executable).with_name("vedette")


def vedette(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", **environment}
    return subprocess.run(
        [VEDETTE, *arguments], capture_output=True, text=True, timeout=300, check=False, env=env, stdin=subprocess.DEVNULL
    )


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "site.yml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_right_file_is_in_order(tmp_path: Path) -> None:
    file = write(tmp_path, sample())
    done = vedette("config", "validate", file)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{file}: in order (1 channel, 4 rules, 0 centres)\n", "")


def test_every_problem_is_a_line_and_no_traceback(tmp_path: Path) -> None:
    file = write(tmp_path, "sit: {}\nconsole:\n  prt: 1\n")
    for command in ("validate", "show"):
        done = vedette("config", command, file)
        assert done.returncode == 2
        assert done.stderr == (
            f"{file}:1: sit: unknown key; did you mean `site`?\n"
            f"{file}:3: console.prt: unknown key; did you mean `port`?\n"
            f"2 problems in {file}\n"
        )


def test_run_says_what_is_wrong_with_the_file(tmp_path: Path) -> None:
    done = vedette("run", tmp_path / "nope.yml")
    assert done.returncode == 2
    assert "there is no such file; `vedette config sample > site.yml` writes one to begin with" in done.stderr
    assert "Traceback" not in done.stderr


def test_show_hides_secrets(tmp_path: Path) -> None:
    file = write(tmp_path, "channels: [{id: a, number: 1, main: {url: 'rtsp://c/1', user: u, password: {env: PASSWORD_A}}}]\n")
    done = vedette("config", "show", file, PASSWORD_A="geheim-17")
    assert done.returncode == 0
    assert "geheim" not in done.stdout
    assert "password: '**********'" in done.stdout


def test_the_sample_can_be_piped_into_a_file() -> None:
    assert vedette("config", "sample").stdout == sample()


def test_the_schema_is_json() -> None:
    assert "channels" in json.loads(vedette("config", "schema").stdout)["properties"]


def test_topics_names_every_topic() -> None:
    printed = vedette("topics").stdout
    assert all(topic.name in printed for topic in ALL)


@pytest.mark.parametrize("columns", ["80", "200"])
def test_topics_fit_the_terminal_and_no_name_is_cut(columns: str) -> None:
    printed = vedette("topics", COLUMNS=columns).stdout
    assert "…" not in printed
    assert max(map(len, printed.splitlines())) <= int(columns)
    words = set(printed.replace(",", " ").split())
    for topic in ALL:
        assert {topic.name, *topic.writers, *topic.readers} <= words


def test_topics_can_print_the_page() -> None:
    assert vedette("topics", "--markdown").stdout == page()


def test_version() -> None:
    assert vedette("version").stdout == vedette("--version").stdout == "0.1.0\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--service", "ingst"), "error: --service: there is no service 'ingst' (one of ingest, storage, alarms, analytics, console)"),
        (("--service", "ingest"), "the embedded bus is inside one process"),
    ],
)
def test_services_that_cannot_run_apart_are_refused(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    done = vedette("run", write(tmp_path, "site: {name: x}"), *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert not (tmp_path / "var").exists()


def test_a_data_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = vedette("run", write(tmp_path, "data_dir: file/data"))
    assert done.returncode == 2
    assert done.stderr.startswith("error: data_dir: the data folder ")
    assert "Not a directory (choose another `data_dir`, or give this user write access to it)" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ftp://cam/1",), "error: ftp://cam/1: the URL must begin with one of rtsp://"),
        (("rtsp://u:geheim-17@127.0.0.1:1/1",), "error: rtsp://127.0.0.1:1/1: the camera refused the connection"),
        (("rtsp://cam/1", "--password-env", "VEDETTE_NOT_SET"), "error: --password-env: environment variable VEDETTE_NOT_SET is not set"),
    ],
)
def test_a_camera_that_cannot_be_probed_is_told(arguments: tuple[str, ...], said: str) -> None:
    done = vedette("camera", "probe", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "geheim" not in done.stderr + done.stdout


def test_an_unexpected_error_is_short_and_says_where_the_rest_is(tmp_path: Path) -> None:
    """A broken installation stands for any fault: the version of the package is not there."""
    broken = tmp_path / "sitecustomize.py"
    broken.write_text(
        "import importlib.metadata as m\ndef version(name): raise KeyError('rtsp://u:geheim-17@cam/1')\nm.version = version\n",
        encoding="utf-8",
    )
    done = vedette("version", PYTHONPATH=str(tmp_path), XDG_STATE_HOME=str(tmp_path / "state"))
    assert done.returncode == 70
    assert "This should not have happened: KeyError" in done.stderr
    crash = tmp_path / "state" / "vedette" / "log" / "crash.log"
    assert str(crash) in done.stderr
    assert "Traceback" not in done.stderr
    text = crash.read_text(encoding="utf-8")
    assert "Traceback" in text
    assert "geheim" not in text + done.stderr
    assert "Traceback" in vedette("--debug", "version", PYTHONPATH=str(tmp_path)).stderr


def test_a_reader_that_has_enough_is_no_fault() -> None:
    with subprocess.Popen([VEDETTE, "config", "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.wait(300) == 1
        assert process.stderr.read() == ""


def test_a_full_disk_behind_standard_output_is_told() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run([VEDETTE, "config", "schema"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (2, "error: writing: No space left on device (make room, and run it again)\n")


_CTRL_C_AT_IMPORT = """
import os, signal, sys

class CtrlC:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["CTRL_C_AT"]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, CtrlC())
"""


@pytest.mark.parametrize("module", ["typer", "rich.console", "shared.config.rules", "structlog"])
def test_ctrl_c_is_quiet_while_the_command_is_still_loading(tmp_path: Path, module: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(_CTRL_C_AT_IMPORT, encoding="utf-8")
    done = vedette("version", PYTHONPATH=str(tmp_path), CTRL_C_AT=module)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_store_that_is_not_there_yet_is_told(tmp_path: Path) -> None:
    done = vedette("check", write(tmp_path, "data_dir: data"))
    assert done.returncode == 0
    assert done.stdout.startswith(f"There is no store yet: {tmp_path / 'data'} is made by the first `vedette run ")
