"""Render audio to folders of spectrogram images for training an image classifier.

Conventions: existing images of the same clip and contract are kept, so that an interrupted run
resumes. A folder of images::

    spectrogram.json                     rendering parameters of all images
    original/combined/<item>.png         with several clips per file: <item>__<clip>.png
    deepfake/combined/<item>__<generator>.png
    manifest.csv                         a row per image: the item's columns, source, start_s
    test.csv                             img_path,actual_output
    errors.csv                           files that could not be rendered, if any
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import torch

from earwitness.audio.clips import Clip, pad_clip, place_windows, resampled_length
from earwitness.audio.spectrogram import draw_levels
from earwitness.core.cards import Windows, clips_for
from earwitness.core.errors import RunError, StoppedError
from earwitness.core.io import atomic_write, distinct_stems, file_stem, write_json
from earwitness.core.manifest import Manifest, distinct_rows
from earwitness.core.remote import absolute_name, is_url, shown_name, to_path
from earwitness.core.spectrogram import PUBLISHED_NAMES, SPECTROGRAM_JSON, SpectrogramContract
from earwitness.images.png import Shown, read_contract, read_shown, write_spectrogram
from earwitness.scoring.clips import ClipRequest, DecodedFile, Job
from earwitness.scoring.file_shards import joined_shards, shard_pass
from earwitness.scoring.shards import Shard
from earwitness.scoring.workers import Task, decode_files, usable_processors
from earwitness.splits.manifests import arrange

CLASS_FOLDERS = ("original/combined", "deepfake/combined")
MANIFEST_CSV, TEST_CSV, ERRORS_CSV = "manifest.csv", "test.csv", "errors.csv"

Drawn = tuple[str, Shown]
"""Path of an image, relative to the folder, and its source."""


@dataclass(frozen=True)
class Item:
    """An audio file, the path that its images start with, and its columns in the manifest."""

    path: str
    filepath: str
    stem: str
    row: dict[str, object]


def list_items(manifests: Sequence[Manifest]) -> list[Item]:
    """Return the distinct files of manifests; ``ManifestError`` if a file has both labels."""
    rows = distinct_rows(manifests)
    stems: dict[Path, str] = {}
    for target, folder in enumerate(CLASS_FOLDERS):
        paths = [path for path, row in rows.items() if row["target"] == target]
        names = distinct_stems(_stem_of(rows[path]) for path in paths)
        stems |= {path: f"{folder}/{name}" for path, name in zip(paths, names, strict=True)}
    return [
        Item(os.fspath(path), shown_name(str(row["filepath"])), stems[path], row)
        for path, row in rows.items()
    ]


def _stem_of(row: dict[str, object]) -> str:
    path = str(row["filepath"])
    name = to_path(path).name if is_url(path) else path.replace("\\", "/").rpartition("/")[2]
    stem = file_stem(name.rpartition(".")[0] or name)
    made = row.get("generator") if row["target"] == 1 else None
    return f"{stem}__{file_stem(str(made))}" if made else stem


def _image_name(item: Item, window: int, windows: Windows) -> str:
    several = windows not in ("published", 1)
    return f"{item.stem}__{window:03d}.png" if several else f"{item.stem}.png"


def _find_images(
    item: Item, out: Path, contract: SpectrogramContract, windows: Windows
) -> list[Drawn]:
    """Return an item's images if all of them exist and are up to date, else none."""
    found: list[Drawn] = []
    while not found or len(found) < found[0][1].n_windows:
        name = _image_name(item, len(found), windows)
        path = out / name
        shown = read_shown(path) if path.is_file() else None
        if shown is None or shown[1] != contract or shown[0].file != item.filepath:
            return []
        if isinstance(windows, int) and shown[0].n_windows > windows:
            return []
        found.append((name, shown[0]))
    return found


