"""The convolutional network over amplitude spectrograms of Afchar et al. (2024).

Conventions: the published sigmoid head says how likely a clip is REAL, so the logit here is its
negative: higher is more fake. Published variables are in TensorFlow's layout: images are
(frames, bins, channels), convolution kernels (height, width, in, out), dense kernels (in, out);
``layer_with_weights-N`` counts convolution, norm, convolution, norm, … (0 to 11), the dense
layer (12), the real head (13) and the encoder head (14).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special

from earwitness.audio.clips import Clip, mix_first_two
from earwitness.audio.spectrogram import log_power_spectrogram
from earwitness.core.cards import Backend, DetectorCard, Precision
from earwitness.core.errors import WeightsError
from earwitness.detectors.base import Scores, mix_checked
from earwitness.detectors.loading import CARD_JSON
from earwitness.detectors.nets.specnn import CHANNELS, SpecCNN
from earwitness.detectors.network import Graph, Judge, NetworkRunner, open_device
from earwitness.detectors.onnx import choose_network
from earwitness.detectors.specnn_card import (
    CLIP_SAMPLES,
    ENCODERS,
    WEIGHTS_FILE,
    describe_specnn,
    specnn_card,
)
from earwitness.detectors.weights import convert_bundle, find_bundle, load_state

if TYPE_CHECKING:
    from earwitness.detectors.loading import OpenOptions

_CLIPS_AT_ONCE = 8
_CLIPS_AT_ONCE_GPU = 256

_NORM_PARTS = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


class SpecnnAmplitude:
    """The published detector: a network and what it says of itself.

    Args:
        network: The network with its weights.
        card: Its card.
        device: Where it runs, as torch names it ("cpu", "cuda:0").
        backend: What computes it.

    Raises:
        DetectorError: There is no such device here, or the backend cannot serve.
    """

    def __init__(
        self,
        network: SpecCNN,
        card: DetectorCard,
        *,
        device: str = "cpu",
        backend: Backend = "torch",
    ) -> None:
        self.card = card
        self.backend = backend
        on = open_device(device)
        self.device = str(on)
        # With the channels innermost the convolutions take half the time.
        self._network = ready = network.eval().to(
            on,
            memory_format=torch.channels_last,  # type: ignore[call-overload]
        )
        self._runner = NetworkRunner(
            _images,
            choose_network(
                ready,
                _images,
                n_samples=CLIP_SAMPLES,
                backend=backend,
                device=on,
                precision=card.precision,
            ),
            device=on,
            precision=card.precision,
            batch_size=_CLIPS_AT_ONCE if on.type == "cpu" else _CLIPS_AT_ONCE_GPU,
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
            Judge(self._network, _turned),
            _images,
            ("fake_logit", "encoder_logits"),
            "(log10(clip(|STFT|², 1e-10, 1e6)) + 4) / 3 as (n, 1, 64 frames, 743 bins): window and "
            "FFT 2048, hop 512, no padding, mean of two channels at 44.1 kHz",
        )

    def score(self, clips: Sequence[Clip]) -> Scores:
        """Judge clips of 34 398 samples at 44.1 kHz.

        Args:
            clips: Any number of clips; of more than two channels the first two count.

        Returns:
            ``logits`` of fake, the negative of the published head's, and the softmax of the
            encoder head as ``encoders``.

        Raises:
            DetectorError: A clip has another rate or length, no channel, or samples that are
                not finite.
        """
        samples = [mix_checked(c, at, self.card, mix_first_two) for at, c in enumerate(clips)]
        if not samples:
            return Scores(np.empty(0), np.empty((0, len(self.card.encoders))))
        real, encoders = self._runner.run(samples)
        return Scores(-real, special.softmax(encoders, axis=1))


def _images(samples: torch.Tensor) -> torch.Tensor:
    return amplitude_features(samples).unsqueeze(1)


def _turned(network: SpecCNN, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Turn the published head round: it speaks for the reals."""
    real, encoders = network(images)
    return -real, encoders


def amplitude_features(samples: torch.Tensor) -> torch.Tensor:
    """Return what the network sees: log power up to 16 kHz in 64 frames of 743 bins.

    Args:
        samples: ``(n_clips, 34398)`` at 44.1 kHz.

    Returns:
        ``(n_clips, 64, 743)`` float32.
    """
    return log_power_spectrogram(
        samples, n_fft=2048, hop=512, n_bins=743, floor=1e-10, ceiling=1e6, mean=-4.0, spread=3.0
    )


