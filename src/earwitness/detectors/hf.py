"""Audio classifiers of the Hugging Face hub (``hf:OWNER/NAME[@REVISION]``), run by transformers.

Conventions: weights are read as safetensors or with ``weights_only``; code of a repository is never
run. The fake class is given, or in a ``detector.yaml`` beside the weights, or clear from the names
of the classes; it is never guessed.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from earwitness.core.cards import ClipContract, DetectorCard
from earwitness.core.errors import DetectorError, WeightsError
from earwitness.core.io import sha256_of
from earwitness.core.spectrogram import parse_classes
from earwitness.detectors.base import CONFIG_JSON, AnyDetector, DetectorKind, OpenOptions
from earwitness.detectors.described import (
    DETECTOR_YAML,
    HF_PREFIX,
    AnyDescription,
    read_description,
)
from earwitness.detectors.spectttra import find_state

PREPROCESSOR_JSON = "preprocessor_config.json"
_DEFAULT_CLIP_S = 5
"""Clip length of networks that take any."""
_FRAME_S = 0.010  # hop of the AST feature extractor


class HfDescription(AnyDescription):
    """``detector.yaml`` beside the weights of a classifier.

    Attributes:
        fake_label: Name of the fake class.
    """

    kind: Literal["hf"] = "hf"
    fake_label: str | None = None


def describe_hf(folder: Path | None, options: OpenOptions) -> DetectorCard:
    """Return the card of a classifier, without importing transformers.

    Raises:
        WeightsError: A file is missing or invalid, or the fake class is unclear.
    """
    assert folder is not None  # noqa: S101 - there is none without a folder
    config, front = _read(folder / CONFIG_JSON), _read(folder / PREPROCESSOR_JSON)
    if found := sorted({"auto_map", "quantization_config"} & config.keys()):
        raise WeightsError(f"{folder / CONFIG_JSON}: found {found[0]}, which is not supported")
    labels = read_labels(folder, config)
    path = folder / DETECTOR_YAML
    given = read_description(path, HfDescription) if path.is_file() else HfDescription()
    fake_at = find_fake(folder, labels, options.fake_label or given.fake_label)
    rate_hz, n_samples = _lengths(folder, front)
    return DetectorCard(
        name=options.name,
        kind="hf",
        summary=given.summary or f"{config.get('model_type', 'unknown')} audio classifier",
        contract=ClipContract(sample_rate_hz=rate_hz, clip_samples=n_samples, mono=True),
        precision=options.precision,
        band_hz=given.band_hz or (0.0, rate_hz / 2),
        licence=given.licence,
        source=given.source,
        weights_from="the Hugging Face hub, when it is named",
        limits=given.limits,
        trained_on=given.trained_on,
        selected_on=given.selected_on,
        threshold=given.threshold,
        weights_sha256=sha256_of(find_state(folder)),
        details={
            "fake_label": labels[fake_at],
            "fake_index": fake_at,
            "labels": ", ".join(labels),
            "config_sha256": sha256_of(folder / CONFIG_JSON),
            "preprocessor_sha256": sha256_of(folder / PREPROCESSOR_JSON),
        },
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: cannot be read ({error}), expected JSON") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: expected a JSON object")
    return content


def find_folder(asked: str, given: Path | None, *, download: bool) -> Path:
    """Return the folder of ``hf:OWNER/NAME[@REVISION]`` or ``hf:FOLDER``.

    Raises:
        WeightsError: No such folder or repository, or it is not in the cache.
    """
    from earwitness.detectors.hub import fetch_folder, find_cached, is_hub_id

    name = asked.removeprefix(HF_PREFIX)
    folder = given or Path(name)
    if given is not None or folder.is_dir():
        return folder
    if not is_hub_id(name):
        raise WeightsError(f"{asked}: no such folder, expected hf:OWNER/NAME or hf:FOLDER")
    if download:
        try:
            return fetch_folder(name, (PREPROCESSOR_JSON,))
        except WeightsError as error:
            raise WeightsError(f"{asked}: {error}") from error
    cached = find_cached(name, (PREPROCESSOR_JSON,))
    if cached is None:
        raise WeightsError(f"{asked}: not in the cache")
    return cached


def read_labels(folder: Path, config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the classes by index; ``WeightsError`` if they are not complete."""
    named = config.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}  # transformers' default
    where = folder / CONFIG_JSON
    try:
        by_index = {int(index): str(label) for index, label in named.items()}
    except (AttributeError, ValueError):
        raise WeightsError(f"{where}: id2label, expected a name per index") from None
    if sorted(by_index) != list(range(len(by_index))) or not by_index:
        raise WeightsError(f"{where}: id2label of {sorted(by_index)}, expected indices from 0")
    return tuple(by_index[index] for index in range(len(by_index)))


def find_fake(folder: Path, labels: tuple[str, ...], given: str | None) -> int:
    """Return the index of the fake class: the given one, or that of two clear names."""
    shown = ", ".join(labels)
    if given is not None:
        if labels.count(given) != 1:
            raise WeightsError(f"fake label {given}: expected one of {shown} ({folder})")
        return labels.index(given)
    fake_at = parse_classes(labels)
    if fake_at is None:
        raise WeightsError(
            f"{folder}: classes {shown}, expected --fake-label NAME to say which one is fake"
        )
    return fake_at


def _lengths(folder: Path, front: Mapping[str, Any]) -> tuple[int, int]:
    """Return rate and clip length of a feature extractor."""
    rate_hz = front.get("sampling_rate")
    where = folder / PREPROCESSOR_JSON
    if type(rate_hz) is not int or not 1_000 <= rate_hz <= 768_000:
        raise WeightsError(f"{where}: sampling_rate {rate_hz!r}, expected a rate in Hz")
    chunk_s, most_frames = front.get("chunk_length"), front.get("max_length")
    seconds: Any = _DEFAULT_CLIP_S
    if chunk_s is not None:
        seconds = chunk_s
    elif front.get("num_mel_bins") is not None and most_frames is not None:
        seconds = most_frames * _FRAME_S if isinstance(most_frames, int) else None
    if not isinstance(seconds, int | float) or not 0.1 <= seconds <= 600:
        raise WeightsError(f"{where}: clips of {seconds!r} s, expected 0.1 to 600")
    return rate_hz, round(seconds * rate_hz)


def _open(folder: Path, options: OpenOptions) -> AnyDetector:
    if importlib.util.find_spec("transformers") is None:
        raise DetectorError(
            f"{options.name}: transformers not installed, expected pip install 'earwitness[hf]'"
        )
    from earwitness.detectors.nets.hf import open_hf

    return open_hf(folder, describe_hf(folder, options), options)


HF = DetectorKind(describe_hf, _open)
