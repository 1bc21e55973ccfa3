"""The command line from folders to confusion matrices, and the wrong things people type."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import bundles
import spectttra_folders
from builders import touch, write_comb, write_split_file, write_tone
from earwitness import __version__

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published tree in very small, with sound in it."""
    root = tmp_path_factory.mktemp("ein Ordner ü")
    data = root / "deepfake-detector"
    tracks = [f"{n:06d}" for n in range(12)]
    for n, track in enumerate(tracks):
        real = data / "fma_real_medium" / "resampled" / "000" / f"{track}.wav"
        write_tone(real, seconds=1.5, hz=200 + 50 * n)
        write_comb(data / "fma_rebuilt_medium" / "encodec3" / "000" / f"{track}.wav", n)
        write_comb(data / "fma_rebuilt_medium" / "musika" / "000" / f"{track}.wav", 50 + n)
    names = [f"{track}.mp3" for track in tracks]
    split = data / "data" / "dataset_medium_split_filtered.npy"
    write_split_file(split, train=names[:6], validation=names[6:11], test=names[11:])
    rows = [(f"real_songs/real_{n:05d}.wav", 0, 0.0) for n in range(4)]
    rows += [(f"fake_songs/fake_{n:05d}_suno_0.wav", 1, 0.0) for n in range(4)]
    for n, (path, target, _) in enumerate(rows):
        if target:
            write_comb(root / "SONICS" / path, 100 + n)
        else:
            write_tone(root / "SONICS" / path, seconds=1.5, hz=900 + 50 * n)
    for name, part in (("train", rows[:1]), ("valid", rows)):
        with (root / "SONICS" / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("filepath", "target", "skip_time"), *part])
    for n in range(3):
        write_comb(root / "FakeMusicCaps" / "mustango" / f"c{n}.wav", 200 + n)
    return root


COUNTS = (
    *("--n_fma_real", 5, "--n_fma_fake", 6, "--n_sonics_real", 3, "--n_sonics_fake", 4),
    *("--n_fakemusiccaps_fake", 3),
)


def test_from_folders_to_confusion_matrices(run: Run, root: Path, tmp_path: Path) -> None:
    encoders = ("--fma_encoders", "encodec3,musika")
    code, out, _ = run("splits", "--root", root, "--out-dir", tmp_path / "m", *encoders, *COUNTS)
    assert code == 0
    assert "ood_three_source_balanced" in out
    assert "1 path also in the train split" in out
    nothing_else = ["--n-sonics-real", "0", "--n-sonics-fake", "0", "--n-fakemusiccaps-fake", "0"]
    train = ("--deezer_split_name", "train", *encoders, "--n-fma-real", 6, "--n-fma-fake", 12)
    assert run("splits", "--root", root, "--out_dir", tmp_path / "t", *train, *nothing_else)[0] == 0

    detector = tmp_path / "mine"
    training = tmp_path / "t" / "ood_requested_combined.csv"
    code, out, _ = run(
        "train", "--detector", "fakeprint", "--manifest", training, "--out", detector
    )
    assert code == 0
    assert "fitted on 6 real and 12 fake items, 0 left out" in out

    specnn = tmp_path / "weights" / "specnn_amplitude"
    bundles.write_specnn(specnn / "variables" / "variables", bundles.specnn_variables())
    code, out, _ = run(
        *("predict", "--detector", f"specnn_amplitude,{detector}", "--manifest", tmp_path / "m"),
        *("--weights", f"specnn_amplitude={specnn}", "--out", tmp_path / "run"),
    )
    assert code == 0
    assert "0 failed" in out
    assert not (tmp_path / "run" / "errors.csv").exists()
    described = json.loads((tmp_path / "run" / "run.json").read_text())
    assert [card["name"] for card in described["detectors"]] == ["specnn_amplitude", "mine"]
    assert len(described["manifests"]) == 10

    table = tmp_path / "final_ood_comparison.csv"
    code, out, _ = run("summarize", tmp_path / "run" / "preds", "--output_csv", table)
    assert code == 0
    with table.open() as file:
        rows = {(row["model"], row["dataset"]): row for row in csv.DictReader(file)}
    assert len(rows) == 20
    mine = rows["mine", "ood_requested_combined_balanced"]
    assert (mine["n"], mine["accuracy"]) == ("16", "1.0")

    pictures = tmp_path / "confusion"
    assert run("plot", "--input_csv", table, "--out_dir", pictures, "--normalized")[0] == 0
    assert len(list(pictures.glob("*.png"))) == 40
    assert (pictures / "fma_real_valid_5__mine__normalized.png").stat().st_size > 1000