def load_specnn(
    weights: Path,
    *,
    name: str = "specnn_amplitude",
    n_encoders: int = len(ENCODERS),
    device: str = "cpu",
    precision: Precision = "fp32",
    backend: Backend = "torch",
) -> SpecnnAmplitude:
    """Load the detector from what Keras saved of it.

    Args:
        weights: A SavedModel folder or a checkpoint, as ``find_bundle`` takes them.
        name: Name on its card.
        n_encoders: Classes of its encoder head, "real" among them.
        device: Where it runs, as torch names it ("cpu", "cuda:0").
        precision: What its network computes in.
        backend: What computes it.

    Raises:
        WeightsError: No checkpoint, a damaged one, or variables of another network.
        DetectorError: There is no such device here.
    """
    prefix = find_bundle(weights)
    checkpoint = convert_bundle(prefix)
    network = SpecCNN(n_encoders)
    try:
        network.load_state_dict(_to_state(checkpoint.tensors, network))
    except _UnfitError as error:
        raise WeightsError(f"{prefix}.index: {error}") from None
    card = specnn_card(name, n_encoders, checkpoint.sha256, precision)
    return SpecnnAmplitude(network, card, device=device, backend=backend)


def open_specnn(weights: Path, options: OpenOptions) -> SpecnnAmplitude:
    """Load the detector as the table of detectors asks for it: published or trained here.

    Raises:
        WeightsError: No checkpoint, a damaged one, or variables of another network.
    """
    if (weights / CARD_JSON).is_file():
        card = describe_specnn(weights, options)
        network = SpecCNN(len(card.encoders))
        load_state(network, weights / WEIGHTS_FILE)
        return SpecnnAmplitude(network, card, device=options.device, backend=options.backend)
    return load_specnn(
        weights,
        name=options.name,
        n_encoders=options.n_encoders,
        device=options.device,
        precision=options.precision,
        backend=options.backend,
    )


class _UnfitError(Exception):
    """Every way in which variables do not fit the network, in one line."""


def _published_names() -> dict[str, str]:
    """Return the published name of each variable and the network's own for it."""
    names = {}
    for block in range(len(CHANNELS)):
        conv, norm = f"layer_with_weights-{2 * block}", f"layer_with_weights-{2 * block + 1}"
        names[f"{conv}/kernel"] = f"blocks.{block}.conv.weight"
        names[f"{conv}/bias"] = f"blocks.{block}.conv.bias"
        for published, own in _NORM_PARTS.items():
            names[f"{norm}/{published}"] = f"blocks.{block}.norm.{own}"
    for layer, own in enumerate(("dense", "real_head", "encoder_head"), 2 * len(CHANNELS)):
        names[f"layer_with_weights-{layer}/kernel"] = f"{own}.weight"
        names[f"layer_with_weights-{layer}/bias"] = f"{own}.bias"
    return names


def _to_state(
    tensors: Mapping[str, NDArray[np.generic]], network: SpecCNN
) -> dict[str, torch.Tensor]:
    """Return published variables as the network's own state.

    Raises:
        _UnfitError: Variables are missing, left over, of another shape or type, or not finite.
    """
    names, own = _published_names(), network.state_dict()
    problems = [f"{name} is missing" for name in names if name not in tensors]
    problems += [f"{name} is not expected" for name in tensors if name not in names]
    shared = {name: tensors[name] for name in names if name in tensors}
    for name, values in shared.items():
        problems += _list_problems(name, values, _published_shape(own[names[name]].shape))
    if problems:
        raise _UnfitError(f"not the expected network: {'; '.join(problems)}")
    return {names[name]: torch.tensor(_to_own_layout(v)) for name, v in shared.items()}


def _list_problems(
    name: str, values: NDArray[np.generic], expected: tuple[int, ...]
) -> Iterator[str]:
    """Yield what is wrong with one variable."""
    if values.shape != expected:
        yield f"{name} has shape {values.shape}, expected {expected}"
    if values.dtype != np.float32:
        yield f"{name} is {values.dtype}, expected float32"
    elif not np.isfinite(values).all():
        yield f"{name} holds numbers that are not finite"


def _published_shape(own: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape in TensorFlow's layout of a parameter of torch."""
    return (*own[2:], *own[1::-1]) if len(own) > 1 else tuple(own)


def _to_own_layout(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return a kernel with its output first, as torch has it; anything else as it is."""
    return np.moveaxis(values, (-1, -2), (0, 1)) if values.ndim > 1 else values
