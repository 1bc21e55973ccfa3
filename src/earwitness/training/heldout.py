"""What a trained classifier scores on images that neither taught nor chose it.

Conventions: the test is run once, after the best epoch is chosen by validation; nothing of it flows
back. Images are scored as ``earwitness classify`` scores them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy.special import expit

from earwitness.core.cards import DetectorCard
from earwitness.core.estimates import Estimate
from earwitness.core.files import replacing, write_json
from earwitness.core.metrics import Settings
from earwitness.detectors.resnet import ResnetDetector
from earwitness.detectors.resnet_weights import ResNet18
from earwitness.evaluation.figures import count, estimate_some
from earwitness.metrics.items import Items, numbered
from earwitness.training.loop import Hardware
from earwitness.training.pixels import PixelShelf

TEST_JSON, TEST_CSV = "test.json", "test_predictions.csv"
METRICS = ("auroc", "balanced_accuracy", "accuracy", "recall", "specificity")


@dataclass(frozen=True)
class HeldOut:
    """Metrics of the held-out test.

    Attributes:
        estimates: With intervals over groups, by name.
        n_images: Images of the test.
        n_groups: Groups they are from.
    """

    estimates: Mapping[str, Estimate]
    n_images: int
    n_groups: int

    @property
    def details(self) -> dict[str, float | int | str]:
        """What a card keeps of it."""
        values = {
            f"test_{name}": round(estimate.value, 6)
            for name, estimate in self.estimates.items()
            if estimate.value is not None
        }
        return {"n_test_images": self.n_images, "n_test_groups": self.n_groups, **values}


def run_test(
    state: Mapping[str, torch.Tensor],
    card: DetectorCard,
    shelf: PixelShelf,
    out: Path,
    hardware: Hardware,
) -> HeldOut:
    """Score the test, write ``test_predictions.csv`` and ``test.json``, and return its metrics.

    Args:
        state: The network's, by torchvision's names.
        card: Its card.
        shelf: Images of the test.
        out: Folder of the training.
        hardware: Where the training ran.
    """
    network = ResNet18(2)
    network.load_state_dict(state)
    device = "cpu" if hardware.device == "auto" else hardware.device
    logits = _score(ResnetDetector(network, card, device=device), shelf)
    targets = np.array([example.target for example in shelf.examples])
    probs = expit(logits)
    decisions = (probs >= card.threshold).astype(np.int64)
    groups = numbered([example.group for example in shelf.examples])
    items = Items(targets, groups, decisions, logits, logits, probs)
    _write_predictions(shelf, card, logits, out / TEST_CSV)
    result = HeldOut(estimate_some(METRICS, items, Settings()), len(items), items.n_groups)
    counts = count(items)
    write_json(
        out / TEST_JSON,
        {
            "n_images": result.n_images,
            "n_groups": result.n_groups,
            "confusion": counts and {name.upper(): n for name, n in asdict(counts).items()},
            "metrics": {n: e.model_dump(mode="json") for n, e in result.estimates.items()},
        },
    )
    return result


def _score(detector: ResnetDetector, shelf: PixelShelf) -> NDArray[np.float64]:
    images = (i if i.ndim > 2 else np.repeat(i[..., None], 3, axis=2) for i in shelf.images())
    logits = []
    while batch := list(itertools.islice(images, detector.batch_size)):
        logits.append(detector.score_images(batch))
    return np.concatenate(logits)


def _write_predictions(
    shelf: PixelShelf, card: DetectorCard, logits: NDArray[np.float64], path: Path
) -> None:
    """Write the scores as ``earwitness predict`` does, so that ``evaluate`` reads them."""
    probs = expit(logits)
    frame = pl.DataFrame(
        {
            "filepath": [example.name for example in shelf.examples],
            "target": [example.target for example in shelf.examples],
            "split_tag": ["test"] * len(logits),
            "generator": pl.Series([e.generator for e in shelf.examples], dtype=pl.String),
            "group_id": [example.group for example in shelf.examples],
            "detector": [card.name] * len(logits),
            "logit": logits,
            "pred_prob": probs,
            "pred_label": (probs >= card.threshold).astype(np.int64),
        }
    )
    with replacing(path) as temporary:
        frame.write_csv(temporary)
