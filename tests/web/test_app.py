"""Routes of ``earwitness serve``: uploads, limits, hosts, tokens, and hostile names."""

from __future__ import annotations

import html
import io
import re
import threading

import httpx2
import numpy as np
import pytest
import soundfile

import earwitness as ew
from builders import write_comb
from earwitness.detectors.comb import CombDetector
from earwitness.detectors.loading import open_detector
from earwitness.evaluation.schema import write_metrics
from earwitness.perturb.suites import load_suite
from earwitness.web import songs as songs_module
from earwitness.web.songs import Songs
from frames import HOSTILE, predictions
from websites import wait_until, web_site, write_run


@pytest.fixture(scope="module")
def comb(tmp_path_factory) -> bytes:
    return write_comb(tmp_path_factory.mktemp("music") / "comb.wav", 1, seconds=6).read_bytes()


def finished(visitor, token: str) -> dict[str, str]:
    wait_until(lambda: visitor.http.get(f"/songs/{token}.json").json()["state"] == "done")
    return visitor.http.get(f"/songs/{token}.json").json()


def test_a_song_is_scored_shown_and_played_in_ranges(visitor, comb):
    answer = visitor.upload(("comb.wav", comb))
    assert answer.status_code == 201
    (token,) = answer.json()["songs"]
    assert "trace of a decoder found by comb" in finished(visitor, token)["answer"]
    page = visitor.http.get(f"/songs/{token}").text
    for shown in ("Findings of each detector", "Where in the file", "data-duration=", "the comb"):
        assert shown in page
    part = visitor.http.get(f"/songs/{token}/audio", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, comb[10:20])
    form = {"csrf": visitor.csrf}
    assert visitor.http.post(f"/songs/{token}/changes", data=form).status_code == 303
    wait_until(lambda: visitor.http.get(f"/songs/{token}.json").json()["changes"] == "done")
    assert "gain_db_-12" in visitor.http.get(f"/songs/{token}").text


def test_a_text_file_named_mp3_is_a_row_with_its_error(visitor):
    (token,) = visitor.upload(("song.mp3", b"hello\n" * 100)).json()["songs"]
    assert "no answer" in finished(visitor, token)["answer"]
    assert "not audio" in visitor.http.get(f"/songs/{token}").text


def test_names_are_text_and_never_paths(visitor, tmp_path):
    names = (HOSTILE, "../../../etc/passwd", "C:\\evil\\x.wav", "a/b\n.mp3")
    tokens = visitor.upload(*((name, b"x") for name in names)).json()["songs"]
    shown = [finished(visitor, token)["name"] for token in tokens]
    assert not any("/" in name or "\\" in name for name in shown)
    for page in ("/", f"/songs/{tokens[0]}"):
        assert "<script>window" not in visitor.http.get(page).text
        assert "<img" not in visitor.http.get(page).text
    stored = [visitor.site.songs.get(token).path for token in tokens]
    assert {path.parent for path in stored} == {stored[0].parent}
    assert [path.stem for path in stored] == tokens
    assert stored[0].parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_foreign_hosts_are_refused(visitor, host):
    assert visitor.http.get("/", headers={"Host": host}).status_code == 421


def test_posts_need_our_token_and_our_origin(visitor):
    n_before = len(visitor.http.get("/songs.json").json())
    assert visitor.upload(("a.wav", b"x"), csrf="guessed").status_code == 403
    assert visitor.upload(("a.wav", b"x"), csrf="").status_code == 403
    assert visitor.upload(("a.wav", b"x"), Origin="http://evil.example").status_code == 403
    assert visitor.upload(("a.wav", b"x"), Origin="null").status_code == 403
    assert visitor.http.post("/songs", content=b"x").status_code == 403
    assert len(visitor.http.get("/songs.json").json()) == n_before


def test_uploads_that_are_too_large_are_refused_stated_or_not(visitor):
    answer = visitor.upload(("large.wav", bytes(1_200_000)))
    assert (answer.status_code, answer.json()["error"]) == (413, "too large, expected at most 1 MB")
    boundary = {"Content-Type": "multipart/form-data; boundary=b"}
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
    chunks = iter([head, *[bytes(100_000)] * 12])
    answer = visitor.http.post("/songs", content=chunks, headers=boundary)
    assert answer.status_code == 413
    assert "<h1>Too large, expected at most 1 MB.</h1>" in answer.text


@pytest.mark.parametrize(
    "path",
    ["/songs/x", "/songs/../../etc/passwd", "/songs/x/audio", "/runs/x", "/static/",
     "/static/../app.py", "/static/%2e%2e/app.py", "/songs/%2e%2e%2fx/audio", "/nothing"],
)  # fmt: skip
def test_unknown_addresses_are_not_found(visitor, path):
    answer = visitor.http.get(path)
    assert answer.status_code == 404
    assert "Traceback" not in answer.text


def test_every_answer_forbids_sniffing_framing_and_foreign_content(visitor):
    for path in ("/", "/runs", "/songs.json", "/static/serve.js", "/nothing"):
        headers = visitor.http.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["content-security-policy"]
    page = html.unescape(visitor.http.get("/").text)
    assert "content=\"default-src 'none'; style-src 'sha256-" in page
    assert "unsafe" not in page


