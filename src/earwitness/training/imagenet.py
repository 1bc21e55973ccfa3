"""The weights that torchvision publishes for ResNet-18, trained on ImageNet.

Conventions: fetched once, checked by the digest in their name, and kept in the cache folder.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import gettempdir

import torch

from earwitness.core.errors import WeightsError
from earwitness.core.files import sha256_of
from earwitness.detectors.weights import cache_folder

URL = "https://download.pytorch.org/models/resnet18-f37072fd.pth"
_DIGEST = "f37072fd"
"""Beginning of the file's SHA-256, which is part of its name."""


def fetch_imagenet() -> Path:
    """Return the file, fetched where need be.

    Raises:
        WeightsError: It cannot be fetched, or what comes is another file.
    """
    path = (cache_folder() or Path(gettempdir())) / "weights" / URL.rpartition("/")[2]
    if path.is_file() and sha256_of(path).startswith(_DIGEST):
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(URL, str(path), _DIGEST, progress=False)
    except (OSError, RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].strip("<>")
        raise WeightsError(
            f"{URL} cannot be fetched ({reason}); put the file at {path}, or give --init FILE.pth, "
            "or --init none to begin with random weights"
        ) from error
    return path
