"""What the audit hears in real music, where the folder of it lies beside the repository."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from earwitness.audit.audit import audit
from earwitness.audit.schema import AuditReport
from earwitness.core.manifest import Manifest
from earwitness.datasets.fma import catalog_fma
from earwitness.datasets.sonics import catalog_sonics

AUDIO = Path(__file__).resolve().parents[2].parent / "shared" / "audio"
ENCODERS = ("griffin256", "lyra3")
N_TRACKS = 12
PUBLISHED = (
    *("encodec24", "encodec3", "encodec6", "griffin256", "griffin512"),
    *("lac14", "lac2", "lac7", "musika"),
)
N_EXAMPLES = 4


def folder_of(name: str) -> Path:
    folder = AUDIO / name
    if not folder.is_dir():
        pytest.skip(f"no folder {folder} with real music")
    return folder


def sonics(root: Path, split: str) -> Manifest:
    catalog = catalog_sonics(
        root=root / "SONICS", eval_csv=root / "SONICS" / f"{split}.csv", train_check=False
    )
    return Manifest(f"sonics_{split}", catalog.frame)


@pytest.fixture(scope="module")
def report() -> AuditReport:
    """The rows of the published benchmark: FMA's validation tracks, with two reconstructions of
    each, and SONICS' valid split; against SONICS' train split."""
    root = folder_of("root")
    data = root / "deepfake-detector"
    tracks = catalog_fma(
        real_root=data / "fma_real_medium/resampled",
        fake_root=data / "fma_rebuilt_medium",
        split_npy=data / "data/dataset_medium_split_filtered.npy",
        encoders=ENCODERS,
    )
    return audit(
        [Manifest("fma", tracks.frame), sonics(root, "valid")],
        against=[sonics(root, "train")],
        detectors=["specnn_amplitude", "sonics-spectttra-alpha-5s"],
    )


@pytest.fixture(scope="module")
def examples() -> AuditReport:
    """Four tracks of FMA, and the nine published reconstructions of each."""
    folder = folder_of("fma_examples")
    rows = [
        {
            "filepath": f"{maker}/{path.name}",
            "target": int(maker != "real"),
            "generator": None if maker == "real" else maker,
            "group_id": path.stem,
            "source_dataset": "FMA",
        }
        for maker in ("real", *PUBLISHED)
        for path in sorted((folder / maker).iterdir())
    ]
    return audit(Manifest("examples", pl.DataFrame(rows), (folder,)))


def track_of(filepath: str) -> str:
    return Path(filepath).stem


def test_each_reconstruction_is_linked_to_its_own_track_and_to_no_other(
    report: AuditReport,
) -> None:
    links = [link for link in report.links if link.manifest == link.other_manifest == "fma"]
    assert all(track_of(link.filepath) == track_of(link.other_filepath) for link in links)
    assert {link.relation for link in links} == {"by_design"}
    n_versions = len(ENCODERS) + 1
    assert len(links) == N_TRACKS * n_versions * (n_versions - 1) // 2
    assert report.check("reconstructions").detail == (
        f"{', '.join(ENCODERS)}: recall {N_TRACKS} of {N_TRACKS}, "
        f"precision {N_TRACKS} of {N_TRACKS}"
    )


def test_each_published_reconstruction_is_linked_to_its_own_track_and_to_no_other(
    examples: AuditReport,
) -> None:
    assert all(track_of(link.filepath) == track_of(link.other_filepath) for link in examples.links)
    assert examples.check("reconstructions").detail == (
        f"{', '.join(PUBLISHED)}: recall {N_EXAMPLES} of {N_EXAMPLES}, "
        f"precision {N_EXAMPLES} of {N_EXAMPLES}"
    )


def test_some_published_reconstructions_are_given_away_by_their_length(
    examples: AuditReport,
) -> None:
    check = examples.check("alone_duration_s")
    assert check.verdict == "finding"
    slices = {one["generator"]: one for one in check.figures["slices"]}  # type: ignore[index,union-attr,call-overload]  # JSON
    found = {name for name, one in slices.items() if one["finding"]}
    assert found == {"encodec24", "encodec3", "encodec6", "musika"}
    assert slices["encodec24"]["auroc"] == 1
    assert slices["musika"]["auroc"] == 0


def test_a_track_that_is_in_another_corpus_too_is_found_with_all_that_was_made_of_it(
    report: AuditReport,
) -> None:
    """``sources.csv`` names one piece of music twice, out of two packages."""
    leaks = {
        (f.filepath, f.other_filepath)
        for f in report.findings
        if f.relation == "leak" and f.manifest == "fma"
    }
    assert len(leaks) == len(ENCODERS) + 1
    assert {(track_of(one), track_of(other or "")) for one, other in leaks} == {
        ("100963", "real_00007")
    }


@pytest.mark.parametrize(
    ("detector", "manifest", "said"),
    [
        ("specnn_amplitude", "fma", "FMA-medium validation (Deezer split)"),
        ("sonics-spectttra-alpha-5s", "sonics_valid", "SONICS valid"),
    ],
)
def test_the_published_way_tests_detectors_on_what_chose_their_checkpoints(
    report: AuditReport, detector: str, manifest: str, said: str
) -> None:
    check = report.check(f"exposure_{detector}")
    met = {(e.manifest, e.exposure) for e in report.exposures if e.detector == detector}
    assert met == {
        (name, "selected_on" if name == manifest else "unseen") for name in ("fma", "sonics_valid")
    }
    assert (check.verdict, set(check.relations)) == ("finding", {"selected_on"})
    assert f"its card says: selected on {said}" in check.detail
    assert check.advice.startswith("its checkpoint was selected on these rows")
