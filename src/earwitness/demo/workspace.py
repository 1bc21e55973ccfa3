"""A made-up workspace in the published folder tree.

Layout, below the workspace's root::

    deepfake-detector/fma_real_medium/resampled/<nnn>/<id>.mp3
    deepfake-detector/fma_rebuilt_medium/<encoder>/<nnn>/<id>.mp3
    deepfake-detector/data/dataset_medium_split_filtered.npy
    SONICS/{train,valid,test}.csv, real_songs/, fake_songs/
    FakeMusicCaps/<generator>/<caption id>.wav
    demo.json

Conventions: real and fake go through the same writers, are equally long and about equally loud.
Everything follows from one seed, whatever the number of workers. The three data sets are made
beside their places and moved there when all is done; ``demo.json`` is written last, so that
where it is, the workspace is whole.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from earwitness.core.errors import RunError, UsageError
from earwitness.core.files import write_json
from earwitness.demo.fakes import ENCODERS, SONGMAKERS
from earwitness.demo.layout import Settings, plan_recordings, write_tables
from earwitness.demo.recordings import Recording, make_recording
from earwitness.passes.mapping import Death, TaskQueue, map_tasks

DATA_SETS = ("deepfake-detector", "SONICS", "FakeMusicCaps")
MARKER = "demo.json"
_UNFINISHED = ".demo-unfinished"


@dataclass(frozen=True)
class Workspace:
    """A made-up workspace that lies complete on disk.

    Attributes:
        root: Folder that holds the three data sets.
        settings: What it was made with.
        encoders: Folders of FMA reconstructions.
        generators: Folders of FakeMusicCaps; SONICS' ``algorithm`` has the same names.
        n_files: Audio files in it.
    """

    root: Path
    settings: Settings
    encoders: tuple[str, ...]
    generators: tuple[str, ...]
    n_files: int


def make_workspace(
    root: Path,
    *,
    seed: int = 0,
    n_tracks: int = 30,
    n_songs: int = 12,
    n_captions: int = 12,
    clip_s: float = 8.0,
    n_workers: int = 2,
    progress: Callable[[str], None] | None = None,
) -> Workspace:
    """Make the workspace, or find it made.

    A workspace that was made here with other settings, and one that was left half-made, are
    made anew; data sets that nobody made here are never touched.

    Args:
        root: Folder for the data sets; made where it is missing.
        seed: Seed of all that is made up.
        n_tracks: FMA tracks: a half of them train, a third validation, a sixth test.
        n_songs: SONICS songs of each class in train and in valid, half as many in test.
        n_captions: FakeMusicCaps captions, each set to music by every generator.
        clip_s: Length of every file in seconds.
        n_workers: Processes; 0 works in this one. The files are the same.
        progress: Told in a few words of everything that is done.

    Raises:
        UsageError: A number is out of range, or ``root`` holds data sets not made here.
    """
    settings = Settings(seed, n_tracks, n_songs, n_captions, clip_s)
    settings.check()
    say = progress or _say_nothing
    unfinished = root / _UNFINISHED
    recordings = plan_recordings(settings, unfinished)
    n_files = sum(len(recording.copies) for recording in recordings)
    workspace = Workspace(root, settings, ENCODERS, SONGMAKERS, n_files)
    if _marker_of(root) == asdict(settings):
        shutil.rmtree(unfinished, ignore_errors=True)  # of a run that ended after the marker
        say(f"{root}: the workspace is there already, {n_files} files")
        return workspace
    _clear(root)
    unfinished.mkdir(parents=True)
    for i, title in enumerate(_carry_out(recordings, n_workers), 1):
        say(f"made {title} ({i} of {len(recordings)})")
    write_tables(settings, unfinished)
    for name in DATA_SETS:
        (unfinished / name).rename(root / name)
    write_json(root / MARKER, asdict(settings))
    unfinished.rmdir()
    return workspace


def _say_nothing(_: str) -> None:
    """Take the place of ``progress``."""


def _marker_of(root: Path) -> object:
    """What ``demo.json`` says, ``None`` where there is none that can be read."""
    try:
        return json.loads((root / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _clear(root: Path) -> None:
    """Remove what an earlier run made here.

    Raises:
        UsageError: There is something that none made.
    """
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root}: found a file, expected a folder for the made-up workspace")
    ours = (root / _UNFINISHED).exists() or (root / MARKER).exists()
    there = [name for name in DATA_SETS if (root / name).exists()]
    if there and not ours:
        raise UsageError(
            f"{root}: found {', '.join(there)} without {MARKER}, expected an empty folder "
            "or a made-up workspace"
        )
    for name in (*there, _UNFINISHED):
        shutil.rmtree(root / name, ignore_errors=True)
    (root / MARKER).unlink(missing_ok=True)


def _carry_out(recordings: list[Recording], n_workers: int) -> Iterator[str]:
    """Make all recordings; give the title of each that is done."""
    queue: TaskQueue[tuple[Recording], str] = TaskQueue((recording,) for recording in recordings)
    return map_tasks(make_recording, queue, if_crashed=_give_up, n_workers=n_workers)


def _give_up(task: tuple[Recording], death: Death) -> str:
    """Say that music cannot be made here: without all of it there is no workspace."""
    how = "was killed" if death == "killed" else "crashed"
    raise RunError(
        f"{task[0].title}: the process that makes it {how} again and again; "
        "the same command starts over"
    )
