from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from earwitness.core.errors import DatasetError, StoppedError, UsageError
from earwitness.core.spectrogram import SpectrogramContract
from earwitness.detectors.nets.resnet18 import ResnetDetector, load_resnet
from earwitness.images.classify import (
    Scores,
    Table,
    list_images,
    read_tables,
    score_images,
    write_scores,
)
from earwitness.images.png import Shown, write_spectrogram
from imagefolders import bomb
from resnets import make_network, write_resnet

CONTRACT = SpectrogramContract(height=32, width=40, hop=400)


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> ResnetDetector:
    folder = tmp_path_factory.mktemp("weights") / "mine"
    write_resnet(folder, images=CONTRACT)
    return load_resnet(folder)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for n in range(4):
        levels = (rng.random((32, 40)) * (60 + 60 * n)).astype(np.uint8)
        write_spectrogram(tmp_path / "data" / f"{n}.png", levels, CONTRACT, Shown("a", 0, 1, 0))
    return tmp_path / "data"


def classify(csv: Path, base: Path, detector: ResnetDetector) -> tuple[Table, Scores]:
    (table,) = read_tables([csv], base)
    scores = score_images(list_images([table]), detector)
    write_scores(table, scores, 0.5)
    return table, scores


def test_scores_go_back_into_the_csv(base: Path, detector: ResnetDetector) -> None:
    csv = base.parent / "test.csv"
    csv.write_text("img_path,note\n0.png,first\n3.png,last\n")
    _, scores = classify(csv, base, detector)
    logits = [scores.logits[base / name] for name in ("0.png", "3.png")]
    expected = ["img_path,note,predicted_output,prob_fake"]
    for name, note, logit in zip(("0.png", "3.png"), ("first", "last"), logits, strict=True):
        prob = 1 / (1 + np.exp(-logit))
        expected.append(f"{name},{note},{'Deepfake' if prob >= 0.5 else 'Original'},{prob:.9g}")
    assert csv.read_text().splitlines() == expected
    again = csv.read_bytes()
    classify(csv, base, detector)
    assert csv.read_bytes() == again
    assert csv.with_name("test.csv.bak").read_text().startswith("img_path,note\n")


def test_bad_rows_keep_their_place_and_say_why(base: Path, detector: ResnetDetector) -> None:
    (base.parent / "secret.png").write_bytes((base / "0.png").read_bytes())
    (base / "text.png").write_text("no image")
    lines = [
        "0.png,",
        "none.png,no such file",
        "text.png,a text/HTML file",
        "../secret.png,outside of the base folder",
        f"{base.parent}/secret.png,outside of the base folder",
        "sub/../../secret.png,outside of the base folder",
        '"",no img_path',
        f"{base}/1.png,",
        '"a\0.png",',
    ]
    csv = base.parent / "test.csv"
    csv.write_text("\n".join(["img_path,expected", *lines]))
    table, scores = classify(csv, base, detector)
    errors = table.csv.values("prediction_error")
    for error, expected in zip(errors[:-1], table.csv.values("expected")[:-1], strict=True):
        assert error.startswith(expected)
        assert bool(error) is bool(expected)
    assert errors[-1]
    assert len(scores.logits) == 2
    assert [bool(p) for p in table.csv.values("prob_fake")] == [not e for e in errors]


def test_fifty_thousand_rows_of_an_odd_csv(base: Path, detector: ResnetDetector) -> None:
    (base.parent / "secret.png").write_bytes((base / "0.png").read_bytes())
    (base / "text.png").write_text("no image")
    bomb(base / "bomb.png", 30_000, 30_000)
    reasons = {
        "none.png": "no such file",
        "text.png": "a text/HTML file, not an image",
        "bomb.png": "too many pixels",
        "../secret.png": "outside of the base folder",
    }
    names = [*(f"{n}.png" for n in range(4)), *reasons]
    rows = [f'{names[n % 8]},"n ""{n}"", and\r\nmore"' for n in range(50_000)]
    text = "\ufeffimg_path,note\r\n" + "\r\n".join(rows) + "\r\n"
    csv = base.parent / "big.csv"
    csv.write_bytes(text.encode())
    table, scores = classify(csv, base, detector)
    assert len(scores.logits) == 4
    data = csv.read_bytes().decode()
    header = "\ufeffimg_path,note,predicted_output,prob_fake,prediction_error\r\n"
    assert data.startswith(header)
    assert csv.with_name("big.csv.bak").read_bytes() == text.encode()
    ends = re.sub(r'(?m)^(more"),[^\n]*\r$', "\\1\r", data.removeprefix(header))
    assert "\ufeffimg_path,note\r\n" + ends == text
    columns = ("img_path", "prob_fake", "prediction_error")
    for name, prob, error in zip(*map(table.csv.values, columns), strict=True):
        assert error.startswith(reasons.get(name, ""))
        assert bool(prob) is (not error) is (name not in reasons)


