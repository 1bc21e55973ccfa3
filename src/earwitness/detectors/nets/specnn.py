"""The convolutional network over amplitude spectrograms of Afchar et al. (2024)."""

from __future__ import annotations

import torch
from torch import nn

from earwitness.detectors.specnn_card import ENCODERS

CHANNELS = (16, 32, 64, 128, 256, 512)
_N_DENSE = 128
_NORM_EPSILON = 1e-3


class ConvBlock(nn.Module):
    """Convolution 3×3, ReLU, max-pooling by 2, batch norm.

    Args:
        n_in: Channels in.
        n_out: Channels out.
    """

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
        n_encoders: Classes of the encoder head, "real" among them.
    """

    def __init__(self, n_encoders: int = len(ENCODERS)) -> None:
        super().__init__()
        sizes = zip((1, *CHANNELS[:-1]), CHANNELS, strict=True)
        self.blocks = nn.Sequential(*(ConvBlock(n_in, n_out) for n_in, n_out in sizes))
        self.dense = nn.Linear(CHANNELS[-1], _N_DENSE)
        self.real_head = nn.Linear(_N_DENSE, 1)
        self.encoder_head = nn.Linear(_N_DENSE, n_encoders)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Judge spectrograms.

        Args:
            images: ``(n, 1, n_frames, n_bins)`` float32.

        Returns:
            Logits of "real" ``(n,)`` and of the encoders ``(n, n_encoders)``.
        """
        pooled = self.blocks(images).mean(dim=(2, 3))
        hidden = nn.functional.silu(self.dense(pooled))
        return self.real_head(hidden).squeeze(1), self.encoder_head(hidden)
