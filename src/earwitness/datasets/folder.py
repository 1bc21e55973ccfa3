"""Anyone's own data: a folder of real music and one of fakes.

Layout: ``<root>/real/**`` and ``<root>/fake/<generator>/**``.

Conventions: the group is the path below ``real`` or below the generator, without its suffix,
so a track and the fakes made of it belong together when they keep its name.
"""

from __future__ import annotations

from pathlib import Path

from earwitness.datasets.catalog import Catalog, Omission, catalog_frame
from earwitness.datasets.scan import AudioFolder, scan_audio


def catalog_folder(root: Path) -> Catalog:
    """List the audio of ``<root>/real`` and ``<root>/fake/<generator>``.

    The name of ``root`` is the source's name.

    Raises:
        DatasetError: ``root``, or both folders below it, are not there.
    """
    source = root.resolve().name or "folder"
    sides = [(0, "real"), (1, "fake")]
    present = [(t, name) for t, name in sides if (root / name).is_dir()]
    scans = [(t, name, scan_audio(root / name)) for t, name in present or sides]
    columns: dict[str, list[object]] = {
        name: [] for name in ("key", "filepath", "target", "split_tag", "generator", "group_id")
    }
    omitted: list[Omission] = []
    for target, side, scanned in scans:
        omitted += _omissions(target, scanned)
        base = scanned.root.absolute().as_posix()
        for path in scanned.files:
            generator, _, below = path.partition("/") if target else ("", "", path)
            if not below:
                continue
            columns["key"].append(f"{side}/{path}")
            columns["filepath"].append(f"{base}/{path}")
            columns["target"].append(target)
            columns["split_tag"].append(side)
            columns["generator"].append(generator or None)
            columns["group_id"].append(f"{source}:{below.rpartition('.')[0]}")
    frame = catalog_frame(columns, source=source)
    return Catalog(source, frame, tuple(omitted), tuple(s.describe() for *_, s in scans))


def _omissions(target: int, scanned: AudioFolder) -> list[Omission]:
    loose = [path for path in scanned.files if target and "/" not in path]
    return [
        *(Omission(target, path, "not in a generator's folder") for path in loose),
        *(Omission(target, path, "file name is not valid Unicode") for path in scanned.unreadable),
    ]
