"""What the SpecTTTra detectors say of themselves, told without loading PyTorch.

Conventions: what a detector was trained on is known for the published names, and for weights with
a ``card.json`` beside them that speaks for just these.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from earwitness.core.cards import ClipContract, DetectorCard, Preprocessing
from earwitness.core.errors import WeightsError
from earwitness.core.io import sha256_of
from earwitness.detectors.loading import CARD_JSON, read_card
from earwitness.detectors.spectttra_config import (
    CONFIG_JSON,
    AudioSettings,
    SpectttraConfig,
    find_state,
    read_config,
)

if TYPE_CHECKING:
    from earwitness.detectors.loading import OpenOptions

_STRETCHES = {"alpha": (1, 3), "beta": (3, 5), "gamma": (5, 7)}
"""Bands and frames that go into a token of each published network."""

_TRAINED_ON = ("SONICS train",)
_SELECTED_ON = ("SONICS valid",)
_OF_TRAINING = (
    "kind",
    "trained_on",
    "selected_on",
    "training_items",
    "licence",
    "weights_from",
    "limits",
    "details",
)
"""What the card of a network fine-tuned here says otherwise than that of its architecture."""
_RATE_HZ = 16_000
_BAND_HZ = (20.0, 8_000.0)


def describe_sonics(weights: Path | None, options: OpenOptions) -> DetectorCard:
    """Return the card as the detector opened with these weights would have it.

    Without weights it is that of the published name.

    Raises:
        WeightsError: Files are missing or damaged, or do not fit the name.
    """
    if weights is None:
        return _card(_published_audio(options.published or options.name), _BAND_HZ, options, None)
    path = find_state(weights)
    config = read_config(path.parent)
    if options.published:
        check_name(options.published, config, path.parent / CONFIG_JSON)
    sha256 = sha256_of(path)
    band_hz = config.melspec.band_hz(config.audio.sample_rate)
    card = _card(config.audio, band_hz, options, sha256)
    told = _card_beside(path.parent, sha256)
    return card.model_copy(update={name: getattr(told, name) for name in _OF_TRAINING if told})


def _card_beside(folder: Path, weights_sha256: str) -> DetectorCard | None:
    """Return the card of a network fine-tuned here, where there is one for these weights."""
    if not (folder / CARD_JSON).is_file():
        return None
    card = read_card(folder)
    return card if card.weights_sha256 == weights_sha256 else None


def check_name(name: str, config: SpectttraConfig, path: Path) -> None:
    """Refuse the weights of one published detector under the name of another.

    Raises:
        WeightsError: The config is not that of the published name.
    """
    size, duration = name.split("-")[-2:]
    model, audio = config.model, config.audio
    found = (model.f_clip, model.t_clip, audio.max_len / audio.sample_rate)
    expected = (*_STRETCHES[size], float(duration.removesuffix("s")))
    if found != expected:
        shown = "f_clip {:g}, t_clip {:g}, {:g} s".format
        raise WeightsError(f"{path}: {shown(*found)}; expected {shown(*expected)} of {name}")


def _published_audio(name: str) -> AudioSettings:
    """Return the audio settings of a published name, which says how many seconds it hears."""
    seconds = int(name.rpartition("-")[2].removesuffix("s"))
    return AudioSettings(sample_rate=_RATE_HZ, max_len=seconds * _RATE_HZ, normalize=True)


def _card(
    audio: AudioSettings,
    band_hz: tuple[float, float],
    options: OpenOptions,
    weights_sha256: str | None,
) -> DetectorCard:
    """Return the card; what it was trained on is known for the published names alone."""
    published = options.published is not None
    return DetectorCard(
        name=options.name,
        kind=options.published or "spectttra",
        summary="transformer over spectral and temporal stretches of a mel spectrogram",
        contract=_contract(audio, options.preprocessing),
        preprocessing=options.preprocessing,
        precision=options.precision,
        band_hz=band_hz,
        trained_on=_TRAINED_ON if published else None,
        selected_on=_SELECTED_ON if published else None,
        licence="MIT" if published else "the weights are their trainer's; the method is MIT",
        source=(
            "Rahman et al., ICLR 2025, SONICS: Synthetic Or Not, Identifying Counterfeit Songs; "
            "github.com/awsaf49/sonics"
        ),
        weights_from=(
            "fetched from the Hugging Face hub (awsaf49) when it is named"
            if published
            else "a folder laid out as on the Hugging Face hub"
        ),
        limits=(
            "Knows the song generators it was trained on (published weights: Suno and Udio), up to "
            f"{band_hz[1]:g} Hz. Noise makes it say fake."
        ),
        weights_sha256=weights_sha256,
    )


def _contract(audio: AudioSettings, preprocessing: Preprocessing) -> ClipContract:
    return ClipContract(
        sample_rate_hz=audio.sample_rate,
        native_rate=preprocessing == "published",
        clip_samples=audio.max_len,
        crop="three_quarters",
        skip_time=audio.skip_time,
        mono=True,
    )
