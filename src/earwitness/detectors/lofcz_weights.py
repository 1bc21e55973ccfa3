"""Weights of the lofcz detectors: a logistic regression, and a CNN as ONNX.

Conventions: weights are read strictly, and pickles never. ``classifier.pkl`` of the authors is not
a file that is looked for.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from earwitness.core.errors import DetectorError, WeightsError, first_line
from earwitness.detectors.base import CONFIG_JSON, Release
from earwitness.detectors.lofcz_features import (
    N_BINS,
    N_CEPSTRA,
    N_FFT,
    N_FRAMES,
    SAMPLE_RATE_HZ,
)
from earwitness.detectors.weights import check_header

LR_FILES = ("model.safetensors", "weights.npz")
"""Names of the logistic regression's weights in a folder; the first one found is used."""
CNN_FILE = "cnn_detector.onnx"
CNN_RELEASE = Release(
    "lofcz/ai-music-detector/6ba389e94a179ac90f3eb134b741ef37baa30434/"
    f"src/cs/AiMusicDetector/Models/{CNN_FILE}",
    "68c5d4d8907453b045e7dd96321c23d22b08294219e83dcad78b1e741773da81",
    1_243_714,
)
_PUBLISHED_LR = "8307371d33f736807c88f81cd158c5f8ba76059bc8ed96a49ed980eba2e62ee5"
"""SHA-256 of the published weights and bias, in whichever file."""
_LR_SETTINGS = {
    "sample_rate": SAMPLE_RATE_HZ,
    "n_fft": N_FFT,
    "freq_min": 1000,
    "freq_max": 8000,
    "hull_area": 10,
    "max_db": 5,
    "min_db": -45,
}
_MAX_BYTES = 64 << 20
_DAMAGE = (
    OSError,
    ValueError,
    EOFError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
    SafetensorError,
)
"""What readers of damaged archives and tensors raise."""


class LinearModel(NamedTuple):
    """A logistic regression.

    Attributes:
        weights: ``(3585,)`` float32; the first one is that of 1000 Hz.
        bias: ``(1,)`` float32.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    @property
    def is_published(self) -> bool:
        """Whether these are the published values."""
        content = self.weights.tobytes() + self.bias.tobytes()
        return hashlib.sha256(content).hexdigest() == _PUBLISHED_LR

    def logit(self, vector: NDArray[np.float32]) -> float:
        """Return the logit of a fakeprint, in double precision."""
        product = self.weights.astype(np.float64) @ vector.astype(np.float64)
        return float(product) + float(self.bias[0])


def find_lr(path: Path) -> Path:
    """Return the file of the logistic regression's weights at a path.

    Raises:
        WeightsError: There is none.
    """
    if path.is_file() and path.suffix in {".safetensors", ".npz"}:
        return path
    found = next((path / name for name in LR_FILES if (path / name).is_file()), None)
    if found is None:
        raise WeightsError(f"{path}: expected {' or '.join(LR_FILES)}; pickles are not loaded")
    return found


def load_lr(path: Path) -> LinearModel:
    """Read the weights of the logistic regression.

    Raises:
        WeightsError: They are damaged, or their shapes or settings are those of another model.
    """
    _check_settings(path.parent / CONFIG_JSON)
    read = _read_npz if path.suffix == ".npz" else _read_safetensors
    try:
        arrays = read(path)
        weights, bias = arrays["weights"], arrays["bias"]
    except KeyError as error:
        raise WeightsError(f"{path}: holds no {error}, expected 'weights' and 'bias'") from error
    except _DAMAGE as error:
        raise WeightsError(f"{path}: cannot be read as weights ({error})") from error
    expected = (1, N_BINS)
    if weights.shape != expected or bias.shape != (1,):
        raise WeightsError(
            f"{path}: weights {weights.shape}, bias {bias.shape}; expected {expected} and (1,)"
        )
    if weights.dtype.kind != "f" or bias.dtype.kind != "f":
        raise WeightsError(f"{path}: {weights.dtype} and {bias.dtype}, expected float32")
    classes = np.asarray(arrays.get("classes", [0, 1])).tolist()
    if classes != [0, 1]:
        raise WeightsError(f"{path}: classes {classes}, expected [0, 1] (1 is fake)")
    if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
        raise WeightsError(f"{path}: holds NaN or infinite values")
    return LinearModel(weights[0].astype(np.float32), bias.astype(np.float32))


def _read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    check_header(path)
    return dict(load_file(path))


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    with zipfile.ZipFile(path) as archive:
        n_bytes = sum(member.file_size for member in archive.infolist())
    if n_bytes > _MAX_BYTES:
        raise ValueError(f"{n_bytes} bytes unpacked, expected at most {_MAX_BYTES}")
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def is_logistic_regression(config: Path) -> bool:
    """Return whether a ``config.json`` is that of the logistic regression on the hub."""
    return _read_config(config).get("model_type") == "logistic_regression"


def _read_config(path: Path) -> dict[str, Any]:
    """Return the content of a ``config.json``; empty if there is none that can be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _check_settings(config: Path) -> None:
    """Refuse weights for other features, such as those of the authors' C# library."""
    given = _read_config(config).get("preprocessing")
    found = given if isinstance(given, dict) else {}
    for name, expected in _LR_SETTINGS.items():
        if found.get(name, expected) != expected:
            raise WeightsError(f"{config}: {name} {found[name]!r}, expected {expected}")


def find_cnn(path: Path) -> Path:
    """Return the ONNX file at a path.

    Raises:
        WeightsError: There is none.
    """
    file = path / CNN_FILE if path.is_dir() else path
    if not file.is_file() or file.suffix != ".onnx":
        raise WeightsError(f"{file}: expected {CNN_FILE} or a folder that contains it")
    return file


Network = Callable[[NDArray[np.float32]], NDArray[np.float64]]
"""Maps cepstra ``(n, 24, 313)`` to logits ``(n,)``."""


def open_network(path: Path) -> Network:
    """Open the CNN and run it once; torch is not imported.

    Raises:
        DetectorError: ONNX Runtime is not installed.
        WeightsError: It is damaged or another network.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise DetectorError(
            "lofcz-cnn: onnxruntime not installed, expected pip install 'earwitness[onnx]'"
        ) from error
    if (n_bytes := path.stat().st_size) > _MAX_BYTES:
        raise WeightsError(f"{path}: {n_bytes} bytes, expected at most {_MAX_BYTES}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # several threads call it
    options.log_severity_level = 4  # an error is raised as well

    def run(cepstra: NDArray[np.float32]) -> NDArray[np.float64]:
        (logits,) = session.run(["logit"], {"cepstrum": cepstra[:, np.newaxis]})
        return np.asarray(logits, dtype=np.float64).reshape(len(cepstra))

    try:
        # a model from memory cannot name other files as its data
        session = onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
        logits = run(np.zeros((2, N_CEPSTRA, N_FRAMES), dtype=np.float32))
    except Exception as error:  # ONNX Runtime's errors have no common type
        reason = first_line(error)
        raise WeightsError(f"{path}: not the CNN of lofcz ({reason})") from error
    if not np.isfinite(logits).all():
        raise WeightsError(f"{path}: gives logits {logits.tolist()}, expected finite ones")
    return run
