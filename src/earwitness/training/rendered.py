"""Images of audio, drawn in memory to be trained on.

Conventions: each clip of a file is an example of its own; all clips of a file are of its group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from earwitness.audio.clips import Windows, pad_clip
from earwitness.audio.pictures import colour_table, draw_levels
from earwitness.core.cards import clips_for
from earwitness.core.errors import DatasetError
from earwitness.core.images import SpectrogramContract
from earwitness.passes.cutting import ClipRequest, Job
from earwitness.passes.workers import Task, decode_files
from earwitness.training.examples import Example
from earwitness.training.pixels import PixelShelf


def shelve_audio(
    examples: Sequence[Example],
    contract: SpectrogramContract,
    *,
    windows: Windows = "published",
    n_workers: int | None = None,
    advance: Callable[[bool], None] | None = None,
) -> PixelShelf:
    """Draw audio files into memory.

    Args:
        examples: Audio files.
        contract: How to draw.
        windows: Clips per file.
        n_workers: Decoding processes; see ``decode_files``.
        advance: Told of every file, and whether it could be read.

    Raises:
        DatasetError: None of them can be read.
    """
    request = ClipRequest(clips_for(contract), windows)
    by_path = {str(example.path): example for example in examples}
    drawn: dict[str, list[tuple[Example, NDArray[np.uint8]]]] = {}
    failures: list[tuple[Example, str]] = []
    tasks = [Task(Job(path), (request,)) for path in by_path]
    for decoded in decode_files(tasks, n_workers=n_workers):
        example, cut = by_path[decoded.job.path], decoded.cuts[request]
        if isinstance(cut, str):
            failures.append((example, cut))
        else:
            parts = drawn.setdefault(decoded.job.path, [])
            for clip in cut.clips:
                start = clip.window.start if clip.window else 0
                samples = np.ascontiguousarray(pad_clip(clip.samples, contract.clip_samples))
                (levels,) = draw_levels(torch.from_numpy(samples), contract).numpy()
                parts.append((replace(example, name=f"{example.name}#{start}"), levels))
        if advance and decoded.part == 0:
            advance(not isinstance(cut, str))
    if not drawn:
        raise DatasetError(f"no file can be read ({failures[0][0].path}: {failures[0][1]}, …)")
    rows = [one for path in by_path for one in sorted(drawn.get(path, ()), key=_place)]
    levels = np.stack([image for _, image in rows])
    pixels = levels if contract.mode == "L" else colour_table(contract.colours)[levels]
    return PixelShelf(
        tuple(example for example, _ in rows),
        pixels,
        tuple(() for _ in rows),
        contract,
        tuple(sorted(failures, key=lambda failure: failure[0].name)),
    )


def _place(row: tuple[Example, object]) -> int:
    return int(row[0].name.rpartition("#")[2])
