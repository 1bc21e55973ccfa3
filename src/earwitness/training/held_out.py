"""The held-out test at the end of a training."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy.special import expit

from earwitness.core.cards import DetectorCard
from earwitness.core.io import atomic_write, write_json
from earwitness.detectors.nets.resnet18 import ResNet18, ResnetDetector
from earwitness.evaluation.estimates import count, estimate_some
from earwitness.evaluation.schema import Settings
from earwitness.images.class_reports import format_counts, make_items
from earwitness.training.pixels import ImageDataset
from earwitness.training.task import Hardware, HeldOut

TEST_JSON, TEST_CSV = "test.json", "test_predictions.csv"
METRICS = ("auroc", "balanced_accuracy", "accuracy", "recall", "specificity")


def run_test(
    state: Mapping[str, torch.Tensor],
    card: DetectorCard,
    images: ImageDataset,
    out: Path,
    hardware: Hardware,
) -> HeldOut:
    """Score the test, write ``test_predictions.csv`` and ``test.json``, and return its metrics.

    Args:
        state: The network's, by torchvision's names.
        card: Its card.
        images: Held-out images.
        out: Folder of the training.
        hardware: Where the training ran.
    """
    network = ResNet18(2)
    network.load_state_dict(state)
    device = "cpu" if hardware.device == "auto" else hardware.device
    logits = _score(ResnetDetector(network, card, device=device), images)
    targets = [example.target for example in images.examples]
    groups = [example.group for example in images.examples]
    items = make_items(targets, logits.tolist(), groups, card.threshold)
    _write_predictions(images, card, logits, out / TEST_CSV)
    result = HeldOut(estimate_some(METRICS, items, Settings()), len(items), items.n_groups)
    counts = count(items)
    write_json(
        out / TEST_JSON,
        {
            "n_images": result.n_images,
            "n_groups": result.n_groups,
            "confusion": counts and format_counts(counts),
            "metrics": {n: e.model_dump(mode="json") for n, e in result.estimates.items()},
        },
    )
    return result


def _score(detector: ResnetDetector, images: ImageDataset) -> NDArray[np.float64]:
    colours = (i if i.ndim > 2 else np.repeat(i[..., None], 3, axis=2) for i in images.images())
    logits = []
    while batch := list(itertools.islice(colours, detector.batch_size)):
        logits.append(detector.score_images(batch))
    return np.concatenate(logits)


def _write_predictions(
    images: ImageDataset, card: DetectorCard, logits: NDArray[np.float64], path: Path
) -> None:
    """Write the scores as ``earwitness predict`` does, so that ``evaluate`` reads them."""
    probs = expit(logits)
    frame = pl.DataFrame(
        {
            "filepath": [example.name for example in images.examples],
            "target": [example.target for example in images.examples],
            "split_tag": ["test"] * len(logits),
            "generator": pl.Series([e.generator for e in images.examples], dtype=pl.String),
            "group_id": [example.group for example in images.examples],
            "detector": [card.name] * len(logits),
            "logit": logits,
            "pred_prob": probs,
            "pred_label": (probs >= card.threshold).astype(np.int64),
        }
    )
    with atomic_write(path) as temporary:
        frame.write_csv(temporary)
