from __future__ import annotations

from pathlib import Path

from builders import touch
from earwitness.datasets.catalog import Omission
from earwitness.datasets.fakemusiccaps import catalog_fakemusiccaps


def test_generators_sing_the_same_captions(tmp_path: Path) -> None:
    for name in ("musicldm/-0SdAVK79lg.wav", "my own model/-0SdAVK79lg.wav", "loose.wav"):
        touch(tmp_path / name)
    found = catalog_fakemusiccaps(tmp_path)
    assert found.frame.select("target", "generator", "group_id", "split_tag").rows() == [
        (1, "musicldm", "fakemusiccaps:-0SdAVK79lg", "all_fake"),
        (1, "my own model", "fakemusiccaps:-0SdAVK79lg", "all_fake"),
    ]
    assert found.omitted == (Omission(1, "loose.wav", "not in a generator's folder"),)
