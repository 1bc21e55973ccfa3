"""The hub's own client against a server on loopback that answers as the hub does."""

from __future__ import annotations

import hashlib
import http.server
import itertools
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from builders import write_tone
from earwitness.detectors.hub import is_hub_id
from lofcz_folders import write_lr
from spectttra_folders import write_folder

COMMIT, OLD_COMMIT = "a" * 40, "b" * 40
REPOSITORY = "someone/net"
CONFIG, STATE = b'{"a": 1}', bytes(range(256)) * 300

FETCH = """
import sys
from earwitness.core.errors import WeightsError
from earwitness.detectors.hub import fetch_folder
for hub_id in sys.argv[1:]:
    try:
        print(fetch_folder(hub_id))
    except WeightsError as error:
        print(f"error: {error}")
"""


@dataclass
class Hub:
    """What the server holds and how it misbehaves.

    Attributes:
        files: Contents by file name.
        revisions: Commits by what may be asked for.
        fault: "", "wrong size", "truncated", "status 503" or "no hub".
        lies: Headers that take the place of what it would say, by file name and commit.
        seen: Method and path of every request.
        port: Where it listens.
        repository: The one repository it holds.
    """

    files: dict[str, bytes]
    revisions: dict[str, str]
    fault: str = ""
    seen: list[str] = field(default_factory=list)
    port: int = 0
    repository: str = REPOSITORY
    lies: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers HEAD and GET of ``/owner/name/resolve/revision/file`` and of ``/cdn/file``."""

    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def reply(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def answer(self) -> None:
        if self.path.startswith("/api/"):  # what the client asks for its own ends
            self.reply(404, {})
            return
        self.hub.seen.append(f"{self.command} {self.path}")
        if self.hub.fault == "status 503":
            self.reply(503, {})
        elif self.hub.fault == "no hub":
            self.reply(200, {"ETag": '"1"'}, b"<html>")
        elif self.path.startswith("/cdn/"):
            self.answer_content(self.hub.files[self.path.removeprefix("/cdn/")])
        else:
            self.answer_resolve(*self.path.strip("/").split("/"))

    def answer_resolve(self, owner: str, name: str, _: str, revision: str, file: str) -> None:
        commit = self.hub.revisions.get(revision)
        if f"{owner}/{name}" != self.hub.repository:
            self.reply(404, {"X-Error-Code": "RepoNotFound"})
        elif commit is None:
            self.reply(404, {"X-Error-Code": "RevisionNotFound"})
        elif file not in self.hub.files:
            self.reply(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        elif file == "config.json":
            body = self.hub.files[file]
            etag = hashlib.sha1(body, usedforsecurity=False).hexdigest()
            honest = {"ETag": f'"{etag}"', "X-Repo-Commit": commit}
            self.reply(200, honest | self.hub.lies.get((file, commit), {}), body)
        else:
            body = self.hub.files[file]
            linked = {
                "X-Linked-Size": str(len(body)),
                "X-Linked-ETag": f'"{hashlib.sha256(body).hexdigest()}"',
            }
            elsewhere = f"http://localhost:{self.hub.port}/cdn/{file}"
            headers = {"Location": elsewhere, "X-Repo-Commit": commit}
            self.reply(302, headers | linked | self.hub.lies.get((file, commit), {}))

    def answer_content(self, body: bytes) -> None:
        start = int(self.headers.get("Range", "bytes=0-")[6:].split("-")[0])
        part, status = body[start:], 206 if start else 200
        if self.hub.fault == "wrong size":
            self.reply(200, {}, body[:100])
        elif self.hub.fault == "truncated":
            self.reply(status, {"Content-Length": str(len(part))}, body[start:1000])
        else:
            self.reply(status, {}, part)


@pytest.fixture
def hub() -> Iterator[Hub]:
    held = Hub({"config.json": CONFIG, "pytorch_model.bin": STATE}, {"main": COMMIT})
    held.revisions |= {COMMIT: COMMIT, OLD_COMMIT: OLD_COMMIT, "v1": OLD_COMMIT}
    handler = type("HubHandler", (Handler,), {"hub": held})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        held.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield held
        server.shutdown()
        thread.join()


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(endpoint: str, home: Path, *, offline: bool = False) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    return kept | {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "HF_HUB_ETAG_TIMEOUT": "120",  # a loaded machine may be slow to answer
        "HF_HUB_OFFLINE": "1" if offline else "0",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }


def fetch(endpoint: str, home: Path, hub_id: str = REPOSITORY, *, offline: bool = False) -> str:
    """Fetch in a process of its own; return the folder, or one line of error."""
    (line,) = fetch_each(endpoint, home, [hub_id], offline=offline)
    return line


def fetch_each(
    endpoint: str, home: Path, hub_ids: list[str], *, offline: bool = False
) -> list[str]:
    """Fetch one after another in one process; return a line for each."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FETCH, *hub_ids],
        env=environment(endpoint, home, offline=offline),
        capture_output=True,
        text=True,
        check=False,
    )
    lines = (done.stdout + done.stderr).splitlines()
    assert len(lines) == len(hub_ids), lines
    return lines


