"""One seed of every kind of file that is read, and its reader."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Format(NamedTuple):
    """A kind of file.

    Attributes:
        file: Its name, for readers that go by the suffix or read a folder.
        seed: A valid file.
        read: The reader under test.
    """

    file: str
    seed: bytes
    read: Callable[[Path], object]


def all_formats() -> list[Format]:
    """Return every format; packages are imported here, before memory is limited."""
    return [*_texts(), *_tables(), *_weights(), *_images(), *_audio()]


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _texts() -> list[Format]:
    from earwitness.core.audits import read_audit
    from earwitness.core.images import SpectrogramContract
    from earwitness.core.metrics import read_metrics
    from earwitness.detectors.opening import read_card
    from earwitness.detectors.spectttra_config import read_config as read_spectttra
    from earwitness.manifests.files import list_manifests
    from earwitness.passes.resume import read_run
    from earwitness.rendering.items import read_contract
    from earwitness.workflows.configfile import read_config
    from earwitness.workflows.stages import read_ledger
    from spectttra_folders import make_config

    run = {
        "options": {"windows": 1},
        "manifests": {"a": {"digest": "d", "roots": ["/r"]}},
        "detectors": [{"name": "x", "weights_sha256": None}],
    }
    bench = b"out: run\ndata:\n  manifests:\n    files: [a.csv]\ndetectors: [a, {name: b}]\n"
    stages = {"version": 1, "stages": {"s": {"p": {"inputs": {"a": "b"}, "files": {"c": "d"}}}}}
    splits = {"root": "/r", "root_from_here": "..", "manifests": {"a": {"file": "a.csv"}}}
    card = {
        "name": "a",
        "kind": "fakeprint",
        "contract": {"sample_rate_hz": 44_100},
        "band_hz": [20, 8_000],
        "licence": "x",
        "source": "y",
        "limits": "z",
    }
    config = make_config("sonics-spectttra-gamma-5s")
    audit = {"schema_version": 1, "manifests": [], "checks": [], "findings": [], "links": []}
    metrics = {"schema_version": 1, "basis": "scores", "metrics": {}, "detectors": []}
    return [
        Format("bench.yaml", bench, read_config),
        Format("run.json", _json(run), read_run),
        Format("stages.json", _json(stages), lambda path: read_ledger(path.parent)),
        Format("splits.json", _json(splits), lambda path: list_manifests(path.parent)),
        Format("card.json", _json(card), lambda path: read_card(path.parent)),
        Format("config.json", _json(config), lambda path: read_spectttra(path.parent)),
        Format("audit.json", _json(audit), read_audit),
        Format("metrics.json", _json(metrics), read_metrics),
        Format("spectrogram.json", _json(SpectrogramContract().model_dump()), read_contract),
    ]


def _table(path: Path) -> object:
    from earwitness.core.errors import ManifestError
    from earwitness.core.tables import read_table

    return read_table(path, error=ManifestError)


def _tables() -> list[Format]:
    import polars as pl

    from earwitness.datasets.splitfile import read_split_file
    from earwitness.manifests.files import read_manifest

    rows = "filepath,target,skip_time\n" + "".join(f"a/{n}.wav,{n % 2},0.5\n" for n in range(9))
    parquet = io.BytesIO()
    pl.DataFrame({"filepath": ["a", "b"], "target": [0, 1]}).write_parquet(parquet)
    splits = np.empty((), dtype=object)
    splits[()] = {name: np.array(["x.mp3", "y"]) for name in ("train", "validation", "test")}
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|O", "fortran_order": False, "shape": ()}
    )
    return [
        Format("m.csv", rows.encode(), read_manifest),
        Format("t.csv", rows.encode(), _table),
        Format("t.parquet", parquet.getvalue(), _table),
        Format("s.npy", header.getvalue() + pickle.dumps(splits), read_split_file),
    ]


def _weights() -> list[Format]:
    import torch
    from safetensors.torch import save

    from earwitness.detectors.statefile import read_state

    state = {"a": torch.arange(12.0).reshape(3, 4), "b": torch.ones(2, dtype=torch.int64)}

    def saved(*, new: bool) -> bytes:
        file = io.BytesIO()
        torch.save(state, file, _use_new_zipfile_serialization=new)
        return file.getvalue()

    return [
        Format("w.pth", saved(new=True), read_state),
        Format("old.pth", saved(new=False), read_state),
        Format("w.safetensors", save(state), read_state),
    ]


def _images() -> list[Format]:
    from PIL import Image, PngImagePlugin

    from earwitness.rendering.images import read_image

    pixels = np.random.default_rng(0).integers(0, 255, (24, 16, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    text = PngImagePlugin.PngInfo()
    text.add_text("earwitness:spectrogram", "{}", zip=True)
    formats = []
    for kind, options in (("PNG", {"pnginfo": text}), ("JPEG", {}), ("TIFF", {})):
        file = io.BytesIO()
        image.save(file, kind, **options)
        formats.append(Format(f"i.{kind.lower()}", file.getvalue(), read_image))
    return formats


def _audio() -> list[Format]:
    import soundfile

    from earwitness.audio.decode import read_audio

    sound = np.sin(np.arange(4_000) / 20).astype(np.float32)
    formats = []
    for kind in ("WAV", "FLAC", "AIFF", "MP3"):
        file = io.BytesIO()
        soundfile.write(file, sound, 16_000, format=kind)
        formats.append(Format(f"a.{kind.lower()}", file.getvalue(), read_audio))
    return formats
