"""Downloads of single files by address and SHA-256.

Conventions: addresses are ``https``, or ``http`` on this machine. Each read and each whole download
has a time limit.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import ipaddress
import os
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from earwitness.core.io import atomic_write

ALLOW_HTTP = "EARWITNESS_ALLOW_HTTP"
"""Environment variable: ``1`` allows ``http`` addresses of other machines."""

_T = TypeVar("_T")

OnProgress = Callable[[int, int | None], None]
"""Called with bytes done and, if the server states it, the total."""


class DownloadError(Exception):
    """A failed download."""


class _NoAnswerError(DownloadError):
    """A call timed out; its thread still runs."""


def check_address(url: str) -> None:
    """Require ``https``, or ``http`` on this machine.

    Raises:
        DownloadError: Another scheme, unless the environment allows ``http``.
    """
    parts = urlsplit(url)
    is_local = parts.hostname == "localhost"
    with contextlib.suppress(ValueError):
        is_local = is_local or ipaddress.ip_address(parts.hostname or "").is_loopback
    is_allowed = is_local or os.environ.get(ALLOW_HTTP) == "1"
    if parts.scheme != "https" and not (parts.scheme == "http" and is_allowed):
        raise DownloadError(
            f"{parts.scheme[:20]}://{parts.netloc}: expected https ({ALLOW_HTTP}=1 allows http)"
        )


def within(seconds: float, call: Callable[[], _T]) -> _T:
    """Run a call in a thread with a total time limit; a late response is closed.

    A socket's own timeout restarts with every byte.

    Raises:
        DownloadError: It timed out.
    """
    answers: queue.SimpleQueue[tuple[_T | None, BaseException | None]] = queue.SimpleQueue()
    is_late = threading.Event()

    def work() -> None:
        try:
            value = call()
            if is_late.is_set() and isinstance(value, http.client.HTTPResponse):
                value.close()
            answers.put((value, None))
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            answers.put((None, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        value, error = answers.get(timeout=max(0.0, seconds))
    except queue.Empty:
        is_late.set()
        raise _NoAnswerError(f"no answer for {seconds:.3g} s") from None
    if error is not None:
        raise error
    return value  # type: ignore[return-value]


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Checks every address and drops the token for another host."""

    def redirect_request(  # noqa: PLR0917 - the signature is urllib's
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        try:
            check_address(newurl)
        except DownloadError:
            fp.close()
            raise
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None and following.host != req.host:
            following.remove_header("Authorization")
        return following


def fetch_file(
    url: str,
    path: Path,
    *,
    sha256_start: str,
    max_bytes: int,
    headers: Mapping[str, str] | None = None,
    on_progress: OnProgress = lambda *_: None,
    silence_s: float = 30.0,
    total_s: float = 3600.0,
) -> None:
    """Download a file to ``path``, atomically.

    Args:
        url: ``https``, or ``http`` on this machine.
        path: Target file.
        sha256_start: First digits of its SHA-256, lower case.
        max_bytes: Size limit.
        headers: Request headers; ``Authorization`` is not sent to other hosts.
        on_progress: Called after every chunk.
        silence_s: Timeout of the connection and of each read.
        total_s: Timeout of the download.

    Raises:
        DownloadError: It cannot be downloaded, is too large, or has another SHA-256.
        OSError: It cannot be written.
    """
    check_address(url)
    ends_at = time.monotonic() + total_s
    digest = hashlib.sha256()
    request = urllib.request.Request(url, headers=dict(headers or {}))  # noqa: S310 - checked above
    with _opened(request, silence_s) as answer:
        length = answer.headers.get("Content-Length", "")
        n_total = int(length) if length.isdecimal() else None
        if n_total is not None and n_total > max_bytes:
            raise DownloadError(f"{n_total} bytes, expected at most {max_bytes}")
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            n_done = 0
            while chunk := _read(answer, silence_s):
                n_done += len(chunk)
                if n_done > max_bytes:
                    raise DownloadError(f"over {max_bytes} bytes")
                if time.monotonic() > ends_at:
                    raise DownloadError(f"not done after {total_s:g} s")
                digest.update(chunk)
                file.write(chunk)
                on_progress(n_done, n_total)
            if n_total is not None and n_done < n_total:
                raise DownloadError(f"{n_done} of {n_total} bytes came")
            found = digest.hexdigest()[: len(sha256_start)]
            if found != sha256_start:
                raise DownloadError(
                    f"another file of {n_done} bytes, SHA-256 {found}, expected {sha256_start}"
                )


@contextlib.contextmanager
def _opened(request: urllib.request.Request, seconds: float) -> Iterator[Any]:
    """Yield an open response."""
    opener = urllib.request.build_opener(_Redirects)
    try:
        # The socket's own timeout, which closes it, comes a second before the thread's.
        answer = within(seconds + 1, lambda: opener.open(request, timeout=seconds))
    except urllib.error.HTTPError as error:
        error.close()
        raise DownloadError(f"status {error.code}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DownloadError(first_reason(error)) from error
    close = answer.close
    try:
        yield answer
    except _NoAnswerError:  # closing waits for the thread that still reads
        close = threading.Thread(target=answer.close, daemon=True).start
        raise
    finally:
        close()


def _read(answer: Any, seconds: float) -> bytes:
    """Return the next bytes of a response, its errors apart from those of the disk."""
    try:
        return bytes(within(seconds + 1, lambda: answer.read1(1 << 16)))
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DownloadError(f"broken off: {first_reason(error)}") from error


def first_reason(error: Exception) -> str:
    """Return the reason of an error of the network, in one line."""
    text = str(getattr(error, "reason", error)).strip()
    return (text.splitlines() or [type(error).__name__])[0].rstrip(".")


def explain_refusal(error: Exception, where: str, revision: str) -> str:
    """Return the reason of a request that the Hugging Face hub refused."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return f"{where} is gated; ask for access on its page and log in with `hf auth login`"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"{where}: no such repository, or private"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{where} has no revision {revision!r}"
    return f"{where}: {first_reason(error)}"
