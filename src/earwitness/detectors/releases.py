"""Weights published as one file of a GitHub repository, in earwitness's own cache.

Conventions: a release names one commit and the SHA-256 of its file; another file is refused.
``EARWITNESS_GITHUB`` replaces the server, ``HF_HUB_OFFLINE=1`` prevents the download.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from earwitness.core.errors import RunError, WeightsError
from earwitness.core.io import sha256_of
from earwitness.detectors.base import Release
from earwitness.detectors.hub import DownloadError, check_address, fetch_file
from earwitness.detectors.weights import cache_folder

SERVER = "EARWITNESS_GITHUB"
"""Environment variable: address of a mirror of ``raw.githubusercontent.com``."""
_RAW_GITHUB = "https://raw.githubusercontent.com"


def find_release(release: Release, *, download: bool = True) -> Path:
    """Return the file of a release, from the cache or downloaded.

    Raises:
        WeightsError: It is not in the cache and cannot be downloaded, or is another file.
    """
    folder = cache_folder()
    if folder is None:
        raise WeightsError("no cache folder, expected one in EARWITNESS_CACHE")
    path = folder / "weights" / f"{release.sha256}{PurePosixPath(release.path).suffix}"
    if path.is_file() and sha256_of(path) == release.sha256:
        return path
    if not download:
        raise WeightsError(f"not downloaded yet ({path.parent} does not contain it)")
    _download(release, path)
    return path


def _download(release: Release, path: Path) -> None:
    url = f"{os.environ.get(SERVER, _RAW_GITHUB).rstrip('/')}/{release.path}"
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise WeightsError(f"{url} is not requested (HF_HUB_OFFLINE is set)")
    try:
        check_address(url)
        path.parent.mkdir(parents=True, exist_ok=True)
        fetch_file(url, path, sha256_start=release.sha256, max_bytes=release.n_bytes)
    except (DownloadError, RunError, OSError) as error:
        raise WeightsError(f"{url}: download failed: {error}") from error
