"""One file from the web: whole, checked and bounded, or not there.

Conventions: a file takes its place once its hash is right. Every answer is awaited on a thread of
its own, since a socket's timeout begins again with every byte: a slow or endless answer ends by
itself.
Addresses are ``https``, or ``http`` on this machine.
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
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from earwitness.core.io import atomic_write

SILENCE_S = 30.0
"""Longest wait for a connection, and for the next bytes."""
TOTAL_S = 3600.0
"""Longest time that a download may take."""
ALLOW_HTTP = "EARWITNESS_ALLOW_HTTP"
"""Environment variable: ``1`` admits ``http`` addresses of other machines."""

_CHUNK = 1 << 16
_GRACE_S = 1.0
"""A socket's own timeout, which closes it, comes before that of the thread."""
_T = TypeVar("_T")

OnProgress = Callable[[int, int | None], None]
"""Called with bytes done, and bytes in all where the server says them."""


class DownloadError(Exception):
    """A file that could not be fetched; one line that says why."""


class _NoAnswerError(DownloadError):
    """A call that did not return in time; it still runs."""


def check_address(url: str) -> None:
    """Check that an address cannot be read or changed on its way.

    Raises:
        DownloadError: It is neither ``https`` nor ``http`` on this machine, unless the environment
            admits ``http``.
    """
    parts = urllib.parse.urlsplit(url)
    admitted = parts.scheme == "http" and (
        os.environ.get(ALLOW_HTTP) == "1" or _is_loopback(parts.hostname or "")
    )
    if parts.scheme != "https" and not admitted:
        raise DownloadError(
            f"{parts.scheme}://{parts.netloc} is not encrypted, expected https ({ALLOW_HTTP}=1 "
            "admits http)"
            if parts.scheme == "http"
            else f"an address of scheme {parts.scheme[:20]!r}, expected https"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def within(seconds: float, call: Callable[[], _T]) -> _T:
    """Return what a call returns, if it does in time; otherwise it is left to itself.

    A response that comes too late is closed.

    Raises:
        DownloadError: There is no answer in time.
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
    """Follows to admitted addresses alone, and gives no other host the caller's token."""

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
    silence_s: float = SILENCE_S,
    total_s: float = TOTAL_S,
) -> None:
    """Fetch a file and put it at ``path``, atomically.

    Args:
        url: Where it is.
        path: Where it goes.
        sha256_start: What its SHA-256 begins with, in lower-case hexadecimal digits.
        max_bytes: More than this is refused, before it is read where the server says its length.
        headers: Sent with the request; ``Authorization`` to its own host alone.
        on_progress: Called after every part.
        silence_s: Longest wait for a connection, and for the next bytes.
        total_s: Longest time in all.

    Raises:
        DownloadError: It cannot be fetched, is too large, or is another file.
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
            if not digest.hexdigest().startswith(sha256_start):
                raise DownloadError(
                    f"another file of {n_done} bytes, SHA-256 "
                    f"{digest.hexdigest()[: len(sha256_start)]}, expected {sha256_start}"
                )


@contextlib.contextmanager
def _opened(request: urllib.request.Request, seconds: float) -> Iterator[Any]:
    """Yield the answer to a request, its headers read; close it unless a thread reads it still."""
    opener = urllib.request.build_opener(_Redirects)
    try:
        answer = within(seconds + _GRACE_S, lambda: opener.open(request, timeout=seconds))
    except urllib.error.HTTPError as error:
        error.close()
        raise DownloadError(f"status {error.code}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DownloadError(_reason(error)) from error
    try:
        yield answer
    except _NoAnswerError:  # closing waits for the thread that still reads
        threading.Thread(target=answer.close, daemon=True).start()
        raise
    except BaseException:
        answer.close()
        raise
    answer.close()


def _read(answer: Any, seconds: float) -> bytes:
    """Return the next bytes; what goes wrong on the wire is no fault of the disk."""
    try:
        data: bytes = within(seconds + _GRACE_S, lambda: answer.read1(_CHUNK))
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DownloadError(f"broken off: {_reason(error)}") from error
    return data


def _reason(error: Exception) -> str:
    return (str(getattr(error, "reason", error)) or type(error).__name__).splitlines()[0]
