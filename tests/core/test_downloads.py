"""Downloads from a server on loopback that answers as it likes."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from earwitness.core.downloads import DownloadError, fetch_file

CONTENT = bytes(range(256)) * 1000
START = hashlib.sha256(CONTENT).hexdigest()[:8]


class Server(http.server.BaseHTTPRequestHandler):
    """Answers by the path that is asked for."""

    released = threading.Event()

    def do_GET(self) -> None:
        how = self.path.strip("/")
        self.send_response(404 if how == "missing" else 200)
        if how in ("whole", "stalled", "short"):
            self.send_header("Content-Length", str(len(CONTENT)))
        if how == "large":
            self.send_header("Content-Length", str(10**12))
        self.end_headers()
        if how in ("whole", "unsized"):
            self.wfile.write(CONTENT)
        if how == "another":
            self.wfile.write(b"<html>moved</html>")
        if how in ("stalled", "short"):
            self.wfile.write(CONTENT[:1000])
            self.wfile.flush()
        if how == "stalled":
            self.released.wait(60)
        if how == "endless":
            while not self.released.is_set():
                try:
                    self.wfile.write(CONTENT)
                except OSError:
                    return

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    Server.released.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    Server.released.set()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("how", ["whole", "unsized"])
def test_a_file_is_fetched_and_its_progress_is_shown(url: str, how: str, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    fetch_file(
        f"{url}/{how}",
        tmp_path / "a.bin",
        sha256_start=START,
        max_bytes=10**6,
        on_progress=lambda *state: seen.append(state),
    )
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    done = [n for n, _ in seen]
    assert done == sorted(done)
    assert seen[-1] == (len(CONTENT), len(CONTENT) if how == "whole" else None)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("missing", "status 404"),
        ("large", "1000000000000 bytes, expected at most 1000000"),
        ("endless", "over 1000000 bytes"),
        ("another", "another file of 18 bytes, SHA-256 .*…, expected"),
        ("short", "another file of 1000 bytes|broken off|IncompleteRead"),
        ("stalled", "broken off: .*timed out"),
    ],
)
def test_what_cannot_be_fetched_says_why_and_leaves_nothing(
    url: str, how: str, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(DownloadError, match=reason):
        fetch_file(
            f"{url}/{how}",
            tmp_path / "a.bin",
            sha256_start=START,
            max_bytes=10**6,
            silence_s=0.5,
        )
    assert not list(tmp_path.iterdir())


def test_an_answer_that_never_ends_is_given_up(url: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"not done after 0\.01 s"):
        fetch_file(
            f"{url}/endless", tmp_path / "a", sha256_start=START, max_bytes=10**12, total_s=0.01
        )
    with pytest.raises(DownloadError, match="refused"):
        fetch_file("http://127.0.0.1:9/a", tmp_path / "a", sha256_start=START, max_bytes=10)
