"""Walking a folder for audio files.

Conventions: paths are relative to the folder and POSIX; the order is that of the names, never
that of the file system. Folders that are symbolic links are followed, each real folder once and
by its own name where it has one below the root.
"""

from __future__ import annotations

import heapq
import os
from dataclasses import dataclass
from pathlib import Path

from earwitness.core.errors import DatasetError
from earwitness.datasets.catalog import AUDIO_SUFFIXES, Omission


@dataclass(frozen=True)
class AudioFolder:
    """Audio files of a folder.

    Attributes:
        root: The folder.
        files: Paths of audio files relative to it, sorted.
        n_other: Files of other kinds.
        unreadable: Names that are no valid Unicode, shown as the system escapes them.
        aliases: Linked folders that lead to a folder seen already.
    """

    root: Path
    files: tuple[str, ...]
    n_other: int
    unreadable: tuple[str, ...]
    aliases: tuple[str, ...] = ()

    def list_unreadable(self, *, target: int, prefix: str = "") -> list[Omission]:
        """Return ``unreadable`` as omissions of a class."""
        reason = "file name is not valid Unicode"
        return [Omission(target, prefix + name, reason) for name in self.unreadable]

    def describe(self) -> str:
        """Say in one sentence what the folder held."""
        aliases = f", not followed twice: {', '.join(self.aliases)}" if self.aliases else ""
        return f"{self.root}: {len(self.files)} audio files, {self.n_other} others{aliases}"


def scan_audio(root: Path) -> AudioFolder:
    """Find every audio file below ``root``.

    macOS companion files (``._name.mp3``) are no audio and count as others.

    Raises:
        DatasetError: ``root`` is no folder, or one below it cannot be listed.
    """
    files: list[str] = []
    unreadable: list[str] = []
    n_other = 0
    aliases: list[str] = []
    seen: set[tuple[int, int]] = set()
    pending = [(False, "", _existing_folder(root))]
    while pending:
        _, prefix, folder = heapq.heappop(pending)
        identity = folder.stat()
        if (identity.st_dev, identity.st_ino) in seen:
            aliases.append(prefix.rstrip("/"))
            continue
        seen.add((identity.st_dev, identity.st_ino))
        for entry in _entries(folder):
            name = prefix + entry.name
            if _is_folder(entry):
                heapq.heappush(pending, (entry.is_symlink(), name + "/", Path(entry.path)))
            elif not _is_audio(entry.name):
                n_other += 1
            elif not _is_unicode(name):
                unreadable.append(os.fsencode(name).decode("utf-8", "backslashreplace"))
            else:
                files.append(name)
    names = (tuple(sorted(found)) for found in (unreadable, aliases))
    return AudioFolder(root, tuple(sorted(files)), n_other, *names)


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
