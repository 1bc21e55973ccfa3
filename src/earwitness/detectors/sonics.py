"""The SpecTTTra detectors of SONICS (Rahman et al., ICLR 2025): folders of weights to scores.

Conventions: a folder is laid out as on the Hugging Face hub, ``config.json`` beside
``model.safetensors`` or ``pytorch_model.bin``. The network's logit is that of fake, so nothing is
turned round. The dB floor is taken clip by clip in both preprocessings; the published code takes
it over the whole batch, which is the same for a batch of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from earwitness.audio.clips import Clip
from earwitness.core.cards import Backend, DetectorCard
from earwitness.core.errors import WeightsError
from earwitness.detectors.base import Scores, mix_checked
from earwitness.detectors.nets.spectttra import SpecTTTra
from earwitness.detectors.network import Graph, NetworkRunner, open_device
from earwitness.detectors.onnx import choose_network
from earwitness.detectors.sonics_card import describe_sonics
from earwitness.detectors.spectttra_config import SpectttraConfig, find_state, read_config
from earwitness.detectors.weights import load_state

if TYPE_CHECKING:
    from earwitness.detectors.loading import OpenOptions

_TOKENS_AT_ONCE = 1024
_TOKENS_AT_ONCE_GPU = 65_536
_QUIETEST_SPREAD = 1e-6
_FILTER_TOLERANCE = 1e-3


class SonicsDetector:
    """A SpecTTTra network and what it says of itself.

    Args:
        network: The network with its weights.
        config: Its ``config.json``.
        card: Its card.
        device: Where it runs, as torch names it ("cpu", "cuda:0").
        backend: What computes it.

    Raises:
        DetectorError: There is no such device here, or the backend cannot serve.
    """

    def __init__(
        self,
        network: SpecTTTra,
        config: SpectttraConfig,
        card: DetectorCard,
        *,
        device: str,
        backend: Backend = "torch",
    ) -> None:
        self.card = card
        self.backend = backend
        on = open_device(device)
        self.device = str(on)
        self._normalize = bool(config.audio.normalize)
        self._network = ready = network.eval().to(on)
        n_tokens = _TOKENS_AT_ONCE if on.type == "cpu" else _TOKENS_AT_ONCE_GPU
        self._runner = NetworkRunner(
            ready.make_images,
            choose_network(
                _Judge(ready),
                ready.make_images,
                n_samples=config.audio.max_len,
                backend=backend,
                device=on,
                precision=card.precision,
            ),
            device=on,
            precision=card.precision,
            batch_size=max(1, n_tokens // config.model.n_tokens),
            one_by_one=on.type == "cpu",
        )

    @property
    def batch_size(self) -> int:
        """Clips it likes best to be given at once."""
        return self._runner.batch_size

    @property
    def remarks(self) -> Sequence[str]:
        """What a user should know of how scoring went."""
        return self._runner.remarks

    def graph(self) -> Graph:
        """Return the network as a graph."""
        return Graph(
            _Judge(self._network),
            self._network.make_images,
            ("fake_logit",),
            "mel spectrograms in dB, each of mean 0 and spread 1, resized to the network's input "
            "shape, as config.json says",
        )

    def score(self, clips: Sequence[Clip]) -> Scores:
        """Judge clips of the contract's length, of any rate where it keeps native rates.

        Args:
            clips: Any number of clips; the network hears the mean of their channels.

        Raises:
            DetectorError: A clip has another rate or length, no channel, or samples that are
                not finite.
        """
        samples = [self._mono_samples(clip, at) for at, clip in enumerate(clips)]
        return Scores(self._runner.run(samples)[0] if samples else np.empty(0))

    def _mono_samples(self, clip: Clip, at: int) -> NDArray[np.float32]:
        """Return ``(clip_samples,)`` float32 of a clip that follows the contract."""
        mono = mix_checked(clip, at, self.card, _mean_channel)
        return scale_samples(mono, normalize=self._normalize)


class _Judge(nn.Module):
    """The network from its images on."""

    def __init__(self, network: SpecTTTra) -> None:
        super().__init__()
        self._network = network
        self.eval()

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        """Return logits of "fake", ``(n,)``."""
        return (self._network.judge(images),)


def scale_samples(mono: NDArray[np.floating], *, normalize: bool) -> NDArray[np.float32]:
    """Return samples as the network takes them.

    Args:
        mono: ``(n_samples,)``.
        normalize: Divide them by their spread, where its config says so.
    """
    return (mono / max(mono.std(), _QUIETEST_SPREAD) if normalize else mono).astype(np.float32)


def _mean_channel(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = samples.mean(axis=0, dtype=np.float64)
    return mean


def open_sonics(weights: Path, options: OpenOptions) -> SonicsDetector:
    """Open a detector from a folder laid out as on the hub, or from the file of weights in one.

    Raises:
        WeightsError: Files are missing or damaged, or do not fit one another or the name.
        DetectorError: There is no such device here.
    """
    card = describe_sonics(weights, options)
    network, config = load_spectttra(weights)
    return SonicsDetector(network, config, card, device=options.device, backend=options.backend)


def load_spectttra(weights: Path) -> tuple[SpecTTTra, SpectttraConfig]:
    """Return the network of a folder, or of the file of weights in one, and its config.

    Raises:
        WeightsError: Files are missing or damaged, or do not fit one another.
    """
    path = find_state(weights)
    config = read_config(path.parent)
    network = SpecTTTra(config)
    _load(network, path)
    return network, config


def _load(network: SpecTTTra, path: Path) -> None:
    """Load the state, whose mel filters must be those that the config asks for."""
    name = "ft_extractor.audio2melspec.mel_scale.fb"
    asked = network.get_buffer(name).clone()
    load_state(network, path)
    if not torch.allclose(network.get_buffer(name), asked, atol=_FILTER_TOLERANCE):
        raise WeightsError(f"{path}: {name} holds other mel filters than config.json asks for")
