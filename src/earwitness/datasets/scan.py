"""Walking a folder for audio files.

Conventions: paths are relative to the folder and POSIX; the order is that of the names, never
that of the file system. Folders that are symbolic links are followed, each real folder once.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from earwitness.core.catalog import AUDIO_SUFFIXES
from earwitness.core.errors import DatasetError


@dataclass(frozen=True)
class AudioFolder:
    """Audio files of a folder.

    Attributes:
        root: The folder.
        files: Paths of audio files relative to it, sorted.
        n_other: Files of other kinds.
        unreadable: Names that are no valid Unicode, shown as the system escapes them.
    """

    root: Path
    files: tuple[str, ...]
    n_other: int
    unreadable: tuple[str, ...]

    def describe(self) -> str:
        """Say in one sentence what the folder held."""
        return f"{self.root}: {len(self.files)} audio files, {self.n_other} others"


def scan_audio(root: Path) -> AudioFolder:
    """Find every audio file below ``root``.

    macOS companion files (``._name.mp3``) are no audio and count as others.

    Raises:
        DatasetError: ``root`` is no folder, or one below it cannot be listed.
    """
    files: list[str] = []
    unreadable: list[str] = []
    n_other = 0
    seen: set[tuple[int, int]] = set()
    pending = [(_existing_folder(root), "")]
    while pending:
        folder, prefix = pending.pop()
        identity = folder.stat()
        if (identity.st_dev, identity.st_ino) in seen:
            continue
        seen.add((identity.st_dev, identity.st_ino))
        for entry in _entries(folder):
            name = prefix + entry.name
            if _is_folder(entry):
                pending.append((Path(entry.path), name + "/"))
            elif not _is_audio(entry.name):
                n_other += 1
            elif not _is_unicode(name):
                unreadable.append(os.fsencode(name).decode("utf-8", "backslashreplace"))
            else:
                files.append(name)
    return AudioFolder(root, tuple(sorted(files)), n_other, tuple(sorted(unreadable)))


def _existing_folder(root: Path) -> Path:
    if root.is_dir():
        return root
    found = "a file" if root.exists() else "nothing"
    nearest = next((p for p in root.parents if p.is_dir()), Path())
    raise DatasetError(f"{root}: found {found}, expected a folder (nearest that exists: {nearest})")


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be listed ({error.strerror})") from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link that runs in a circle leads to no folder


def _is_audio(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES and not name.startswith("._")  # noqa: PTH122 - a quarter of a million names, and Path is ten times slower


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
