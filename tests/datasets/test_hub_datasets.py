"""Datasets of the hub: rows, labels and audio, from a folder and from a hub on loopback."""

from __future__ import annotations

import hashlib
import http.server
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dataset_folders import FOLDERS, write_shard
from earwitness.bench.config import BenchConfig
from earwitness.cli import main
from earwitness.core.errors import DatasetError
from earwitness.splits.build import SplitOptions, build_splits

COMMIT = "c" * 40
NAME = "hf:someone/songs"
SHARD = "data/train-00000-of-00001.parquet"


def options(folder: Path | None = None, **more: Any) -> SplitOptions:
    return SplitOptions(datasets={NAME: folder}, label_column="label", n_dataset=9, **more)


def drawn(split_options: SplitOptions) -> pl.DataFrame:
    frame = build_splits(split_options).frames["ood_requested_combined"]
    return frame.sort("key")


def test_numbers_have_the_names_of_the_file_where_0_may_be_fake(tmp_path: Path) -> None:
    write_shard(tmp_path / SHARD, {"label": [0, 1, 0]}, names=("fake", "real"))
    assert drawn(options(tmp_path))["target"].to_list() == [1, 0, 1]


def test_numbers_without_names_are_asked_for(tmp_path: Path) -> None:
    write_shard(tmp_path / SHARD, {"label": [0, 1]})
    with pytest.raises(DatasetError, match=r"label '0', '1', expected words .* --real-label"):
        drawn(options(tmp_path))
    assert drawn(options(tmp_path, real_labels=("1",)))["target"].to_list() == [1, 0]


def test_other_values_than_the_real_ones_are_generators(tmp_path: Path) -> None:
    write_shard(tmp_path / SHARD, {"label": ["human", "suno", "udio"]})
    frame = drawn(options(tmp_path, real_labels=("human",)))
    assert frame.select("target", "generator").rows() == [(0, None), (1, "suno"), (1, "udio")]
    with pytest.raises(DatasetError, match="label 'suno', 'udio', expected words"):
        drawn(options(tmp_path))


def test_columns_with_generator_and_group_are_named(tmp_path: Path) -> None:
    columns = {"label": ["real", "fake", "fake"], "by": ["x", "suno", None], "song": [7, 7, 8]}
    write_shard(tmp_path / SHARD, columns)
    frame = drawn(options(tmp_path, generator_column="by", group_column="song"))
    assert frame.select("generator", "group_id").rows() == [
        (None, "someone/songs:7"),
        ("suno", "someone/songs:7"),
        ("unknown", "someone/songs:8"),
    ]
    assert drawn(options(tmp_path))["group_id"].n_unique() == 3
    with pytest.raises(DatasetError, match="expected 'track'"):
        drawn(options(tmp_path, group_column="track"))


def test_only_drawn_rows_are_extracted_byte_for_byte(tmp_path: Path) -> None:
    audio = [bytes([row]) * 5 for row in range(130)]
    labels = ["real", "fake"] * 65
    write_shard(tmp_path / SHARD, {"label": labels}, audio=audio)
    chosen = options(tmp_path).model_copy(update={"n_dataset": 2})
    frame = drawn(chosen)
    assert frame.height == 4
    assert len([*(tmp_path / "extracted").rglob("*.mp3")]) == 4
    for key, path in frame.select("key", "filepath").rows():
        assert Path(path).read_bytes() == audio[int(key[-6:])]
    assert set(frame["split_tag"]) == {"train"}
    assert drawn(chosen).equals(frame)


def test_prompts_make_groups(tmp_path: Path) -> None:
    FOLDERS["aime"].make(tmp_path)
    given = SplitOptions(datasets={"aime": tmp_path}, n_dataset=9)
    frame = build_splits(given).frames["ood_requested_combined"].sort("key")
    assert frame.select("target", "generator", "group_id").rows() == [
        (1, "Udio", "aime:rock, guitar"),
        (0, None, "aime:jazz"),
        (1, "Suno v3.5", "aime:rock, guitar"),
    ]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b"PAR1 no"), "cannot be read as Parquet"),
        (lambda path: pl.DataFrame({"label": ["real"]}).write_parquet(path), "audio with bytes"),
        (lambda path: write_shard(path, {"class": ["real"]}), "expected 'label'"),
    ],
)
def test_an_unusable_file_is_one_line(tmp_path: Path, make: Any, message: str) -> None:
    path = tmp_path / SHARD
    path.parent.mkdir()
    make(path)
    with pytest.raises(DatasetError, match=message) as caught:
        drawn(options(tmp_path))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@dataclass
