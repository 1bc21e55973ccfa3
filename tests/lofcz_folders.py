"""Small made-up weights of the lofcz detectors, in the layouts of their authors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from earwitness.detectors.lofcz_features import N_BINS
from earwitness.detectors.lofcz_weights import CNN_FILE

CONFIG: dict[str, Any] = {
    "model_type": "logistic_regression",
    "preprocessing": {
        "sample_rate": 16_000,
        "n_fft": 8_192,
        "freq_min": 1_000,
        "freq_max": 8_000,
        "hull_area": 10,
        "max_db": 5,
        "min_db": -45,
    },
    "input_features": N_BINS,
    "threshold": 0.5,
}


def lr_arrays(bias: float = 0.5, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    weights = 0.05 * np.random.default_rng(seed).standard_normal((1, N_BINS))
    return {"weights": weights.astype(np.float32), "bias": np.array([bias], dtype=np.float32)}


def write_lr(folder: Path, bias: float = 0.5) -> Path:
    """Write a folder with the layout of the hub."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(lr_arrays(bias), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


def write_cnn(
    folder: Path, *, gain: float = 1.0, bias: float = 0.3, inputs: tuple[str, str] | None = None
) -> Path:
    """Write an ONNX file: the logit is a weighted sum of the coefficients' means over time."""
    name, output = inputs or ("cepstrum", "logit")
    folder.mkdir(parents=True, exist_ok=True)
    weights = gain * np.random.default_rng(0).standard_normal((24, 1)).astype(np.float32) / 24
    initializers = [
        numpy_helper.from_array(weights.astype(np.float32), "weights"),
        numpy_helper.from_array(np.array([bias], dtype=np.float32), "bias"),
    ]
    nodes = [
        helper.make_node("ReduceMean", [name], ["means"], axes=[1, 3], keepdims=0),
        helper.make_node("Gemm", ["means", "weights", "bias"], [output]),
    ]
    shapes = ["batch", 1, 24, "time"], ["batch", 1]
    graph = helper.make_graph(
        nodes,
        "cnn",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[0])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, shapes[1])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=7)
    onnx.save(model, folder / CNN_FILE)
    return folder