def test_windows_paths_lead_to_images(base: Path, detector: ResnetDetector) -> None:
    (base / "sub").mkdir()
    (base / "0.png").rename(base / "sub" / "0.png")
    csv = base.parent / "test.csv"
    csv.write_text("img_path\nsub\\0.png\n")
    _, scores = classify(csv, base, detector)
    assert list(scores.logits) == [base / "sub" / "0.png"]


def test_differences_from_the_training_images_are_reported(
    base: Path, detector: ResnetDetector
) -> None:
    other = CONTRACT.model_copy(update={"top_db": 60.0})
    levels = np.zeros((32, 40), np.uint8)
    write_spectrogram(base / "db.png", levels, other, Shown("a", 0, 1, 0))
    Image.fromarray(np.zeros((10, 20, 3), np.uint8)).save(base / "photo.png")
    csv = base.parent / "test.csv"
    csv.write_text("img_path\n0.png\ndb.png\nphoto.png\n")
    _, scores = classify(csv, base, detector)
    differences = scores.describe_differences()
    assert [line.partition(": ")[2].partition(" (as")[0] for line in differences] == [
        "rendered with top_db 60.0 and not 80.0",
        "10 × 20 pixels and not 32 × 40",
        "pixels of kind RGB and not L",
        "no rendering parameters in their metadata",
    ]
    assert all(
        line.startswith("1 of 3 images are not as those of the training") for line in differences
    )


def test_labels_of_neither_class_are_errors_with_their_line(base: Path) -> None:
    csv = base.parent / "test.csv"
    csv.write_text('img_path,actual_output\n0.png,Original\n1.png,"c\nat"\n2.png,dog\n3.png,\n')
    with pytest.raises(DatasetError, match=r"test.csv:3: actual_output .c.nat.*1 more rows"):
        read_tables([csv], base)
    csv.write_text("img_path,actual_output\n0.png,bona fide\n1.png,FAKE\n2.png,\n")
    (table,) = read_tables([csv], base)
    assert table.targets == [0, 1, None]


def test_wrong_paths_say_what_their_folder_contains(base: Path) -> None:
    csv = base.parent / "test.csv"
    csv.write_text("img_path\n0.png\n")
    with pytest.raises(UsageError, match=r"--base .*dat: no such file; .* contains data"):
        read_tables([csv], base.parent / "dat")
    with pytest.raises(DatasetError, match=r"tset.csv: no such file; .* contains test.csv"):
        read_tables([base.parent / "tset.csv"], base)


def test_ctrl_c_changes_nothing(base: Path, detector: ResnetDetector) -> None:
    csv = base.parent / "test.csv"
    csv.write_text("img_path\n0.png\n")
    tables = read_tables([csv], base)
    with pytest.raises(StoppedError, match="no CSV was changed"):
        score_images(list_images(tables), detector, should_stop=lambda: True)
    assert csv.read_text() == "img_path\n0.png\n"


def test_a_foreign_network_takes_images_of_its_usual_size(base: Path, tmp_path: Path) -> None:
    torch.save(make_network(1).state_dict(), tmp_path / "their.pth")
    csv = base.parent / "test.csv"
    csv.write_text("img_path\n0.png\n")
    detector = load_resnet(tmp_path / "their.pth", classes=("real", "fake"))
    _, scores = classify(csv, base, detector)
    assert scores.describe_differences() == [
        f"1 of 1 images are not as those of the training: 32 × 40 pixels and not 224 × 224, "
        f"the usual size (--size) (as {base / '0.png'})"
    ]


def test_wide_pixels_score_as_their_8_bit_copies_and_are_named(
    base: Path, detector: ResnetDetector
) -> None:
    with Image.open(base / "0.png") as image:
        levels = np.asarray(image)
    Image.fromarray(levels.astype(np.uint16)).save(base / "wide.png")
    Image.fromarray(levels.astype(np.int32)).save(base / "wide.tif")
    csv = base.parent / "test.csv"
    csv.write_text("img_path\n0.png\nwide.png\nwide.tif\n")
    _, scores = classify(csv, base, detector)
    assert len(set(scores.logits.values())) == 1
    (note,) = scores.describe_notes()
    assert note.startswith("2 of 3 images: whole-number pixels up to 255, read as 8-bit values (as")
