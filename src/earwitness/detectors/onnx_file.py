"""Detectors that are an ONNX model of others, with a ``detector.yaml``.

Every clip is run alone, so that its score depends on no other; by how much a batch would change
it is measured on the first clips and reported.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from earwitness.audio.clips import Clip
from earwitness.core.cards import ClipContract, DetectorCard, clips_for
from earwitness.core.errors import DetectorError, WeightsError, first_line
from earwitness.core.io import sha256_of
from earwitness.core.spectrogram import SpectrogramContract
from earwitness.detectors.base import (
    Detector,
    DetectorKind,
    OpenOptions,
    Scores,
    mean_channel,
    mix_checked,
)
from earwitness.detectors.described import Description, describe, read_description, to_logits

if TYPE_CHECKING:
    import onnxruntime


class OnnxDescription(Description):
    """``detector.yaml`` of an ONNX model.

    Attributes:
        file: The model, if not named itself.
        input: Mono samples ``(n, clip_samples)`` or ``(n, 1, clip_samples)``, or images
            ``(n, 3, height, width)`` drawn by ``images`` and normalised as for ImageNet.
        sample_rate_hz: Rate of the samples.
        clip_samples: Length of a clip.
        crop: See ``ClipContract``.
        images: Rendering parameters of the images.
        output_name: Output to read, if there are several.
    """

    kind: Literal["onnx"]
    file: str | None = None
    input: Literal["waveform", "spectrogram"]
    sample_rate_hz: int | None = Field(default=None, ge=1_000, le=768_000)
    clip_samples: int | None = Field(default=None, gt=0, le=2**27)
    crop: Literal["centre", "three_quarters", "start"] = "centre"
    images: SpectrogramContract | None = None
    output_name: str | None = None

    @model_validator(mode="after")
    def _fits(self) -> OnnxDescription:
        wave = (self.sample_rate_hz, self.clip_samples)
        if self.input == "waveform" and (None in wave or self.images):
            raise ValueError("input waveform: expected sample_rate_hz and clip_samples, no images")
        if self.input == "spectrogram" and (self.images is None or any(wave)):
            raise ValueError(
                "input spectrogram: expected images, no sample_rate_hz and no clip_samples"
            )
        return self

    @property
    def contract(self) -> ClipContract:
        """Audio of one clip."""
        if self.images is not None:
            return clips_for(self.images).model_copy(update={"crop": self.crop})
        rate_hz, n_samples = self.sample_rate_hz or 0, self.clip_samples
        return ClipContract(
            sample_rate_hz=rate_hz, clip_samples=n_samples, crop=self.crop, mono=True
        )


def describe_onnx(path: Path | None, options: OpenOptions) -> DetectorCard:
    """Return the card of the detector with this ``detector.yaml``."""
    description, model = _read(path, options)
    contract = description.contract
    drawn = description.images
    widest_hz = drawn.band_hz if drawn else (0.0, contract.sample_rate_hz / 2)
    return describe(
        description,
        options.name,
        contract,
        band_hz=description.band_hz or widest_hz,
        images=drawn,
        weights_sha256=sha256_of(model),
        weights_from="an ONNX file of your own",
        details={"input": description.input},
    )


def model_file(path: Path, target: str | None) -> Path:
    """Return the ONNX file of a ``detector.yaml``."""
    return _read(path, OpenOptions("", target=target))[1]


def _read(path: Path | None, options: OpenOptions) -> tuple[OnnxDescription, Path]:
    assert path is not None  # noqa: S101 - there is none without a description
    description = read_description(path, OnnxDescription)
    if options.target is None and description.file is None:
        raise WeightsError(f"{path}: file: found none, expected the name of an ONNX file")
    model = Path(options.target) if options.target else path.parent / (description.file or "")
    if not model.is_file():
        raise WeightsError(f"{model}: no such file, expected an ONNX model")
    return description, model


class OnnxDetector:
    """An ONNX model that scores clips on the CPU."""

    device, backend, batch_size = "cpu", "onnxruntime", 4

    def __init__(self, path: Path, options: OpenOptions) -> None:
        description, model = _read(path, options)
        self.card = describe_onnx(path, options)
        self.remarks: list[str] = []
        self._description = description
        self._session = _open_session(model)
        self._output = _check_output(self._session, description, model)
        self._shape = _input_shape(self._session, description, model)
        self._measured = not _has_free_batch(self._session)
        self._lock = threading.Lock()

    def score(self, clips: Sequence[Clip]) -> Scores:
        """Score clips that meet the card's contract; any other raises ``DetectorError``."""
        fed = [self._input(clip, at) for at, clip in enumerate(clips)]
        rows = [self._run(each) for each in fed]
        self._measure(fed, rows)
        return Scores(np.concatenate(rows) if rows else np.empty(0))

    def _input(self, clip: Clip, at: int) -> NDArray[np.float32]:
        mono = mix_checked(clip, at, self.card, mean_channel).astype(np.float32)
        if self._description.images is not None:
            import torch

            from earwitness.detectors.nets.resnet18 import draw_images

            drawn = draw_images(torch.from_numpy(mono[None]), self._description.images)
            return np.ascontiguousarray(drawn.numpy())
        return mono.reshape(self._shape)

    def _run(self, fed: NDArray[np.float32]) -> NDArray[np.float64]:
        name = self._session.get_inputs()[0].name
        try:
            (values,) = self._session.run([self._output], {name: fed})
        except Exception as error:  # noqa: BLE001 - the library's own errors share no base
            raise DetectorError(f"{self.card.name}: {first_line(error)}") from None
        found, given = np.asarray(values), self._description
        if found.size != len(fed) * (2 if given.output.startswith("two") else 1):
            raise DetectorError(f"{self.card.name}: output of {found.shape}, not {given.output}")
        return to_logits(found.reshape(len(fed), -1), given.output, given.fake)

    def _measure(self, fed: Sequence[NDArray[np.float32]], rows: Sequence[Any]) -> None:
        """Report by how much scores of the first clips would change in a batch, once."""
        with self._lock:
            if self._measured or len(fed) < 2:
                return
            self._measured = True
        try:
            together = self._run(np.concatenate(fed))
        except DetectorError as error:
            self.remarks.append(f"clips are scored one at a time: a batch fails ({error})")
            return
        gap = float(np.abs(together - np.concatenate(rows)).max())
        if not gap <= 1e-4 * max(1.0, float(np.abs(together).max())):
            self.remarks.append(
                f"in a batch, logits of the first {len(fed)} clips differ by up to {gap:.2g}: the "
                "model's scores depend on the batch; clips are scored one at a time"
            )


