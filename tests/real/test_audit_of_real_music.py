"""What the audit hears in real music, where the folder of it lies beside the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from earwitness.auditing.audit import audit
from earwitness.core.audits import AuditReport
from earwitness.core.manifest import Manifest
from earwitness.datasets import fma
from earwitness.datasets.fma import catalog_fma
from earwitness.datasets.sonics import catalog_sonics

ENCODERS = ("griffin256", "lyra3", "lyra9")
N_TRACKS = 12


@pytest.fixture(scope="module")
def report() -> AuditReport:
    """FMA's validation tracks with three reconstructions of each, against SONICS' train split."""
    root = Path(__file__).resolve().parents[2].parent / "shared" / "audio" / "root"
    if not root.is_dir():
        pytest.skip(f"no folder {root} with real music")
    tracks = catalog_fma(
        real_root=root / fma.REAL_ROOT,
        fake_root=root / fma.FAKE_ROOT,
        split_npy=root / fma.SPLIT_NPY,
        encoders=ENCODERS,
    )
    songs = catalog_sonics(
        root=root / "SONICS", eval_csv=root / "SONICS" / "train.csv", train_check=False
    )
    return audit(
        Manifest("fma", tracks.frame),
        against=[Manifest("sonics_train", songs.frame)],
        detectors=["specnn_amplitude"],
    )


def track_of(filepath: str) -> str:
    return Path(filepath).stem


def test_each_reconstruction_is_linked_to_its_own_track_and_to_no_other(
    report: AuditReport,
) -> None:
    links = [link for link in report.links if link.other_manifest == "fma"]
    assert all(track_of(link.filepath) == track_of(link.other_filepath) for link in links)
    assert {link.relation for link in links} == {"by_design"}
    n_versions = len(ENCODERS) + 1
    assert len(links) == N_TRACKS * n_versions * (n_versions - 1) // 2


def test_a_track_that_is_in_another_corpus_too_is_found_with_all_that_was_made_of_it(
    report: AuditReport,
) -> None:
    """``sources.csv`` names one piece of music twice, out of two packages."""
    leaks = {(f.filepath, f.other_filepath) for f in report.findings if f.relation == "leak"}
    assert len(leaks) == len(ENCODERS) + 1
    assert {(track_of(one), track_of(other or "")) for one, other in leaks} == {
        ("100963", "real_00007")
    }


def test_validation_tracks_chose_the_published_checkpoint(report: AuditReport) -> None:
    check = report.check("exposure_specnn_amplitude")
    assert check.verdict == "finding"
    assert check.relations == {"selected_on": N_TRACKS * (len(ENCODERS) + 1)}
