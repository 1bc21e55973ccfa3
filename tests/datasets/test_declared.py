"""Declared datasets beyond the contract: segments, wrong folders, invalid tables, nested copies."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders import touch
from dataset_folders import FOLDERS, lines, minute
from earwitness.core.errors import DatasetError
from earwitness.core.remote import to_path
from earwitness.core.segments import Segment, format_segments, parse_segments
from earwitness.datasets.catalog import LAYOUTS, Catalog, CatalogRequest
from earwitness.splits.build import SplitOptions, build_splits, write_splits
from earwitness.splits.manifests import read_manifest


def read(name: str, root: Path) -> Catalog:
    catalog: Catalog = LAYOUTS.load(name).list_files(CatalogRequest(root, {0: 9, 1: 9}))
    return catalog


@pytest.mark.parametrize("name", [name for name in LAYOUTS if LAYOUTS.is_built_in(name)])
def test_every_dataset_has_a_complete_card(name: str) -> None:
    card = LAYOUTS.load(name).card
    assert card is not None
    assert all((card.summary, card.layout, card.licence, card.size, card.get, card.leaks))
    assert "http" in card.docs or "arXiv" in card.docs


@pytest.mark.parametrize("name", list(FOLDERS))
def test_a_folder_of_another_dataset_is_named_in_one_line(name: str, tmp_path: Path) -> None:
    touch(tmp_path / "holiday" / "beach.jpg")
    touch(tmp_path / "song.ogg")
    with pytest.raises(DatasetError) as caught:
        read(name, tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}: ")
    assert message.endswith(f"expected the folder of {LAYOUTS.load(name).source}")
    assert "it contains holiday, song.ogg" in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ["wavefake", "singfake", "mom", "ai_openbmat"])
def test_the_folder_above_gives_the_same_keys(name: str, tmp_path: Path) -> None:
    FOLDERS[name].make(tmp_path / "unpacked" / "data")
    below = read(name, tmp_path / "unpacked" / "data").frame
    above = read(name, tmp_path).frame
    same = ["key", "filepath", "target", "generator", "group_id"]
    assert above.select(same).equals(below.select(same))


def test_reals_and_fakes_of_one_utterance_are_one_group(tmp_path: Path) -> None:
    FOLDERS["wavefake"].make(tmp_path)
    frame = read("wavefake", tmp_path).frame
    groups = frame.filter(group_id="wavefake:LJ001-0001")
    assert sorted(groups["target"]) == [0, 1, 1]
    assert set(groups["generator"].drop_nulls()) == {"ljspeech_melgan", "ljspeech_hifiGAN"}


def test_fields_of_tables_become_columns(tmp_path: Path) -> None:
    FOLDERS["asvspoof_5"].make(tmp_path)
    frame = read("asvspoof_5", tmp_path).frame
    names = ("key", "target", "generator", "group_id", "artist", "split_tag", "codec")
    assert frame.select(names).rows() == [
        ("E_0000000001.flac", 1, "A19", "asvspoof5:E_0001", "E_0001", "eval", "C01"),
        ("T_0000000000.flac", 1, "A05", "asvspoof5:T_0001", "T_0001", "train", None),
        ("T_0000000001.flac", 1, "A01", "asvspoof5:T_0001", "T_0001", "train", None),
        ("T_0000000002.flac", 0, None, "asvspoof5:T_0002", "T_0002", "train", None),
    ]


def test_a_missing_table_and_audio_that_no_table_lists_are_reported(tmp_path: Path) -> None:
    FOLDERS["asvspoof_5"].make(tmp_path)
    touch(tmp_path / "flac_T" / "T_9.flac")
    looked_at = read("asvspoof_5", tmp_path).looked_at
    assert f"{tmp_path}/ASVspoof5.dev.track_1.tsv: no such file" in looked_at
    assert looked_at[-1].endswith(", 1 not in its layout (flac_T/T_9.flac first)")


def test_two_files_of_a_listed_name_are_left_out_together(tmp_path: Path) -> None:
    FOLDERS["in_the_wild"].make(tmp_path)
    touch(tmp_path / "copy" / "0.wav")
    found = read("in_the_wild", tmp_path)
    assert ("0.wav", "2 files of this name") in [(o.name, o.reason) for o in found.omitted]
    assert set(found.frame["key"]) == {"1.wav", "2.wav"}


@pytest.mark.parametrize(
    ("name", "table", "text", "message"),
    [
        ("in_the_wild", "meta.csv", "file,speaker\n0.wav,A\n", "expected file, speaker, label"),
        (
            "in_the_wild",
            "meta.csv",
            "file,speaker,label\n0.wav,A,spoof\n1.wav,A,perhaps\n",
            "meta.csv:3: label 'perhaps', expected a word for real or fake",
        ),
        ("ctrsvdd", "dev.txt", "m4singer S F - bonafide\n", "dev.txt:1: 5 fields, expected 6"),
    ],
)
def test_an_invalid_table_is_one_line(
    tmp_path: Path, name: str, table: str, text: str, message: str
) -> None:
    touch(tmp_path / table).write_text(text)
    with pytest.raises(DatasetError, match=message):
        read(name, tmp_path)


def test_generated_music_of_a_minute_is_in_its_segments(tmp_path: Path) -> None:
    FOLDERS["ai_openbmat"].make(tmp_path)
    frame = read("ai_openbmat", tmp_path).frame
    real, fake = frame.sort("target").iter_rows(named=True)
    assert real["segments"] is None
    assert parse_segments(fake["segments"]) == (
        Segment(start_s=0, end_s=20, label=0),
        Segment(start_s=20, end_s=60, label=1),  # a crossfade made the parts add up to 60.5 s
    )
    assert real["group_id"] == fake["group_id"] == "ai-openbmat:gen_1"


def test_segments_are_in_the_manifests_of_splits(tmp_path: Path) -> None:
    FOLDERS["ai_openbmat"].make(tmp_path / "data")
    drawn = build_splits(SplitOptions(datasets={"ai_openbmat": tmp_path / "data"}))
    write_splits(drawn, tmp_path / "out")
    rows = read_manifest(tmp_path / "out" / "ood_requested_combined.csv").frame
    fake = rows.filter(target=1).row(0, named=True)
    assert [segment.label for segment in parse_segments(fake["segments"])] == [0, 1]


def test_a_minute_with_an_invalid_description_is_left_out(tmp_path: Path) -> None:
    FOLDERS["ai_openbmat"].make(tmp_path)
    (tmp_path / "human" / "gen_1.json").write_text(minute((-1, "music")))
    omitted = {o.name: o.reason for o in read("ai_openbmat", tmp_path).omitted}
    assert "segments.0.duration" in omitted["human/gen_1.wav"]


def test_paths_of_tables_may_be_of_windows(tmp_path: Path) -> None:
    header = "path_in_dataset,original_audio,generator,type,genre,duration"
    touch(tmp_path / "Echoes" / "TTA" / "x" / "a.mp3")
    table = touch(tmp_path / "Echoes" / "dataset_manifest.csv")
    table.write_text(lines(header, "TTA\\x\\a.mp3,o,x,TTA,Pop,1.5"))
    frame = read("echoes", tmp_path).frame
    assert frame.select("key", "duration_s", "genre").rows() == [("TTA/x/a.mp3", 1.5, "Pop")]


def test_a_folder_at_a_url_is_read_alike(tmp_path: Path) -> None:
    import fsspec

    FOLDERS["asvspoof_5"].make(tmp_path)
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path), "/asv5", recursive=True)
    local, remote = (read("asvspoof_5", at) for at in (tmp_path, to_path("memory://asv5")))
    same = ["key", "target", "generator", "group_id"]
    assert remote.frame.select(same).equals(local.frame.select(same))
    assert remote.frame["filepath"][0] == "memory://asv5/flac_E_eval/E_0000000001.flac"
    with pytest.raises(DatasetError, match="a URL, expected a local folder"):
        read("aime", to_path("memory://asv5"))


def test_hosted_files_of_haim_come_before_its_previews(tmp_path: Path) -> None:
    FOLDERS["haim"].make(tmp_path)
    touch(tmp_path / "A_full_generation" / "A1_real" / "MTG-Jamendo music subset" / "14" / "2.mp3")
    touch(tmp_path / "A_full_generation" / "A2_fake" / "musicgen" / "0.wav")
    touch(tmp_path / "B_hybrid" / "B1" / "0.wav")
    found = read("haim", tmp_path)
    names = ("target", "generator", "split_tag")
    assert found.frame.select(names).rows() == [
        (0, None, "MTG-Jamendo music subset"),
        (1, "musicgen", "fake"),
    ]
    assert found.unlisted == ("B_hybrid/B1/0.wav",)


def test_segments_are_read_as_they_are_written() -> None:
    segments = (
        Segment(start_s=0.5, end_s=2, label=1, part="vocals"),
        Segment(start_s=2, end_s=3.25, label=0),
    )
    assert parse_segments(format_segments(reversed(segments))) == segments


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"start_s": 2, "end_s": 1, "label": 1}]', "end_s 1, expected over start_s 2"),
        ('[{"start_s": 0, "end_s": 1, "label": 2}]', "0.label"),
        ('[{"start_s": 0, "end_s": 1, "label": 1, "x": 1}]', "0.x"),
        ("no", "Invalid JSON"),
    ],
)
def test_invalid_segments_are_one_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse_segments(text)
    assert "\n" not in str(caught.value)
