"""Detectors behind HTTP, on a loopback server that fails, stalls and changes."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from scipy import special

import processes
from builders import write_tone
from cli.conftest import Run
from cli.conftest import run as run_fixture
from earwitness.core.errors import WeightsError
from earwitness.detectors.loading import look_up, open_detector
from earwitness.detectors.service import ServiceDetector
from foreign import describe

run = run_fixture
SECRET = "sesame-12345"  # noqa: S105 - of no service


class Service(http.server.ThreadingHTTPServer):
    """Answers with a score made of the file's bytes; ``plan`` has statuses to give first."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.plan: list[int | str] = []
        self.shift = 0.0
        self.delay_s = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/detect"


def score_of(content: bytes) -> float:
    return int(hashlib.sha256(content).hexdigest()[:6], 16) / 2**25


class Handler(http.server.BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((dict(self.headers), body))
        step = self.server.plan.pop(0) if self.server.plan else 200
        time.sleep(self.server.delay_s)
        if step == "stall":
            time.sleep(3)
            return
        if step == "cut":
            self.close_connection = True
            return
        status = step if isinstance(step, int) else 200
        content = body[body.find(b"RIFF") : body.rfind(b"\r\n--")]
        if self.headers["Content-Type"] == "application/json":
            content = base64.b64decode(json.loads(body)["audio"])
        found: Any = {"results": [{"ai": score_of(content) + self.server.shift}]}
        if step == "empty":
            found = {}
        if status != 200:
            found = f"refused {self.headers.get('Authorization')}"
        data = json.dumps(found).encode()
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    server = Service()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path, service: Service) -> Write:
    def make(**content: Any) -> str:
        given = {
            "kind": "http",
            "url": service.url,
            "upload": "file",
            "score": "results.0.ai",
            "output": "prob",
            "fake": 1,
            "backoff_s": 0.01,
        }
        describe(tmp_path / "api" / "detector.yaml", **given | content)
        return str(tmp_path / "api")

    return make


def open_service(name: str, **options: Any) -> ServiceDetector:
    detector = open_detector(name, **options)
    assert isinstance(detector, ServiceDetector)
    return detector


def song(tmp_path: Path, hz: int = 440) -> str:
    return str(write_tone(tmp_path / f"{hz}.wav", hz=hz, seconds=0.1))


def logit_of(path: str) -> float:
    return float(special.logit(score_of(Path(path).read_bytes())))


def test_the_score_is_that_of_the_uploaded_bytes(tmp_path: Path, write: Write) -> None:
    path = song(tmp_path)
    assert open_service(write()).score_files([path]) == [pytest.approx(logit_of(path))]
    assert open_service(write(fake=0)).score_files([path]) == [pytest.approx(-logit_of(path))]


def test_json_has_the_file_in_base64(tmp_path: Path, write: Write, service: Service) -> None:
    path = song(tmp_path)
    name = write(upload=None, json={"audio": "{base64}", "named": ["{name}", 3]})
    text = (tmp_path / "api" / "detector.yaml").read_text().replace("upload: null\n", "")
    (tmp_path / "api" / "detector.yaml").write_text(text)
    assert open_service(name).score_files([path]) == [pytest.approx(logit_of(path))]
    assert json.loads(service.requests[0][1])["named"] == ["440.wav", 3]


@pytest.mark.parametrize("plan", [[503, 429], ["cut", 500], ["stall", 502]])
def test_failures_and_stalls_are_tried_again(
    tmp_path: Path, write: Write, service: Service, plan: list[int | str]
) -> None:
    path = song(tmp_path)
    service.plan = list(plan)
    detector = open_service(write(timeout_s=1))
    assert detector.score_files([path]) == [pytest.approx(logit_of(path))]
    assert len(service.requests) == 3
    assert detector.remarks == ["3 requests"]


