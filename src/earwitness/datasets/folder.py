"""Your own data, as ``<root>/real/**`` and ``<root>/fake/<generator>/**``.

Convention: the group is the path below ``real`` or the generator without its suffix, so a track and
fakes of the same name are one group.
"""

from __future__ import annotations

from pathlib import Path

from earwitness.datasets.catalog import Catalog, Item, Omission, items_frame, scan_audio


def catalog_folder(root: Path) -> Catalog:
    """Return the catalog of a folder, whose name becomes the source.

    Raises:
        DatasetError: ``root``, or both folders below it, are missing.
    """
    source = root.resolve().name or "folder"
    sides = [(0, "real"), (1, "fake")]
    present = [(t, name) for t, name in sides if (root / name).is_dir()]
    scans = [(t, name, scan_audio(root / name)) for t, name in present or sides]
    items: list[Item] = []
    omitted: list[Omission] = []
    for target, side, scanned in scans:
        base = scanned.root.absolute().as_posix()
        for path in scanned.files:
            generator, _, below = path.partition("/") if target else ("", "", path)
            if not below:
                omitted.append(Omission(target, path, "not in a generator's folder"))
                continue
            group = f"{source}:{below.rpartition('.')[0]}"
            key = f"{side}/{path}"
            items.append(Item(key, f"{base}/{path}", target, side, generator or None, group))
        omitted += scanned.list_unreadable(target=target)
    frame = items_frame(items, source=source)
    return Catalog(source, frame, tuple(omitted), tuple(s.describe() for *_, s in scans))
