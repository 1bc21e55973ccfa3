"""Decoders with random weights: their traces are what ``box`` is trained on.

Conventions: a plan holds every draw, so the same plan and samples give the same output. Shapes
follow published decoders; weights never do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

RATES_HZ = (16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_STRIDES = (2, 3, 4, 5, 6, 7, 8, 10, 12)
_HOPS = (128, 160, 200, 240, 256, 300, 320, 441, 480, 512, 600, 640, 882, 960, 1024, 1920, 2048)
_PRODUCTS = (64, 2_560)


class Shape(NamedTuple):
    """A family of decoders.

    Attributes:
        upsampling: ``transposed`` convolution, ``stuffed`` zeros, ``shuffled`` channels, or
            ``repeated`` samples, followed by a convolution.
        activation: Name of the activation.
        n_blocks: Residual blocks per layer.
        one_layer: Frames are turned into samples by one layer.
    """

    upsampling: str
    activation: str
    n_blocks: int
    one_layer: bool = False


SHAPES = {
    "EnCodec": Shape("transposed", "elu", 1),
    "DAC": Shape("transposed", "snake", 2),
    "HiFi-GAN": Shape("transposed", "leaky", 2),
    "Oobleck": Shape("transposed", "snake", 1),
    "VAE": Shape("repeated", "silu", 1),
    "sub-pixel": Shape("shuffled", "leaky", 1),
    "stuffed": Shape("stuffed", "leaky", 0),
    "Vocos": Shape("transposed", "tanh", 0, one_layer=True),
}

_ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "elu": functional.elu,
    "silu": functional.silu,
    "tanh": torch.tanh,
    "leaky": lambda x: functional.leaky_relu(x, 0.1),
    "snake": lambda x: x + torch.sin(x) ** 2,
}


class DecoderPlan(NamedTuple):
    """A drawn decoder.

    Attributes:
        shape: Key of ``SHAPES``.
        sample_rate_hz: Rate of its output.
        strides: Up-sampling factors from the latent up.
        kernel_ratio: Kernel length over stride of transposed convolutions.
        n_channels: Channels of the latent, halved by each layer.
        bias: Standard deviation of biases; activations have 1.
        seed: Seed of the weights.
    """

    shape: str
    sample_rate_hz: int
    strides: tuple[int, ...]
    kernel_ratio: int
    n_channels: int
    bias: float
    seed: int

    @property
    def hop(self) -> int:
        """Samples per latent frame."""
        return int(np.prod(self.strides))


def draw_decoder(rng: np.random.Generator) -> DecoderPlan:
    """Draw a decoder."""
    shape = str(rng.choice(list(SHAPES)))
    return DecoderPlan(
        shape,
        sample_rate_hz=int(rng.choice(RATES_HZ)),
        strides=(int(rng.choice(_HOPS)),) if SHAPES[shape].one_layer else _draw_strides(rng),
        kernel_ratio=int(rng.choice([1, 2, 2, 2, 3, 4])),
        n_channels=int(rng.choice([16, 24, 32])),
        bias=float(10 ** rng.uniform(-1.5, 0)),
        seed=int(rng.integers(2**31)),
    )


def _draw_strides(rng: np.random.Generator) -> tuple[int, ...]:
    while True:
        strides = tuple(int(s) for s in rng.choice(_STRIDES, rng.integers(2, 6)))
        if rng.random() < 0.6:
            strides = tuple(sorted(strides, reverse=True))
        if _PRODUCTS[0] <= np.prod(strides) <= _PRODUCTS[1]:
            return strides


def run_decoder(plan: DecoderPlan, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the output for latents of ``samples``, both ``(n_samples,)`` at the plan's rate.

    Latents are a random strided analysis of the samples, so the output follows the music.
    """
    shape = SHAPES[plan.shape]
    generator = torch.Generator().manual_seed(plan.seed)

    def weights(*size: int, fan_in: float) -> torch.Tensor:
        return torch.randn(size, generator=generator) * float(fan_in**-0.5)

    def biases(n: int) -> torch.Tensor:
        return torch.randn(n, generator=generator) * plan.bias

    def convolve(
        x: torch.Tensor, n_out: int, kernel: int, *, dilation: int = 1, stride: int = 1
    ) -> torch.Tensor:
        kernels = weights(n_out * stride, x.shape[1], kernel, fan_in=x.shape[1] * kernel)
        bias = biases(n_out * (stride if shape.upsampling == "shuffled" else 1))
        padding = dilation * (kernel - 1) // 2
        return functional.conv1d(
            x,
            kernels,
            bias.repeat_interleave(len(kernels) // len(bias)),
            padding=padding,
            dilation=dilation,
        )

    def raise_rate(x: torch.Tensor, stride: int, n_out: int) -> torch.Tensor:
        if shape.upsampling == "repeated":
            return convolve(x.repeat_interleave(stride, dim=2), n_out, 2 * stride + 1)
        if shape.upsampling == "stuffed":
            stuffed = torch.zeros(*x.shape, stride)
            stuffed[..., 0] = x * stride**0.5
            return convolve(stuffed.flatten(2), n_out, 2 * stride + 1)
        # a transposed convolution is a convolution to ``stride`` times the channels, interleaved
        parts = convolve(x, n_out, plan.kernel_ratio, stride=stride)
        return parts.view(1, n_out, stride, -1).transpose(2, 3).flatten(2)

    activate = _ACTIVATIONS[shape.activation]
    with torch.no_grad():
        x = torch.from_numpy(np.ascontiguousarray(samples))[None, None]
        analysis = weights(plan.n_channels, 1, 2 * plan.hop, fan_in=2 * plan.hop)
        x = _normalise(functional.conv1d(x, analysis, stride=plan.hop, padding=plan.hop // 2))
        x = convolve(torch.tanh(x), plan.n_channels, 3)
        n_channels = plan.n_channels
        for stride in plan.strides:
            n_channels = max(n_channels // 2, 4)
            x = _normalise(raise_rate(_normalise(activate(x)), stride, n_channels))
            for number in range(shape.n_blocks):
                x = _normalise(x + convolve(activate(x), n_channels, 3, dilation=3**number))
        y = torch.tanh(convolve(activate(x), 1, 7) / 2)[0, 0].numpy()
    y = np.pad(y, (0, max(0, len(samples) - len(y))))[: len(samples)]
    centred: NDArray[np.float32] = y - y.mean()
    return centred


def _normalise(x: torch.Tensor) -> torch.Tensor:
    return x / (x.std() + 1e-6)