@pytest.mark.parametrize(
    ("plan", "problem", "n"),
    [
        ([500] * 9, "status 500", 3),
        ([401], "status 401", 1),
        ([302], "status 302", 1),
        (["empty"], "the answer has no results.0.ai", 1),
        (["cut"] * 9, "no answer", 3),
    ],
)
def test_what_fails_has_a_reason(  # noqa: PLR0917 - fixtures
    tmp_path: Path, write: Write, service: Service, plan: list[int | str], problem: str, n: int
) -> None:
    service.plan = list(plan)
    (found,) = open_service(write(retries=2)).score_files([song(tmp_path)])
    assert problem in str(found)
    assert len(service.requests) == n


def test_a_secret_is_sent_and_neither_shown_nor_written(
    tmp_path: Path, write: Write, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = write(headers={"Authorization": "Bearer ${API_KEY}"})
    (missing,) = open_service(name).score_files([song(tmp_path)])
    assert missing == "environment variable API_KEY is not set"
    monkeypatch.setenv("API_KEY", SECRET)
    service.plan = [403]
    detector = open_service(name)
    detector.keep_records(tmp_path / "records")
    refused, scored = detector.score_files([song(tmp_path), song(tmp_path, 500)])
    assert refused == 'status 403: "refused Bearer ***"'
    assert isinstance(scored, float)
    assert service.requests[0][0]["Authorization"] == f"Bearer {SECRET}"
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert not any(SECRET.encode() in p.read_bytes() for p in files)
    assert SECRET not in detector.card.model_dump_json()


def test_recorded_answers_are_used_without_the_service(
    tmp_path: Path, write: Write, service: Service
) -> None:
    paths, name = [song(tmp_path, hz) for hz in (300, 400, 500)], write()
    first = open_service(name)
    first.keep_records(tmp_path / "records")
    scores = first.score_files(paths)
    assert len(service.requests) == 3
    with (tmp_path / "records" / "api.jsonl").open("ab") as file:
        file.write(b'{"key": "torn')
    again = open_service(name, max_requests=0)
    again.keep_records(tmp_path / "records")
    assert again.score_files(paths) == scores
    assert again.remarks == ["0 requests, 3 recorded answers used"]
    (unknown,) = again.score_files([song(tmp_path, 600)])
    assert unknown == "not requested: the maximum of 0 requests is reached"
    assert len(service.requests) == 3


def test_the_rate_is_limited(tmp_path: Path, write: Write, service: Service) -> None:
    detector, now, waits = open_service(write(requests_per_s=20)), [5.0], []
    detector.gate.clock, detector.gate.sleep = lambda: now[0], waits.append
    songs = [song(tmp_path, hz) for hz in (300, 310, 320, 330, 340)]
    detector.score_files(songs[:3])
    now[0] = 5.12  # the third one's turn was at 5.10
    detector.score_files(songs[3:])
    assert waits == pytest.approx([0, 0.05, 0.10, 0.03, 0.08])
    assert len(service.requests) == 5


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"url": "http://example.org/x"}, "expected https"),
        ({"url": "file:///etc/passwd"}, "expected https"),
        ({"url": "https://me:word@example.org"}, "found a password"),
        ({"json": {"a": 1}}, "expected one of upload and json"),
        ({"score": ""}, "score: String should have at least 1 character"),
        ({"output": "two_probs"}, "output: Input should be"),
    ],
)
def test_what_does_not_fit_is_named(write: Write, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(WeightsError, match=problem):
        open_detector(write(**changes))


def test_an_address_needs_a_description(tmp_path: Path, write: Write, service: Service) -> None:
    with pytest.raises(WeightsError, match="no description, expected --weights"):
        open_detector(service.url)
    path = song(tmp_path)
    detector = open_service(service.url, weights={service.url: Path(write())})
    assert detector.card.name == f"{service.url[7:]}"
    assert detector.score_files([path]) == [pytest.approx(logit_of(path))]
    card = look_up(write()).card
    assert card is not None
    assert (card.licence, card.trained_on, card.name) == ("unknown", None, "api")


def write_set(tmp_path: Path, n: int = 12) -> list[object]:
    names = [f"{at}.wav" for at in range(n)]
    for at, name in enumerate(names):
        write_tone(tmp_path / "sound" / name, hz=200 + 30 * at, seconds=0.2)
    groups = [f"g{at}" for at in range(n)]
    targets = [at % 2 for at in range(n)]
    frame = pl.DataFrame({"filepath": names, "target": targets, "group_id": groups})
    frame.write_csv(tmp_path / "set.csv")
    return ["--manifest", tmp_path / "set.csv", "--root", tmp_path / "sound"]


def test_killed_resumed_and_replayed_it_leaves_the_same_bytes(
    tmp_path: Path, write: Write, service: Service, run: Run
) -> None:
    name, where, out = write(), write_set(tmp_path), tmp_path / "k"
    service.delay_s = 0.1
    common = ["predict", "--detector", name, *where]
    process = processes.start([sys.executable, "-m", "earwitness", *common, "--out", out])
    store = out / "store" / "api.jsonl"
    while process.poll() is None and not (store.exists() and store.read_bytes().count(b"\n") > 3):
        time.sleep(0.01)
    process.kill()
    process.wait()
    service.delay_s = 0
    assert store.read_bytes().count(b"\n") < 13
    resumed = run(*common, "--out", out)
    assert resumed.code == 0, resumed.err
    scores = (out / "preds" / "set" / "api.csv").read_bytes()
    n_requests = len(service.requests)
    assert n_requests <= 13
    replayed = run(*common, "--out", out, "--resume", "always", "--max-requests", "0")
    assert replayed.code == 0, replayed.err
    assert "12 recorded answers used" in replayed.err
    assert (out / "preds" / "set" / "api.csv").read_bytes() == scores
    assert len(service.requests) == n_requests


def test_the_cost_cap_leaves_errors_that_are_tried_again(
    tmp_path: Path, write: Write, service: Service, run: Run
) -> None:
    common = ["predict", "--detector", write(), *write_set(tmp_path), "--out", tmp_path / "r"]
    first = run(*common, "--max-requests", "5")
    assert first.code == 0, first.err
    assert "5 rows scored, 7 failed" in first.out
    assert len(service.requests) == 5
    assert "12 rows scored, 0 failed" in run(*common, "--retry-errors").out
    assert len(service.requests) == 12


def test_drift_finds_a_silent_change_of_the_model(
    tmp_path: Path, write: Write, service: Service, run: Run
) -> None:
    name, out = write(), tmp_path / "r"
    assert run("predict", "--detector", name, *write_set(tmp_path), "--out", out).code == 0
    asked = ["drift", out, "--detector", name, "--share", "0.5"]
    same = run(*asked)
    assert same.code == 0, same.err
    assert "api: 0 of 6 scores changed" in same.out
    service.shift = 0.01
    changed = run(*asked)
    assert changed.code == 1
    assert "api: 6 of 6 scores changed" in changed.out
    service.plan = [500] * 100
    assert run(*asked, "--max-requests", "8").code == 2
    others = run("drift", out, "--detector", "comb")
    assert others.code == 2
    assert "expected a service" in others.err


def test_it_runs_through_bench_and_report(
    tmp_path: Path, write: Write, service: Service, run: Run
) -> None:
    write()
    write_set(tmp_path)
    (tmp_path / "bench.yaml").write_text(
        "data:\n  manifests: {files: [set.csv], root: sound}\n"
        "detectors: [api]\nscoring: {num_workers: 0, max_requests: 50}\n"
        "audit: {enabled: false}\nevaluate: {resamples: 100}\n"
    )
    first = run("bench", "run", tmp_path / "bench.yaml")
    assert first.code == 0, first.err
    assert "api" in (tmp_path / "run" / "report.html").read_text()
    assert len(service.requests) == 12
    assert run("bench", "run", tmp_path / "bench.yaml").code == 0
    assert len(service.requests) == 12
