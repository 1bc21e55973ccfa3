"""The spectro-temporal transformer SpecTTTra of Rahman et al. (SONICS, ICLR 2025).

Module names are those of the published weights. A mel image is (bands, frames); spectral tokens
span a few bands and all frames, temporal tokens a few frames and all bands.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from earwitness.audio.clips import Clip
from earwitness.audio.spectrogram import mel_filters, mel_levels, standardise
from earwitness.core.cards import Backend, DetectorCard
from earwitness.core.errors import WeightsError
from earwitness.detectors.base import OpenOptions, mean_channel, mix_checked
from earwitness.detectors.network import NetworkDetector, ScoringModule
from earwitness.detectors.spectttra import (
    MelSettings,
    ModelSettings,
    SpectttraConfig,
    describe_spectttra,
    find_state,
    read_config,
)
from earwitness.detectors.torch_file import load_state


class MelFrontEnd(nn.Module):
    """Standardised mel spectrograms of samples."""

    def __init__(self, mel: MelSettings, sample_rate_hz: int) -> None:
        super().__init__()
        self._mel = mel
        filters = mel_filters(
            n_fft=mel.n_fft,
            n_mels=mel.n_mels,
            sample_rate_hz=sample_rate_hz,
            band_hz=mel.band_hz(sample_rate_hz),
        )
        self.audio2melspec = nn.Module()
        self.audio2melspec.spectrogram = nn.Module()
        self.audio2melspec.spectrogram.register_buffer("window", torch.hann_window(mel.win_length))
        self.audio2melspec.mel_scale = nn.Module()
        self.audio2melspec.mel_scale.register_buffer("fb", torch.from_numpy(filters))

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """Return ``(n, n_mels, n_frames)`` of ``(n, n_samples)``, each of mean 0 and spread 1."""
        levels = mel_levels(
            samples,
            window=self.get_buffer("audio2melspec.spectrogram.window"),
            filters=self.get_buffer("audio2melspec.mel_scale.fb"),
            n_fft=self._mel.n_fft,
            hop=self._mel.hop_length,
            top_db=self._mel.top_db,
        )
        return standardise(levels)


class Positions(nn.Module):
    """Learned position embeddings."""

    def __init__(self, n_tokens: int, dim: int) -> None:
        super().__init__()
        self.pe = nn.Parameter(0.02 * torch.randn(1, n_tokens, dim))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return ``tokens`` with the positions added."""
        return tokens + self.pe


