"""The weights that torchvision publishes for ResNet-18, trained on ImageNet.

Conventions: fetched once, checked by the hash in their name, and kept in the cache folder.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import gettempdir

from earwitness.core.downloads import DownloadError, OnProgress, fetch_file
from earwitness.core.errors import WeightsError
from earwitness.core.files import sha256_of
from earwitness.detectors.weights import cache_folder

URL = "https://download.pytorch.org/models/resnet18-f37072fd.pth"
_SHA256_START = "f37072fd"
"""Beginning of the file's SHA-256, which is part of its name."""
_MAX_BYTES = 64 * 2**20


def fetch_imagenet(on_progress: OnProgress = lambda *_: None) -> Path:
    """Return the file, fetched where need be.

    Args:
        on_progress: See ``fetch_file``.

    Raises:
        WeightsError: It cannot be fetched, or what comes is another file.
    """
    path = (cache_folder() or Path(gettempdir())) / "weights" / URL.rpartition("/")[2]
    wrong = ""
    if path.is_file():
        found = sha256_of(path)
        if found.startswith(_SHA256_START):
            return path
        wrong = (
            f"{path}: SHA-256 {found[: len(_SHA256_START)]}…, expected {_SHA256_START}… (damaged, "
            "or another file); "
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fetch_file(
            URL, path, sha256_start=_SHA256_START, max_bytes=_MAX_BYTES, on_progress=on_progress
        )
    except (DownloadError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(
            f"{wrong}{URL} cannot be fetched ({reason}); put the file at {path}, or give --init "
            "FILE.pth, or --init none to begin with random weights"
        ) from error
    return path
