"""Audio classifiers of transformers; see ``detectors.hf``."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from earwitness.audio.clips import Clip
from earwitness.core.cards import DetectorCard
from earwitness.core.errors import DetectorError, WeightsError, first_line
from earwitness.detectors.base import OpenOptions, Scores, check_range
from earwitness.detectors.network import NetworkDetector
from earwitness.detectors.spectttra import find_state
from earwitness.detectors.torch_file import check_file
from earwitness.detectors.weights import check_header

_TOLERANCE = 1e-3


class FakeLogit(nn.Module):
    """The logit of the fake class against all others."""

    def __init__(self, network: nn.Module, fake_at: int) -> None:
        super().__init__()
        self.network = network
        self._fake_at = fake_at

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor]:
        """Return logits ``(n,)``, in a tuple."""
        outputs = self.network(features).logits.float()
        if outputs.shape[1] == 1:
            return (outputs[:, 0],)
        others = [at for at in range(outputs.shape[1]) if at != self._fake_at]
        return (outputs[:, self._fake_at] - outputs[:, others].logsumexp(dim=1),)


class HfDetector(NetworkDetector):
    """A classifier; on the first clips it is measured whether a batch would change scores."""

    def __init__(self, network: nn.Module, card: DetectorCard, **more: Any) -> None:
        super().__init__(network, card, **more)
        self._measured = False
        self._lock = threading.Lock()
        self._notes: list[str] = []

    @property
    def remarks(self) -> Sequence[str]:
        """Notes for the user on how scoring went."""
        return [*super().remarks, *self._notes]

    def score(self, clips: Sequence[Clip]) -> Scores:
        """Score clips that meet the card's contract; any other raises ``DetectorError``."""
        scores = super().score(clips)
        with self._lock:
            todo = len(clips) > 1 and not self._measured
            self._measured = self._measured or todo
        if todo:
            self._measure(clips[:4], scores)
        return scores

    def _mono_samples(self, clip: Clip, at: int) -> NDArray[np.float32]:
        if clip.n_samples:
            check_range(clip, self.card)  # feature extractors overflow without an error
        return super()._mono_samples(clip, at)

    def _measure(self, clips: Sequence[Clip], scores: Scores) -> None:
        samples = [self._mono_samples(clip, at) for at, clip in enumerate(clips)]
        graph = self.graph()
        with torch.inference_mode():
            batch = torch.stack([torch.from_numpy(each) for each in samples]).to(self.device)
            (together,) = graph.network(graph.features(batch))
        expected = torch.from_numpy(scores.logits[: len(clips)])
        gap = float((together.cpu().double() - expected).abs().max())
        if not gap <= _TOLERANCE * max(1.0, float(expected.abs().max())):
            self._notes.append(
                f"in a batch, logits of the first {len(clips)} clips differ by up to {gap:.2g}: "
                "scores of this network depend on the batch"
            )


def open_hf(folder: Path, card: DetectorCard, options: OpenOptions) -> HfDetector:
    """Open a classifier from a folder laid out as on the hub.

    Raises:
        WeightsError: Files are damaged or do not fit, or their network is unknown.
        DetectorError: No such device, or another backend than torch.
    """
    if options.backend != "torch":
        raise DetectorError(f"{card.name}: backend {options.backend}, expected torch")
    state = find_state(folder)
    if state.suffix == ".safetensors":
        check_header(state)
    else:
        check_file(state)
    network, extractor = _load(folder)
    rate_hz = card.contract.sample_rate_hz

    def features(samples: torch.Tensor) -> torch.Tensor:
        rows = list(samples.cpu().numpy())
        made = extractor(rows, sampling_rate=rate_hz, return_tensors="pt")
        found: torch.Tensor = made[extractor.model_input_names[0]]
        return found.to(samples.device)

    return HfDetector(
        FakeLogit(network, int(card.details["fake_index"])),
        card,
        features=features,
        about="the output of its feature extractor",
        device=options.device,
        batch_sizes=(4, 32),
    )


def _load(folder: Path) -> tuple[nn.Module, Any]:
    import transformers
    from transformers.utils import logging

    log: Any = logging
    log.set_verbosity_error()
    log.disable_progress_bar()
    safe: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    auto: Any = transformers.AutoModelForAudioClassification
    auto_extractor: Any = transformers.AutoFeatureExtractor
    try:
        network, info = auto.from_pretrained(
            folder,
            **safe,
            use_safetensors=find_state(folder).suffix == ".safetensors",
            weights_only=True,
            output_loading_info=True,
            dtype=torch.float32,
        )
        extractor = auto_extractor.from_pretrained(folder, **safe)
    except Exception as error:
        raise WeightsError(f"{folder}: cannot be opened ({first_line(error)})") from error
    problems = [f"{kind[:-5]} {sorted(map(str, info[kind]))[0]}" for kind in _KINDS if info[kind]]
    if problems:
        raise WeightsError(f"{folder}: weights do not fit the network: {', '.join(problems)}")
    return network, extractor


_KINDS = ("missing_keys", "unexpected_keys", "mismatched_keys")
