"""Overlap by file and by origin, on real files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import soundfile

from builders import write_tone
from earwitness.audit import features
from earwitness.audit.audit import audit
from earwitness.audit.schema import AuditReport
from earwitness.core.errors import UsageError
from earwitness.core.manifest import Manifest


def manifest(name: str, root: Path, rows: list[dict[str, Any]]) -> Manifest:
    return Manifest(name, pl.DataFrame([{"target": 0, **row} for row in rows]), (root,))


def findings_of(report: AuditReport, name: str) -> list[tuple[str, str, str | None]]:
    """Flagged file, relation and nearest file of every finding of a check."""
    return [
        (finding.filepath, finding.relation, finding.other_filepath)
        for finding in report.findings
        if finding.check == name
    ]


def retagged(path: Path, new: Path) -> Path:
    """Write a copy of an MP3 with an ID3v2 tag before and an ID3v1 tag behind it."""
    body = b"TIT2" + (60).to_bytes(4, "big") + b"\0\0\0" + b"another title".ljust(59)
    before = b"ID3\x03\0\0" + bytes([0, 0, 0, len(body)]) + body
    new.write_bytes(before + path.read_bytes() + b"TAG" + b"x" * 125)
    return new


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    for n in range(6):
        write_tone(folder / f"{n}.mp3", hz=300 + 70 * n, seconds=1.5)
    (folder / "in").mkdir()
    (folder / "link.mp3").symlink_to("0.mp3")
    shutil.copy(folder / "1.mp3", folder / "copy.mp3")
    retagged(folder / "2.mp3", folder / "tagged.mp3")
    samples, rate = soundfile.read(folder / "3.mp3", dtype="int16")
    soundfile.write(folder / "3.wav", samples, rate)
    soundfile.write(folder / "3.flac", samples, rate)
    return folder


def test_every_leak_is_found_by_its_own_check_and_by_those_after_it(sound: Path) -> None:
    names = ["in/../0.mp3", "link.mp3", "copy.mp3", "tagged.mp3", "3.flac", "5.mp3"]
    report = audit(
        manifest("eval", sound, [{"filepath": name} for name in names]),
        against=[
            manifest("train", sound, [{"filepath": f"{n}.mp3"} for n in range(3)]),
            manifest("more", sound, [{"filepath": "3.wav"}]),
        ],
        n_workers=0,
    )
    same_path = [("in/../0.mp3", "leak", "0.mp3"), ("link.mp3", "leak", "0.mp3")]
    same_bytes = [*same_path, ("copy.mp3", "leak", "1.mp3")]
    same_packets = [*same_bytes, ("tagged.mp3", "leak", "2.mp3")]
    assert findings_of(report, "path_across") == same_path
    assert findings_of(report, "bytes_across") == same_bytes
    assert findings_of(report, "packets_across") == same_packets
    assert findings_of(report, "samples_across") == [*same_packets, ("3.flac", "leak", "3.wav")]
    assert findings_of(report, "name_across") == [("in/../0.mp3", "leak", "0.mp3")]
    assert report.check("samples_across").n_rows == 5
    assert {f.other_manifest for f in report.findings if f.filepath == "3.flac"} == {"more"}


def test_clean_sets_have_no_finding(sound: Path) -> None:
    report = audit(
        manifest("eval", sound, [{"filepath": "4.mp3"}]),
        against=[manifest("train", sound, [{"filepath": "5.mp3"}])],
        n_workers=0,
    )
    assert report.findings == ()
    verdicts = {check.name: check.verdict for check in report.checks}
    assert verdicts["bytes_across"] == verdicts["samples_inside"] == "pass"
    assert verdicts["artist_across"] == verdicts["exposure"] == "not checked"


def test_without_another_set_nothing_across_is_called_clean(sound: Path) -> None:
    report = audit(manifest("eval", sound, [{"filepath": "4.mp3"}]), n_workers=0)
    for check in report.checks:
        if check.scope == "across":
            assert check.verdict == "not checked"
            assert check.detail == "no set was given to compare with (--against)"


def test_duplicates_and_conflicting_labels_are_distinguished(sound: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"filepath": "0.mp3"},
        {"filepath": "link.mp3"},
        {"filepath": "1.mp3", "target": 0},
        {"filepath": "copy.mp3", "target": 1},
    ]
    report = audit(manifest("eval", sound, rows), n_workers=0)
    found = [f for f in report.findings if f.check == "bytes_inside"]
    assert sorted((f.filepath, f.relation, f.drop) for f in found) == [
        ("0.mp3", "duplicate", False),
        ("1.mp3", "conflict", True),
        ("copy.mp3", "conflict", True),
        ("link.mp3", "duplicate", True),
    ]
    assert report.check("bytes_inside").relations == {"conflict": 2, "duplicate": 2}


def test_a_row_of_each_of_two_audited_sets_is_no_duplicate(sound: Path) -> None:
    parts = [manifest(name, sound, [{"filepath": "0.mp3"}]) for name in ("one", "both")]
    report = audit(parts, n_workers=0)
    assert report.findings == ()


def test_origins_across_sets(sound: Path) -> None:
    evaluated = [
        {"filepath": "fake_00012_suno_0.mp3", "source_dataset": "SONICS", "target": 1},
        {"filepath": "a/000123.mp3", "source_dataset": "FMA", "target": 1},
        {"filepath": "x.mp3", "artist": " The  Tin Foxes"},
        {"filepath": "y.mp3", "artist": "Various Artists"},
        {"filepath": "z.mp3", "group_id": "g"},
        {"filepath": "-0Gj8-vB1q4.wav", "source_dataset": "FakeMusicCaps", "target": 1},
    ]
    trained = [
        {"filepath": "fake_00012_suno_1.mp3", "source_dataset": "SONICS", "target": 1},
        {"filepath": "b/000123.mp3", "source_dataset": "FMA-medium"},
        {"filepath": "w.mp3", "artist": "the tin foxes"},
        {"filepath": "v.mp3", "artist": "various artists", "youtube_id": "-0Gj8-vB1q4"},
        {"filepath": "u.mp3", "group_id": "g"},
    ]
    report = audit(
        manifest("eval", sound, evaluated),
        against=[manifest("train", sound, trained)],
        n_workers=0,
    )
    found = {name: [row for row, *_ in findings_of(report, f"{name}_across")] for name in NAMES}
    assert found == {
        "track": ["fake_00012_suno_0.mp3", "a/000123.mp3"],
        "artist": ["x.mp3"],
        "group": ["z.mp3"],
        "video": ["-0Gj8-vB1q4.wav"],
    }
    assert report.check("artist_across").n_unchecked == 5


NAMES = ("track", "artist", "group", "video")


def test_takes_of_a_song_are_flagged_in_two_groups_and_not_in_one(sound: Path) -> None:
    rows = [
        {"filepath": f"fake_{song}_suno_{take}.mp3", "group_id": group, "target": 1}
        for song, take, group in [("0", 0, "a"), ("0", 1, "a"), ("1", 0, "b"), ("1", 1, None)]
    ]
    for row in rows:
        row["source_dataset"] = "SONICS"
    report = audit(manifest("eval", sound, rows), n_workers=0)
    found = [f for f in report.findings if f.check == "track_inside"]
    assert [f.row for f in found] == [3, 4]
    assert {f.relation for f in found} == {"split_group"}
    assert not any(f.drop for f in found)


def test_two_audited_sets_of_one_name_are_refused(sound: Path) -> None:
    same = manifest("eval", sound, [{"filepath": "0.mp3"}])
    with pytest.raises(UsageError, match="two manifests are named 'eval'"):
        audit([same, same])


def test_another_set_may_bear_the_name_of_an_audited_one(sound: Path) -> None:
    same = manifest("eval", sound, [{"filepath": "0.mp3"}])
    report = audit(same, against=[same], n_workers=0)
    assert [m.name for m in report.manifests] == ["eval", "eval (2)"]
    assert findings_of(report, "path_across") == [("0.mp3", "leak", "0.mp3")]


def test_no_rows_are_no_audit() -> None:
    with pytest.raises(UsageError, match="no rows to audit"):
        audit([])


def test_unreadable_files_are_all_listed_and_nothing_else_is_lost(sound: Path) -> None:
    (sound / "page.mp3").write_text("<html>gone</html>")
    (sound / "empty.wav").touch()
    cut = (sound / "3.flac").read_bytes()[:2_000]
    (sound / "cut.flac").write_bytes(cut)
    names = ["0.mp3", "page.mp3", "empty.wav", "cut.flac", "absent.mp3", "in", "\0.wav", "1.mp3"]
    report = audit(manifest("eval", sound, [{"filepath": n} for n in names]), n_workers=0)
    reasons = {f.filepath: f.detail for f in report.findings if f.check == "readable"}
    assert list(reasons) == names[1:7]
    assert reasons["page.mp3"] == "a text/HTML file, not audio"
    assert reasons["empty.wav"] == "the file is empty"
    assert reasons["absent.mp3"] == "no such file"
    assert report.check("readable").n_rows == 6
    assert report.check("samples_inside").n_checked == 2
    assert report.check("samples_inside").n_unchecked == 6


def test_cached_features_are_not_extracted_again(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extracted: list[str] = []
    extract = features.extract_file_features

    def count(path: str, sha256: str) -> Any:
        extracted.append(Path(path).name)
        return extract(path, sha256)

    monkeypatch.setattr(features, "extract_file_features", count)
    rows = [{"filepath": name} for name in ("1.mp3", "copy.mp3", "2.mp3")]
    first = audit(manifest("eval", sound, rows), store=tmp_path, n_workers=0)
    assert extracted == ["1.mp3", "2.mp3"]  # the copy has the same bytes
    again = audit(manifest("eval", sound, rows), store=tmp_path, n_workers=0)
    assert extracted == ["1.mp3", "2.mp3"]
    assert again == first
