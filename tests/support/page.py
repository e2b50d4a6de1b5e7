"""The console's page and API as an administrator has them, over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from tests.support.waiting import wait_for


class PageClient:
    """Logs in at the first request. `port`: of the page; `data_dir`: of the console's process, which has written the password there."""

    def __init__(self, port: int, data_dir: Path) -> None:
        self.port, self.data_dir = port, data_dir
        self._client: httpx.Client | None = None

    @property
    def http(self) -> httpx.Client:
        """A client with an administrator's session."""
        if self._client is None:
            client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=180)
            password = (self.data_dir / "admin-password").read_text(encoding="utf-8").strip()
            origin = {"origin": f"http://127.0.0.1:{self.port}"}
            answer = client.post("/api/session", json={"user": "admin", "password": password}, headers=origin)
            assert answer.is_success, answer.text
            client.headers.update(origin)
            self._client = client
        return self._client

    def get(self, path: str, **params: object) -> Any:
        """JSON of a GET; a service that cannot answer yet (it starts, or its process is busy with that) is waited for."""

        def asked() -> httpx.Response | None:
            answer = self.http.get(path, params={k: str(v) for k, v in params.items()})
            return None if answer.status_code == 503 else answer

        answer = wait_for(asked, what=f"there is who answers {path}", deadline_s=180)
        assert answer is not None
        assert answer.is_success, f"GET {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def detects(self) -> bool:
        """Whether the detector runs, which is fetched and exported at first use: what nobody could look at is nobody's alarm."""
        return "detector" in next(one["details"] for one in self.get("/api/status")["services"] if one["name"] == "analytics")

    def alarms(self, **params: object) -> list[dict[str, Any]]:
        """Alarms, oldest first."""
        found: list[dict[str, Any]] = self.get("/api/alarms", limit=1000, **params)["alarms"]
        return sorted(found, key=lambda alarm: alarm["start_ns"])

    def recordings(self, channel: str) -> list[dict[str, Any]]:
        """Main-stream recordings of a channel, oldest first."""
        found: list[dict[str, Any]] = self.get("/api/recordings", channel=channel, limit=10000)["recordings"]
        return sorted((r for r in found if r["stream"] == "main"), key=lambda recording: recording["start_ns"])

    def download(self, recording: dict[str, Any], folder: Path) -> Path:
        """A recording's file, as a browser would get it."""
        answer = self.http.get(f"/api/recordings/{recording['id']}/media")
        assert answer.is_success, answer.text
        file = folder / f"{recording['channel']}-{recording['start_ns']}.mp4"
        file.write_bytes(answer.content)
        return file

    def log_out(self) -> None:
        """Forget the session: the next request logs in anew. Idempotent."""
        if self._client is not None:
            self._client.close()
            self._client = None
