"""Downloads from a server on loopback that answers as it likes."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from earwitness.core.downloads import ALLOW_HTTP, DownloadError, check_address, fetch_file

CONTENT = bytes(range(256)) * 1000
START = hashlib.sha256(CONTENT).hexdigest()[:8]


class Server(http.server.BaseHTTPRequestHandler):
    """Answers by the path that is asked for."""

    released = threading.Event()

    def do_GET(self) -> None:
        how = self.path.strip("/").replace("%20", " ")
        if how == "slow headers":
            self.drip(b"HTTP/1.0 200 OK\r\nX-Padding: ")
            return
        if how == "http elsewhere":
            self.send_response(302)
            self.send_header("Location", "http://192.0.2.1/a")
            self.end_headers()
            return
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

    def drip(self, begin: bytes) -> None:
        """Send a byte often enough that no socket's timeout ends it."""
        self.wfile.write(begin)
        while not self.released.wait(0.05):
            try:
                self.wfile.write(b"x")
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
        ("another", "another file of 18 bytes, SHA-256 [0-9a-f]{8}, expected"),
        ("short", "1000 of 256000 bytes came|broken off"),
        ("slow%20headers", r"no answer for 1\.5 s"),
        ("http%20elsewhere", r"http://192\.0\.2\.1: expected https"),
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


@pytest.mark.parametrize(
    ("url", "is_admitted"),
    [
        ("https://example.org/a", True),
        ("http://127.0.0.1:80/a", True),
        ("http://[::1]/a", True),
        ("http://localhost/a", True),
        ("http://example.org/a", False),
        ("http://127.0.0.1.example.org/a", False),
        ("http://localhost@example.org/a", False),
        ("ftp://127.0.0.1/a", False),
        ("file:///a", False),
        ("a", False),
    ],
)
def test_addresses_are_encrypted_or_of_this_machine(
    url: str, is_admitted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_admitted:
        check_address(url)
        return
    with pytest.raises(DownloadError, match="expected https"):
        check_address(url)
    monkeypatch.setenv(ALLOW_HTTP, "1")
    if url.startswith("http:"):
        check_address(url)