def test_what_is_fetched_is_there_and_kept(hub: Hub, tmp_path: Path) -> None:
    folder = Path(fetch(hub.url, tmp_path))
    assert folder.is_relative_to(tmp_path)
    assert folder.name == COMMIT
    assert (folder / "config.json").read_bytes() == CONFIG
    assert (folder / "pytorch_model.bin").read_bytes() == STATE
    assert "GET /cdn/pytorch_model.bin" in hub.seen
    hub.seen.clear()
    assert fetch(hub.url, tmp_path) == str(folder)
    assert hub.seen == [f"HEAD /{REPOSITORY}/resolve/main/config.json"]


def test_safetensors_come_before_pickles(hub: Hub, tmp_path: Path) -> None:
    hub.files["model.safetensors"] = STATE[:5_000]
    folder = Path(fetch(hub.url, tmp_path))
    names = {path.name for path in folder.iterdir()}
    assert names == {"config.json", "model.safetensors"}
    assert (folder / "model.safetensors").read_bytes() == STATE[:5_000]


@pytest.mark.parametrize("revision", ["v1", OLD_COMMIT])
def test_a_revision(hub: Hub, tmp_path: Path, revision: str) -> None:
    folder = fetch(hub.url, tmp_path, f"{REPOSITORY}@{revision}")
    assert Path(folder).name == OLD_COMMIT
    assert f"HEAD /{REPOSITORY}/resolve/{revision}/config.json" in hub.seen


def test_a_commit_that_is_in_the_cache_needs_no_hub(
    hub: Hub, tmp_path: Path, closed_port: int
) -> None:
    folder = fetch(hub.url, tmp_path, f"{REPOSITORY}@{COMMIT}")
    closed = f"http://127.0.0.1:{closed_port}"
    assert fetch(closed, tmp_path, f"{REPOSITORY}@{COMMIT}") == folder


def test_what_the_cache_holds_serves_without_a_hub(
    hub: Hub, tmp_path: Path, closed_port: int
) -> None:
    folder = fetch(hub.url, tmp_path)
    assert fetch(f"http://127.0.0.1:{closed_port}", tmp_path) == folder
    hub.seen.clear()
    assert fetch(hub.url, tmp_path, offline=True) == folder
    assert hub.seen == []
    hub.fault = "status 503"
    assert fetch(hub.url, tmp_path) == folder


@pytest.mark.parametrize(
    ("hub_id", "message"),
    [
        ("someone/absent", "/someone/absent: no such repository, or private"),
        (f"{REPOSITORY}@v9", f"/{REPOSITORY} has no revision 'v9'"),
    ],
)
def test_what_the_hub_does_not_have(hub: Hub, tmp_path: Path, hub_id: str, message: str) -> None:
    assert fetch(hub.url, tmp_path, hub_id) == f"error: {hub.url}{message}"


