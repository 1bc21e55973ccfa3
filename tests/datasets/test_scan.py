from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from builders import touch
from earwitness.core.errors import DatasetError
from earwitness.datasets.catalog import scan_audio


def test_finds_audio_by_suffix_in_any_case_sorted(tmp_path: Path) -> None:
    for name in ("b.MP3", "a/x.Flac", "a/y.opus", "c.wma", "notes.txt", "a/._x.mp3", "d.mp3.part"):
        touch(tmp_path / name)
    scanned = scan_audio(tmp_path)
    assert scanned.files == ("a/x.Flac", "a/y.opus", "b.MP3", "c.wma")
    assert scanned.n_other == 3
    assert scanned.describe() == f"{tmp_path}: 4 audio files, 3 others"


def test_follows_linked_folders_once_and_survives_circles(tmp_path: Path) -> None:
    touch(tmp_path / "disk" / "x.mp3")
    root = tmp_path / "root"
    root.mkdir()
    (root / "linked").symlink_to(tmp_path / "disk", target_is_directory=True)
    (tmp_path / "disk" / "up").symlink_to(root, target_is_directory=True)
    (root / "self").symlink_to(root / "self")
    assert scan_audio(root).files == ("linked/x.mp3",)


def test_a_linked_folder_is_known_by_its_own_name(tmp_path: Path) -> None:
    """Whatever order the file system lists them in: the real folder wins, the link is told."""
    for name in ("m_real", "z_real"):
        touch(tmp_path / name / "x.mp3")
    for link, target in (("a_link", "z_real"), ("z_link", "m_real")):
        (tmp_path / link).symlink_to(tmp_path / target, target_is_directory=True)
    scanned = scan_audio(tmp_path)
    assert scanned.files == ("m_real/x.mp3", "z_real/x.mp3")
    assert scanned.aliases == ("a_link", "z_link")
    assert scanned.describe().endswith("0 others, not followed twice: a_link, z_link")


def test_odd_names(tmp_path: Path) -> None:
    for name in ("mit Leerzeichen.mp3", "ütf-8 ♫.wav", 'comma,quote".mp3'):
        touch(tmp_path / name)
    assert set(scan_audio(tmp_path).files) == {p.name for p in tmp_path.iterdir()}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux stores names that are not Unicode")
def test_names_that_are_no_unicode_are_told_apart(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/caf\xe9.mp3", "wb"):  # noqa: PTH123 - a bytes name
        pass
    scanned = scan_audio(tmp_path)
    assert scanned.files == ()
    assert scanned.unreadable == ("caf\\xe9.mp3",)


def test_a_missing_folder_says_what_is_near(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=rf"found nothing.*nearest that exists: {tmp_path}\)"):
        scan_audio(tmp_path / "absent" / "deeper")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="found a file, expected a folder"):
        scan_audio(touch(tmp_path / "x.mp3"))
