"""Images of audio, drawn to be trained on.

Conventions: each clip of a file is an example of its own; all clips of a file are of its group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from earwitness.audio.clips import Clip, describe_lack, pad_clip
from earwitness.audio.spectrogram import colour_table, draw_levels
from earwitness.core.cards import Windows, clips_for
from earwitness.core.errors import DatasetError
from earwitness.core.spectrogram import SpectrogramContract
from earwitness.scoring.clips import ClipRequest, Job
from earwitness.scoring.workers import Task, decode_files
from earwitness.training.examples import Example
from earwitness.training.pixels import ImageDataset, PixelFile


def shelve_audio(
    examples: Sequence[Example],
    contract: SpectrogramContract,
    *,
    windows: Windows = "published",
    folder: Path | None = None,
    n_workers: int | None = None,
    advance: Callable[[bool], None] | None = None,
) -> ImageDataset:
    """Draw audio files; clips that hold nothing to analyse are left out.

    Args:
        examples: Audio files.
        contract: How to draw.
        windows: Clips per file.
        folder: Where the pixels are kept meanwhile, see ``PixelFile``.
        n_workers: Decoding processes; see ``decode_files``.
        advance: Told of every file, and whether it could be read.

    Raises:
        DatasetError: None of them can be used, or there is no room on the disk.
    """
    request = ClipRequest(clips_for(contract), windows)
    by_path = {str(example.path): example for example in examples}
    failures: list[tuple[Example, str]] = []
    drawn: dict[str, list[tuple[int, int]]] = {}
    silent: dict[str, str] = {}
    tasks = [Task(Job(path), (request,)) for path in by_path]
    size = (contract.height, contract.width)
    with PixelFile(folder, size if contract.mode == "L" else (*size, 3)) as file:
        for decoded in decode_files(tasks, n_workers=n_workers):
            example, cut = by_path[decoded.job.path], decoded.cuts[request]
            if isinstance(cut, str):
                failures.append((example, cut))
            for clip in () if isinstance(cut, str) else cut.clips:
                if lack := describe_lack(clip.samples, request.contract, band_hz=contract.band_hz):
                    silent.setdefault(decoded.job.path, lack)
                else:
                    place = _start(clip), file.add(_draw(clip, contract))
                    drawn.setdefault(decoded.job.path, []).append(place)
            if advance and decoded.part == 0:
                advance(not isinstance(cut, str))
        failures += [(by_path[p], lack) for p, lack in silent.items() if p not in drawn]
        if not drawn:
            raise DatasetError(f"no file can be used ({failures[0][0].path}: {failures[0][1]}, …)")
        pixels = file.pixels()
    rows = [
        (replace(by_path[path], name=f"{by_path[path].name}#{start}"), place)
        for path in by_path
        for start, place in sorted(drawn.get(path, ()))
    ]
    return ImageDataset(
        tuple(example for example, _ in rows),
        pixels,
        tuple(place for _, place in rows),
        tuple(() for _ in rows),
        contract,
        tuple(sorted(failures, key=lambda failure: failure[0].name)),
    )


def _start(clip: Clip) -> int:
    return clip.window.start if clip.window else 0


def _draw(clip: Clip, contract: SpectrogramContract) -> NDArray[np.uint8]:
    samples = np.ascontiguousarray(pad_clip(clip.samples, contract.clip_samples))
    levels: NDArray[np.uint8] = draw_levels(torch.from_numpy(samples), contract).numpy()[0]
    return levels if contract.mode == "L" else colour_table(contract.colours)[levels]
