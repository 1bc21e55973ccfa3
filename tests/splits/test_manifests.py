from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from builders import touch
from earwitness.core.errors import ManifestError
from earwitness.core.manifest import Manifest
from earwitness.splits.manifests import list_manifests, read_manifest, write_manifest, write_root

HEADER = "filepath,target,skip_time,source_dataset,split_tag\n"


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_what_is_written_is_read_again(tmp_path: Path, suffix: str) -> None:
    frame = pl.DataFrame(
        {
            "my_column": ["x", "y"],
            "group_id": ["g1", None],
            "filepath": ["a, b.mp3", 'quo"te\nnew line ♫.wav'],
            "target": [0, 1],
            "artist": [None, None],
            "skip_time": [0.0, 1.25],
            "source_dataset": ["FMA", "FMA"],
            "split_tag": ["t", "t"],
        },
        schema_overrides={"artist": pl.String, "target": pl.Int8},
    )
    write_manifest(Manifest("m", frame), tmp_path / f"m{suffix}")
    manifest = read_manifest(tmp_path / f"m{suffix}")
    published = ["filepath", "target", "skip_time", "source_dataset", "split_tag"]
    assert manifest.frame.columns == [*published, "group_id", "my_column"]
    assert manifest.frame["filepath"].to_list() == frame["filepath"].to_list()
    assert manifest.frame["skip_time"].to_list() == [0.0, 1.25]
    write_manifest(manifest, tmp_path / "again.csv")
    assert read_manifest(tmp_path / "again.csv").digest == manifest.digest


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_byte_order_marks_and_windows_line_ends(
    tmp_path: Path, encoding: str, line_end: str
) -> None:
    text = line_end.join(["filepath,target", "ä.mp3,1", "b.mp3,0.0", ""])
    frame = read_manifest(write(tmp_path / "m.csv", text, encoding)).frame
    assert frame.select("filepath", "target", "skip_time").rows() == [
        ("ä.mp3", 1, 0.0),
        ("b.mp3", 0, 0.0),
    ]


def test_blank_lines_are_passed_over_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "m.csv", HEADER + "a.mp3,0,0,,\n,,,,\nb.mp3,1,0,,\n\n")
    assert read_manifest(path).frame["filepath"].to_list() == ["a.mp3", "b.mp3"]
    path = write(tmp_path / "m.csv", HEADER + "a.mp3,0,0,,\n,,,,\nb.mp3,maybe,0,,\n\n")
    with pytest.raises(ManifestError, match=r"m.csv:4: target 'maybe'.*fake\)$"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "m.csv: empty, expected a header line and rows"),
        (HEADER, "m.csv: no rows"),
        ("path,label\na,1\n", "columns path, label; expected filepath, target among them"),
        (
            HEADER + "a.mp3,0,0,,\nb.mp3,maybe,0,,\n",
            r"m.csv:3: target 'maybe', expected 0 \(real\)",
        ),
        (HEADER + "a.mp3,,0,,\n", r"m.csv:2: target None, expected 0"),
        (HEADER + "a.mp3,2,0,,\n", r"m.csv:2: target '2', expected 0"),
        (HEADER + ",0,0,,\n", "m.csv:2: no filepath"),
        (HEADER + "a.mp3,0,-1,,\n", "m.csv:2: skip_time '-1', expected seconds from 0 up"),
        (HEADER + "a.mp3,0,soon,,\n", "m.csv:2: skip_time 'soon'"),
        (HEADER + "a,x,0,,\nb,y,0,,\nc,z,0,,\n", r"target 'x', .* \(and 2 more rows\)"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message) as caught:
        read_manifest(write(tmp_path / "m.csv", text))
    assert "\n" not in str(caught.value)


def test_no_such_file_and_no_table(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="cannot be read"):
        read_manifest(tmp_path / "absent.csv")
    with pytest.raises(ManifestError, match="cannot be read"):
        read_manifest(write(tmp_path / "m.parquet", "not parquet"))
    with pytest.raises(ManifestError, match="cannot be read"):
        read_manifest(tmp_path)


def test_roots_are_tried_in_order(tmp_path: Path) -> None:
    write(tmp_path / "m" / "x.csv", HEADER + "a.mp3,0,0,,\n") if (tmp_path / "m").mkdir() else None
    write(tmp_path / "m" / "x.csv", HEADER + "a.mp3,0,0,,\nb.mp3,0,0,,\nc.mp3,1,0,,\n")
    write(tmp_path / "m" / "splits.json", '{"root": "/gone", "root_from_here": "../data"}')
    given = touch(tmp_path / "given" / "a.mp3")
    recorded = touch(tmp_path / "data" / "b.mp3")
    beside = touch(tmp_path / "m" / "c.mp3")
    manifest = read_manifest(tmp_path / "m" / "x.csv", root=tmp_path / "given")
    assert manifest.locate_all() == [given, recorded, beside]
    assert manifest.locate("absent.mp3") == tmp_path / "given" / "absent.mp3"
    assert manifest.locate("/somewhere/x.mp3") == Path("/somewhere/x.mp3")