@dataclass
class Rendering:
    """Images by path of an item, why others failed, and items whose images existed."""

    images: dict[str, list[Drawn]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    n_kept: int = 0
    _parts: dict[str, list[Drawn]] = field(default_factory=dict)

    def take(self, path: str, images: list[Drawn] | str) -> bool:
        """Add images of a part of an item, or its error; return whether the item is finished."""
        if path in self.failures:
            return False
        if isinstance(images, str):
            self.failures[path] = images
            return True
        parts = self._parts.setdefault(path, [])
        parts += images
        if len(parts) < parts[0][1].n_windows:
            return False
        self.images[path] = sorted(self._parts.pop(path), key=lambda drawn: drawn[1].window)
        return True

    @property
    def n_images(self) -> int:
        """Number of images."""
        return sum(map(len, self.images.values()))


def render(
    manifests: Sequence[Manifest],
    out: Path,
    *,
    contract: SpectrogramContract,
    windows: Windows = "published",
    overwrite: bool = False,
    n_workers: int | None = None,
    advance: Callable[[bool], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
    shard: Shard | None = None,
    command: Sequence[str] = (),
) -> Rendering:
    """Render the distinct files of manifests into a folder of images.

    If ``should_stop``, called before every file, is true, only started files are finished. With a
    ``shard`` only its files are rendered, and no tables are written; for ``command`` see
    ``ShardState``. The call without a shard finds the images of all shards.

    Raises:
        ManifestError: A file has both labels.
        RunError: The folder contains images with other rendering parameters, or a shard is missing
            or unfinished.
        StoppedError: ``should_stop`` returned true; the same call resumes.
    """
    items = list_items(manifests)
    settings = {"windows": windows, "contract": contract.model_dump(mode="json")}
    with ExitStack() as stack:
        if shard is None:
            stack.enter_context(joined_shards(out, manifests, settings))
        _write_contract(out / SPECTROGRAM_JSON, contract, overwrite=overwrite)
        if shard is not None:
            part = stack.enter_context(shard_pass(out, shard, manifests, settings, command))
            items = [item for item in items if absolute_name(item.path) in part.files]
            advance = part.counting(advance)
        done = Rendering()
        for item in [] if overwrite else items:
            if found := _find_images(item, out, contract, windows):
                done.images[item.path] = found
                advance(True)
        done.n_kept = len(done.images)
        request = ClipRequest(clips_for(contract), windows)
        to_do = {item.path: item for item in items if item.path not in done.images}
        tasks = [Task(Job(path), (request,)) for path in to_do]
        decoded = decode_files(tasks, n_workers=n_workers, should_stop=should_stop)
        _draw_all(to_do, decoded, request, out=out, contract=contract, done=done, advance=advance)
        if len(done.images) + len(done.failures) < len(items):
            raise StoppedError("stopped; finished images are kept, the same command resumes")
        if shard is None:
            _write_tables(items, done, out)
    return done


def _write_contract(path: Path, contract: SpectrogramContract, *, overwrite: bool) -> None:
    """Write the contract; raise ``RunError`` if the folder has another one."""
    if path.is_file() and not overwrite:
        differences = "; ".join(contract.list_differences(read_contract(path)))
        if differences:
            raise RunError(
                f"{path.parent}: contains images with other rendering parameters (requested: "
                f"{differences}); expected another folder, or --resume always to render all again"
            )
    write_json(path, contract.model_dump(mode="json"))


def _draw_all(
    items: Mapping[str, Item],
    files: Iterable[DecodedFile],
    request: ClipRequest,
    *,
    out: Path,
    contract: SpectrogramContract,
    done: Rendering,
    advance: Callable[[bool], None],
) -> None:
    """Render decoded files in threads, while others are decoded, and collect the images."""

    def take(item: Item, images: list[Drawn] | str) -> None:
        if done.take(item.path, images):
            advance(item.path in done.images)

    n_threads = usable_processors()
    with ThreadPoolExecutor(n_threads, "renderer", torch.set_num_threads, (1,)) as pool:
        pending: deque[tuple[Item, Future[list[Drawn]]]] = deque()
        for decoded in files:
            item, cut = items[decoded.job.path], decoded.cuts[request]
            if isinstance(cut, str):
                take(item, cut)
                continue
            clips = list(_numbered(decoded, cut.clips, request))
            draw = partial(_draw, n_windows=cut.n_clips, contract=contract, windows=request.windows)
            pending.append((item, pool.submit(draw, item, clips, out)))
            while len(pending) > n_threads + 2:
                first, future = pending.popleft()
                take(first, future.result())
        for item, future in pending:
            take(item, future.result())


def _numbered(
    decoded: DecodedFile, clips: Sequence[Clip], request: ClipRequest
) -> Iterator[tuple[int, Clip]]:
    """Yield clips of a part of a file with their number in the file."""
    info = decoded.info
    if info is None:
        return
    rate_hz = request.contract.rate_for(info.sample_rate_hz)
    n_samples = resampled_length(info.n_samples, info.sample_rate_hz, rate_hz)
    placed = place_windows(n_samples, request.contract, request.windows)
    for clip in clips:
        if clip.window is not None:
            yield placed.index(clip.window), clip


def _draw(
    item: Item,
    clips: Sequence[tuple[int, Clip]],
    out: Path,
    *,
    n_windows: int,
    contract: SpectrogramContract,
    windows: Windows,
) -> list[Drawn]:
    """Render and write clips of one file."""
    images = []
    for window, clip in clips:
        samples = np.ascontiguousarray(pad_clip(clip.samples, contract.clip_samples))
        (levels,) = draw_levels(torch.from_numpy(samples), contract).numpy()
        start_s = clip.window.start / clip.sample_rate_hz if clip.window else 0.0
        shown = Shown(item.filepath, window, n_windows, start_s)
        name = _image_name(item, window, windows)
        write_spectrogram(out / name, levels, contract, shown)
        images.append((name, shown))
    return images


def _write_tables(items: Sequence[Item], done: Rendering, out: Path) -> None:
    rows = [
        item.row | {"filepath": name, "source": shown.file, "start_s": shown.start_s}
        for item in items
        for name, shown in done.images.get(item.path, ())
    ]
    failed = [(i.filepath, done.failures[i.path]) for i in items if i.path in done.failures]
    if failed:
        errors = pl.DataFrame(failed, ["filepath", "error"], orient="row")
        _write_csv(errors, out / ERRORS_CSV)
    else:
        (out / ERRORS_CSV).unlink(missing_ok=True)
    if not rows:
        return
    frame = arrange(pl.DataFrame(rows, infer_schema_length=None))
    last = ("source", "start_s")
    _write_csv(frame.select(pl.exclude(last), *last), out / MANIFEST_CSV)
    labels = pl.Series("actual_output", [PUBLISHED_NAMES[t] for t in frame["target"].to_list()])
    _write_csv(frame.select(pl.col("filepath").alias("img_path"), labels), out / TEST_CSV)


def _write_csv(frame: pl.DataFrame, path: Path) -> None:
    with atomic_write(path) as temporary:
        frame.write_csv(temporary)
