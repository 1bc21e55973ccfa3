"""Fitting the fakeprint detector.

Conventions: the fit does not depend on the order of items; classes are weighted equally.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from earwitness.audio.clips import Clip, describe_lack
from earwitness.core.cards import DetectorCard, TrainingItems
from earwitness.core.errors import ManifestError, UsageError
from earwitness.core.io import sha256_of
from earwitness.core.manifest import Manifest, distinct_rows
from earwitness.core.remote import to_path
from earwitness.detectors.fakeprint import (
    BAND_HZ,
    SAMPLE_RATE_HZ,
    FakeprintDetector,
    clip_fakeprint,
    fakeprint_card,
    save_fakeprint,
)
from earwitness.scoring.clips import ClipRequest, Job
from earwitness.scoring.workers import Task, decode_files


@dataclass(frozen=True)
class FittedDetector:
    """A fitted detector.

    Attributes:
        detector: The detector.
        n_real: Real training items.
        n_fake: Fake training items.
        failures: Items that were left out, with the reason.
        training_accuracy: Accuracy on the training items, at 0.5.
    """

    detector: FakeprintDetector
    n_real: int
    n_fake: int
    failures: tuple[tuple[str, str], ...]
    training_accuracy: float


def train_fakeprint(
    manifests: list[Manifest],
    out: Path,
    *,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
    band_hz: tuple[float, float] = BAND_HZ,
    inverse_regularisation: float = 1.0,
    n_workers: int | None = None,
    advance: Callable[[bool], None] | None = None,
) -> FittedDetector:
    """Fit logistic regression on the fakeprints of training items and write it to ``out``.

    Args:
        manifests: Training items; a file in several manifests counts once.
        out: Folder for ``weights.safetensors`` and ``card.json``; its name is the detector's.
        sample_rate_hz: Rate that all audio is resampled to.
        band_hz: Frequency band of the peaks.
        inverse_regularisation: ``C`` of scikit-learn's ``LogisticRegression``.
        n_workers: Decoding processes; see ``decode_files``.
        advance: Called after every file with whether it could be read.

    Raises:
        UsageError: ``out`` already contains a detector.
        ManifestError: A file has both labels, or one class has no readable item.
    """
    if (out / "card.json").exists():
        raise UsageError(f"{out}: contains a detector already, expected a new folder")
    rows = distinct_rows(manifests)
    items = dict(sorted((os.fspath(path), int(row["target"])) for path, row in rows.items()))
    card = fakeprint_card(
        name=out.resolve().name,
        trained_on=None,
        training_items=None,
        sample_rate_hz=sample_rate_hz,
        band_hz=band_hz,
    )
    vectors: dict[str, NDArray[np.float64]] = {}
    failures: list[tuple[str, str]] = []
    tasks = [Task(Job(path), (ClipRequest(card.contract),)) for path in items]
    for decoded in decode_files(tasks, n_workers=n_workers):
        (cut,) = decoded.cuts.values()
        vector = cut if isinstance(cut, str) else _vector(cut.clips[0], card)
        if isinstance(vector, str):
            failures.append((decoded.job.path, vector))
        else:
            vectors[decoded.job.path] = vector
        if advance:
            advance(not isinstance(vector, str))
    fitted = [path for path in items if path in vectors]
    targets = np.array([items[path] for path in fitted])
    for target, name in enumerate(("real", "fake")):
        if not (targets == target).any():
            raise ManifestError(f"no usable {name} item to train on, expected both classes")
    features = np.stack([vectors[path] for path in fitted])
    model = LogisticRegression(
        C=inverse_regularisation, class_weight="balanced", max_iter=10_000
    ).fit(features, targets)
    card = card.model_copy(
        update={
            "trained_on": list_sources(manifests),
            "training_items": hash_items(manifests, fitted),
            "details": card.details | {"inverse_regularisation": inverse_regularisation},
        }
    )
    detector = save_fakeprint(card, model.coef_[0], float(model.intercept_[0]), out)
    return FittedDetector(
        detector,
        n_real=int((targets == 0).sum()),
        n_fake=int((targets == 1).sum()),
        failures=tuple(sorted(failures)),
        training_accuracy=float(model.score(features, targets)),
    )


def _vector(clip: Clip, card: DetectorCard) -> NDArray[np.float64] | str:
    """Return the fakeprint of a clip, or why it has none."""
    lack = describe_lack(clip.samples, card.contract, band_hz=card.band_hz, needs=card.needs)
    return lack or clip_fakeprint(clip, card)


def list_sources(manifests: list[Manifest]) -> tuple[str, ...]:
    """Return the datasets and splits of manifests, by default their names."""
    origins: set[str] = set()
    for manifest in manifests:
        given = {"source_dataset", "split_tag"} & set(manifest.frame.columns)
        pairs = manifest.frame.select(sorted(given)).unique().iter_rows() if given else [()]
        origins |= {" ".join(filter(None, pair)) or manifest.name for pair in pairs}
    return tuple(sorted(origins))


def hash_items(manifests: list[Manifest], fitted: list[str]) -> TrainingItems:
    """Return hashes of the files and groups that a detector was fitted on."""
    digests = "\n".join(sorted(manifest.digest for manifest in manifests))
    groups = {
        group
        for manifest in manifests
        if "group_id" in manifest.frame.columns
        for path, group in zip(manifest.locate_all(), manifest.frame["group_id"], strict=True)
        if group is not None and os.fspath(path) in fitted
    }
    return TrainingItems(
        manifest_digest=hashlib.sha256(digests.encode()).hexdigest(),
        n_items=len(fitted),
        item_sha256=tuple(sorted({sha256_of(to_path(path)) for path in fitted})),
        group_sha256=tuple(sorted(hashlib.sha256(g.encode()).hexdigest() for g in groups)),
    )