class Tokenizer(nn.Module):
    """Tokens of images, one for every ``stretch`` columns; a shorter rest is dropped."""

    def __init__(self, height: int, width: int, *, stretch: int, model: ModelSettings) -> None:
        super().__init__()
        dim = model.embed_dim
        self.conv1d = nn.Conv1d(height, dim, stretch, stride=stretch, bias=not model.pre_norm)
        self.pos_encoder = Positions(width // stretch, dim)
        self.norm_pre = nn.LayerNorm(dim, eps=1e-6) if model.pre_norm else nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return ``(n, width // stretch, dim)`` of ``(n, height, width)``."""
        tokens = nn.functional.gelu(self.conv1d(images)).transpose(1, 2)
        normed: torch.Tensor = self.norm_pre(self.pos_encoder(tokens))
        return normed


class SpectroTemporalTokenizer(nn.Module):
    """Spectral and temporal tokens of an image, concatenated."""

    def __init__(self, model: ModelSettings) -> None:
        super().__init__()
        n_bands, n_frames = model.input_shape
        self.temporal_tokenizer = Tokenizer(n_bands, n_frames, stretch=model.t_clip, model=model)
        self.spectral_tokenizer = Tokenizer(n_frames, n_bands, stretch=model.f_clip, model=model)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return ``(n, n_tokens, dim)`` of ``(n, n_bands, n_frames)``."""
        spectral = self.spectral_tokenizer(images.transpose(1, 2))
        return torch.cat((spectral, self.temporal_tokenizer(images)), dim=1)


class Attention(nn.Module):
    """Multi-head self-attention; queries, keys and values without bias."""

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        self._n_heads = n_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return tokens of the same shape, ``(n, n_tokens, dim)``."""
        parts = self.qkv(tokens).unflatten(2, (3, self._n_heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        projected: torch.Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return projected


class FeedForward(nn.Module):
    """Two dense layers with GELU between them."""

    def __init__(self, dim: int, n_hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, n_hidden)
        self.fc2 = nn.Linear(n_hidden, dim)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return tokens of the same shape, ``(n, n_tokens, dim)``."""
        mixed: torch.Tensor = self.fc2(nn.functional.gelu(self.fc1(tokens)))
        return mixed


class TransformerBlock(nn.Module):
    """Pre-norm attention and feed-forward layers with residual connections."""

    def __init__(self, model: ModelSettings) -> None:
        super().__init__()
        dim = model.embed_dim
        self.norm1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, model.num_heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = FeedForward(dim, int(dim * model.mlp_ratio))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return tokens of the same shape, ``(n, n_tokens, dim)``."""
        tokens = tokens + self.attn(self.norm1(tokens))
        mixed: torch.Tensor = tokens + self.mlp(self.norm2(tokens))
        return mixed


class Encoder(nn.Module):
    """Tokenizer and transformer."""

    def __init__(self, model: ModelSettings) -> None:
        super().__init__()
        self.st_tokenizer = SpectroTemporalTokenizer(model)
        self.transformer = nn.Module()
        blocks = (TransformerBlock(model) for _ in range(model.num_layers))
        self.transformer.blocks = nn.Sequential(*blocks)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return ``(n, n_tokens, dim)`` of ``(n, n_bands, n_frames)``."""
        tokens: torch.Tensor = self.get_submodule("transformer.blocks")(self.st_tokenizer(images))
        return tokens


class SpecTTTra(nn.Module):
    """Mel front end, encoder, mean over tokens, linear head."""

    def __init__(self, config: SpectttraConfig) -> None:
        super().__init__()
        self._input_shape = config.model.input_shape
        self.ft_extractor = MelFrontEnd(config.melspec, config.audio.sample_rate)
        self.encoder = Encoder(config.model)
        self.classifier = nn.Linear(config.model.embed_dim, 1)

    def make_images(self, samples: torch.Tensor) -> torch.Tensor:
        """Return images ``(n, n_bands, n_frames)`` of samples ``(n, n_samples)`` float32."""
        images = self.ft_extractor(samples).unsqueeze(1)
        resized = nn.functional.interpolate(images, size=self._input_shape, mode="bilinear")
        return resized.squeeze(1)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits of "fake" ``(n,)`` of images ``(n, n_bands, n_frames)``."""
        tokens = self.encoder(images)
        logits: torch.Tensor = self.classifier(tokens.mean(dim=1))
        return logits.squeeze(1)

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """Return logits of "fake" ``(n,)`` of samples ``(n, n_samples)`` float32."""
        return self.logits(self.make_images(samples))


class SpectttraDetector(NetworkDetector):
    """A SpecTTTra network with the normalisation of its config; see ``NetworkDetector``."""

    def __init__(
        self,
        network: SpecTTTra,
        config: SpectttraConfig,
        card: DetectorCard,
        *,
        device: str,
        backend: Backend = "torch",
    ) -> None:
        self._normalize = bool(config.audio.normalize)
        n_tokens = config.model.n_tokens
        super().__init__(
            ScoringModule(network, lambda network, images: (network.logits(images),)),
            card,
            features=network.make_images,
            about="mel spectrograms in dB, each of mean 0 and spread 1, resized to the network's "
            "input shape, as config.json says",
            device=device,
            backend=backend,
            batch_sizes=(max(1, 1024 // n_tokens), max(1, 65_536 // n_tokens)),
        )

    def _mono_samples(self, clip: Clip, at: int) -> NDArray[np.float32]:
        mono = mix_checked(clip, at, self.card, mean_channel)
        return scale_samples(mono, normalize=self._normalize)


def scale_samples(mono: NDArray[np.floating], *, normalize: bool) -> NDArray[np.float32]:
    """Return samples ``(n_samples,)``, divided by their standard deviation if ``normalize``."""
    return (mono / max(mono.std(), 1e-6) if normalize else mono).astype(np.float32)


def open_spectttra(weights: Path, options: OpenOptions) -> SpectttraDetector:
    """Open a detector from a folder laid out as on the hub, or from the file of weights in one.

    Raises:
        WeightsError: Files are missing, damaged, inconsistent or of another name.
        DetectorError: No such device.
    """
    card = describe_spectttra(weights, options)
    network, config = load_spectttra(weights)
    return SpectttraDetector(network, config, card, device=options.device, backend=options.backend)


def load_spectttra(weights: Path) -> tuple[SpecTTTra, SpectttraConfig]:
    """Return the network of a folder, or of the file of weights in one, and its config.

    Raises:
        WeightsError: Files are missing, damaged or inconsistent.
    """
    path = find_state(weights)
    config = read_config(path.parent)
    network = SpecTTTra(config)
    name = "ft_extractor.audio2melspec.mel_scale.fb"
    expected = network.get_buffer(name).clone()
    load_state(network, path)
    if not torch.allclose(network.get_buffer(name), expected, atol=1e-3):
        raise WeightsError(f"{path}: {name} holds other mel filters than config.json asks for")
    return network, config