def test_the_published_commands_word_for_word(
    run: Run, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, _ = run(
        *("splits", "--deezer_split_name", "valid", "--seed", "42"),
        *("--deezer_split_npy", root / "deepfake-detector/data/dataset_medium_split_filtered.npy"),
        *("--fma_real_root", root / "deepfake-detector/fma_real_medium/resampled"),
        *("--fma_fake_root", root / "deepfake-detector/fma_rebuilt_medium"),
        *("--fakemusiccaps_root", root / "FakeMusicCaps", "--sonics_root", root / "SONICS"),
        *("--sonics_eval_csv", root / "SONICS" / "valid.csv", "--fma_encoders", "encodec3,musika"),
        *("--out_dir", "ood_eval/manifests", *COUNTS),
    )
    assert code == 0
    weights = tmp_path / "deepfake-detector" / "weights" / "final" / "specnn_amplitude"
    bundles.write_specnn(weights / "variables" / "variables", bundles.specnn_variables())
    code, out, err = run(
        *("predict", "--config", "specnn_amplitude", "--weights", "specnn_amplitude"),
        *("--manifest_csv", "ood_eval/manifests/fma_fake_valid_6.csv", "--gpu", "0"),
        *("--output_csv", "ood_eval/preds/deezer__fma_fake_valid_6.csv", "--repeat", "2"),
        *("--model_n_encoders", "10", "--eval_sections", "all,encoder", "--threshold", "0.5"),
    )
    assert code == 0
    assert "specnn_amplitude encodec3: accuracy" in out
    assert "--repeat changes nothing" in err
    assert err.count("running on the CPU") == 1
    sections = Path("ood_eval/preds/deezer__fma_fake_valid_6_sections.json")
    assert list(json.loads(sections.read_text())) == ["all", "encodec3", "musika"]
    code, _, _ = run(
        *("predict", "--models", "specnn_amplitude", "--weights", "specnn_amplitude"),
        *("--test_csv", "ood_eval/manifests/fma_fake_valid_6.csv"),
        *("--output_dir", "ood_eval/preds/sonics/fma_fake_valid_6"),
    )
    assert code == 0
    assert Path(
        "ood_eval/preds/sonics/fma_fake_valid_6/specnn_amplitude/test_predictions.csv"
    ).exists()
    code, _, _ = run(
        *("summarize", "--input_csv", "ood_eval/preds/deezer__fma_fake_valid_6.csv"),
        *("--output_csv", "metrics.csv", "--model_name", "Deezer", "--dataset_name", "fma"),
    )
    assert code == 0
    assert Path("metrics.csv").read_text().splitlines()[1].startswith("Deezer,fma,6,")


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    from earwitness.detectors.fakeprint import fakeprint_card, save_fakeprint

    card = fakeprint_card(name="mine", trained_on=None, training_items=None)
    save_fakeprint(card, np.zeros(4_087), 1.0, tmp_path / "mine")
    return tmp_path / "mine"


def write_damaged(folder: Path) -> Path:
    """A manifest of one good file and four that cannot be scored."""
    good = write_tone(folder / "good, one.mp3", seconds=2)
    (folder / "cut.mp3").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    (folder / "text.mp3").write_text("<html>Not found</html>")
    touch(folder / "empty.mp3")
    rows = ['"good, one.mp3",0', "cut.mp3,0", "text.mp3,1", "empty.mp3,1", "missing.mp3,1"]
    (folder / "m.csv").write_text("\n".join(["filepath,target", *rows]) + "\n")
    return folder / "m.csv"


@pytest.mark.parametrize(("strict", "code"), [([], 0), (["--strict"], 1)])
def test_damaged_files_are_rows_with_their_error(
    run: Run, detector: Path, tmp_path: Path, strict: list[str], code: int
) -> None:
    manifest = write_damaged(tmp_path)
    arguments = ("predict", "--detector", detector, "--manifest", manifest)
    outcome = run(*arguments, "--out", tmp_path / "run", *strict)
    assert outcome[0] == code
    assert "1 rows scored, 4 failed (see the error column)" in outcome[1]
    assert "1 × no such file (as missing.mp3)" in outcome[2]
    with (tmp_path / "run" / "preds" / "m" / "mine.csv").open() as file:
        errors = {row["filepath"]: row["error"] for row in csv.DictReader(file)}
    assert errors.pop("good, one.mp3") == ""
    assert errors.pop("cut.mp3").startswith("truncated at ")
    assert errors == {
        "text.mp3": "a text/HTML file, not audio",
        "empty.mp3": "the file is empty",
        "missing.mp3": "no such file",
    }
    assert len((tmp_path / "run" / "errors.csv").read_text().splitlines()) == 5


def test_a_run_in_which_every_row_failed_exits_1(run: Run, detector: Path, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("filepath,target\nabsent.mp3,0\n")
    assert (
        run(
            "predict",
            "--detector",
            detector,
            "--manifest",
            tmp_path / "m.csv",
            "--out",
            tmp_path / "r",
        )[0]
        == 1
    )


def test_spectttra_as_published_and_as_it_should_be(run: Run, tmp_path: Path) -> None:
    name = "sonics-spectttra-gamma-5s"
    weights = spectttra_folders.write_folder(tmp_path / "weights", name)
    for n, rate in enumerate((16_000, 44_100, 8_000)):
        write_tone(tmp_path / f"{n}.wav", seconds=12, rate=rate)
    rows = [f"{n}.wav,{n % 2},{n}" for n in range(3)]
    (tmp_path / "m.csv").write_text("\n".join(["filepath,target,skip_time", *rows]) + "\n")
    logits = {}
    for preprocessing in ("correct", "published"):
        code, _, err = run(
            *("predict", "--detector", name, "--manifest", tmp_path / "m.csv"),
            *("--weights", weights, "--out", tmp_path / preprocessing, "--windows", "all"),
            *("--preprocessing", preprocessing, "--keep-windows", "--use-skip-time"),
        )
        assert code == 0
        told = f"{name}: 2 files not at 16000 Hz, scored as if at it"
        assert err.count(told) == (preprocessing == "published")
        assert err.count(f"{name}: 1 file with a rate below 16000 Hz") == 1
        folder = tmp_path / preprocessing / "preds" / "m"
        with (folder / f"{name}.csv").open() as file:
            scored = list(csv.DictReader(file))
        assert {row["preprocessing"] for row in scored} == {preprocessing}
        assert [row["native_rate_hz"] for row in scored] == ["16000", "44100", "8000"]
        assert [row["below_band"] for row in scored] == ["false", "false", "true"]
        logits[preprocessing] = [float(row["logit"]) for row in scored]
        with (folder / f"{name}_windows.csv").open() as file:
            windows = [(row["filepath"], float(row["start_s"])) for row in csv.DictReader(file)]
        n_of_second = sum(path == "1.wav" for path, _ in windows)
        assert n_of_second == (3 if preprocessing == "correct" else 7)
        assert ("2.wav", 2.0) in windows
    assert logits["correct"][0] == pytest.approx(logits["published"][0], abs=1e-5)
    assert abs(logits["correct"][1] - logits["published"][1]) > 1e-4
    described = json.loads((tmp_path / "published" / "run.json").read_text())
    assert described["options"]["windows"] == "all"
    assert described["detectors"][0]["contract"]["native_rate"] is True

    code, _, _ = run("summarize", tmp_path / "correct" / "preds", "--output-csv", tmp_path / "t")
    assert code == 0
    again = (
        *("predict", "--detector", name, "--manifest", tmp_path / "m.csv"),
        *("--weights", weights, "--out", tmp_path / "correct"),
    )
    code, _, err = run(*again)
    assert code == 2
    assert 'option windows was "all", is "published"' in err
    assert run(*again, "--resume", "always")[0] == 0
    assert not (tmp_path / "correct" / "preds" / "m" / f"{name}_windows.csv").exists()


def test_a_detector_without_a_choice_of_preprocessing_says_so(
    run: Run, detector: Path, tmp_path: Path
) -> None:
    write_tone(tmp_path / "a.wav")
    (tmp_path / "m.csv").write_text("filepath,target\na.wav,0\n")
    code, _, err = run(
        *("predict", "--detector", detector, "--manifest", tmp_path / "m.csv"),
        *("--output-csv", tmp_path / "p.csv", "--preprocessing", "published", "--keep-windows"),
    )
    assert code == 0
    assert "mine knows one preprocessing only: correct" in err
    assert (tmp_path / "p_windows.csv").read_text().splitlines()[1].startswith("a.wav,1,0.0,1.0,")


WRONG = {
    "predict --detector mine --manifest m.csv --out x --windows 0": "--windows 0: expected publish",
    "predict --detector mine --manifest m.csv --out x --windows some": "--windows some: expected",
    "predict --detector mine --manifest m.csv --out x --preprocessing best": "expected correct or",
    "predict --detector models/x --manifest m.csv --out x": "no folder of that name here",
    "predict --detector folder --manifest m.csv --out x": "folder: no detector there, expected",
    "predict --detector sonics-spectttra-alpha-5s --manifest m.csv --out x": "--weights sonics-sp",
    "predict --detector sonics-spectttra-alfa-5s --manifest m.csv --out x": "did you mean 'sonics-",
    "predict --detector specnn --manifest m.csv --out x": "no detector named 'specnn'; did you",
    "predict --detector specnn_amplitude --manifest m.csv --out x": "give --weights specnn_",
    "predict --detector mine --manifest absent.csv --out x": "absent.csv: cannot be read",
    "predict --detector mine --manifest empty.csv --out x": "empty.csv: empty, expected a header",
    "predict --detector mine --manifest folder --out x": "folder: no manifests",
    "predict --detector mine --out x": "no manifest given, expected --manifest FILE",
    "predict --manifest m.csv --out x": "no detector asked for, expected one or more of comb, ",
    "predict --detector mine --manifest m.csv": "expected one of --out RUN_FOLDER",
    "predict --detector mine --manifest m.csv --out a --output-csv b": "expected one of --out",
    "predict --detector mine --manifest m.csv --out m.csv": "m.csv: found a file, expected",
    "predict --detector mine --manifest m.csv --output-csv folder": "found a folder, expected",
    "predict --detector mine --manifest m.csv,other/m.csv --out x": "two manifests are named",
    "predict --detector mine --manifest m.csv --out x --device gpu": "--device gpu: expected auto",
    "predict --detector mine --manifest m.csv --output-csv x --eval-sections reel": "'reel', expec",
    "predict --detector mine,fakeprint --weights w --manifest m.csv --out x": "--weights w: exp",
    "splits --root nowhere": "dataset_medium_split_filtered.npy: cannot be read (No such file",
    "splits --folder other --root other": "--folder and --root: expected one of them",
    "splits --folder nowhere": "nowhere/real: found nothing, expected a folder",
    "summarize": "no prediction file given",
    "summarize --input-csv absent.csv": "absent.csv",
    "evaluate absent.csv": "absent.csv: cannot be read",
    "evaluate m.csv": "m.csv: columns filepath, target; expected",
    "evaluate m.csv --out m.csv": "--out m.csv: the CSV is written there; expected",
    "compare absent.csv m.csv": "absent.csv: cannot be read",
    "plot --input-csv absent.csv": "absent.csv",
    "plot --input-csv m.csv": "m.csv",
    "train --manifest m.csv --out mine": "mine: contains a detector already",
    "train --manifest m.csv --out new --band-hz 5000": "--band-hz '5000', expected two frequencies",
    "train --manifest m.csv --out new --detector resnet": "--detector resnet: cannot be trained",
}


@pytest.mark.parametrize("command", WRONG)
def test_what_a_user_gets_wrong_is_one_line_and_exit_code_2(
    run: Run, detector: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tone(tmp_path / "a.wav")
    for folder in (tmp_path, tmp_path / "other"):
        folder.mkdir(exist_ok=True)
        (folder / "m.csv").write_text("filepath,target\na.wav,0\n")
    touch(tmp_path / "empty.csv")
    (tmp_path / "folder").mkdir()
    code, _, err = run(*command.split())
    assert code == 2
    message = err.strip().splitlines()[-1]
    assert message.startswith("earwitness: ")
    assert WRONG[command] in message


COMMANDS = ("", "splits", "predict", "summarize", "evaluate", "compare", "plot", "train", "demo")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_reads(run: Run, command: str) -> None:
    code, out, _ = run(*command.split(), "--help")
    assert code == 0
    assert "Usage: earwitness" in out
    assert len(out.splitlines()) > 8


def test_a_misspelt_option_is_refused_with_the_nearest(run: Run) -> None:
    code, _, err = run("splits", "--fma_encoderz", "x")
    assert code == 2
    assert "--fma-encoders" in err


def test_version(run: Run) -> None:
    assert run("--version") == (0, f"earwitness {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["evalute"],
            "No such command 'evalute'. Did you mean 'evaluate'? (see earwitness --help)",
        ),
        (["evaluate"], "Missing argument 'predictions' (see earwitness evaluate --help)"),
        (["plot", "--what"], "No such option: --what (see earwitness plot --help)"),
        (["summarize", "--aggregate", "median"], "(see earwitness summarize --help)"),
    ],
)
def test_a_usage_error_is_one_line(run: Run, arguments: list[str], message: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("earwitness: ")
    assert line.endswith(message)
