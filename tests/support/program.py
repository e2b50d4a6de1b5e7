"""A program as a process of its own, with its log in a file: started, stopped in order, or killed."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class Program:
    """One command, that can be started again after its end; what it prints is appended to `log_file`.

    `environment`: the whole of it.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log_file: Path) -> None:
        self.command, self.environment, self.log_file = list(command), dict(environment), log_file
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def log(self) -> str:
        """All that it has printed so far."""
        return self.log_file.read_text(encoding="utf-8", errors="replace") if self.log_file.exists() else ""

    def start(self) -> None:
        """Start the process, without waiting."""
        assert not self.runs, f"{self.log_file.stem} runs already"
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment)

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def require(self) -> None:
        """AssertionError with the end of its log when it does not run."""
        assert self.runs, f"{self.log_file.stem} ended by itself:\n{self.log()[-4000:]}"

    def kill(self) -> None:
        """SIGKILL, as a power cut would. Nothing happens when it does not run."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def stop(self, how: signal.Signals, deadline_s: float) -> int:
        """The signal that asks for an orderly end, and that end; its exit code. AssertionError when it does not come."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(how)
        try:
            return self._process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.log_file.stem} did not stop within {deadline_s} s:\n{self.log()[-4000:]}") from None
