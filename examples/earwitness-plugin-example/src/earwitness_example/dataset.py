"""A dataset layout: ``<root>/real/NAME.wav``, and ``<root>/GENERATOR/NAME.wav`` for each fake.

Files of one name are versions of one track, so they form a group.
"""

from __future__ import annotations

from pathlib import Path

from earwitness.datasets.catalog import (
    Catalog,
    CatalogRequest,
    Item,
    Layout,
    items_frame,
    scan_audio,
)

SOURCE = "Pairs"


def list_pairs(request: CatalogRequest) -> Catalog:
    """Return every audio file one folder below the dataset's folder."""
    scanned = scan_audio(request.folder)
    items = []
    for path in scanned.files:
        side, _, name = path.partition("/")
        if not name or "/" in name:
            continue
        target = int(side != "real")
        items.append(
            Item(
                key=path,
                filepath=f"{request.folder.absolute().as_posix()}/{path}",
                target=target,
                split_tag=side,
                generator=side if target else None,
                group_id=f"{SOURCE}:{Path(name).stem}",
            )
        )
    frame = items_frame(items, source=SOURCE)
    return Catalog(SOURCE, frame, tuple(scanned.list_unreadable(target=1)), (scanned.describe(),))


LAYOUT = Layout(
    source=SOURCE,
    list_files=list_pairs,
    place=Path("pairs"),
    track_of=lambda stem, target: stem,  # noqa: ARG005 - the same for both classes
)