class Hub:
    """What the server holds, by file name, and what it was asked for."""

    files: dict[str, bytes]
    seen: list[str] = field(default_factory=list)
    sha256: str = ""  # in place of the right one


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers the description of one dataset, and its files."""

    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.hub.seen.append(self.path.partition("?")[0])
        resolve = f"/datasets/someone/songs/resolve/{COMMIT}/"
        if self.path.startswith("/api/datasets/someone/songs/revision/main"):
            self.reply(json.dumps({"id": "someone/songs", "sha": COMMIT} | self.siblings()))
        elif self.path.startswith(resolve):
            self.reply(self.hub.files[self.path.removeprefix(resolve)])
        else:
            self.reply("{}", status=404, code="RepoNotFound")

    def siblings(self) -> dict[str, Any]:
        described = [
            {
                "rfilename": name,
                "size": len(content),
                "blobId": "b" * 40,
                "lfs": {
                    "sha256": self.hub.sha256 or hashlib.sha256(content).hexdigest(),
                    "size": len(content),
                    "pointerSize": 130,
                },
            }
            for name, content in self.hub.files.items()
        ]
        return {"siblings": described}

    def reply(self, body: str | bytes, *, status: int = 200, code: str = "") -> None:
        content = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Type", "application/json")
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    shard = write_shard(tmp_path / "x.parquet", {"label": ["real", "fake"]})
    held = Hub({SHARD: shard.read_bytes(), "loader.py": b"raise SystemExit('code was run')"})
    handler = type("HubHandler", (Handler,), {"hub": held})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    address = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield held
    server.shutdown()
    server.server_close()


def test_a_dataset_of_the_hub_is_sampled_by_the_command(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    given = ("--dataset", NAME, "--label-column", "label", "--out-dir", str(out))
    monkeypatch.setattr(sys, "argv", ["earwitness", "splits", *given])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    rows = pl.read_csv(out / "hf_someone__songs_fake_1.csv")
    assert rows["source_dataset"].to_list() == ["someone/songs"]
    kept = tmp_path / "hub" / "datasets--someone--songs" / "snapshots" / COMMIT
    assert sorted(path.name for path in kept.rglob("*.*")) == [
        "000000.mp3",
        "000001.mp3",
        SHARD[5:],
    ]


def test_shards_are_fetched_once_and_kept_without_a_connection(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    first = drawn(options())
    assert sum("resolve" in path for path in hub.seen) == 1
    assert drawn(options()).equals(first)
    assert sum("resolve" in path for path in hub.seen) == 1
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert drawn(options()).equals(first)


def test_only_the_shards_of_a_pattern_are_fetched(hub: Hub) -> None:
    hub.files["data/test-00000-of-00001.parquet"] = hub.files[SHARD]
    frame = drawn(options(shards="data/test-*.parquet"))
    assert set(frame["split_tag"]) == {"test"}
    assert not any(SHARD in path for path in hub.seen)
    with pytest.raises(DatasetError, match=r"expected data/dev-\*"):
        drawn(options(shards="data/dev-*"))


def test_a_file_of_another_hash_is_refused_and_not_kept(hub: Hub, tmp_path: Path) -> None:
    hub.sha256 = "0" * 64
    with pytest.raises(DatasetError, match=r"another file of .* SHA-256"):
        drawn(options())
    assert not [*(tmp_path / "hub").rglob("*.parquet")]


@pytest.mark.parametrize("name", ["../../x.parquet", "/x.parquet", "a\\..\\x.parquet"])
def test_names_that_leave_the_folder_are_refused(hub: Hub, name: str) -> None:
    hub.files[name] = b"x"
    with pytest.raises(DatasetError, match="invalid metadata"):
        drawn(options())


def test_a_dataset_that_does_not_exist_is_one_line(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    other = SplitOptions(datasets={"hf:someone/other": None}, label_column="label")
    with pytest.raises(DatasetError, match=r"^hf:someone/other: http.*: no such repository"):
        build_splits(other)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DatasetError, match=r"offline .* and it is not in the cache"):
        build_splits(other)
    monkeypatch.setattr(constants, "ENDPOINT", "http://hub.example")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(DatasetError, match="expected https"):
        build_splits(other)


@pytest.mark.parametrize(
    ("name", "label", "message"),
    [
        (NAME, None, "expected --label-column"),
        ("hf:someone", "label", "expected hf:owner/name"),
        ("hf:../songs", "label", "expected hf:owner/name"),
    ],
)
def test_an_invalid_name_or_no_column_is_one_line(
    name: str, label: str | None, message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        build_splits(SplitOptions(datasets={name: None}, label_column=label))


def test_a_benchmark_may_name_it(tmp_path: Path) -> None:
    write_shard(tmp_path / "songs" / SHARD, {"label": ["real", "fake"]})
    section = {"datasets": {NAME: tmp_path / "songs"}, "label_column": "label"}
    config = BenchConfig.model_validate({"data": {"splits": section}, "detectors": ["comb"]})
    assert config.data.splits is not None
    assert build_splits(config.data.splits).frames["ood_requested_combined"].height == 2