def test_a_file_that_is_missing(hub: Hub, tmp_path: Path) -> None:
    del hub.files["pytorch_model.bin"]
    expected = "holds no weights, expected model.safetensors or pytorch_model.bin"
    assert fetch(hub.url, tmp_path) == f"error: {REPOSITORY} {expected}"
    del hub.files["config.json"]
    message = fetch(hub.url, tmp_path / "new")
    assert message.endswith(f"{REPOSITORY} holds no config.json at revision 'main'")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("wrong size", "another file of 100 bytes"),
        ("truncated", "download failed: "),
    ],
)
def test_a_download_that_is_cut_short(hub: Hub, tmp_path: Path, fault: str, message: str) -> None:
    hub.fault = fault
    found = fetch(hub.url, tmp_path)
    assert found.startswith("error: ")
    assert message in found
    assert not list(tmp_path.rglob("pytorch_model.bin"))
    hub.fault = ""
    assert (Path(fetch(hub.url, tmp_path)) / "pytorch_model.bin").read_bytes() == STATE


@pytest.mark.parametrize(
    ("fault", "message"),
    [("status 503", "answers with status 503"), ("no hub", "is no hub (it names no commit)")],
)
def test_a_hub_that_is_none_or_ill_is_asked_once(
    hub: Hub, tmp_path: Path, fault: str, message: str
) -> None:
    hub.fault = fault
    expected = f"error: {hub.url} {message}, and it is not in the cache"
    assert fetch(hub.url, tmp_path) == expected
    assert len(hub.seen) == 1


def test_no_network_at_all(tmp_path: Path, closed_port: int) -> None:
    endpoint = f"http://127.0.0.1:{closed_port}"
    message = fetch(endpoint, tmp_path)
    assert message.startswith(f"error: {endpoint} cannot be reached (")
    assert message.endswith("), and it is not in the cache")
    offline = fetch(endpoint, tmp_path, offline=True)
    assert offline.startswith("error: offline (HF_HUB_OFFLINE is set)")


def test_a_hub_that_lies_writes_nothing(hub: Hub, tmp_path: Path) -> None:
    escapes = ["../../../../escaped", "/escaped", "..", "a" * 5_000, "", "*", "a" * 39 + "/"]
    headers = ("ETag", "X-Linked-ETag", "X-Repo-Commit")
    files = ("config.json", "pytorch_model.bin")
    hub_ids = []
    for number, (file, header, value) in enumerate(itertools.product(files, headers, escapes)):
        commit = f"{number:040x}"
        hub.revisions |= {f"v{number}": commit, commit: commit}
        lie = {header: value if header == "X-Repo-Commit" else f'"{value}"'}
        if header == "ETag" and file == "pytorch_model.bin":
            lie["X-Linked-ETag"] = ""
        hub.lies[file, commit] = lie
        hub_ids.append(f"{REPOSITORY}@v{number}")
    for line in fetch_each(hub.url, tmp_path / "a" / "b" / "c" / "d", hub_ids):
        assert line.startswith("error: ")
        assert len(line) < 400
    written = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert not written


def test_a_state_that_is_not_what_the_hub_says(hub: Hub, tmp_path: Path) -> None:
    lies = [
        ({"X-Linked-Size": str(10**15)}, "size 1000000000000000, expected 1 to"),
        ({"X-Linked-Size": "-1"}, "size -1, expected 1 to"),
        ({"X-Linked-Size": "100"}, "76800 bytes, expected at most 100"),
        ({"X-Linked-ETag": f'"{"0" * 64}"'}, f"expected {'0' * 64}"),
        ({"X-Repo-Commit": OLD_COMMIT}, f"is of commit {OLD_COMMIT}, expected "),
        ({"Location": "file:///etc/hostname"}, "file://: expected https"),
        ({"Location": "ftp://127.0.0.1/x"}, "ftp://127.0.0.1: expected https"),
        ({"Location": "http://192.0.2.1/x"}, "http://192.0.2.1: expected https"),
    ]
    for number, (lie, _) in enumerate(lies):
        commit = f"{number:040x}"
        hub.revisions[commit] = commit
        hub.lies["pytorch_model.bin", commit] = lie
    lines = fetch_each(hub.url, tmp_path, [f"{REPOSITORY}@{n:040x}" for n in range(len(lies))])
    for line, (_, message) in zip(lines, lies, strict=True):
        assert message in line
    assert not list(tmp_path.rglob("pytorch_model.bin*"))


