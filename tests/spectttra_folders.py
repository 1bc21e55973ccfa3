"""Folders of small SpecTTTra weights, laid out as on the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from earwitness.detectors.nets.spectttra import SpecTTTra
from earwitness.detectors.spectttra import SpectttraConfig

STRETCHES = {"alpha": (1, 3), "beta": (3, 5), "gamma": (5, 7)}
"""Bands and frames a token of each published network."""


def make_config(name: str, **changes: Any) -> dict[str, Any]:
    """Return a config like that of a published name; ``changes`` are values by dotted key."""
    size, duration = name.split("-")[-2:]
    seconds = int(duration.removesuffix("s"))
    f_clip, t_clip = STRETCHES[size]
    config: dict[str, Any] = {
        "audio": {
            "max_len": 16_000 * seconds,
            "max_time": seconds,
            "normalize": True,
            "sample_rate": 16_000,
            "skip_time": False,
        },
        "melspec": {
            "f_max": 8000,
            "f_min": 20,
            "hop_length": 512,
            "n_fft": 2048,
            "n_mels": 128,
            "norm": "mean_std",
            "power": 2,
            "top_db": 80,
            "win_length": 2048,
        },
        "model": {
            "name": "SpecTTTra",
            "embed_dim": 12,
            "num_heads": 2,
            "num_layers": 2,
            "mlp_ratio": 2.67,
            "f_clip": f_clip,
            "t_clip": t_clip,
            "pre_norm": True,
            "pe_learnable": True,
            "input_shape": [128, 128 if seconds == 5 else 3744],
        },
        "num_classes": 1,
        "training": {"epochs": 50},
    }
    for key, value in changes.items():
        part, _, last = key.rpartition("__")
        (config[part] if part else config)[last] = value
    return config


def make_state(config: dict[str, Any], seed: int = 0) -> dict[str, torch.Tensor]:
    """Return a random state that fits a config, with a head wide enough to tell clips apart."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        state = SpecTTTra(SpectttraConfig.model_validate(config)).state_dict()
    return {name: 3 * t if name.startswith("classifier") else t for name, t in state.items()}


def write_folder(
    folder: Path,
    name: str = "sonics-spectttra-gamma-5s",
    *,
    state_file: str = "pytorch_model.bin",
    seed: int = 0,
    **changes: Any,
) -> Path:
    """Write ``config.json`` and a random state; a suffix of .safetensors gives that format."""
    folder.mkdir(parents=True, exist_ok=True)
    config = make_config(name, **changes)
    (folder / "config.json").write_text(json.dumps(config))
    state = make_state(config, seed)
    if state_file.endswith(".safetensors"):
        save_file(state, folder / state_file)
    else:
        torch.save(state, folder / state_file)
    return folder