def _open_session(model: Path) -> onnxruntime.InferenceSession:
    from earwitness.detectors.network import check_installed, open_session

    check_installed(f"onnx:{model}")
    try:
        return open_session(model.read_bytes())
    except Exception as error:  # noqa: BLE001 - the library's own errors share no base
        raise WeightsError(f"{model}: cannot be opened as ONNX ({first_line(error)})") from None


def _has_free_batch(session: onnxruntime.InferenceSession) -> bool:
    return not isinstance(session.get_inputs()[0].shape[0], int)


def _input_shape(
    session: onnxruntime.InferenceSession, description: OnnxDescription, model: Path
) -> tuple[int, ...]:
    """Return the shape of one clip's input; raise ``WeightsError`` if the model has another."""
    inputs, images = session.get_inputs(), description.images
    if len(inputs) != 1 or inputs[0].type != "tensor(float)":
        found = ", ".join(f"{each.name} {each.type}" for each in inputs)
        raise WeightsError(f"{model}: inputs {found}, expected a single tensor(float)")
    shape = inputs[0].shape
    fitting: list[tuple[int, ...]] = [(1, 3, images.height, images.width)] if images else []
    if n_samples := description.clip_samples:
        fitting = [(1, n_samples), (1, 1, n_samples)]
    for wanted in fitting:
        if len(wanted) == len(shape) and all(
            not isinstance(n, int) or n == w for n, w in zip(shape, wanted, strict=True)
        ):
            return wanted
    expected = " or ".join(str(wanted).replace("(1,", "(n,") for wanted in fitting)
    raise WeightsError(
        f"{model}: input {inputs[0].name} of shape {tuple(shape)}, expected {expected} "
        f"({description.input} of detector.yaml)"
    )


def _check_output(
    session: onnxruntime.InferenceSession, description: OnnxDescription, model: Path
) -> str:
    """Return the name of the output to read; raise ``WeightsError`` if it does not fit."""
    outputs = {output.name: output for output in session.get_outputs()}
    if description.output_name is None and len(outputs) > 1:
        raise WeightsError(f"{model}: outputs {', '.join(outputs)}; expected output_name of one")
    name = description.output_name or next(iter(outputs))
    if name not in outputs:
        raise WeightsError(f"{model}: no output {name!r}, expected one of {', '.join(outputs)}")
    last = outputs[name].shape[1:]
    n_values = 2 if description.output.startswith("two") else 1
    is_known = all(isinstance(n, int) for n in last)
    if is_known and int(np.prod(last, dtype=int)) != n_values:
        raise WeightsError(
            f"{model}: output {name} of shape {tuple(outputs[name].shape)}, expected {n_values} "
            f"values a clip ({description.output})"
        )
    return name


def _open(path: Path, options: OpenOptions) -> Detector:
    return OnnxDetector(path, options)


ONNX_FILE = DetectorKind(describe_onnx, _open)
