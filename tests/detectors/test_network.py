from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from earwitness.core.errors import DetectorError
from earwitness.detectors.network import NetworkRunner

CPU = torch.device("cpu")


class Scarce:
    """A network with room for a few rows at once; its output is the mean of a row."""

    def __init__(self, room: int, error: type[RuntimeError] = torch.cuda.OutOfMemoryError) -> None:
        self.room, self.error = room, error
        self.sizes: list[int] = []

    def __call__(self, rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if len(rows) > self.room:
            raise self.error("DefaultCPUAllocator: can't allocate memory: you tried to allocate")
        self.sizes.append(len(rows))
        return (rows.mean(dim=1), rows)


def clips(n: int) -> list[NDArray[np.float32]]:
    return [np.full(10, value, np.float32) for value in range(n)]


@pytest.mark.parametrize("error", [torch.cuda.OutOfMemoryError, RuntimeError])
def test_batches_are_halved_until_they_fit_and_nothing_is_lost(error: type[RuntimeError]) -> None:
    network = Scarce(3, error)
    runner = NetworkRunner(lambda s: s, network, device=CPU, precision="fp32", batch_size=16)
    means, rows = runner.run(clips(11))
    np.testing.assert_array_equal(means, np.arange(11))
    assert rows.shape == (11, 10)
    assert network.sizes == [2, 2, 2, 2, 2, 1]
    assert runner.batch_size == 2
    assert runner.remarks == ["out of memory on cpu: batch size reduced to 2"]


def test_a_single_clip_that_does_not_fit_is_told() -> None:
    runner = NetworkRunner(lambda s: s, Scarce(0), device=CPU, precision="fp32", batch_size=4)
    with pytest.raises(DetectorError, match="out of memory on cpu for a single clip"):
        runner.run(clips(2))


def test_other_errors_of_torch_are_no_lack_of_memory() -> None:
    def broken(rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
        raise RuntimeError("shapes do not match")

    runner = NetworkRunner(lambda s: s, broken, device=CPU, precision="fp32", batch_size=4)
    with pytest.raises(RuntimeError, match="shapes"):
        runner.run(clips(2))


def test_clips_are_sent_one_by_one_where_they_are_to_be() -> None:
    network = Scarce(8)
    runner = NetworkRunner(
        *(lambda s: s, network), device=CPU, precision="fp32", batch_size=8, one_by_one=True
    )
    assert len(runner.run(clips(3))[0]) == 3
    assert network.sizes == [1, 1, 1]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_reduced_precision_says_by_how_much_it_moves_scores(precision: str) -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(64, 1)
    seen: list[torch.dtype] = []

    def features(samples: torch.Tensor) -> torch.Tensor:
        seen.append((samples @ samples.T).dtype)
        return samples

    samples = [np.random.default_rng(n).standard_normal(64).astype(np.float32) for n in range(6)]
    outputs = {}
    for kind in ("fp32", precision):
        runner = NetworkRunner(
            *(features, lambda rows: (layer(rows).squeeze(1),)),
            device=CPU,
            precision=kind,  # type: ignore[arg-type]
            batch_size=4,
        )
        with torch.inference_mode():
            outputs[kind] = runner.run(samples)[0]
    gap = np.abs(outputs[precision] - outputs["fp32"])[:4].max()
    assert 1e-6 < gap < 0.1
    assert runner.remarks == [
        f"{precision}: on the first 4 clips logits differ from fp32 by up to {gap:.2g}; they may "
        "depend on batch size by as much"
    ]
    assert set(seen) == {torch.float32}  # features stay exact