def test_uploads_are_deleted_at_the_end_and_after_an_hour_unless_kept(comb, tmp_path, monkeypatch):
    def paths(keep):
        with Songs([], load_suite("quick"), keep=keep) as songs:
            added = [songs.add(name, io.BytesIO(comb)) for name in ("a.wav", "b.wav")]
            wait_until(lambda: all(song.state == "done" for song in added))
            monkeypatch.setattr(songs_module, "KEEP_S", -1.0)
            n_left = len(songs.all())
            assert (n_left, added[0].path.is_file()) == ((2, True) if keep else (0, False))
            monkeypatch.setattr(songs_module, "KEEP_S", 3600.0)
            last = songs.add("c.wav", io.BytesIO(comb))
        return last.path

    gone = paths(None)
    assert not gone.exists()
    assert not gone.parent.exists()
    kept = paths(tmp_path / "kept")
    assert kept.read_bytes() == comb
    assert '"name": "c.wav"' in (tmp_path / "kept" / "names.jsonl").read_text(encoding="utf-8")


def test_a_run_is_a_report_with_players_and_names_no_paths(tmp_path):
    metrics = ew.evaluate([predictions(seed=0, shift=1.2)], n_resamples=20)
    run = tmp_path / "first" / "run"
    run.mkdir(parents=True)
    write_metrics(metrics, run / "metrics.json")
    wrong = metrics.detectors[0].worst_misses[0].filepath
    (run / wrong).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(run / wrong, np.zeros(800), 8000)
    with (
        web_site(runs=tmp_path) as site,
        httpx2.Client(base_url=site.url, trust_env=False, timeout=60) as http,
    ):
        listing = http.get("/runs").text
        assert ">first/run</a>" in listing
        address = re.search(r'href="(/runs/[^"]+)"', listing)[1]
        page = http.get(address)
        assert "Worst mistakes" in page.text
        (source,) = re.findall(r'<audio [^>]*src="([^"]+)"', page.text)
        assert source.startswith(address + "/audio/")
        assert http.get(source).content == (run / wrong).read_bytes()
        assert http.get(f"{address}/audio/x").status_code == 404
        assert str(tmp_path) not in page.text
        (run / "metrics.json").write_text("{}")
        broken = http.get(address)
        assert broken.status_code == 422
        assert "expected a metrics.json" in broken.text


def test_a_song_over_the_time_limit_has_an_error_and_the_next_is_scored(comb):
    class Stuck(CombDetector):
        """Waits on its first song, as a decoder or a driver might."""

        def score(self, *given, **named):
            if not released.is_set() and not waiting.is_set():
                waiting.set()
                released.wait()
            return super().score(*given, **named)

    waiting, released = threading.Event(), threading.Event()
    detector = Stuck(open_detector("comb").card)
    with Songs([detector], load_suite("quick"), time_limit_s=1) as songs:
        first, second = (
            songs.add("a.wav", io.BytesIO(comb)),
            songs.add("b.mp3", io.BytesIO(b"text")),
        )
        wait_until(lambda: second.state == "done")
        released.set()
    assert waiting.is_set()
    assert first.error == "not finished within 1 s, the time limit of a song"
    assert (first.result, first.sections) == (None, [])
    assert "not audio" in second.error


def test_items_of_a_run_are_filtered_and_played_and_two_runs_compared(tmp_path):
    first = write_run(tmp_path / "first")
    write_run(tmp_path / "second", threshold=1.0)
    with (
        web_site(runs=tmp_path) as site,
        httpx2.Client(base_url=site.url, trust_env=False, timeout=60) as http,
    ):
        listing = http.get("/runs").text
        tokens = dict(re.findall(r'<option value="([^"]+)"[^>]*>(\w+)<', listing))
        one, two = sorted(tokens, key=tokens.__getitem__)

        def shown(**asked: str) -> list[str]:
            page = http.get(f"/runs/{one}/items", params=asked).text
            assert str(tmp_path) not in page
            assert "<script>window" not in page
            rows = re.findall(r'<tr><th scope="row"[^>]*><span class="name">(.*?)</span>', page)
            return [html.unescape(name) for name in rows]

        hostile = HOSTILE.replace("/", "")
        assert shown() == ["fake_1.wav", "noise.wav", "fake_0.wav", hostile, "text.mp3"]
        assert shown(outcome="abstained") == [hostile]
        assert shown(outcome="wrong") == ["fake_1.wav", "noise.wav"]
        assert shown(outcome="failed") == ["text.mp3"]
        assert shown(label="fake", outcome="right") == ["fake_0.wav"]
        assert shown(name="<img", detector="comb", page="7") == [hostile]
        assert shown(outcome="'; drop", page="-1") == []
        audio = f"/runs/{one}/items/{{}}/audio"
        assert http.get(audio.format(1)).content == (tmp_path / "audio/fake_1.wav").read_bytes()
        for number in ("5", "99999999999999999999", "-1", "..%2f1"):
            assert http.get(audio.format(number)).status_code == 404
        page = http.get("/compare", params={"first": one, "second": two}).text
        assert "2 decisions flipped" in page
        for text in ("comb: other decisions", "threshold", "comb: metrics on common items"):
            assert text in page
        assert http.get("/compare", params={"first": one, "second": "../x"}).status_code == 404
        (first / "run.json").unlink()
        refused = http.get("/compare", params={"first": one, "second": two})
        assert refused.status_code == 422
        assert "first: no run.json, expected a run folder" in refused.text
        assert str(tmp_path) not in refused.text