def test_transfers_of_other_kinds_are_not_asked_for(hub: Hub, tmp_path: Path) -> None:
    xet = {"X-Xet-Hash": "../" * 5, "X-Xet-Refresh-Route": "http://192.0.2.1/x"}
    hub.lies["pytorch_model.bin", COMMIT] = xet
    folder = Path(fetch(hub.url, tmp_path))
    assert (folder / "pytorch_model.bin").read_bytes() == STATE


def test_an_endpoint_that_is_not_encrypted_is_not_asked(tmp_path: Path) -> None:
    expected = "error: http://192.0.2.1: expected https"
    assert fetch("http://192.0.2.1", tmp_path).startswith(expected)


def predict(
    endpoint: str, folder: Path, name: str = "sonics-spectttra-gamma-5s"
) -> subprocess.CompletedProcess[str]:
    """Score one tone by a registered name, in a process of its own."""
    write_tone(folder / "a.wav", rate=16_000)
    (folder / "m.csv").write_text("filepath,target\na.wav,0\n")
    command = (
        *(sys.executable, "-m", "earwitness", "predict", "--detector", name),
        *("--manifest", "m.csv", "--output-csv", "p.csv", "--num-workers", "0"),
    )
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(endpoint, folder / "hf"),
        capture_output=True,
        text=True,
        check=False,
    )


def test_from_the_hub_to_a_score(hub: Hub, tmp_path: Path) -> None:
    weights = write_folder(tmp_path / "weights", "sonics-spectttra-gamma-5s")
    hub.repository = "awsaf49/sonics-spectttra-gamma-5s"
    hub.files = {path.name: path.read_bytes() for path in weights.iterdir()}
    done = predict(hub.url, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 rows scored, 0 failed" in done.stdout
    assert (
        ",sonics-spectttra-gamma-5s,correct,fp32,published,16000,false,"
        in (tmp_path / "p.csv").read_text()
    )


@pytest.mark.parametrize("asked", ["lofcz-lr", "lofcz/ai-music-detector", "lofcz-lr@main"])
def test_the_logistic_regression_of_lofcz_from_the_hub(
    hub: Hub, tmp_path: Path, asked: str
) -> None:
    weights = write_lr(tmp_path / "weights")
    hub.repository = "lofcz/ai-music-detector"
    hub.files = {path.name: path.read_bytes() for path in weights.iterdir()}
    done = predict(hub.url, tmp_path, asked)
    assert done.returncode == 0, done.stderr
    assert "GET /cdn/model.safetensors" in hub.seen
    assert f",{asked},correct,fp32,published,16000,false," in (tmp_path / "p.csv").read_text()


def test_no_weights_and_no_network_is_one_line(tmp_path: Path, closed_port: int) -> None:
    done = predict(f"http://127.0.0.1:{closed_port}", tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("earwitness: no weights for sonics-spectttra-gamma-5s: http://127.0.0.1")
    assert "cannot be reached" in line
    assert line.endswith("give --weights sonics-spectttra-gamma-5s=PATH")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("awsaf49/sonics-spectttra-alpha-5s", True),
        ("a/b@main", True),
        ("a/b@refs/pr/1", True),
        ("a", False),
        ("a/b/c", False),
        ("../b", False),
        ("a/..", False),
        ("/a/b", False),
        ("a/b@", False),
        ("a/b@../x", False),
        ("C:\\a/b", False),
        ("", False),
    ],
)
def test_what_looks_like_a_hub_id(text: str, expected: bool) -> None:
    assert is_hub_id(text) is expected
