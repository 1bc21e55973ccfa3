"""Commands on files of other tools and other machines, and what they say of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.main import get_command

import spectttra_folders
from builders import touch, write_tone
from earwitness.cli import make_app
from earwitness.detectors.fakeprint import fakeprint_card, save_fakeprint

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    card = fakeprint_card(name="mine", trained_on=None, training_items=None)
    save_fakeprint(card, np.zeros(4_087), 2.0, tmp_path / "mine")
    return tmp_path / "mine"


def put(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return path


HEADER = "filepath,target,skip_time,source_dataset,split_tag"


def test_a_manifest_of_another_machine_is_scored(run: Run, detector: Path, tmp_path: Path) -> None:
    for n in range(2):
        write_tone(tmp_path / "root" / "fma" / "encodec3" / f"{n}.wav", seconds=1.5, hz=300 + n)
    far = "/home/user/project/fma/encodec3"
    manifest = put(tmp_path / "m.csv", HEADER, *(f"{far}/{n}.wav,1,0.0,FMA,x" for n in range(2)))
    common = ("predict", "--detector", detector, "--manifest", manifest, "--num-workers", 0)
    code, _, err = run(*common, "--output-csv", tmp_path / "p.csv")
    assert code == 1
    assert "2 of 2 files are missing" in err
    assert "--root" in err
    code, out, err = run(*common, "--output-csv", tmp_path / "p.csv", "--root", tmp_path / "root")
    assert code == 0
    assert "2 scored, 0 failed" in out
    assert "2 files were found below" in err
    assert "m: no fake has a generator, so there is no section by encoder" in err
    assert pl.read_csv(tmp_path / "p.csv")["filepath"].to_list() == [
        f"{far}/{n}.wav" for n in (0, 1)
    ]


def test_sections_of_several_manifests_name_theirs(
    run: Run, detector: Path, tmp_path: Path
) -> None:
    write_tone(tmp_path / "a.wav", seconds=1.5)
    rows = ("filepath,target,generator", "a.wav,1,x")
    manifests = ",".join(str(put(tmp_path / f"{name}.csv", *rows)) for name in ("one", "two"))
    code, out, err = run(
        *("predict", "--detector", detector, "--manifest", manifests, "--num-workers", 0),
        *("--out", tmp_path / "run", "--eval_sections", "all,encoder"),
    )
    assert code == 0
    for name in ("one", "two"):
        assert f"mine on {name} all: accuracy" in out
        assert f"mine on {name} x: accuracy" in out
    assert "no section by encoder" not in err


def test_the_published_tables_are_beside_sonics_predictions(run: Run, tmp_path: Path) -> None:
    weights = spectttra_folders.write_folder(tmp_path / "sonics-spectttra-alpha-5s")
    for n in range(4):
        write_tone(tmp_path / f"{n}.wav", seconds=6, hz=300 + 100 * n)
    header = "filepath,target,skip_time,source_dataset,artist_overlap,label,duration,algorithm"
    rows = [f"{n}.wav,{n // 2},0,SONICS,{n == 1},full fake,{50 + 40 * n},chirp" for n in range(4)]
    manifest = put(tmp_path / "m.csv", header, *rows)
    code, _, err = run(
        *("predict", "--models", weights, "--test_csv", manifest, "--num-workers", 0),
        *("--output_dir", tmp_path / "out"),
    )
    assert code == 0
    assert "4 files not at 16000 Hz, resampled; the published loader does not" in err
    (folder,) = (tmp_path / "out").iterdir()
    frame = pl.read_csv(folder / "test_predictions.csv")
    summary = pl.read_csv(folder / "test_summary.csv").row(0, named=True)
    assert list(summary) == ["model", "loss", "acc", "f1", "sens", "spec"]
    z, y = frame["logit"].to_numpy(), frame["target"].to_numpy()
    assert summary["loss"] == pytest.approx(np.log1p(np.exp(np.where(y == 1, -z, z))).mean())
    assert summary["acc"] == (frame["target"] == frame["pred_label"]).mean()
    parts = pl.read_csv(folder / "test_partition_results.csv")
    assert parts.filter(pl.col("partition") == "length")["n"].sum() == 4
    assert parts.filter(pl.col("partition") == "singer")["value"].to_list() == ["seen", "unseen"]


def test_bare_commands_find_what_the_others_left(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run("summarize")
    assert code == 2
    assert "no ood_eval/preds" in err
    for model in ("z", "a"):
        for dataset in ("d2", "d1"):
            put(Path(f"ood_eval/preds/{model}__{dataset}.csv"), "target,pred_prob", "0,.1", "1,.9")
    assert run("summarize")[0] == 0
    table = pl.read_csv("ood_eval/final_ood_comparison.csv")
    assert table.select("dataset", "model").rows() == [
        *(("d1", "a"), ("d1", "z")),
        *(("d2", "a"), ("d2", "z")),
    ]
    code, out, _ = run("plot")
    assert code == 0
    assert "4 charts" in out


def test_several_rows_a_file_need_a_word(run: Run, tmp_path: Path) -> None:
    rows = [f"{n}.wav,{n % 2},0.{n}{k}" for n in range(4) for k in (1, 2)]
    one, two = (
        put(tmp_path / f"{name}__d.csv", "filepath,target,pred_prob", *rows) for name in ("x", "y")
    )
    out = ("--out", tmp_path / "m.json")
    for command in (
        ("evaluate", one, *out),
        ("summarize", one, "--output-csv", tmp_path / "s.csv"),
        ("compare", one, two),
    ):
        code, _, err = run(*command)
        assert code == 2
        assert "x__d.csv: 8 rows are of 4 files ('0.wav' first), expected one row a file" in err
        code, printed, err = run(*command, "--aggregate", "max")
        assert code == 0
        assert "8 rows of 4 files were aggregated by max: 8 rows, 4 items" in err
        assert "compare" not in command or "4 items scored by both; 0 others" in printed
    code, _, err = run("evaluate", one, *out, "--aggregate", "median")
    assert code == 2
    assert "Invalid value for '--aggregate'" in err
    assert all(way in err for way in ("mean", "max"))


def test_an_input_is_not_written_over(run: Run, tmp_path: Path) -> None:
    path = put(tmp_path / "m.csv", "target,pred_prob", "0,.1", "1,.9")
    before = path.read_bytes()
    assert run("evaluate", path, "--out", tmp_path / "m.json")[0] == 2
    code, _, err = run("summarize", path, "--output-csv", path)
    assert code == 2
    assert "would be overwritten" in err
    assert path.read_bytes() == before


def test_columns_to_cut_by_are_given_by_comma(run: Run, tmp_path: Path) -> None:
    rows = [f"{n % 2},0.{n},u{n % 3},v" for n in range(9)]
    path = put(tmp_path / "p.csv", "target,pred_prob,one,two", *rows)
    code, out, _ = run("evaluate", path, "--out", tmp_path / "m.json", "--by", "one,two")
    assert code == 0
    assert "one u0" in out
    assert "two v" in out


@pytest.fixture
def sonics(tmp_path: Path) -> Path:
    for path in ("real/a.mp3", "real/b.mp3", "fake/s_0.mp3", "fake/s_1.mp3"):
        touch(tmp_path / "SONICS" / path)
    rows = ("real/a.mp3,0", "real/b.mp3,0", "fake/s_1.mp3,1")
    put(tmp_path / "elsewhere" / "test.csv", "filepath,target", *rows)
    train = ("real/a.mp3,0", "other/b.mp3,0", "fake/s_0.mp3,1")
    put(tmp_path / "SONICS" / "train.csv", "filepath,target", *train)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "n"),
    [
        (("--train-check", "path"), 2),
        (("--train-check", "path,name"), 1),
        (("--train_check", "song,path"), 1),
        (("--no-train-check",), 3),
    ],
)
def test_what_rows_must_not_share_with_the_train_split(
    run: Run, sonics: Path, given: tuple[str, ...], n: int
) -> None:
    common = ("splits", "--root", sonics, "--out-dir", sonics / "m", *given)
    common += ("--n-fma-real", 0, "--n-fma-fake", 0, "--n-fakemusiccaps-fake", 0)
    n_fake = 0 if "song,path" in given else 2000
    code, out, _ = run(
        *(*common, "--sonics-eval-csv", sonics / "elsewhere" / "test.csv"),
        *("--n-sonics-fake", n_fake),
    )
    real_only = "path,name" in given or "song,path" in given
    if code == 2:
        assert real_only
        return
    assert pl.read_csv(sonics / "m" / "ood_requested_combined.csv").height == n
    for line in out.splitlines():
        cells = line.split()
        if cells and cells[0] in ("sonics_real", "sonics_fake"):
            left_out = sum(int(c) for c in cells[3:-2] if c.isdigit())
            assert int(cells[2]) == left_out + int(cells[-2]) + int(cells[-1])


def test_a_key_that_is_none_is_refused(run: Run, sonics: Path) -> None:
    code, _, err = run("splits", "--root", sonics, "--train-check", "artist")
    assert (code, err) == (
        2,
        "earwitness: --train-check artist: expected path, name, song or all\n",
    )


def test_weights_without_a_detector_say_so(run: Run, tmp_path: Path) -> None:
    manifest = put(tmp_path / "m.csv", "filepath,target", "a,0")
    code, _, err = run("predict", "--weights", "x", "--manifest", manifest, "--out", tmp_path / "o")
    assert code == 2
    assert "--weights x: no detector given, expected --detector NAME" in err


def test_help_shows_brackets(run: Run) -> None:
    command = get_command(make_app())
    texts = [
        p.help or ""
        for each in command.commands.values()  # type: ignore[attr-defined]
        for p in each.params
    ]
    assert any("\\[onnx]" in text for text in texts)
    assert "'earwitness[onnx]'" in "".join(run("predict", "--help")[1].split())
