from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from builders import write_tone
from earwitness.audit.audit import audit
from earwitness.audit.exposure import Origin, statement_origin
from earwitness.audit.schema import AuditReport
from earwitness.core.cards import DetectorCard, TrainingItems
from earwitness.core.io import sha256_of
from earwitness.core.manifest import Manifest
from earwitness.detectors.fakeprint import fakeprint_card
from earwitness.detectors.loading import look_up

ROWS = [
    {"filepath": "f1", "target": 0, "source_dataset": "FMA", "split_tag": "deezer_train_real"},
    {"filepath": "f2", "target": 1, "source_dataset": "FMA", "split_tag": "deezer_valid_fake"},
    {"filepath": "f3", "target": 0, "source_dataset": "FMA", "split_tag": "deezer_test_real"},
    {"filepath": "f4", "target": 0, "source_dataset": "FMA", "split_tag": None},
    {"filepath": "s1", "target": 1, "source_dataset": "SONICS", "split_tag": "train"},
    {"filepath": "s2", "target": 0, "source_dataset": "SONICS", "split_tag": "valid"},
    {"filepath": "s3", "target": 0, "source_dataset": "SONICS", "split_tag": "test"},
    {"filepath": "c1", "target": 1, "source_dataset": "FakeMusicCaps", "split_tag": "all_fake"},
    {"filepath": "u1", "target": 1, "source_dataset": None, "split_tag": None},
]


def exposures(report: AuditReport, detector: str) -> dict[str, str]:
    return {e.filepath: e.exposure for e in report.exposures if e.detector == detector}


def audit_rows(rows: list[dict[str, Any]], *detectors: str | DetectorCard) -> AuditReport:
    return audit(Manifest("eval", pl.DataFrame(rows)), detectors=detectors, n_workers=0)


def test_published_cards_say_what_the_published_benchmark_could_not() -> None:
    report = audit_rows(ROWS, "specnn_amplitude", "sonics-spectttra-gamma-5s")
    specnn = exposures(report, "specnn_amplitude")
    assert specnn == {
        "f1": "trained_on",
        "f2": "selected_on",
        "f3": "unseen",
        "f4": "unknown",
        "s1": "unseen",
        "s2": "unseen",
        "s3": "unseen",
        "c1": "unseen",
        "u1": "unknown",
    }
    spectttra = exposures(report, "sonics-spectttra-gamma-5s")
    assert spectttra["s1"] == "trained_on"
    assert spectttra["s2"] == "selected_on"
    assert spectttra["s3"] == spectttra["f2"] == spectttra["f4"] == "unseen"
    check = report.check("exposure_specnn_amplitude")
    assert check.verdict == "finding"
    assert check.relations == {"selected_on": 1, "trained_on": 1}
    assert "its card says: selected on FMA-medium validation (Deezer split)" in check.detail
    assert "selected on these rows" in check.advice
    assert check.n_unchecked == 2


def test_a_card_that_says_nothing_leaves_every_row_unknown() -> None:
    card = look_up("specnn_amplitude").card
    assert card is not None
    silent = card.model_copy(update={"trained_on": None, "selected_on": None})
    report = audit_rows(ROWS, silent)
    assert set(exposures(report, card.name).values()) == {"unknown"}
    check = report.check("exposure_specnn_amplitude")
    assert check.verdict == "not checked"
    assert "the card does not say" in check.detail


def test_rows_that_were_trained_on_count_though_selection_is_unknown() -> None:
    card = look_up("specnn_amplitude").card
    assert card is not None
    report = audit_rows(ROWS, card.model_copy(update={"selected_on": None}))
    assert exposures(report, card.name)["f1"] == "trained_on"
    assert exposures(report, card.name)["f3"] == "unknown"


def test_a_manifest_without_corpora_is_not_called_unseen() -> None:
    report = audit_rows([{"filepath": "a", "target": 0}], "specnn_amplitude")
    assert report.check("exposure_specnn_amplitude").verdict == "not checked"


def test_training_items_are_found_by_bytes_and_by_group(tmp_path: Path) -> None:
    paths = [write_tone(tmp_path / f"{n}.wav", hz=300 + n, seconds=0.3) for n in range(3)]
    items = TrainingItems(
        manifest_digest="",
        n_items=2,
        item_sha256=(sha256_of(paths[0]),),
        group_sha256=(hashlib.sha256(b"g").hexdigest(),),
    )
    card = fakeprint_card(name="mine", trained_on=("FMA train",), training_items=items)
    rows = [
        {"filepath": str(paths[0]), "target": 0, "group_id": None},
        {"filepath": str(paths[1]), "target": 0, "group_id": "g"},
        {"filepath": str(paths[2]), "target": 0, "group_id": "h"},
        {"filepath": str(tmp_path / "absent.wav"), "target": 0, "group_id": None},
    ]
    met = exposures(audit_rows(rows, card), "mine")
    assert list(met.values()) == ["trained_on", "trained_on", "unseen", "unknown"]


def test_items_of_a_fine_tuned_network_are_not_all_that_it_met(tmp_path: Path) -> None:
    path = write_tone(tmp_path / "mine.wav", seconds=0.3)
    items = TrainingItems(
        manifest_digest="",
        n_items=1,
        item_sha256=(sha256_of(path),),
        group_sha256=(),
        complete=False,
    )
    card = look_up("sonics-spectttra-gamma-5s").card
    assert card is not None
    rows = [*ROWS, {"filepath": str(path), "target": 0, "source_dataset": None, "split_tag": None}]
    tuned = card.model_copy(update={"name": "tuned", "training_items": items})
    met = exposures(audit_rows(rows, tuned), "tuned")
    assert (met["s1"], met["s2"], met["f1"]) == ("trained_on", "selected_on", "unseen")
    assert met[str(path)] == "trained_on"
    silent = tuned.model_copy(update={"trained_on": None, "selected_on": None})
    report = audit_rows(ROWS, silent)
    assert set(exposures(report, "tuned").values()) == {"unknown"}
    assert "the card does not say" in report.check("exposure_tuned").detail


def test_a_corpus_that_is_not_known_may_hold_any_row() -> None:
    card = look_up("specnn_amplitude").card
    assert card is not None
    card = card.model_copy(update={"trained_on": ("Jamendo train",), "selected_on": ()})
    assert set(exposures(audit_rows(ROWS, card), card.name).values()) == {"unknown"}


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("FMA-medium train (Deezer split) and its …", Origin("FMA", "train", None)),
        ("SONICS valid", Origin("SONICS", "valid", None)),
        ("FMA deezer_validation_fake", Origin("FMA", "valid", 1)),
        ("my_music real", Origin("my_music", None, 0)),
        ("Jamendo", Origin("jamendo", None, None)),
        ("train and test of SONICS", Origin("SONICS", None, None)),
    ],
)
def test_what_cards_say_is_read(text: str, origin: Origin) -> None:
    assert statement_origin(text) == origin


def test_a_card_that_names_a_whole_corpus_covers_rows_of_every_split() -> None:
    report = audit_rows(ROWS, "lofcz-lr", "lofcz-cnn")
    found = exposures(report, "lofcz-lr")
    assert found == exposures(report, "lofcz-cnn")
    trained = {name for name, exposure in found.items() if exposure == "trained_on"}
    assert trained == {"f1", "f3", "f4", "s1"}
    assert {found[name] for name in ("f2", "s2", "c1", "u1")} == {"unknown"}
    assert statement_origin("SONICS fake, all splits") == Origin("SONICS", "all splits", 1)
