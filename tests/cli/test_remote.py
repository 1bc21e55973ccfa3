from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

import webservers
from builders import write_comb, write_tone
from earwitness.core import cache

SECRETS = (b"HUSH", b"hush-hush")


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of real and fake music."""
    root = tmp_path_factory.mktemp("music")
    for n in range(2):
        write_tone(root / f"real/{n}.wav", seconds=5, hz=300 + 100 * n)
        write_comb(root / f"fake/made/{n}.wav", seed=n, seconds=5)
    return root


@pytest.fixture(scope="module")
def bucket(music: Path) -> Iterator[dict[str, str]]:
    """The folder as a bucket, and in a tar file there; yields the environment of clients."""
    files = {
        path.relative_to(music).as_posix(): path.read_bytes()
        for path in music.rglob("*")
        if path.is_file()
    }
    shard = io.BytesIO()
    with tarfile.open(fileobj=shard, mode="w") as archive:
        archive.add(music, "")
    keys = {f"data/{name}": content for name, content in files.items()}
    with webservers.s3_server(keys | {"0001.tar": shard.getvalue()}, "music") as environment:
        yield environment


@pytest.fixture(autouse=True)
def few_tries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.CACHE_DIR, str(tmp_path / "copies"))
    monkeypatch.setenv(cache.TRIES, "1")
    monkeypatch.setenv(cache.TIMEOUT, "0.4")


def predict(run, manifest: Path, out: Path, *more: str) -> pl.DataFrame:
    done = run("predict", "--detector", "comb", "--manifest", manifest, "--out", out, *more)
    assert done.code == 0, done.err
    return pl.read_csv(out / "preds" / manifest.stem / "comb.csv")


def assert_no_secrets(folder: Path, but: str = "\0") -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes().replace(but.encode(), b"")
            assert not any(secret in content for secret in SECRETS), path


def test_a_bucket_is_sampled_scored_and_audited_like_a_folder(
    run, music: Path, bucket: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (bucket | {cache.TIMEOUT: "10"}).items():
        monkeypatch.setenv(name, value)
    here, there = tmp_path / "here", tmp_path / "there"
    shutil.copytree(music, tmp_path / "data")
    assert run("splits", "--folder", tmp_path / "data", "--out-dir", here).code == 0
    assert run("splits", "--folder", "s3://music/data", "--out-dir", there).code == 0
    manifest = "data_combined.csv"
    assert (here / manifest).read_bytes() == (there / manifest).read_bytes()
    local = predict(run, here / manifest, tmp_path / "local", "--num-workers", "0")
    remote = predict(run, there / manifest, tmp_path / "remote", "--num-workers", "1")
    assert local.equals(remote)
    assert remote["error"].null_count() == 4
    for at, out in ((here, "local"), (there, "remote")):
        audit = ("--out", tmp_path / out / "audit", "--num-workers", "0")
        assert run("audit", "--manifest", at / manifest, *audit).code == 0
    audits = [
        json.loads((tmp_path / at / "audit/audit.json").read_text()) for at in ("local", "remote")
    ]
    assert audits[0]["checks"] == audits[1]["checks"]
    sounds = (tmp_path / "remote/audit").rglob("sounds-*.jsonl")
    assert sum(line.count('"error": null') for line in next(sounds).read_text().splitlines()) == 4
    assert json.loads((there / "splits.json").read_text())["root"] == "s3://music/data"
    assert_no_secrets(tmp_path / "remote")
    members = local.with_columns(filepath=pl.format("tar://{}::s3://music/0001.tar", "filepath"))
    shards = tmp_path / "members.csv"
    members.select("filepath", "target").write_csv(shards)
    from_tar = predict(run, shards, tmp_path / "tar", "--num-workers", "0")
    assert from_tar["logit"].to_list() == local["logit"].to_list()


def test_a_bucket_is_rendered_and_perturbed_like_a_folder(
    run, music: Path, bucket: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (bucket | {cache.TIMEOUT: "10"}).items():
        monkeypatch.setenv(name, value)
    suite = tmp_path / "suite.yaml"
    suite.write_text("perturbations:\n  - name: decoder_ffmpeg\n    kind: decoder\n")
    names = ["real/0.wav", "fake/made/1.wav"]
    pl.DataFrame({"filepath": names, "target": [0, 1]}).write_csv(tmp_path / "m.csv")
    written = []
    for at, root in (("here", music), ("there", "s3://music/data")):
        given = ("--manifest", tmp_path / "m.csv", "--root", root, "--num-workers", "0")
        images, scores = tmp_path / at / "images", tmp_path / at / "stress"
        assert run("render", *given, "--out", images).code == 0
        more = ("--suite", suite, "--detector", "comb", "--out", scores)
        assert run("stress", *given, *more).code == 0
        files = [*images.rglob("*.*"), *(scores / "preds").rglob("*.csv")]
        written.append({p.relative_to(tmp_path / at): p.read_bytes() for p in files})
    assert written[0] == written[1]
    assert len([path for path in written[0] if path.suffix == ".png"]) == 2
    assert b"No such file" not in b"".join(written[0].values())


def test_files_that_cannot_be_fetched_are_rows_and_no_secret_is_written(
    run, music: Path, tmp_path: Path
) -> None:
    names = ("plain/a.wav", "drops/a.wav", "stalls/a.wav", "short/a.wav", "500/a.wav", "plain/no")
    here = ("--num-workers", "0")
    with webservers.web_server() as web:
        web.files["a.wav"] = (music / "fake/made/0.wav").read_bytes()
        root = web.url("", user="me:hush-hush@")
        frame = pl.DataFrame({"filepath": [*names], "target": [1] * len(names)})
        frame.write_csv(tmp_path / "below.csv")
        rows = predict(run, tmp_path / "below.csv", tmp_path / "out", "--root", root, *here)
        again = predict(run, tmp_path / "below.csv", tmp_path / "out", "--root", root, *here)
        signed = [web.url(f"{name}?sig=hush-hush{n}") for n, name in enumerate(names)]
        frame.with_columns(filepath=pl.Series(signed)).write_csv(tmp_path / "signed.csv")
        by_url = predict(run, tmp_path / "signed.csv", tmp_path / "signed", *here)
    assert rows["logit"].null_count() == 5
    assert rows["error"][0] is None
    reasons = ("ended its answer early", "no answer within 0.4 s", "expected", "500", "no such")
    for error, reason in zip(rows["error"][1:], reasons, strict=True):
        assert reason in error
        assert "\n" not in error
    assert again.equals(rows)
    assert by_url["error"].to_list() == rows["error"].to_list()
    assert by_url["filepath"].to_list() == signed
    assert_no_secrets(tmp_path / "out")
    for part in ("store", "run.json", "answers"):
        assert_no_secrets(tmp_path / "signed" / part)
    assert "hush-hush" not in (tmp_path / "signed/run.json").read_text()


def test_a_manifest_of_a_web_server_needs_no_splits_json(run, music: Path, tmp_path: Path) -> None:
    with webservers.web_server() as web:
        web.files["m.csv"] = b"filepath,target\n0.wav,0\n"
        for place in ("plain/m.csv?sig=hush-hush", "plain/m.csv"):
            out, root = tmp_path / place[-9:], music / "real"
            given = ("--manifest", web.url(place), "--root", root, "--num-workers", "0")
            done = run("predict", "--detector", "comb", *given, "--out", out)
            assert done.code == 0, done.err
            assert "1 rows scored, 0 failed" in done.out + done.err
            assert_no_secrets(out)


def test_no_result_has_the_credentials_of_its_files(run, music: Path, tmp_path: Path) -> None:
    suite = tmp_path / "suite.yaml"
    suite.write_text("perturbations:\n  - {name: louder, kind: gain, options: {gain_db: 3}}\n")
    with webservers.web_server() as web:
        web.files = {
            name: (music / name).read_bytes() for name in ("real/0.wav", "fake/made/0.wav")
        }
        web.demands = "?sig=hush-hush/1"
        names = [f"plain/{name}?sig=hush-hush/1" for name in web.files]
        urls = [
            web.url(name, user="me:hush-hush@") for name in (*names, "404/b.wav?sig=hush-hush/1")
        ]
        frame = pl.DataFrame({"filepath": urls, "target": [0, 1, 1]})
        frame.write_csv(tmp_path / "m.csv")
        given = ("--manifest", tmp_path / "m.csv", "--out")
        here = ("--num-workers", "0")
        scored, shown = tmp_path / "scored", tmp_path / "shown"
        suites = ("--suite", suite)
        assert run("render", *given, shown / "images", *here).code == 0
        assert run("audit", *given, shown / "audit", *here).code == 0
        assert run("perturb", *given, shown / "copies", *suites).code == 0
        trained = run("train", "--detector", "fakeprint", *given, shown / "detector", *here)
        assert trained.code == 0, trained.err
        assert not any(secret.decode() in trained.out + trained.err for secret in SECRETS)
        stress = ("--detector", "comb", *suites, *here, *given, scored)
        assert run("stress", *stress).code == 0
        evaluate = ("--out", shown / "metrics.json")
        assert run("evaluate", scored / "preds/clean", *evaluate).code == 0
    names = sorted(path.name for path in shown.rglob("*.png"))
    assert names == ["0.png", "0.png"]
    assert_no_secrets(shown)
    for name in ("preds", "manifests"):  # have the column filepath of the manifest
        shutil.rmtree(scored / name)
    assert_no_secrets(scored)
