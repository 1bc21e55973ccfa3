"""FakeMusicCaps: clips of text-to-music generators.

Layout: ``FakeMusicCaps/<generator>/**/<caption id>.wav``; any folder name is taken as a
generator. Published: audioldm2, MusicGen_medium, musicldm, mustango, stable_audio_open.

Conventions: the group is the caption, whose id is the file's stem: five generators sang it.
"""

from __future__ import annotations

from pathlib import Path

from earwitness.datasets.catalog import Catalog, Omission, catalog_frame
from earwitness.datasets.scan import scan_audio

SOURCE = "FakeMusicCaps"
ROOT = Path("FakeMusicCaps")


def catalog_fakemusiccaps(root: Path) -> Catalog:
    """List every clip below ``root``.

    Raises:
        DatasetError: ``root`` is no folder.
    """
    scanned = scan_audio(root)
    base = root.absolute().as_posix()
    paths = [path for path in scanned.files if "/" in path]
    omitted = [
        *(Omission(1, p, "not in a generator's folder") for p in scanned.files if "/" not in p),
        *(Omission(1, p, "file name is not valid Unicode") for p in scanned.unreadable),
    ]
    stems = [path.rpartition("/")[2].rpartition(".")[0] for path in paths]
    frame = catalog_frame(
        {
            "key": paths,
            "filepath": [f"{base}/{path}" for path in paths],
            "target": [1] * len(paths),
            "split_tag": ["all_fake"] * len(paths),
            "generator": [path.partition("/")[0] for path in paths],
            "group_id": [f"fakemusiccaps:{stem}" for stem in stems],
        },
        source=SOURCE,
    )
    return Catalog(SOURCE, frame, tuple(omitted), (scanned.describe(),))
