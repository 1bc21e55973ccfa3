from __future__ import annotations

from pathlib import Path

import polars as pl
import soundfile

from earwitness.cli.perturb import perturb
from soundfiles import music


def test_copies_resume_keep_their_group_and_do_not_collide(tmp_path: Path) -> None:
    for folder in ("a b", "ü"):
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / "song.wav", music(8000, 0.5, 1), 8000)
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    manifest = tmp_path / "m.csv"
    manifest.write_text(
        "filepath,target,label\na b/song.wav,0,x\nü/song.wav,1,y\nbad.wav,1,z\n", encoding="utf-8"
    )
    suite = tmp_path / "s.yaml"
    suite.write_text("perturbations: [polarity, noise_white_snr_20, mp3_64]")
    out = tmp_path / "out"
    perturb(manifest=manifest, suite=str(suite), out=out)
    table = pl.read_csv(out / "manifest.csv")
    assert table["filepath"].n_unique() == table.height == 6
    assert table["group_id"].to_list() == table["source_filepath"].to_list()
    assert set(table["label"]) == {"x", "y"}
    assert pl.read_csv(out / "errors.csv").height == 3
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    lost = Path(table["filepath"][1])
    kept = Path(table["filepath"][0]).stat().st_mtime_ns
    lost.unlink()
    perturb(manifest=manifest, suite=str(suite), out=out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert Path(table["filepath"][0]).stat().st_mtime_ns == kept


def test_a_copy_over_full_scale_is_float_wav_and_says_so(tmp_path: Path) -> None:
    loud = music(8000, 0.5, 1)
    loud = loud * (1.5 / abs(loud).max())
    soundfile.write(tmp_path / "loud.wav", loud, 8000, subtype="FLOAT")
    soundfile.write(tmp_path / "quiet.wav", loud / 2, 8000, subtype="FLOAT")
    manifest, suite, out = (tmp_path / name for name in ("m.csv", "s.yaml", "out"))
    manifest.write_text("filepath,target\nloud.wav,0\nquiet.wav,1\n")
    suite.write_text("perturbations: [polarity]")
    perturb(manifest=manifest, suite=str(suite), out=out)
    table = pl.read_csv(out / "manifest.csv")
    assert table["copy_format"].to_list() == ["FLOAT", "PCM_24"]
    copy = soundfile.read(table["filepath"][0], dtype="float32")[0]
    assert abs(copy).max() > 1.49
    content = Path(table["filepath"][0]).read_bytes()
    at = content.index(b"PEAK")
    assert content[at + 12 : at + 16] == bytes(4)  # the time of writing: equal copies, equal bytes
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/*")}
    perturb(manifest=manifest, suite=str(suite), out=out)
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/*")} == before
