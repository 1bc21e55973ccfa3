"""FakeMusicCaps: clips of text-to-music generators.

Layout: ``FakeMusicCaps/<generator>/**/<caption id>.wav``, with any names of generators.
Published: audioldm2, MusicGen_medium, musicldm, mustango, stable_audio_open.

Convention: the group is the caption, whose id is the file's stem.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from earwitness.datasets.catalog import (
    Catalog,
    DatasetCard,
    Item,
    Layout,
    Omission,
    items_frame,
    scan_audio,
)

SOURCE = "FakeMusicCaps"


def catalog_fakemusiccaps(root: Path) -> Catalog:
    """Return the catalog of all clips below ``root``.

    Raises:
        DatasetError: ``root`` is no folder.
    """
    scanned = scan_audio(root)
    base = root.absolute().as_posix()
    loose = [path for path in scanned.files if "/" not in path]
    items = [
        Item(
            key=path,
            filepath=f"{base}/{path}",
            target=1,
            split_tag="all_fake",
            generator=path.partition("/")[0],
            group_id=f"fakemusiccaps:{PurePosixPath(path).stem}",
        )
        for path in scanned.files
        if "/" in path
    ]
    omitted = [Omission(1, path, "not in a generator's folder") for path in loose]
    omitted += scanned.list_unreadable(target=1)
    frame = items_frame(items, source=SOURCE)
    generators = ", ".join(sorted({item.generator or "" for item in items})[:20])
    looked_at = f"{scanned.describe()}; folders of generators: {generators or 'none'}"
    return Catalog(SOURCE, frame, tuple(omitted), (looked_at,))


LAYOUT = Layout(
    SOURCE,
    lambda request: catalog_fakemusiccaps(request.options["fakemusiccaps_root"] or request.folder),
    place=Path("FakeMusicCaps"),
    classes=(1,),
    options=("fakemusiccaps_root",),
    card=DatasetCard(
        summary="clips of five text-to-music generators on the captions of MusicCaps",
        layout="FakeMusicCaps/<generator>/<caption>.wav",
        licence="CC BY-NC 4.0",
        size="27 605 clips of 10 s, 12.9 GB; 16 kHz, mono",
        get="https://zenodo.org/records/15063698",
        leaks="no reals in it; the generators share captions (one group)",
        docs="https://zenodo.org/records/15063698, arXiv:2409.10684",
    ),
    track_of=lambda stem, _: f"{SOURCE}:{stem}",
)
