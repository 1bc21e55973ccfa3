"""Export of detectors: ONNX models checked with ONNX Runtime, folders, model cards, the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from earwitness import __version__
from earwitness.audio.clips import Clip
from earwitness.core.cards import DetectorCard
from earwitness.core.errors import DetectorError, RunError, WeightsError
from earwitness.core.io import atomic_write, write_json, write_text
from earwitness.core.spectrogram import SPECTROGRAM_JSON
from earwitness.detectors.base import CARD_JSON, Detector, write_card
from earwitness.detectors.nets.resnet18 import ResnetDetector
from earwitness.detectors.network import (
    LARGEST_GAP,
    Graph,
    HasGraph,
    check_installed,
    export_onnx,
    open_session,
)
from earwitness.detectors.resnet import STEM
from earwitness.detectors.resnet_checkpoints import save_resnet

ONNX_FILE, README = "model.onnx", "README.md"


def write_onnx(detector: Detector, out: Path) -> float:
    """Write a detector's network as ``model.onnx`` with its cards; return the largest deviation.

    Raises:
        DetectorError: It has no network, ONNX is not installed, or its logits differ on noise.
    """
    if not isinstance(detector, HasGraph):
        raise DetectorError(f"{detector.card.name}: has no network to export")
    check_installed("--format onnx")
    graph = detector.graph()
    samples = _noise(detector)
    expected = detector.score([Clip(s[None], _rate(detector)) for s in samples]).logits
    with torch.inference_mode():
        features = graph.features(torch.from_numpy(samples)).cpu()
    model = export_onnx(graph.network.cpu().eval(), features, graph.outputs)
    gap = _compare(model, features.numpy(), expected)
    if not gap <= LARGEST_GAP:
        raise DetectorError(
            f"{detector.card.name}: the graph's logits differ by {gap:.2g}, expected at most "
            f"{LARGEST_GAP:g}"
        )
    with atomic_write(out / ONNX_FILE) as temporary:
        temporary.write_bytes(model)
    write_cards(detector.card, out, graph)
    return gap


def write_folder(detector: Detector, out: Path, *, published: bool = False) -> Path:
    """Write an image network as a folder of weights, and return its ``.pth``.

    Args:
        detector: An image network.
        out: A new folder.
        published: See ``save_resnet``; the file has the published name as well.

    Raises:
        DetectorError: It is another detector.
        RunError: The folder holds a detector already.
    """
    if not isinstance(detector, ResnetDetector):
        raise DetectorError(
            f"{detector.card.name}: a {detector.card.kind}, expected a resnet18 (other detectors "
            "are folders already)"
        )
    if (out / CARD_JSON).exists():
        raise RunError(f"{out}: holds a detector already, expected a new folder")
    stem = f"best_{STEM}" if published else "best"
    state = {stem: detector.network.state_dict()}
    out.mkdir(parents=True, exist_ok=True)
    card = detector.card.model_copy(update={"name": out.resolve().name})
    save_resnet(card, state, out, published=published, beside=lambda card: _describe_in(out, card))
    return out / f"{stem}.pth"


def write_cards(card: DetectorCard, out: Path, graph: Graph | None = None) -> None:
    """Write a model card for the Hugging Face hub, then ``card.json``."""
    _describe_in(out, card, graph)
    write_card(card, out)


def _describe_in(out: Path, card: DetectorCard, graph: Graph | None = None) -> None:
    write_text(out / README, describe(card, graph))
    if card.images is not None:
        write_json(out / SPECTROGRAM_JSON, card.images.model_dump(mode="json"))


def _rate(detector: Detector) -> int:
    return detector.card.contract.sample_rate_hz


def _noise(detector: Detector) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return noise at several levels, ``(n, clip_samples)``."""
    n = detector.card.contract.clip_samples or 0
    rng = np.random.default_rng(0)
    levels = np.array([1e-4, 1e-2, 0.1, 0.5, 1.0])[:, None]
    return np.clip(levels * rng.standard_normal((len(levels), n)), -1, 1).astype(np.float32)


def _compare(model: bytes, features: Any, expected: Any) -> float:
    """Return the largest difference of logits, relative to the largest if that is over 1."""
    (logits, *_) = open_session(model).run(None, {"features": features})
    return float(np.abs(logits - expected).max() / max(1.0, np.abs(expected).max()))


def describe(card: DetectorCard, graph: Graph | None = None) -> str:
    """Return the text of a model card for the Hugging Face hub."""
    head = {
        "library_name": "earwitness",
        "pipeline_tag": "audio-classification",
        "tags": ["audio", "music", "deepfake-detection", card.kind],
        "license": "other",
        "license_name": card.licence,
    }
    front = "\n".join(f"{name}: {json.dumps(value)}" for name, value in head.items())
    parts = [
        f"---\n{front}\n---",
        f"# {card.name}",
        f"{card.summary or card.kind}. Source: {card.source}.",
        "## What its scores mean",
        _scores(card),
        "## Limits",
        card.limits,
        "## Audio",
        _audio(card),
        *([f"## Graph\n`{ONNX_FILE}` takes `features`, {graph.about}."] if graph else []),
        "## Training",
        _training(card),
        "## Licence",
        card.licence,
        f"Written by earwitness {__version__}; weights SHA-256 `{card.weights_sha256}`.",
    ]
    return "\n\n".join(parts) + "\n"


def _scores(card: DetectorCard) -> str:
    kind = "a calibrated probability" if card.score_kind == "probability" else "no probability"
    return (
        "The logit rises with fakeness. Its logistic function, from 0 (real) to 1 (fake), is "
        f"{kind}; clips are labelled fake from {card.threshold:g} up."
    )


def _audio(card: DetectorCard) -> str:
    wanted = card.contract
    low_hz, high_hz = card.widest_band_hz
    length = f"{wanted.clip_samples} samples" if wanted.clip_samples else "whole files"
    return (
        f"{length} at {wanted.sample_rate_hz} Hz; frequencies from "
        f"{low_hz:g} to {high_hz:g} Hz are used."
    )


def _training(card: DetectorCard) -> str:
    def shown(names: tuple[str, ...] | None) -> str:
        return "unknown" if names is None else ", ".join(names) or "nothing"

    lines = [f"- trained on: {shown(card.trained_on)}", f"- selected on: {shown(card.selected_on)}"]
    if card.training_items is not None:
        lines.append(f"- items: {card.training_items.n_items} (hashes in card.json)")
    lines += [f"- {name}: {value}" for name, value in card.details.items()]
    return "\n".join(lines)


def push_folder(folder: Path, repository: str) -> str:
    """Upload a folder to a hub repository ``owner/name``, created if missing; return its address.

    Raises:
        WeightsError: The hub refuses, or cannot be reached.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        api.create_repo(repository, exist_ok=True)
        done = api.upload_folder(
            repo_id=repository, folder_path=folder, commit_message="Upload from earwitness"
        )
    except Exception as error:  # the client does not wrap errors of its HTTP library
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"--push-to-hub {repository}: {reason}") from error
    return str(done)
