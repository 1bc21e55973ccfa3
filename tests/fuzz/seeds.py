"""A valid file of every format, as the package and usual libraries write them."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import polars as pl
import soundfile
import torch
from PIL import Image, PngImagePlugin
from safetensors.torch import save_file

import bundles
from bench.test_steps import Watching
from benches import write_bench
from builders import write_split_file
from earwitness.audio.encode import write_coded
from earwitness.bench.config import read_config
from earwitness.bench.run import run_benchmark
from earwitness.core.spectrogram import PNG_CONTRACT, PNG_SOURCE, SpectrogramContract
from earwitness.evaluation.evaluate import evaluate
from earwitness.evaluation.schema import write_metrics
from earwitness.training.run import begin
from frames import predictions
from resnets import write_resnet
from spectttra_folders import write_folder


def write_seeds(folder: Path) -> None:
    """Fill a folder with the seeds of ``all_formats``."""
    _write_runs(folder)
    _write_tables(folder)
    _write_weights(folder)
    _write_images(folder)
    _write_audio(folder)


def _write_runs(folder: Path) -> None:
    """Run a small benchmark with its audit, evaluate, and begin a training."""
    bench = write_bench(folder / "bench", n_files=24)
    changes = ["audit.enabled=true", "evaluate.by=[group_id]", "scoring.windows=all"]
    config = read_config(bench, changes=changes)
    run_benchmark(config, watcher=Watching())
    both = [predictions(n_tracks=40), predictions(n_tracks=40, detector="vit", seed=1, shift=0.4)]
    found = evaluate(both, threshold="eer", calibrate="platt", n_resamples=100)
    (folder / "results").mkdir()
    write_metrics(found, folder / "results" / "metrics.json")
    (folder / "training").mkdir()
    begin(folder / "training", [], [], {"epochs": 3}, resume="missing")
    (folder / "spectrogram.json").write_text(SpectrogramContract().model_dump_json())


def _write_tables(folder: Path) -> None:
    table = pl.DataFrame({"filepath": ["a/1.wav", "b", None], "target": [0, 1, 1]})
    table.write_csv(folder / "t.csv")
    table.write_parquet(folder / "t.parquet")
    write_split_file(folder / "s.npy", train=["x.mp3", "y"], validation=["z"], test=["t"])


def _write_weights(folder: Path) -> None:
    state = {"a": torch.arange(12.0).reshape(3, 4), "b": torch.ones(2, dtype=torch.int64)}
    torch.save(state, folder / "w.pth")
    torch.save(state, folder / "old.pth", _use_new_zipfile_serialization=False)
    save_file(state, folder / "w.safetensors")
    tensors = {"a": np.ones((3, 4), np.float32), "b": np.arange(5)}
    bundles.write(folder / "bundle" / "x", tensors)
    write_resnet(folder / "resnet")
    name = "sonics-spectttra-gamma-5s"
    write_folder(folder / name, name, state_file="model.safetensors")


def _write_images(folder: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (24, 16, 3), dtype=np.uint8)
    text = PngImagePlugin.PngInfo()
    text.add_text(PNG_CONTRACT, SpectrogramContract().model_dump_json(), zip=True)
    text.add_itxt(PNG_SOURCE, '{"file": "a", "window": 0, "n_windows": 1, "start_s": 0.0}')
    for kind in ("png", "jpeg", "tiff", "bmp", "webp"):
        more = {"pnginfo": text} if kind == "png" else {}
        Image.fromarray(pixels).save(folder / f"i.{kind}", kind, **more)


def _write_audio(folder: Path) -> None:
    sound = np.sin(np.arange(16_000) / 20).astype(np.float32)
    for kind in ("wav", "w64", "rf64", "aiff", "au", "caf", "flac", "mp3", "ogg"):
        content = io.BytesIO()
        soundfile.write(content, sound, 16_000, format=kind)
        (folder / f"a.{kind}").write_bytes(content.getvalue())
    av.logging.set_level(None)
    for suffix, codec in (("opus", "libopus"), ("m4a", "aac")):
        write_coded(folder / f"a.{suffix}", sound[None], 16_000, codec=codec, kbps=64)
