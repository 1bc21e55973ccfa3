"""Opening regular files, and only those.

Conventions: links are followed; a pipe, socket, device or folder is refused before it is
opened, since opening alone may hang or act.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from earwitness.core.errors import AudioError

HEAD_BYTES = 1024
HIGHEST_OFFSET = 1 << 62

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_REASONS = {
    errno.ENOENT: "no such file",
    errno.ENOTDIR: "no such file",
    errno.EACCES: "no permission to read it",
    errno.EPERM: "no permission to read it",
    errno.ELOOP: "its symbolic links run in a circle",
    errno.ENAMETOOLONG: "its name is too long",
}


def stat_regular(path: str) -> os.stat_result:
    """Return the status of a regular file that is not empty.

    Raises:
        AudioError: There is no such file, it cannot be reached, is of another kind or empty.
    """
    with _plain_reasons(path):
        status = os.stat(path)  # noqa: PTH116  # a name may be no valid Path
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        raise AudioError(path, f"{kind}, not a file")
    if status.st_size == 0:
        raise AudioError(path, "the file is empty")
    return status


@contextlib.contextmanager
def opened(path: str) -> Iterator[int]:
    """Yield a descriptor of a regular file, for reading; it is closed after the block.

    Raises:
        AudioError: As ``stat_regular``, or the file cannot be opened.
    """
    stat_regular(path)
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with _plain_reasons(path):
        fd = os.open(path, flags)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _plain_reasons(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        known = _REASONS.get(error.errno or 0)
        raise AudioError(path, known or f"cannot be opened: {error.strerror}") from error
    except ValueError as error:
        raise AudioError(path, f"no file can have this name: {error}") from error


def read_at(fd: int, position: int, n_bytes: int) -> bytes:
    """Return ``n_bytes`` from ``position``, fewer at the file's end and none past any file's end.

    The descriptor's own position stays, since a library may be reading from it.
    """
    if position >= HIGHEST_OFFSET:
        return b""
    before = os.lseek(fd, 0, os.SEEK_CUR)
    try:
        os.lseek(fd, position, os.SEEK_SET)
    except OSError:  # file systems have limits of their own, below the highest offset
        return b""
    try:
        return os.read(fd, n_bytes)
    finally:
        os.lseek(fd, before, os.SEEK_SET)


def looks_like_text(fd: int) -> bool:
    """Return whether a file begins with printable text (UTF-8, or UTF-16 with its mark)."""
    head = read_at(fd, 0, HEAD_BYTES)
    utf16 = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    decoder = codecs.getincrementaldecoder("utf-16" if utf16 else "utf-8-sig")()
    try:
        text = decoder.decode(head)
    except UnicodeDecodeError:
        return False
    return bool(text) and all(c.isprintable() or c.isspace() for c in text)
