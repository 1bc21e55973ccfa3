from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from builders import write_comb
from earwitness.core.manifest import Manifest
from earwitness.detectors.loading import look_up, open_detector
from earwitness.detectors.specnn import CONTRACT
from earwitness.scoring.predict import predict
from earwitness.training.examples import SplitConfig, list_splits
from earwitness.training.run import train as train_detector
from earwitness.training.sampling import split_readable
from earwitness.training.specnn import PUBLISHED, SpecnnTask
from earwitness.training.task import TrainConfig


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    root = tmp_path_factory.mktemp("music")
    made = [None, "comb", "other"]
    rows = []
    for n in range(24):
        generator = made[n % 3]
        write_comb(root / f"{n:02d}.wav", n, level=0.03 if generator else 0)
        rows.append((f"{n:02d}.wav", int(bool(generator)), generator, f"g{n // 3}"))
    (root / "broken.wav").write_text("nothing")
    rows.append(("broken.wav", 0, None, "g0"))
    columns = ["filepath", "target", "generator", "group_id"]
    return Manifest("music", pl.DataFrame(rows, columns, orient="row"), (root,))


def test_a_network_fitted_here_is_a_detector(music: Manifest, tmp_path: Path) -> None:
    sides = list_splits([music], [], SplitConfig(0.25))[:2]
    (train, failures), (valid, more) = (split_readable(side, CONTRACT) for side in sides)
    assert [e.path.name for e, _ in (*failures, *more)] == ["broken.wav"]
    out = tmp_path / "mine"
    config = TrainConfig(epochs=2, batch_size=6, **PUBLISHED)  # type: ignore[arg-type]
    done = train_detector(SpecnnTask(train, valid), config, out)
    card, trained = done.card, done.trained
    assert card.encoders == ("real", "comb", "other")
    assert [row["learning_rate"] for row in trained.rows] == [1e-3, 1e-3]
    detector = open_detector(str(out))
    assert detector.card == look_up(str(out)).card
    assert detector.card.weights_sha256 == card.weights_sha256
    (prediction,) = predict(music, [detector], n_workers=0)
    assert (prediction.n_scored, prediction.n_failed) == (24, 1)
    names = [f"encoder_{name}" for name in card.encoders]
    np.testing.assert_allclose(
        prediction.frame.drop_nulls("logit").select(pl.sum_horizontal(names)).to_series(), 1
    )


def test_slices_are_drawn_mixed_and_scaled(music: Manifest) -> None:
    train, valid = list_splits([music], [], SplitConfig(0.25))[:2]
    good, _ = split_readable(train, CONTRACT)
    task = SpecnnTask(good, valid)
    first, again, other = (task.train_input(0, np.random.default_rng(s)) for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (34_398,)
    assert first.dtype == np.float32
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(task.valid_input(0), task.valid_input(0))


def test_both_heads_are_weighed(music: Manifest) -> None:
    train, valid = list_splits([music], [], SplitConfig(0.25))[:2]
    task = SpecnnTask(train, valid)
    logits, encoders = torch.tensor([2.0, -1.0]), torch.tensor([[0.0, 1, 2], [3, 0, 0]])
    losses = task.losses((logits, encoders), torch.tensor([1, 0]), torch.tensor([2, -1]))
    head = np.log1p(np.exp([-2.0, -1.0]))
    encoder = np.log(np.exp([0.0, 1, 2]).sum()) - 2
    head[0] += 0.2 * encoder
    np.testing.assert_allclose(losses.numpy(), head, rtol=1e-5)
    assert [task.label(e) for e in train if e.generator == "other"][:1] == [2]
