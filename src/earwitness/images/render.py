"""Rendering audio to folders of spectrogram images, as an image classifier is trained on.

Conventions: an image is named after its item, with the generator of a fake and, where several are
drawn, the number of the clip; the same manifests give the same names. An existing image that shows
the same clip under the same contract is kept, so that an interrupted run resumes.

A folder of images::

    spectrogram.json                     how all of them are drawn
    original/combined/<item>.png
    deepfake/combined/<item>__<generator>.png
    manifest.csv                         one row an image: the item's columns, source, start_s
    test.csv                             img_path,actual_output
    errors.csv                           files that could not be drawn, where there are any
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import torch

from earwitness.audio.clips import Clip, pad_clip, place_windows, resampled_length
from earwitness.audio.spectrogram import draw_levels
from earwitness.core.cards import Windows, clips_for
from earwitness.core.errors import ManifestError, RunError, StoppedError
from earwitness.core.io import atomic_write, distinct_stems, file_stem, write_json
from earwitness.core.manifest import Manifest
from earwitness.core.spectrogram import PUBLISHED_NAMES, SPECTROGRAM_JSON, SpectrogramContract
from earwitness.images.png import Shown, read_contract, read_shown, write_spectrogram
from earwitness.scoring.clips import ClipRequest, DecodedFile, Job
from earwitness.scoring.workers import Task, decode_files, usable_processors
from earwitness.splits.manifests import arrange

CLASS_FOLDERS = ("original/combined", "deepfake/combined")
"""Folder of each class, by its number."""
MANIFEST_CSV, TEST_CSV, ERRORS_CSV = "manifest.csv", "test.csv", "errors.csv"

_ADDED = ("source", "start_s")
_AHEAD = 2

Drawn = tuple[str, Shown]
"""An image, relative to the folder, and what it shows."""


@dataclass(frozen=True)
class Item:
    """One audio file and where its images go.

    Attributes:
        path: The file.
        filepath: The file, as its manifest names it.
        stem: What its images are called, from the folder on.
        row: Its columns in the manifest.
    """

    path: str
    filepath: str
    stem: str
    row: dict[str, object]


def list_items(manifests: Sequence[Manifest]) -> list[Item]:
    """Return the distinct files of manifests in order, each with the name of its images.

    Raises:
        ManifestError: A file carries both labels.
    """
    rows: dict[str, dict[str, object]] = {}
    for manifest in manifests:
        located = manifest.locate_all()
        for path, row in zip(located, manifest.frame.iter_rows(named=True), strict=True):
            if rows.setdefault(str(path), row)["target"] != row["target"]:
                raise ManifestError(f"{path}: real in one manifest and fake in another")
    stems: dict[str, str] = {}
    for target, folder in enumerate(CLASS_FOLDERS):
        paths = [path for path, row in rows.items() if row["target"] == target]
        names = distinct_stems(_stem_of(rows[path]) for path in paths)
        stems |= {path: f"{folder}/{name}" for path, name in zip(paths, names, strict=True)}
    return [Item(path, str(row["filepath"]), stems[path], row) for path, row in rows.items()]


def _stem_of(row: dict[str, object]) -> str:
    name = str(row["filepath"]).replace("\\", "/").rpartition("/")[2]
    stem = file_stem(name.rpartition(".")[0] or name)
    made = row.get("generator") if row["target"] == 1 else None
    return f"{stem}__{file_stem(str(made))}" if made else stem


def image_name(item: Item, window: int, windows: Windows) -> str:
    """Return what the image of a clip is called; only one of several is numbered."""
    several = windows not in ("published", 1)
    return f"{item.stem}__{window:03d}.png" if several else f"{item.stem}.png"


def find_images(
    item: Item, out: Path, contract: SpectrogramContract, windows: Windows
) -> list[Drawn]:
    """Return an item's images where all of them are there and as they should be."""
    found: list[Drawn] = []
    while not found or len(found) < found[0][1].n_windows:
        name = image_name(item, len(found), windows)
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
    """What was drawn.

    Attributes:
        images: For each item drawn, its images (relative to the folder) and what they show.
        failures: Items that could not be drawn, with the reason.
        n_kept: Items whose images were there already.
    """

    images: dict[str, list[Drawn]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    n_kept: int = 0
    _parts: dict[str, list[Drawn]] = field(default_factory=dict)

    def take(self, path: str, images: list[Drawn] | str) -> bool:
        """Take images of a part of an item, or why there are none; say if that settles it."""
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
        """Images in all."""
        return sum(map(len, self.images.values()))


def render(
    manifests: Sequence[Manifest],
    out: Path,
    *,
    contract: SpectrogramContract,
    windows: Windows = "published",
    anew: bool = False,
    n_workers: int | None = None,
    advance: Callable[[bool], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Rendering:
    """Draw the items of manifests into a folder of images.

    Args:
        manifests: Items; a file that stands in several is drawn once.
        out: The folder.
        contract: How to draw.
        windows: Clips per file: ``published`` is the one in its centre.
        anew: Draw what is there already, too.
        n_workers: Decoding processes; see ``decode_files``.
        advance: Told of every file that is done, and whether it could be drawn.
        should_stop: Asked before every file; once it says so, only what is in hand is finished.

    Raises:
        ManifestError: A file carries both labels.
        RunError: The folder holds images that are drawn otherwise.
        StoppedError: It was stopped; the same call goes on.
    """
    items = list_items(manifests)
    _settle_contract(out / SPECTROGRAM_JSON, contract, anew=anew)
    done = Rendering()
    for item in [] if anew else items:
        if found := find_images(item, out, contract, windows):
            done.images[item.path] = found
    done.n_kept = len(done.images)
    missing = [item for item in items if item.path not in done.images]
    for _ in range(done.n_kept if advance else 0):
        advance(True)  # type: ignore[misc]
    request = ClipRequest(clips_for(contract), windows)
    _draw_all(
        missing,
        out,
        contract,
        request,
        done,
        n_workers=n_workers,
        advance=advance,
        should_stop=should_stop,
    )
    if len(done.images) + len(done.failures) < len(items):
        raise StoppedError("stopped; the images that are there are whole, the same command resumes")
    _write_tables(items, done, out)
    return done


def _settle_contract(path: Path, contract: SpectrogramContract, *, anew: bool) -> None:
    """Write the contract; refuse a folder that has another one."""
    if path.is_file() and not anew:
        differences = "; ".join(contract.list_differences(read_contract(path)))
        if differences:
            raise RunError(
                f"{path.parent}: holds images drawn otherwise (asked for: {differences}); expected "
                "another folder, or --resume always to draw all anew"
            )
    write_json(path, contract.model_dump(mode="json"))


def _draw_all(
    items: Sequence[Item],
    out: Path,
    contract: SpectrogramContract,
    request: ClipRequest,
    done: Rendering,
    *,
    n_workers: int | None,
    advance: Callable[[bool], None] | None,
    should_stop: Callable[[], bool],
) -> None:
    """Draw items while files are decoded elsewhere, and take down what came of each."""
    by_path = {item.path: item for item in items}

    def take(item: Item, images: list[Drawn] | str) -> None:
        if done.take(item.path, images) and advance:
            advance(item.path in done.images)

    tasks = [Task(Job(item.path), (request,)) for item in items]
    n_threads = usable_processors()
    with ThreadPoolExecutor(n_threads, "renderer", initializer=_use_one_thread) as pool:
        in_hand: deque[tuple[Item, Future[list[Drawn]]]] = deque()
        for decoded in decode_files(tasks, n_workers=n_workers, should_stop=should_stop):
            item, cut = by_path[decoded.job.path], decoded.cuts[request]
            if isinstance(cut, str):
                take(item, cut)
                continue
            clips = list(_numbered(decoded, cut.clips, request))
            future = pool.submit(
                _draw,
                item,
                clips,
                n_windows=cut.n_clips,
                out=out,
                contract=contract,
                windows=request.windows,
            )
            in_hand.append((item, future))
            while len(in_hand) > n_threads + _AHEAD:
                first, ready = in_hand.popleft()
                take(first, ready.result())
        for item, future in in_hand:
            take(item, future.result())


def _numbered(
    decoded: DecodedFile, clips: Sequence[Clip], request: ClipRequest
) -> Iterator[tuple[int, Clip]]:
    """Yield clips with their number in the file, of which these may be a part."""
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
    *,
    n_windows: int,
    out: Path,
    contract: SpectrogramContract,
    windows: Windows,
) -> list[Drawn]:
    """Draw clips of one file and write them."""
    images = []
    for window, clip in clips:
        samples = np.ascontiguousarray(pad_clip(clip.samples, contract.clip_samples))
        (levels,) = draw_levels(torch.from_numpy(samples), contract).numpy()
        start_s = clip.window.start / clip.sample_rate_hz if clip.window else 0.0
        shown = Shown(item.filepath, window, n_windows, start_s)
        name = image_name(item, window, windows)
        write_spectrogram(out / name, levels, contract, shown)
        images.append((name, shown))
    return images


def _use_one_thread() -> None:
    torch.set_num_threads(1)


def _write_tables(items: Sequence[Item], done: Rendering, out: Path) -> None:
    rows = [
        item.row | {"filepath": name, "source": shown.file, "start_s": shown.start_s}
        for item in items
        for name, shown in done.images.get(item.path, ())
    ]
    failed = [
        (item.filepath, done.failures[item.path]) for item in items if item.path in done.failures
    ]
    _write_or_remove(pl.DataFrame(failed, ["filepath", "error"], orient="row"), out / ERRORS_CSV)
    if not rows:
        return
    frame = arrange(pl.DataFrame(rows, infer_schema_length=None))
    last = [name for name in frame.columns if name not in _ADDED]
    _write_or_remove(frame.select(*last, *_ADDED), out / MANIFEST_CSV)
    labels = pl.Series("actual_output", [PUBLISHED_NAMES[t] for t in frame["target"].to_list()])
    test = frame.select(pl.col("filepath").alias("img_path"), labels)
    _write_or_remove(test, out / TEST_CSV)


def _write_or_remove(frame: pl.DataFrame, path: Path) -> None:
    if frame.is_empty():
        path.unlink(missing_ok=True)
        return
    with atomic_write(path) as temporary:
        frame.write_csv(temporary)
