"""One file from the web: whole, checked and bounded, or not there.

Conventions: a file takes its place once its hash is right; a slow or endless answer ends by itself.
"""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from earwitness.core.files import replacing

SILENCE_S = 30.0
"""Longest wait for a connection, and for the next bytes."""
TOTAL_S = 3600.0
"""Longest time that a download may take."""

_CHUNK = 1 << 16

OnProgress = Callable[[int, int | None], None]
"""Called with bytes done, and bytes in all where the server says them."""


class DownloadError(Exception):
    """A file that could not be fetched; one line that says why."""


def fetch_file(
    url: str,
    path: Path,
    *,
    sha256_start: str,
    max_bytes: int,
    on_progress: OnProgress = lambda *_: None,
    silence_s: float = SILENCE_S,
    total_s: float = TOTAL_S,
) -> None:
    """Fetch a file and put it at ``path``, atomically.

    Args:
        url: Where it is.
        path: Where it goes.
        sha256_start: What its SHA-256 begins with, in lower-case hexadecimal digits.
        max_bytes: More than this is refused, before it is read where the server says its length.
        on_progress: Called after every part.
        silence_s: Longest wait for a connection, and for the next bytes.
        total_s: Longest time in all.

    Raises:
        DownloadError: It cannot be fetched, is too large, or is another file.
        OSError: It cannot be written.
    """
    ends_at = time.monotonic() + total_s
    try:
        with urllib.request.urlopen(url, timeout=silence_s) as answer:  # noqa: S310 - a constant
            length = answer.headers.get("Content-Length", "")
            n_total = int(length) if length.isdecimal() else None
            if n_total is not None and n_total > max_bytes:
                raise DownloadError(f"{n_total} bytes, expected at most {max_bytes}")
            with replacing(path) as temporary, temporary.open("wb") as file:
                digest = hashlib.sha256()
                n_done = 0
                while chunk := _read(answer):
                    n_done += len(chunk)
                    if n_done > max_bytes:
                        raise DownloadError(f"over {max_bytes} bytes")
                    if time.monotonic() > ends_at:
                        raise DownloadError(f"not done after {total_s:g} s")
                    digest.update(chunk)
                    file.write(chunk)
                    on_progress(n_done, n_total)
                if not digest.hexdigest().startswith(sha256_start):
                    start = digest.hexdigest()[: len(sha256_start)]
                    raise DownloadError(
                        f"another file of {n_done} bytes, SHA-256 {start}…, expected "
                        f"{sha256_start}…"
                    )
    except urllib.error.HTTPError as error:
        raise DownloadError(f"status {error.code}") from error
    except (urllib.error.URLError, http.client.HTTPException, ValueError) as error:
        reason = str(getattr(error, "reason", error)) or type(error).__name__
        raise DownloadError(reason.splitlines()[0]) from error


def _read(answer: IO[bytes] | Any) -> bytes:
    """Return the next bytes; what goes wrong on the wire is no fault of the disk."""
    try:
        data: bytes = answer.read(_CHUNK)
    except OSError as error:
        raise DownloadError(f"broken off: {error}") from error
    return data
