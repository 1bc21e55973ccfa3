"""The convolutional network over amplitude spectrograms of Afchar et al. (2024)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from earwitness.audio.clips import mix_first_two
from earwitness.audio.spectrogram import log_power_spectrogram
from earwitness.core.cards import Backend, DetectorCard
from earwitness.core.errors import WeightsError
from earwitness.detectors.base import CARD_JSON, WEIGHTS_FILE, OpenOptions
from earwitness.detectors.network import NetworkDetector, Outputs, ScoringModule
from earwitness.detectors.specnn import (
    ENCODERS,
    describe_specnn,
    specnn_card,
)
from earwitness.detectors.torch_file import load_state
from earwitness.detectors.weights import convert_bundle, find_bundle

CHANNELS = (16, 32, 64, 128, 256, 512)
_N_DENSE = 128
_NORM_EPSILON = 1e-3


class ConvBlock(nn.Module):
    """Convolution 3×3, ReLU, max-pooling by 2, batch norm."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, 3, padding=1)
        self.norm = nn.BatchNorm2d(n_out, eps=_NORM_EPSILON)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return ``(n, n_out, height // 2, width // 2)``.

        ReLU follows the pooling here: the maximum of a few numbers is the same either way
        round, and a quarter of them is left.
        """
        pooled = nn.functional.max_pool2d(self.conv(images), 2)
        normed: torch.Tensor = self.norm(nn.functional.relu(pooled))
        return normed


class SpecCNN(nn.Module):
    """Six convolution blocks, global average pooling, a dense layer and two heads.

    Args:
        n_encoders: Classes of the encoder head, including "real".
    """

    def __init__(self, n_encoders: int = len(ENCODERS)) -> None:
        super().__init__()
        sizes = zip((1, *CHANNELS[:-1]), CHANNELS, strict=True)
        self.blocks = nn.Sequential(*(ConvBlock(n_in, n_out) for n_in, n_out in sizes))
        self.dense = nn.Linear(CHANNELS[-1], _N_DENSE)
        self.real_head = nn.Linear(_N_DENSE, 1)
        self.encoder_head = nn.Linear(_N_DENSE, n_encoders)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits of "real" ``(n,)`` and of the encoders ``(n, n_encoders)``.

        Args:
            images: ``(n, 1, n_frames, n_bins)`` float32.
        """
        pooled = self.blocks(images).mean(dim=(2, 3))
        hidden = nn.functional.silu(self.dense(pooled))
        return self.real_head(hidden).squeeze(1), self.encoder_head(hidden)


class SpecnnAmplitude(NetworkDetector):
    """The published detector on log power spectrograms; see ``NetworkDetector``."""

    def __init__(
        self,
        network: SpecCNN,
        card: DetectorCard,
        *,
        device: str = "cpu",
        backend: Backend = "torch",
    ) -> None:
        # channels_last halves the time of the convolutions.
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        super().__init__(
            ScoringModule(network, _score),
            card,
            features=_images,
            about="(log10(clip(|STFT|², 1e-10, 1e6)) + 4) / 3 as (n, 1, 64 frames, 743 bins): "
            "window and FFT 2048, hop 512, no padding, mean of two channels at 44.1 kHz",
            mix=mix_first_two,
            device=device,
            backend=backend,
        )


def _images(samples: torch.Tensor) -> torch.Tensor:
    return amplitude_features(samples).unsqueeze(1)


def _score(network: SpecCNN, images: torch.Tensor) -> Outputs:
    """Negate the published head, which returns the logit of real."""
    real, encoders = network(images)
    return -real, encoders


def amplitude_features(samples: torch.Tensor) -> torch.Tensor:
    """Return log power spectrograms up to 16 kHz, ``(n_clips, 64 frames, 743 bins)`` float32.

    Args:
        samples: ``(n_clips, 34398)`` at 44.1 kHz.
    """
    return log_power_spectrogram(
        samples, n_fft=2048, hop=512, n_bins=743, floor=1e-10, ceiling=1e6, mean=-4.0, spread=3.0
    )


def open_specnn(weights: Path, options: OpenOptions) -> SpecnnAmplitude:
    """Open the detector, from a folder trained here or a Keras checkpoint.

    Raises:
        WeightsError: No checkpoint, a damaged one, or variables of another network.
        DetectorError: No such device.
    """
    if (weights / CARD_JSON).is_file():
        card = describe_specnn(weights, options)
        network = SpecCNN(len(card.encoders))
        load_state(network, weights / WEIGHTS_FILE)
    else:
        prefix = find_bundle(weights)
        checkpoint = convert_bundle(prefix)
        network = SpecCNN(options.n_encoders)
        try:
            network.load_state_dict(_to_state(checkpoint.tensors, network))
        except _UnfitError as error:
            raise WeightsError(f"{prefix}.index: {error}") from None
        card = specnn_card(options.name, options.n_encoders, checkpoint.sha256, options.precision)
    return SpecnnAmplitude(network, card, device=options.device, backend=options.backend)


class _UnfitError(Exception):
    """Variables that do not fit the network, in one line."""


def _published_names() -> dict[str, str]:
    """Return published variable name → name in the network."""
    norm_parts = {"gamma": "weight", "beta": "bias"}
    norm_parts |= {"moving_mean": "running_mean", "moving_variance": "running_var"}
    names = {}
    for block in range(len(CHANNELS)):
        conv, norm = f"layer_with_weights-{2 * block}", f"layer_with_weights-{2 * block + 1}"
        names[f"{conv}/kernel"] = f"blocks.{block}.conv.weight"
        names[f"{conv}/bias"] = f"blocks.{block}.conv.bias"
        for published, own in norm_parts.items():
            names[f"{norm}/{published}"] = f"blocks.{block}.norm.{own}"
    for layer, own in enumerate(("dense", "real_head", "encoder_head"), 2 * len(CHANNELS)):
        names[f"layer_with_weights-{layer}/kernel"] = f"{own}.weight"
        names[f"layer_with_weights-{layer}/bias"] = f"{own}.bias"
    return names


def _to_state(
    tensors: Mapping[str, NDArray[np.generic]], network: SpecCNN
) -> dict[str, torch.Tensor]:
    """Return published variables as a state dict, else raise ``_UnfitError``."""
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
    """Yield the problems of one variable."""
    if values.shape != expected:
        yield f"{name} has shape {values.shape}, expected {expected}"
    if values.dtype != np.float32:
        yield f"{name} is {values.dtype}, expected float32"
    elif not np.isfinite(values).all():
        yield f"{name} holds numbers that are not finite"


def _published_shape(own: tuple[int, ...]) -> tuple[int, ...]:
    """Return a parameter's shape in TensorFlow's layout."""
    return (*own[2:], *own[1::-1]) if len(own) > 1 else tuple(own)


def _to_own_layout(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return a kernel in torch's layout; other variables unchanged."""
    return np.moveaxis(values, (-1, -2), (0, 1)) if values.ndim > 1 else values