def test_a_root_on_another_drive_is_recorded_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_two_drives(*_: object) -> str:
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    monkeypatch.setattr("os.path.relpath", on_two_drives)
    audio = touch(tmp_path / "data" / "a.mp3")
    (tmp_path / "m").mkdir()
    write(tmp_path / "m" / "x.csv", HEADER + "a.mp3,0,0,,\n")
    write_root(tmp_path / "m", tmp_path / "data")
    assert read_manifest(tmp_path / "m" / "x.csv").locate_all() == [audio]


def test_a_foreign_splits_json_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "x.csv", HEADER + "a.mp3,0,0,,\n")
    write(tmp_path / "splits.json", "[]")
    with pytest.raises(ManifestError, match=r"splits.json: not a file of"):
        read_manifest(tmp_path / "x.csv")


def test_manifests_of_a_folder(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "omitted.csv"):
        write(tmp_path / name, HEADER)
    assert [p.name for p in list_manifests(tmp_path)] == ["a.csv", "b.csv", "omitted.csv"]
    recorded = '{"root": "/", "root_from_here": ".", "manifests": {"b": {"file": "b.csv"}}}'
    write(tmp_path / "splits.json", recorded)
    assert [p.name for p in list_manifests(tmp_path)] == ["b.csv"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ManifestError, match="empty: no manifests"):
        list_manifests(tmp_path / "empty")


def test_the_digest_is_of_the_rows_and_not_of_the_place(tmp_path: Path) -> None:
    text = HEADER + "a.mp3,0,0,,\nb.mp3,1,0,,\n"
    first = read_manifest(write(tmp_path / "one.csv", text))
    (tmp_path / "moved").mkdir()
    second = read_manifest(write(tmp_path / "moved" / "two.csv", text), root=tmp_path)
    assert first.digest == second.digest
    assert first.where(pl.col("target") == 1).digest != first.digest


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("filepath;target;skip_time\na;bona fide;0,5\nb;spoof;\n", "utf-16"),
        ("# mine\nfilepath\ttarget\tskip_time\na\tHuman\t0.5\nb\tAI\tnan\n", "utf-8-sig"),
        ("filepath|target|skip_time\r\na|False|0.5\r\nb|True|0\r\n", "utf-16-be"),
        ('"filepath", "target", "skip_time"\n"a", "0.0", "0.5"\n"b", "1.0", ""\n', "latin-1"),
    ],
)
def test_manifests_of_any_common_kind(tmp_path: Path, text: str, encoding: str) -> None:
    (tmp_path / "m.csv").write_bytes(text.encode(encoding))
    frame = read_manifest(tmp_path / "m.csv").frame
    assert frame.select("filepath", "target", "skip_time").rows() == [("a", 0, 0.5), ("b", 1, 0.0)]


def test_missing_words_and_spellings_of_names_are_one(tmp_path: Path) -> None:
    text = "filepath,target,group_id,generator\na,0,nan,None\nb,0,e\u0301,x\nc,1,\u00e9,n\u0303\n"
    frame = read_manifest(write(tmp_path / "m.csv", text)).frame
    assert frame["group_id"].to_list() == [None, "\u00e9", "\u00e9"]
    assert frame["generator"].to_list() == [None, "x", "\u00f1"]


def test_files_in_several_rows_are_noted(tmp_path: Path) -> None:
    text = "filepath,target\na,0\n./a,1\nb,1\nb,1\n"
    notes = read_manifest(write(tmp_path / "m.csv", text)).notes
    assert "1 files are both real and fake ('a' first)" in notes[0]
    assert "1 files are in several rows ('b' first)" in notes[1]


def test_a_folder_holds_manifests_by_any_suffix_of_theirs(tmp_path: Path) -> None:
    for name in ("a.csv", "b.CSV", "c.TSV", "d.txt"):
        (tmp_path / name).write_text("filepath\ttarget\na\t0\n")
    assert [path.name for path in list_manifests(tmp_path)] == ["a.csv", "b.CSV", "c.TSV"]


def test_names_of_columns_are_known_in_any_case(tmp_path: Path) -> None:
    head = "FILEPATH,Target,Skip_Time,Source_Dataset,Split_Tag,Generator,Group_ID,Mood"
    path = write(tmp_path / "m.csv", f"{head}\na.wav,1,2.5,FMA,valid,mill,g1,sad\n")
    assert read_manifest(path).frame.rows(named=True) == [
        {
            "filepath": "a.wav",
            "target": 1,
            "skip_time": 2.5,
            "source_dataset": "FMA",
            "split_tag": "valid",
            "generator": "mill",
            "group_id": "g1",
            "Mood": "sad",
        }
    ]
    path = write(tmp_path / "n.csv", "FilePath,filePath,target\na.wav,b.wav,1\n")
    with pytest.raises(ManifestError, match="columns 'FilePath' and 'filePath', expected one"):
        read_manifest(path)
